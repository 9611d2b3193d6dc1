"""Serves a release: a photo in, its category and the listings most like it out."""

__version__ = "0.2.0"
