"""What the paper adds to ordinary training: pseudo labels, mixing, loss normalisation."""
