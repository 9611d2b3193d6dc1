"""What a user can mend."""


class UserError(Exception):
    """A mistake of the user's, told in one line: what was found, what was expected, what to do."""
