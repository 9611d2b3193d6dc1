"""Evaluation of the search as it is served: corrected words, the threshold, and every order."""
