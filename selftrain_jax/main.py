"""The command: `python -m selftrain_jax.main --config=FILE.py[:axis=value,...] [--workdir=DIR] [--job=JOB]`.

Once the package is installed, `selftrain` is the same. Keys of the config are set by `--config.a.b=value`.
The same command resumes where it stopped.
"""

import errno
import hashlib
import os
import pathlib
import platform
import sys
from typing import TYPE_CHECKING

from absl import app, flags, logging
from ml_collections import config_flags

from selftrain_jax.command_line import ConfigFileParser, default_workdir, parse_flags
from selftrain_jax.errors import INTERRUPTED, RUN_AGAIN, USER_MISTAKE, InputError, RunAgainError, printable
from selftrain_jax.threads import end_process_if_reads_hang

if TYPE_CHECKING:
    from selftrain_jax.jobs.options import Options

JOBS = {
    "selftrain": "teacher, pseudo labels, control, student, evaluation, report (the default)",
    "train": "one stage's training, --stage=teacher|control|control_half|oracle|student",
    "pseudo_label": "the teacher's labels for the unlabelled images",
    "thresholds": "score thresholds by class for --config.pseudo.precision, from the labels of data.val",
    "views": "in which views of an image (pseudo.views, pseudo.scales) the teacher labels data.val best",
    "select": "which unlabelled images to label next, --config.select.budget=50, by --stage=teacher|student",
    "export_labels": "pseudo labels for an annotation tool, into --config.review.output=DIR",
    "import_corrections": "what people changed, --config.review.file=PATH, becomes a layer over the labels",
    "evaluate": "one stage on the test split, --stage=...",
    "evaluate_released": "a released checkpoint (configs/released.py) beside its published number",
    "predict": "boxes or class maps for --config.predict.input=FOLDER, as files and drawn pictures",
    "export": "a trained network for other programs, --config.export.format=onnx --config.export.output=DIR",
    "pretrain": "a backbone by classes or without labels, for --config.teacher.init (configs/pretrain.py)",
    "import_weights": "a published weight file becomes a checkpoint to start from, with a card",
    "import_predictions": "other models' predictions (--config.foreign.predictions) become labels",
    "search": "students for a --grid of config values, chosen on val",
    "plan": "what would be done, what it takes, what is stale; touches nothing",
    "report": "report.html from what is in the work folder",
    "doctor": "check the data set before training",
    "gold": "draw images to measure on and nothing else, into --config.gold.file=FILE",
    "convert": "the data set in COCO's format, whatever format it has, into --config.convert.output=FOLDER",
}
STAGES = ("teacher", "control", "control_half", "oracle", "student")
REDO = ("teacher", "labels", "control", "control_half", "oracle", "student", "evaluation")

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, e.g. configs/quickstart.py.")
flags.FLAGS["config"].parser = ConfigFileParser("config")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run; by default runs/ and the config's name with its arguments."
)
_JOB = flags.DEFINE_enum("job", "selftrain", list(JOBS), "; ".join(f"{k}: {v}" for k, v in JOBS.items()))
_HOSTS = flags.DEFINE_string(
    "hosts", "none", "This process alone (none), the cluster it is on (auto), or host 0's ADDRESS:PORT."
)
_NUM_HOSTS = flags.DEFINE_integer("num_hosts", 0, "How many processes there are, with an address in --hosts.")
_HOST = flags.DEFINE_integer("host", -1, "Which of them this is, from 0, with an address in --hosts.")
_HOST_WAIT_SECS = flags.DEFINE_float("host_wait_secs", 300.0, "How long to wait for the other hosts.")
_STAGE = flags.DEFINE_enum("stage", "teacher", STAGES, "Which model train, evaluate and select are about.")
_ROUND = flags.DEFINE_integer("round", 1, "Which round's student or labels, with config.selftrain.rounds.")
_VARIANT = flags.DEFINE_string(
    "variant", "", "Name of a variant of the run: stages that differ go to WORKDIR/variants/NAME."
)
_FROM_RUN = flags.DEFINE_string(
    "from_run", "", "Workdir of a run whose teacher, and labels where they fit, are taken."
)
_GRID = flags.DEFINE_multi_string(
    "grid", [], "search: KEY=VALUE,VALUE of the config, as selftrain.alpha=0.5,1,2; again for a second key."
)
_SEEDS = flags.DEFINE_list("seeds", [], "search: the seeds of every point; by default the config's own.")
_REDO = flags.DEFINE_enum("redo", "", ("", *REDO), "Move this stage and those after it aside, then run.")

_MEASURE = flags.DEFINE_bool("measure", False, "With --job=plan: time ten steps now.")


