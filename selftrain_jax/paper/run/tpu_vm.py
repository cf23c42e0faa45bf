"""Stages on one TPU slice, one after another by launch/tpu_vm.sh; call `read_slice`.

The slice's queue is this machine's: launch/tpu_vm.sh cannot make one run wait for another. After each stage
what it left comes back without checkpoints, which is enough to know that it is finished.
"""

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from selftrain_jax.errors import InputError
from selftrain_jax.paper.run.commands import Command

SCRIPT = "launch/tpu_vm.sh"
OWN_OPTIONS = ("--workdir", "--to", "--delete")
EXAMPLE = '--submit-flags="paper --zone=us-west4-a --type=v5litepod-64 --bucket=gs://BUCKET"'


class Slice(NamedTuple):
    """A slice by its name and launch/tpu_vm.sh's options, and the runs' folder on what its workers share."""

    name: str
    options: tuple[str, ...]
    folder: PurePosixPath  # in the workers' home, as bucket/paper

    @property
    def root(self) -> str:
        """Return the folder as a run sees it, which starts in ~/selftrain_jax."""
        return f"../{self.folder}"

    def command(self, own: Command, runs: Path) -> list[str]:
        """Return the command that runs a stage on the slice, made if need be, and fetches what it left."""
        name = PurePosixPath(own.workdir).name
        places = (f"--workdir={self.folder / name}", f"--to={runs / name}")
        arguments = (f"--config={own.config}", *own.options)
        return ["bash", SCRIPT, "all", self.name, *self.options, *places, "--", *arguments]


def read_slice(submit_flags: str) -> Slice:
    """Read the slice's name and options.

    Raises:
        InputError: there is no gcloud or no script, or the options do not say what is needed.
    """
    if shutil.which("gcloud") is None:
        raise InputError("--submit=tpu_vm: there is no gcloud on PATH; it is part of the Google Cloud CLI")
    if not Path(SCRIPT).exists():
        raise InputError(f"--submit=tpu_vm: there is no {SCRIPT} here; call it from the repository's root")
    words = split_flags(submit_flags)
    if not words or words[0].startswith("-"):
        raise InputError(f"--submit=tpu_vm needs the slice's name and its options, as {EXAMPLE}")
    name, options = words[0], tuple(words[1:])
    taken = [option for option in options if option.partition("=")[0] in OWN_OPTIONS]
    if taken:
        raise InputError(f"{taken[0]} in --submit-flags is set for every stage; leave it out")
    return Slice(name, options, PurePosixPath(_find_share(options)) / name)


def _find_share(options: Sequence[str]) -> str:
    """Return where the workers mount what they share."""
    for option in options:
        if option.startswith(("--bucket=", "--nfs=")):
            return option.removeprefix("--").partition("=")[0]
    raise InputError(f"--submit=tpu_vm needs --bucket or --nfs, which all stages share, as {EXAMPLE}")


def split_flags(text: str) -> list[str]:
    """Split as a shell does. Raises: InputError: a quote is open."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(f"--submit-flags={text!r:.60}: {error}") from error
