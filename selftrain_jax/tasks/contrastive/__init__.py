"""Pairs of views of images without labels."""
