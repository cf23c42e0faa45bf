"""The built-in scenes as COCO files, and labels that a person would give; call `write_data`, `label`."""

import json
import pathlib
from collections.abc import Collection
from typing import Any

from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.io import write_json
from selftrain_jax.tasks.detection.coco_export import write_coco_json

SIZE_PX = 128


def write_data(folder: pathlib.Path, seed: int, sizes: dict[str, int]) -> None:
    """Write `sizes` images of each split to images/, with their truth in annotations/, unless that is done.

    Raises:
        SystemExit: a split was written with another number of images.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)
    for split, num_images in sizes.items():
        path = annotations(folder, split)
        if path.exists():
            if (found := len(json.loads(path.read_text())["images"])) != num_images:
                raise SystemExit(f"{path} has {found} images, not {num_images}; name other --runs")
            continue
        source = read_builtin(split, num_images=num_images, seed=seed, image_size_px=SIZE_PX)
        for index, image_id in enumerate(source.image_ids):
            (folder / "images" / f"{image_id}.png").write_bytes(source.read_encoded(index))
        write_coco_json(source, path)


def annotations(folder: pathlib.Path, split: str) -> pathlib.Path:
    """Return a split's file."""
    return folder / "annotations" / f"{split}.json"


def label(
    folder: pathlib.Path, labelled: str, unlabelled: str, image_ids: Collection[str], new: tuple[str, str]
) -> None:
    """Write the splits `new`: `labelled` with these images of `unlabelled` by their truth, and what is left.

    Raises:
        SystemExit: an image is not among the unlabelled ones.
    """
    have, rest = (json.loads(annotations(folder, split).read_text()) for split in (labelled, unlabelled))
    wanted = set(image_ids)
    if unknown := wanted - {image["id"] for image in rest["images"]}:
        raise SystemExit(f"{annotations(folder, unlabelled)} has no image {min(unknown)}")
    chosen, left = _keep(rest, wanted), _keep(rest, {image["id"] for image in rest["images"]} - wanted)
    both = {key: have[key] + chosen[key] for key in ("images", "annotations")}
    numbered = [{**box, "id": number} for number, box in enumerate(both["annotations"], start=1)]
    write_json(annotations(folder, new[1]), left)
    write_json(annotations(folder, new[0]), {**have, **both, "annotations": numbered})


def count_boxes(folder: pathlib.Path, split: str) -> int:
    """Return how many boxes a person has drawn."""
    return len(json.loads(annotations(folder, split).read_text())["annotations"])


def _keep(document: dict[str, Any], image_ids: Collection[str]) -> dict[str, Any]:
    return {
        **document,
        "images": [image for image in document["images"] if image["id"] in image_ids],
        "annotations": [box for box in document["annotations"] if box["image_id"] in image_ids],
    }
