"""Canonical photos, decoded safely."""
