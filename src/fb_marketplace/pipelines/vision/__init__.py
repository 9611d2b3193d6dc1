"""Vision: training of the category model on photos, and export of the served encoder."""
