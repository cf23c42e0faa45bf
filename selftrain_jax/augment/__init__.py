"""Augment-S1 to S4 (Section 3.1): start at `policies.augment_policy`."""
