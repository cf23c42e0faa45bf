"""What ends the command without a traceback: the user's mistake, or a reason to run it again."""

BUG = 1
USER_MISTAKE = 2
RUN_AGAIN = 75  # sysexits.h's EX_TEMPFAIL: not finished, but nothing is wrong and nothing is lost
INTERRUPTED = 130


class InputError(ValueError):
    """Bad input from the user: data, config, checkpoint or command line. Exit code 2.

    The message says what was found, where (file, line, key, image id), what was expected
    and what to do about it.
    """


class RunAgainError(BaseException):
    """The run was stopped from outside (SIGTERM, a lost host); the same command resumes. Exit code 75.

    Like KeyboardInterrupt it is not an `Exception`: a signal may arrive inside any `except Exception`, of a
    library or around the decoding of an image, and must not be taken for what is caught there.
    """


class StagesFailedError(Exception):
    """Some of several runs failed, the others went on; the message names them. Exit code 1."""


def printable(text: str) -> str:
    """Escape what a terminal would obey or cannot show; many messages contain names from the data."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else letter.encode("unicode_escape").decode()
        for letter in text
    )
