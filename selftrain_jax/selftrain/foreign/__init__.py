"""Other models' predictions as pseudo labels: their files, their classes and their names of images."""
