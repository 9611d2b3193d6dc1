"""Errors for the user."""


class UserError(Exception):
    """Error that the user can fix. The message states the problem, the expectation and the remedy."""
