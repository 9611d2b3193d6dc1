"""Price insights from comparable listings."""
