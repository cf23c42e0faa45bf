"""Compile a run for a TPU slice on a machine without one; start at `__main__`."""
