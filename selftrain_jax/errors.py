"""What ends the command without a traceback: the user's mistake, or a reason to run it again."""

BUG = 1
USER_MISTAKE = 2
RUN_AGAIN = 75  # sysexits.h's EX_TEMPFAIL: nothing is wrong and nothing is lost, but it is not finished
INTERRUPTED = 130


class InputError(ValueError):
    """Bad input from the user: data, config, checkpoint or command line. Ends with code 2.

    The message says what was found, where (file, line, key, image id), what was expected
    and what to do about it.
    """


class RunAgainError(Exception):
    """The run was stopped from outside (SIGTERM, a lost host) and the same command goes on. Code 75."""


def printable(text: str) -> str:
    """Escape what a terminal would obey or cannot show; names from data stand in many messages."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else letter.encode("unicode_escape").decode()
        for letter in text
    )
