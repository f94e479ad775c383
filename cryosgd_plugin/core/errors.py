"""The one error that bad input raises: a sentence for the user, no traceback at the command line."""


class InputError(ValueError):
    """Something the user gave can't be used: says what was wrong, what came and what to do."""
