"""Kedro pipelines that build a search release from a bucket of raw listings."""

__version__ = "0.2.0"
