"""COCO's results, `[{"image_id", "category_id", "bbox": [x, y, width, height], "score"}]`, of any model.

Call `parse_coco_results`; `read_coco_names` reads what an annotation file says of the ids.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from selftrain_jax.errors import InputError
from selftrain_jax.io import parse_json, show
from selftrain_jax.selftrain.foreign.boxes import ForeignBoxes, make_boxes, no_score

KEY = "config.foreign.annotations"


class CocoNames(NamedTuple):
    """The names behind the ids of results, both as texts."""

    images: Mapping[str, str]  # file name by image id
    classes: Mapping[str, str]  # name by category id


def read_coco_names(path: Path) -> CocoNames:
    """Read which image and class each id of a COCO annotation file is; its annotations are not read.

    Raises:
        InputError: it is no such file, or an id is there twice.
    """
    try:
        document = parse_json(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path} ({KEY}) cannot be read: {error.strerror}") from None
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        raise InputError(f'{path} ({KEY}): no list "images"; expected a COCO annotation file')
    return CocoNames(
        _names(document["images"], "file_name", f"{path}, images"),
        _names(document.get("categories") or [], "name", f"{path}, categories"),
    )


def _names(records: Any, key: str, where: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, record in enumerate(records if isinstance(records, list) else [records]):
        match record:
            case {"id": int() | str() as own, **rest} if isinstance(name := rest.get(key), str):
                if found.setdefault(str(own), name) != name:
                    raise InputError(f"{where}[{number}]: id {own} is taken twice; number them anew")
            case _:
                raise InputError(f"{where}[{number}]: {show(record)}; expected an id and a {key}")
    return found


def is_coco_results(document: Any) -> bool:
    """Tell whether a JSON document is a list of results, by its first entry."""
    return isinstance(document, list) and bool(document) and _has_box(document[0])


def _has_box(record: Any) -> bool:
    return isinstance(record, dict) and "image_id" in record and "category_id" in record


def parse_coco_results(document: list[Any], where: str, names: CocoNames | None) -> ForeignBoxes:
    """Read results; images are named as `names` has them where it has them all, else by their ids.

    Raises:
        InputError: a record has no box or no score, or an image or class id is not in `names`.
    """
    rows = [_read_result(record, f"{where}[{number}]") for number, record in enumerate(document)]
    if names:
        rows = [(_name_of(row[0], names, f"{where}[{i}]"), *row[1:]) for i, row in enumerate(rows)]
    return make_boxes(
        "COCO results",
        rows,
        tuple(names.images.values()) if names else (),
        is_frac=False,
        names=names.classes if names else {},
        place=lambda index: f"{where}[{index}]",
    )


def _name_of(image_id: str, names: CocoNames, where: str) -> str:
    if image_id not in names.images:
        raise InputError(
            f"{where}: image_id {image_id} is not in the annotation file ({KEY}), which has "
            f"{show(list(names.images)[:3])}; name the file that the model's images were listed in"
        )
    return names.images[image_id]


def _read_result(record: Any, where: str) -> tuple[str, str, tuple[float, float, float, float], float]:
    match record:
        case {
            "image_id": int() | str() as image_id,
            "category_id": int() | str() as class_id,
            "bbox": [int() | float() as x, int() | float() as y, int() | float() as w, int() | float() as h],
        }:
            score = record.get("score")
            if not isinstance(score, int | float) or isinstance(score, bool):
                what = 'expected the key "score"; a file of annotations has none, a model\'s results do'
                raise no_score(where, what)
            box = float(y), float(x), float(y + h), float(x + w)
            return str(image_id), str(class_id), box, float(score)
        case {"segmentation": _, **rest} if "bbox" not in rest:
            raise InputError(f"{where}: a mask and no bbox; export the model's boxes (COCO: iou_type bbox)")
    raise InputError(
        f"{where}: {show(record)}; expected image_id, category_id, bbox [x, y, width, height] in pixels, "
        "and score"
    )
