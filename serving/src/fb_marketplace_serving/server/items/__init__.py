"""Listings in full: for the API, and as pages."""
