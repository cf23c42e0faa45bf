"""Classes of whole images: pre-training ("ImageNet Init") and joint training (Table 7)."""
