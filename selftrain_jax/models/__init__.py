"""Networks as linen modules; no task logic."""
