"""The composition root: the only readers of the whole config."""
