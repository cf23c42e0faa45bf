"""Semantic segmentation: the loss over pixels, several scales, mean IoU."""
