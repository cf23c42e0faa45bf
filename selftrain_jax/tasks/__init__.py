"""What differs between boxes, masks and whole images on the host."""
