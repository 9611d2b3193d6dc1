"""The vectors as one JSON, in the original's form, for whoever asks."""
