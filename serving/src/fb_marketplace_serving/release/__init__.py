"""Releases: manifest, pointer, artifacts and loading."""
