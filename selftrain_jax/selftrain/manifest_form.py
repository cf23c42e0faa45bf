"""The form of a manifest of pseudo labels: what every reader of one relies on (Paper: Section 3.1).

`check_manifest` is called by `manifest.read_manifest`. The file may have been edited, or come with labels
that somebody else made: names of shards lead nowhere but into its folder.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from selftrain_jax.data.sources.coco_records import MAX_CLASS_ID
from selftrain_jax.errors import InputError
from selftrain_jax.io import show

BOXES, MASKS = "boxes", "masks"
"""The kinds of pseudo labels that a folder holds."""

Manifest = dict[str, Any]
Check = Callable[[Any], bool]

_LARGEST = 2**53  # of a count; so far JSON's integers are the same everywhere


def check_manifest(manifest: Any, path: Path) -> None:
    """Raises: InputError for what is no object, and for a key that is missing or of another form."""
    if not isinstance(manifest, dict):
        raise _malformed(path, f"it holds {show(manifest)}; expected an object")
    kind = manifest.get("kind", BOXES)  # the first manifests do not say it
    if kind not in (BOXES, MASKS):
        raise _malformed(path, f"its kind is {show(kind)}; expected {BOXES} or {MASKS}")
    for key, (is_right, expected) in (_COMMON | (_OF_BOXES if kind == BOXES else _OF_MASKS)).items():
        if key not in manifest:
            raise _malformed(path, f"{key} is missing; expected {expected}")
        if not is_right(manifest[key]):
            raise _malformed(path, f"{key} is {show(manifest[key])}; expected {expected}")
    named = {entry["name"] for entry in manifest["categories"]}
    if set(manifest["per_class"]) != named:
        raise _malformed(path, "per_class and categories have different classes")
    total = "num_boxes" if kind == BOXES else "num_pixels"
    if manifest[f"{total}_at_threshold"] > manifest[total] or (
        manifest[total] and not manifest["num_images"]
    ):
        raise _malformed(path, f"num_images, {total} and {total}_at_threshold contradict each other")


def is_file_name(name: Any) -> bool:
    """Tell whether a text names a file in a folder, and nothing outside it."""
    if not isinstance(name, str) or not name.isprintable() or name in ("", ".."):
        return False
    return name == Path(name).name and len(name.encode()) < 256


def is_count(value: Any) -> bool:
    """Tell whether it is a whole number from 0."""
    return type(value) is int and 0 <= value <= _LARGEST


def is_share(value: Any) -> bool:
    """Tell whether it is a number of 0 to 1."""
    return type(value) in (int, float) and 0 <= value <= 1


def _is_duration(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= _LARGEST


def _is_category(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and is_count(entry.get("id"))
        and entry["id"] <= MAX_CLASS_ID
        and isinstance(entry.get("name"), str)
    )


def _are_categories(value: Any) -> bool:
    if not _are(value, _is_category) or not value:
        return False
    return all(len({entry[key] for entry in value}) == len(value) for key in ("id", "name"))


def _is_shard(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and is_file_name(entry.get("file"))
        and is_count(entry.get("records"))
        and is_count(entry.get("bytes"))
        and isinstance(entry.get("sha256"), str)
    )


def _are(values: Any, is_right: Check) -> bool:
    return isinstance(values, list) and all(map(is_right, values))


def _are_counts_by_class(*keys: str) -> Check:
    def is_right(value: Any) -> bool:
        rows = value.values() if isinstance(value, dict) else [None]
        return all(isinstance(row, dict) and all(is_count(row.get(key)) for key in keys) for row in rows)

    return is_right


def _is_histogram(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    edges, counts = value.get("edges"), value.get("counts")
    if not isinstance(edges, list) or not isinstance(counts, list):
        return False
    return _are(edges, is_share) and _are(counts, is_count) and len(edges) == len(counts) + 1


_COUNT = (is_count, f"a whole number from 0 to {_LARGEST}")
_SHARE = (is_share, "a number of 0 to 1")
_HISTOGRAM = (_is_histogram, "edges of 0 to 1 and the counts between them")
_COMMON: dict[str, tuple[Check, str]] = {
    "threshold": _SHARE,
    "seconds": (_is_duration, "a number from 0"),
    "num_images": _COUNT,
    "num_bad_images": _COUNT,
    "bad_images": (lambda value: _are(value, lambda name: isinstance(name, str)), "a list of names"),
    "categories": (_are_categories, f"objects of id (0 to {MAX_CLASS_ID}) and name, none twice"),
    "shards": (
        lambda value: _are(value, _is_shard),
        "objects of file (a name without folder), records, bytes and sha256",
    ),
}
_OF_BOXES: dict[str, tuple[Check, str]] = {
    "score_floor": _SHARE,
    "num_boxes": _COUNT,
    "num_boxes_at_threshold": _COUNT,
    "images_without_boxes_at_threshold": _COUNT,
    "per_class": (
        _are_counts_by_class("boxes_at_floor", "boxes_at_threshold"),
        "boxes_at_floor and boxes_at_threshold by class",
    ),
    "score_histogram": _HISTOGRAM,
}
_OF_MASKS: dict[str, tuple[Check, str]] = {
    "num_pixels": _COUNT,
    "num_pixels_at_threshold": _COUNT,
    "coverage": (
        lambda value: value is None or is_share(value),
        "a number of 0 to 1, or null without pixels",
    ),
    "images_without_pixels_at_threshold": _COUNT,
    "per_class": (
        _are_counts_by_class("pixels", "pixels_at_threshold"),
        "pixels and pixels_at_threshold by class",
    ),
    "confidence_histogram": _HISTOGRAM,
}


def _malformed(path: Path, problem: str) -> InputError:
    return InputError(
        f"{path}: {problem}. The file was changed after it was written: delete it and run --job=pseudo_label "
        "again; the shards are kept."
    )
