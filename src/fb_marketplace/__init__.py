"""From a bucket of raw listings to a search that people can trust."""

__version__ = "0.2.0"
