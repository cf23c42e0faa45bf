"""Pseudo boxes go out to annotation tools and come back as corrections (not in the paper)."""
