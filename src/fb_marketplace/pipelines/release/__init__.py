"""Seals what a server needs."""
