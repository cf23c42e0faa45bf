"""Pseudo masks: inference, counts, quality, checks, the source for the student."""
