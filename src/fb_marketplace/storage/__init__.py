"""Access to the raw bucket and the lake."""
