"""Fills a local, empty raw root with the embedded marketplace."""
