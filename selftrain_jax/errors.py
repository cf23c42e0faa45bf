"""The one error that a user's own mistake raises; `main` prints it without a traceback."""


class InputError(ValueError):
    """Bad input from the user: data, config, checkpoint or command line.

    The message says what was found, where (file, line, key, image id), what was expected
    and what to do about it.
    """
