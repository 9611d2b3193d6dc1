"""Candidate sources, filters, ranking and listings."""
