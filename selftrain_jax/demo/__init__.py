"""The built-in data sets: digits on photographs (boxes) and mosaics of materials (masks), drawn at run time."""
