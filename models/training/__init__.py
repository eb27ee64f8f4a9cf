"""Training: one Lightning trainer for every network, on one device or on several."""
