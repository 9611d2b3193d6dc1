"""Access to a lake on disk or in object storage."""
