"""What differs between boxes, masks and whole images on the host: a folder and a `TaskSpec` each."""
