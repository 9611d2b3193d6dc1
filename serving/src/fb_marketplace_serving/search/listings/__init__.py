"""Listings of a release: columns, filters, places and price insights."""
