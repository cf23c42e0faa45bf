"""A folder of labels holds those of one job; call `claim_folder` before anything is written into it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, show, write_json
from selftrain_jax.run_files.fields import JsonObject, to_json
from selftrain_jax.run_files.manifest import FIRST_KIND

JOB_FILE = "job.json"


def claim_folder(directory: Path, identity: JsonObject, defaults: JsonObject | None = None) -> None:
    """Write what makes the labels what they are, or check that the folder was begun with the same.

    A setting that is left out, then or now, is that of `defaults`.

    Raises:
        InputError: the folder was begun with something else, which is named.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / JOB_FILE
    hint = (
        "the shards beside it cannot be told apart from another teacher's; delete the folder to start again"
    )
    if not path.exists() and not any(directory.glob("pseudo-*.tfrecord")):
        write_json(path, identity)
    job = read_json(path, hint)
    if not isinstance(job, dict):
        raise InputError(f"{path} holds {show(job)}; expected an object: {hint}")
    begun = {"kind": FIRST_KIND, **(defaults or {}), **job}
    asked = {**(defaults or {}), **json.loads(json.dumps(identity))}
    # Images count by their ids: the name of their source says where they are.
    differing = [key for key in asked if key != "source" and begun.get(key) != asked[key]]
    if differing:
        changes = "; ".join(f"{key}: {begun.get(key)!r} then, {asked[key]!r} now" for key in differing)
        raise InputError(
            f"{directory} holds pseudo labels of another job ({changes}). Move them aside by --redo=labels "
            "and label again, or choose another --workdir."
        )


def default_settings(settings: Any) -> JsonObject:
    """Return the settings that a file leaves out, as it would hold them."""
    fields = dataclasses.fields(settings)
    return {
        field.name: to_json(field.default) for field in fields if field.default is not dataclasses.MISSING
    }
