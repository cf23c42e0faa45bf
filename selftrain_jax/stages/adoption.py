"""A teacher, or a teacher and its labels, of another run (`--from_run`): what was taken is in adopted.json.

What is taken is what it is: the settings that it was trained with are the other run's. Its network and
classes must be this run's, and its digest may not change.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, write_json
from selftrain_jax.run_files.fields import Text, open_document, to_json
from selftrain_jax.run_files.stage import StageRecord
from selftrain_jax.stages.folders import share
from selftrain_jax.stages.graph import LABELS_FOLDER, Stage
from selftrain_jax.stages.records import ABSENT, Difference, read_record
from selftrain_jax.stages.records import differences as record_differences
from selftrain_jax.stages.settings import NETWORK, is_among

ADOPTED_FILE = "adopted.json"
FOLDERS = {"teacher": "teacher", "labels": LABELS_FOLDER}  # by what is taken over
UNLABELLED = "unlabelled images"  # an input of labels: theirs may be more
REMEDY = "It says which teacher this run took over; restore it, or choose another --workdir."


@dataclass(frozen=True)
class Adopted:
    """Where stages were taken from, and the digests of their results by kind: teacher, labels."""

    from_run: Text
    digests: Mapping[Text, Text]


def read_adopted(workdir: Path) -> Adopted | None:
    """Return what a run took over; None if nothing. Raises: InputError, as `Document.read`."""
    path = workdir / ADOPTED_FILE
    return open_document(read_json(path, REMEDY), path, REMEDY).read(Adopted) if path.exists() else None


def differences(
    adopted: Adopted, stage: Stage, found: StageRecord, wanted: StageRecord, which: str
) -> list[Difference]:
    """List how a stage that was taken over does not fit: another digest, or another network.

    `which` result counts: of the last or the best checkpoint, or "labels".
    """
    now = found.results[which].digest if which in found.results else ABSENT
    taken = adopted.digests[stage.kind]
    changed = [] if taken == now else [Difference(f"{stage.kind} taken over", taken, now)]
    if stage.kind == "teacher":
        return [*changed, *_network_differences(found, wanted)]
    return [*changed, *_setting_differences(found, wanted)]


def check_teacher(source: Path, wanted: StageRecord, categories: list[Any], which: str) -> str:
    """Return the digest of another run's teacher, if this run can take it.

    Raises:
        InputError: it is not finished, of another network or of other classes.
    """
    found = read_record(source / "teacher")
    if found is None or which not in found.results:
        raise InputError(
            f"--from_run={source}: there is no finished teacher in it (no {which} checkpoint in "
            "teacher/stage.json); finish that run's teacher first by its own command"
        )
    others = _network_differences(found, wanted)
    if others:
        shown = "; ".join(f"{d.key}: {d.then!r} there, {d.now!r} here" for d in others)
        raise InputError(
            f"--from_run={source}: its teacher is another network ({shown}); set these keys as there, or "
            "train a teacher here"
        )
    theirs = read_json(source / "categories.json", "the run that --from_run names has no classes")
    if theirs != json.loads(json.dumps(categories)):
        raise InputError(
            f"--from_run={source}: its classes are {_names(theirs)}, this run's are {_names(categories)}; "
            "a teacher finds the classes that it was trained on: use the same in the same order "
            "(config.data.classes)"
        )
    return found.results[which].digest


def _network_differences(found: StageRecord, wanted: StageRecord) -> list[Difference]:
    settings = _setting_differences(found, wanted)
    return [d for d in settings if is_among(d.key.removeprefix("config."), NETWORK)]


def _setting_differences(found: StageRecord, wanted: StageRecord) -> list[Difference]:
    return [d for d in record_differences(found, wanted) if d.key.startswith("config.")]


def find_labels(
    source: Path, wanted: StageRecord, teacher: str, image_ids: tuple[str, ...]
) -> tuple[str, str]:
    """Return the digest of another run's labels and "", or "" and why they cannot be taken.

    They may be of more images than this run's, not of fewer.
    """
    found = read_record(source / LABELS_FOLDER)
    if found is None or "labels" not in found.results:
        return "", "they are not finished"
    ours = {**wanted.inputs, **({"teacher": teacher} if "teacher" in wanted.inputs else {})}
    differing = sorted({name for name, _ in ours.items() ^ found.inputs.items()} - {UNLABELLED})
    if "teacher" in differing:
        return "", "they are of another teacher or checkpoint"
    if differing:
        return "", f"they were made of other inputs ({', '.join(differing)})"
    others = _setting_differences(found, wanted)
    if others:
        return "", ", ".join(f"{d.key} is {d.then!r} there and {d.now!r} here" for d in others)
    theirs = read_json(source / LABELS_FOLDER / "image_ids.json", "the labels' image ids are missing")
    missing = set(image_ids) - set(theirs)
    if missing:
        return "", f"{len(missing)} of this run's {len(image_ids)} unlabelled images are not among them"
    return found.results["labels"].digest, ""


def adopt(workdir: Path, source: Path, digests: Mapping[str, str]) -> None:
    """Link the stages into a run's folder, after what was taken is written down.

    Raises:
        InputError: as `check_adoption`.
    """
    check_adoption(workdir, source, digests)
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / ADOPTED_FILE, to_json(Adopted(str(source), dict(digests))))
    for kind in digests:
        if read_record(workdir / FOLDERS[kind]) is None:
            share(source / FOLDERS[kind], workdir / FOLDERS[kind], measured=False)


def check_adoption(workdir: Path, source: Path, digests: Mapping[str, str]) -> None:
    """See that a run's folder can take over stages.

    Raises:
        InputError: the folder has stages of its own, or took others before.
    """
    before = read_adopted(workdir)
    if before is not None and dict(before.digests) != dict(digests):
        raise InputError(
            f"{workdir} took {_list(before.digests)} from {before.from_run}; --from_run={source} has "
            f"{_list(digests)}: choose another --workdir"
        )
    if before is None:
        for kind in digests:
            if read_record(workdir / FOLDERS[kind]) is not None:
                raise InputError(
                    f"{workdir / FOLDERS[kind]} is this run's own; to take another run's, move it aside by "
                    f"--redo={kind}, or choose another --workdir"
                )


def _names(categories: list[Any]) -> str:
    return ", ".join(str(row["name"]) for row in categories[:10]) + ("..." if len(categories) > 10 else "")


def _list(digests: Mapping[str, str]) -> str:
    return ", ".join(f"{kind} {digest[-12:]}" for kind, digest in digests.items())
