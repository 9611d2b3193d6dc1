"""Training loops, checkpoints and learning curves."""
