"""The built-in data sets, drawn at run time: digits on photographs (boxes) and mosaics of materials (masks)."""
