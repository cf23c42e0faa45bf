"""Reading a command with a `--config` flag: mistakes become one line each. Call `parse_flags`."""

import difflib
import pathlib
import re
import sys
from collections.abc import Mapping
from typing import Any

from absl import flags
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

from selftrain_jax.errors import InputError
from selftrain_jax.unlabeled_sources import add_asked_sources

LONGEST_NAME = 200  # letters of an option
MISTAKES = (
    flags.Error,
    ArithmeticError,
    AttributeError,
    KeyError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
)


class ConfigFileParser(config_flags.ConfigFileFlagParser):
    """Reads the config file, with the sources of unlabelled images that the command adds to it."""

    def parse(self, path: str) -> ConfigDict:
        """Load `FILE.py[:arguments]`. Raises: InputError, as `add_asked_sources`."""
        config = super().parse(path)
        if isinstance(config, ConfigDict):
            add_asked_sources(config, sys.argv)
        return config


def parse_flags(argv: list[str]) -> list[str]:
    """Parse the command line: the config file first, so that a mistyped key can name its nearest.

    Raises:
        InputError: an option, a key or a value that does not exist, or a config file that cannot be read.
    """
    check_lengths(argv)
    try:
        if not any(argument in ("-h", "--help", "--helpshort", "--helpfull") for argument in argv):
            check_override_keys(argv, _read_config(argv))
        return flags.FLAGS(argv)
    except InputError:
        raise
    except MISTAKES as error:
        raise InputError(_last_words(error)) from error


def default_workdir(config_file: str) -> str:
    """Return runs/ and the stem of `FILE.py[:arguments]` with its arguments: runs/bccd-labels=10,seed=1.

    What a folder's name cannot hold becomes "_". Overrides of keys are not in it.
    """
    path, _, arguments = config_file.partition(":")
    name = pathlib.PurePath(path).stem + (f"-{arguments}" if arguments else "")
    return f"runs/{re.sub(r'[^A-Za-z0-9._=,+-]', '_', name)}"


def check_lengths(argv: list[str]) -> None:
    """Refuse endless names of options: absl's search for the nearest breaks on them. Raises: InputError."""
    for argument in argv:
        name = argument.partition("=")[0]
        if name.startswith("-") and len(name) > LONGEST_NAME:
            raise InputError(f"there is no option {name[:60]!r}...; options are listed by --help")


def _read_config(argv: list[str]) -> ConfigDict:
    """Return the config without its overrides, which config_flags looks up in `sys.argv` itself."""
    sys.argv = [argument for argument in argv if not argument.startswith("--config.")]
    flags.FLAGS(sys.argv)
    config = flags.FLAGS.config or ConfigDict()
    flags.FLAGS.unparse_flags()
    sys.argv = argv
    return config


def check_override_keys(argv: list[str], config: ConfigDict) -> None:
    """Refuse a `--config.a.b=value` whose key the config does not have.

    Raises:
        InputError: names the key and the nearest one of the config.
    """
    add_asked_sources(config, argv)
    known = list(flatten(config.to_dict()))
    for argument in argv:
        if not argument.startswith("--config."):
            continue
        key = argument.removeprefix("--config.").partition("=")[0]
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"; did you mean --config.{near[0]}?" if near else ""
            raise InputError(f"the config has no key {key!r}{hint}")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested dicts by their dotted keys."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= flatten(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def _last_words(error: Exception) -> str:
    """Return what went wrong without the loader's traceback, whose last line is `module.Type: message`."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip("^~ ") and "--help" not in line]
    if not lines:
        return type(error).__name__
    if "Traceback" not in str(error):
        return " ".join(lines[-2:])
    return re.sub(r"^[\w.]*(Error|Exception): ", "", lines[-1])
