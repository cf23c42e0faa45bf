"""stage.json in a stage's folder: write it when the stage begins, compare it when a command comes again.

`begin` is called before a stage computes anything, `finish` after; `differences` says what two records do
not share.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, write_json
from selftrain_jax.run_files.stage import REMEDY, STAGE_FILE, StageRecord, StageResult
from selftrain_jax.stages.settings import BEFORE, CANDIDATES, PATIENCE, is_among

ABSENT = "(absent)"
MAX_SHOWN = 9
VAL = "val images"  # the name of that input
IGNORED_CLASSES = "ignored classes"  # likewise, a list in JSON
METHODS = {"sampling": "raw", "ema": "ramp"}
OLD_METHODS = {"sampling": "generator", "ema": "constant"}


class Difference(NamedTuple):
    """A setting or an input that two records do not share."""

    key: str
    then: Any
    now: Any


def make_record(
    stage: str, settings: Mapping[str, Any], inputs: Mapping[str, str], versions: Mapping[str, str], code: str
) -> StageRecord:
    """Return the record of a stage that begins now; settings become what JSON keeps of them."""
    return StageRecord(
        stage=stage,
        settings=_as_json(settings),
        inputs=dict(inputs),
        methods=METHODS,
        versions=dict(versions),
        code=code,
        results={},
    )


def read_record(folder: Path, name: str = STAGE_FILE) -> StageRecord | None:
    """Return a folder's record, None where there is none yet.

    Raises:
        InputError: it is damaged, or a newer version wrote it.
    """
    path = folder / name
    return StageRecord.from_json(read_json(path, REMEDY), path) if path.exists() else None


def write_record(folder: Path, record: StageRecord, name: str = STAGE_FILE) -> None:
    """Write a record, whole or not at all; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / name, record.to_json())


def finish(folder: Path, record: StageRecord, results: Mapping[str, StageResult]) -> StageRecord:
    """Add the results to a folder's record."""
    finished = dataclasses.replace(record, results=results)
    write_record(folder, finished)
    return finished


def differences(found: StageRecord, wanted: StageRecord, which: str = "last") -> list[Difference]:
    """List settings and inputs that differ, by key; an input that is not known yet, "", differs from none.

    A setting that did not exist when `found` was written had the value that `settings.BEFORE` gives it.
    `which` checkpoint is taken: how others were measured decides nothing if it is the last, unless the
    training ends by what was measured.
    """
    unknown = {name for record in (found, wanted) for name, digest in record.inputs.items() if not digest}
    is_training = "eval.every_steps" in wanted.settings
    ends_by_val = any(record.settings.get(key) for record in (found, wanted) for key in PATIENCE)
    idle = CANDIDATES if is_training and which == "last" and not ends_by_val else ()
    then = {**_as_json({key: BEFORE[key] for key in BEFORE if key in wanted.settings}), **found.settings}
    settings = [pair for pair in _pairs(then, wanted.settings) if not is_among(pair.key, idle)]
    inputs = [pair for pair in _pairs(found.inputs, wanted.inputs) if pair.key not in unknown]
    if idle:
        inputs = [pair for pair in inputs if pair.key != VAL]
    named = [Difference(f"config.{key}", then, now) for key, then, now in settings]
    return [pair for pair in (*named, *inputs) if pair.then != pair.now]


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what JSON keeps of settings: tuples become lists."""
    return json.loads(json.dumps(dict(settings), sort_keys=True))


def _pairs(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    keys = sorted(set(then) | set(now))
    return [Difference(key, then.get(key, ABSENT), now.get(key, ABSENT)) for key in keys]


def refuse(
    folder: Path, found: Sequence[Difference], stage: str, stale: Sequence[str], ways_out: str
) -> InputError:
    """Return the error for a stage whose record is not what the command would write."""
    shown = [f"  {format_difference(pair)}" for pair in found[:MAX_SHOWN]]
    more = [f"  and {len(found) - MAX_SHOWN} more"] if len(found) > MAX_SHOWN else []
    after = f"Made from it, and stale with it: {', '.join(stale)}. " if stale else ""
    return InputError(
        "\n".join([f"{folder} holds another {stage} than this command's:", *shown, *more, after + ways_out])
    )


def format_difference(pair: Difference) -> str:
    """Write a difference as `config.seed: 0 then, 1 now`."""
    return f"{pair.key:.99}: {_short(pair.then)} then, {_short(pair.now)} now"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
