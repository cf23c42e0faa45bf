"""Annotation formats as pure functions: a parsed document becomes the shapes of each image."""
