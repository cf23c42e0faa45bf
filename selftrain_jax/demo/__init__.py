"""The built-in data sets: digits on photographs and mosaics of materials, drawn at run time."""
