"""What is typed, or passed on by scripts, is answered in one line however strange it is."""

import pytest

from selftrain_jax import main
from selftrain_jax.command_line import check_lengths
from selftrain_jax.errors import InputError


@pytest.mark.parametrize("argument", ["--" + "x" * 300, "--config." + "a." * 200 + "b=1", "-" * 500])
def test_endless_names_of_options_are_refused(argument: str) -> None:
    """The search for the nearest option goes a level deeper for every letter."""
    with pytest.raises(InputError, match=r"there is no option '-.*'\.\.\.; options are listed by --help"):
        check_lengths(["main", argument])


def test_endless_values_are_no_names() -> None:
    check_lengths(["main", "--config.name=" + "x" * 5000, "--workdir=" + "y" * 5000, "z" * 5000])


def test_messages_cannot_steer_the_terminal(capsys: pytest.CaptureFixture) -> None:
    assert main._complain("class '\x1b]0;owned\x07' and \ud800") == 2
    assert capsys.readouterr().err == "error: class '\\x1b]0;owned\\x07' and \\ud800\n"
