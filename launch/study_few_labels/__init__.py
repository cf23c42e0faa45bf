"""What the recipe for few labels gains, data set by data set; see `__main__.py`."""
