"""Pre-training without labels (SimCLR): "SimCLR Init" of the paper's Table 4."""
