"""Learns categories from photos and exports the one encoder."""
