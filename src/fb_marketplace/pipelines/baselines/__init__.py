"""Baseline models of price and category, which later models must beat."""
