"""Which images to label next: chosen ones against random ones; see `__main__.py`."""
