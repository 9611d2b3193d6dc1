"""Networks, heads and pretrained weights."""
