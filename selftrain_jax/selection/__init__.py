"""What to label next: `criteria` and `embedding` describe images, `choose` picks; see `jobs/select.py`."""
