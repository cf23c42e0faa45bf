"""Predictions of boxes from a file or a folder, its format recognised; call `read_foreign_boxes`."""

from pathlib import Path
from typing import Any

from selftrain_jax.data.formats.label_studio import is_task_list
from selftrain_jax.errors import InputError
from selftrain_jax.io import parse_json, show
from selftrain_jax.selftrain.foreign.boxes import ForeignBoxes
from selftrain_jax.selftrain.foreign.coco_results import (
    is_coco_results,
    parse_coco_results,
    read_coco_names,
)
from selftrain_jax.selftrain.foreign.files import list_files, require_predictions
from selftrain_jax.selftrain.foreign.label_studio import parse_label_studio
from selftrain_jax.selftrain.foreign.yolo_txt import parse_yolo_folder

EXPECTED = (
    "expected COCO results ([{image_id, category_id, bbox, score}]), Label Studio's JSON with predictions, "
    "or a folder of YOLO's txt files with confidences"
)


def read_foreign_boxes(path: Path, annotations: str, key: str) -> ForeignBoxes:
    """Read one model's boxes; `annotations` is a COCO file that names the ids of results, or "".

    Raises:
        InputError: the path holds none of the formats, or what it holds is malformed.
    """
    require_predictions(path, key)
    if path.is_dir():
        if not list_files(path, (".txt",)):
            raise InputError(f"{path} ({key}) has no txt file; {EXPECTED}")
        return parse_yolo_folder(path)
    if path.suffix.lower() == ".txt":
        raise InputError(f"{path} ({key}) is one txt file; {EXPECTED}")
    document = parse_json(path.read_bytes(), f"{path} ({key})", f"For predictions of boxes, {EXPECTED}.")
    if is_task_list(document):
        return parse_label_studio(document, str(path))
    if is_coco_results(document):
        return parse_coco_results(
            document, str(path), read_coco_names(Path(annotations)) if annotations else None
        )
    raise InputError(f"{path} ({key}): {_describe(document)}; {EXPECTED}")


def _describe(document: Any) -> str:
    if document == []:
        return "a list without any prediction"
    if isinstance(document, dict) and "annotations" in document:
        return "a COCO annotation file, whose boxes people drew: they have no scores"
    return f"holds {show(document)}"
