"""A vector for each photo, through the served encoder."""
