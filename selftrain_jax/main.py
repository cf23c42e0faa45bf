"""The command: `python -m selftrain_jax.main --config=FILE.py[:axis=value,...] --workdir=DIR [--job=JOB]`.

Keys of the config are set by `--config.a.b=value`. The same command resumes where it stopped.
"""

import difflib
import errno
import os
import pathlib
import re
import sys
from collections.abc import Mapping
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from selftrain_jax.errors import InputError

JOBS = {
    "selftrain": "teacher, pseudo labels, control, student, evaluation, report (the default)",
    "train": "one stage's training, --stage=teacher|control|student",
    "pseudo_label": "the teacher's labels for the unlabelled images",
    "evaluate": "one stage on the test split, --stage=...",
    "predict": "boxes or class maps for --config.predict.input=FOLDER, as files and drawn pictures",
    "pretrain": "a backbone as a classifier, for --config.teacher.init (configs/pretrain.py)",
    "import_weights": "a published weight file becomes a checkpoint to start from, with a card",
    "report": "report.html from what is in the work folder",
    "doctor": "check the data set before training",
}
STAGES = ("teacher", "control", "student")

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, e.g. configs/quickstart.py.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; made if absent, resumed if not.")
_JOB = flags.DEFINE_enum("job", "selftrain", list(JOBS), "; ".join(f"{k}: {v}" for k, v in JOBS.items()))
_STAGE = flags.DEFINE_enum("stage", "teacher", STAGES, "Which model train and evaluate are about.")


def run() -> None:
    """Run the command; exit with 2 and one line for the user's mistakes, 130 when interrupted."""
    # Config files are read from anywhere and import `configs.common`, which stands beside the package.
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
    try:
        app.run(_main, flags_parser=_parse_flags)
    except InputError as error:
        sys.exit(_complain(error))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.exit(_complain(f"the disk is full ({error.filename}); make room and run the same command again"))
    except KeyboardInterrupt:
        print("\ninterrupted; the same command resumes from the last checkpoint", file=sys.stderr)
        sys.exit(130)


def _main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise InputError(f"unexpected argument {arguments[1]!r}; options start with --, see --help")
    if not _CONFIG.value:
        raise InputError("--config is missing; for example --config=configs/quickstart.py")
    if not _WORKDIR.value:
        raise InputError("--workdir is missing; for example --workdir=runs/quickstart")
    if not any(argument.startswith(("-v=", "--v=", "--verbosity")) for argument in sys.argv):
        logging.set_verbosity(logging.WARNING)  # orbax and the evaluators tell much at INFO
    from selftrain_jax import jobs

    jobs.run_job(_JOB.value, _CONFIG.value, pathlib.Path(_WORKDIR.value), stage=_STAGE.value)


def _parse_flags(argv: list[str]) -> list[str]:
    """Parse the command line: the config file first, so that a mistyped key can name its nearest."""
    try:
        if not any(argument in ("-h", "--help", "--helpshort", "--helpfull") for argument in argv):
            check_override_keys(argv, _read_config(argv))
        return flags.FLAGS(argv)
    except InputError:
        raise
    except (flags.Error, AttributeError, KeyError, ValueError, TypeError, OSError) as error:
        raise InputError(_last_words(error)) from error


def _read_config(argv: list[str]) -> ConfigDict:
    """Return the config without its overrides, which config_flags looks up in `sys.argv` itself."""
    sys.argv = [argument for argument in argv if not argument.startswith("--config.")]
    flags.FLAGS(sys.argv)
    config = _CONFIG.value or ConfigDict()
    flags.FLAGS.unparse_flags()
    sys.argv = argv
    return config


def check_override_keys(argv: list[str], config: ConfigDict) -> None:
    """Refuse a `--config.a.b=value` whose key the config does not have.

    Raises:
      InputError: names the key and the nearest one of the config.
    """
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


def _complain(error: object) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # TensorFlow only reads images here; no chatter
    run()
