"""What makes pseudo labels what they are, so that those of two jobs never mix; call `claim_folder`."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, show, write_json
from selftrain_jax.run_files.fields import JsonObject, to_json
from selftrain_jax.run_files.manifest import FIRST_KIND
from selftrain_jax.selftrain.foreign.files import identify_models
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.types import Category

JOB_FILE = "job.json"


def identify_labels(
    source: Source,
    labeller: Labeller,
    categories: Sequence[Category],
    provenance: JsonObject,
    images_per_shard: int,
) -> JsonObject:
    """Collect what makes the labels what they are; labels of another identity may not be mixed in."""
    return {
        **({"teacher_digest": provenance["teacher"]["digest"]} if "teacher" in provenance else {}),
        **identify_models(provenance),
        **({"earlier_models": provenance["earlier_models"]} if "earlier_models" in provenance else {}),
        **({"nms": provenance["nms"]} if "nms" in provenance else {}),
        "source": source.name,
        "image_ids_sha256": hashlib.sha256("\n".join(source.image_ids).encode()).hexdigest(),
        "num_images": len(source),
        "categories": [category._asdict() for category in categories],
        "images_per_shard": images_per_shard,
        "kind": labeller.totals.kind,
        **to_json(labeller.settings),
    }


def claim_folder(directory: Path, identity: JsonObject, settings: Any) -> None:
    """Write what makes the labels what they are, or check that the folder was begun with the same.

    Of the labeller's `settings` one that is left out, then or now, has its default.

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
    defaults = _defaults(settings)
    begun = {"kind": FIRST_KIND, **defaults, **job}
    asked = {**defaults, **json.loads(json.dumps(identity))}
    # Images count by their ids: the name of their source says where they are.
    differing = [key for key in asked if key != "source" and begun.get(key) != asked[key]]
    if differing:
        changes = "; ".join(f"{key}: {begun.get(key)!r} then, {asked[key]!r} now" for key in differing)
        raise InputError(
            f"{directory} holds pseudo labels of another job ({changes}). Move them aside by --redo=labels "
            "and label again, or choose another --workdir."
        )


def _defaults(settings: Any) -> JsonObject:
    """Return the settings that a file leaves out, as it would hold them."""
    fields = dataclasses.fields(settings)
    return {
        field.name: to_json(field.default) for field in fields if field.default is not dataclasses.MISSING
    }
