"""The vectors made searchable, and the search measured."""
