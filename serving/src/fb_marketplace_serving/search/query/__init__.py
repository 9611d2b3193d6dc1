"""Queries: parsing, spelling and completion, from the words of a release."""
