"""diverged.json beside config.json: a training ended because its loss was not finite; `mark_diverged`."""

from pathlib import Path

from selftrain_jax.io import write_json

DIVERGED_FILE = "diverged.json"


def mark_diverged(workdir: Path, kind: str) -> None:
    """Write down which kind of stage, teacher or student, diverged in a run's folder."""
    write_json(workdir / DIVERGED_FILE, {"stage": kind})


def unmark_diverged(workdir: Path) -> None:
    """Forget it: the training goes on, perhaps with other settings."""
    (workdir / DIVERGED_FILE).unlink(missing_ok=True)