def main() -> None:
    """Be `selftrain` and `python -m selftrain_jax.main`: set what the environment leaves open, and run."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # TensorFlow only reads images here; no chatter
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_cache_folder()))
    # --help shows the docstring and the flags of the script; `selftrain` has none of its own.
    sys.modules["__main__"].__doc__ = __doc__
    for flag in flags.FLAGS.get_key_flags_for_module(__name__):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    try:
        run()
    except BaseException as error:  # SystemExit too, which is how a run ends well
        end_process_if_reads_hang(error)
        raise


def _cache_folder() -> pathlib.Path:
    """Return where compiled steps are kept, for this user and kind of processor, without creating it."""
    # JAX's own key has no processor in it, but code for a CPU uses that CPU's instructions, and different
    # machines may share a home folder.
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        kept = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
        processor = "\n".join(sorted(kept))
    except OSError:
        processor = platform.processor()
    digest = hashlib.sha256(processor.encode()).hexdigest()[:12]
    return pathlib.Path(home) / "selftrain_jax" / f"compiled-{platform.machine()}-{digest}"


def run() -> None:
    """Run the command; exit with 2 and one line for the user's mistakes, 75 when it is to be run again.

    Ctrl-C exits with 130.
    """
    try:
        app.run(_main, flags_parser=parse_flags)
    except InputError as error:
        sys.exit(_complain(error))
    except RunAgainError as error:
        print(f"{error}; the same command resumes from the last checkpoint", file=sys.stderr)
        sys.exit(RUN_AGAIN)
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "configs":
            raise
        sys.exit(_complain(_explain_missing_configs(error)))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.exit(_complain(f"the disk is full ({error.filename}); make room and run the same command again"))
    except KeyboardInterrupt:
        print("\ninterrupted; the same command resumes from the last checkpoint", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise InputError(f"unexpected argument {arguments[1]!r}; options start with --, see --help")
    if not _CONFIG.value:
        raise InputError("--config is missing; for example --config=configs/quickstart.py")
    if not any(argument.startswith(("-v=", "--v=", "--verbosity")) for argument in sys.argv):
        logging.set_verbosity(logging.WARNING)  # orbax and the evaluators tell much at INFO
    from selftrain_jax import jobs
    from selftrain_jax.hosts import initialized
    from selftrain_jax.train.compiler_memory import release_after_compiling
    from selftrain_jax.train.stop_signal import end_on_sigterm, restated_stop

    release_after_compiling()
    end_on_sigterm()
    hosts = initialized(
        _HOSTS.value, num_hosts=_NUM_HOSTS.value, index=_HOST.value, wait_secs=_HOST_WAIT_SECS.value
    )
    with hosts, restated_stop():
        jobs.run_job(_JOB.value, _CONFIG.value, _open_folder(), _read_options())


def _open_folder() -> pathlib.Path:
    """Return the run's folder, after the first line says where it is."""
    from selftrain_jax.hosts import log

    workdir = pathlib.Path(_WORKDIR.value or default_workdir(_config_file()))
    log(f"workdir: {workdir}")
    return workdir


def _config_file() -> str:
    """Return the value of --config as it was given, the file and its arguments."""
    return str(flags.FLAGS["config"].config_filename)  # type: ignore[attr-defined]  # a flag of config_flags


def _read_options() -> "Options":
    """Collect the flags that are not the config's."""
    from selftrain_jax.jobs.options import Options

    if _ROUND.value < 1:
        raise InputError(f"--round={_ROUND.value}: rounds are counted from 1")
    return Options(
        stage=_STAGE.value,
        round=_ROUND.value,
        variant=_VARIANT.value,
        from_run=_FROM_RUN.value,
        redo=_REDO.value,
        measure=_MEASURE.value,
        grid=tuple(_GRID.value),
        seeds=_read_seeds(),
    )


def _read_seeds() -> tuple[int, ...]:
    texts = [text.strip() for text in _SEEDS.value]
    if any(not text.isdigit() for text in texts) or len(set(texts)) < len(texts):
        raise InputError(f"--seeds={','.join(texts)}: expected whole numbers from 0, none twice, as 0,1,2")
    return tuple(int(text) for text in texts)


def _explain_missing_configs(error: ImportError) -> str:
    return (
        f"{error}: the config file imports selftrain_jax's own configs/; run `pip install -e .` in the "
        "repository to import it from anywhere, or run this command from the repository's root. (A folder "
        "named configs in the working directory hides it from python -m; the command selftrain ignores that.)"
    )


def _complain(error: object) -> int:
    print(f"error: {printable(str(error))}", file=sys.stderr)
    return USER_MISTAKE


if __name__ == "__main__":
    main()
