"""Folders as annotation tools leave them: recognised, and read without conversion."""
