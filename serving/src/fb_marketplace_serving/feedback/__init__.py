"""Search and click events."""
