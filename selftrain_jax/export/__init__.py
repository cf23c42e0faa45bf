"""A trained network for other programs: `portable`, `program`, and a file for each format."""
