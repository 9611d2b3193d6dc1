"""Canonical photos, decoded safely."""

from fb_marketplace_serving.imaging.canonical import canonicalize, decode_canonical

__all__ = ["canonicalize", "decode_canonical"]
