"""Cleaning: raw tables and photos to validated tables, with every rejected row in quarantine."""
