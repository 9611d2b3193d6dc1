"""Errors for the user."""


class UserError(Exception):
    """Error that the user can fix. The message gives the problem, the expectation and the remedy."""
