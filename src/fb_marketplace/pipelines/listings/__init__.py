"""Listing cards, gazetteer and listing features."""
