"""config.foreign: which other models' predictions are read, and what is done about what does not fit."""

from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.foreign.files import one_each, read_paths
from selftrain_jax.stages.choices import FOREIGN_LABELS, TEACHER_LABELS, label_source

CHOICES = {
    "unpredicted": ("empty", "unknown"),
    "unknown_images": ("error", "drop"),
    "bad_boxes": ("error", "drop"),
}


class ForeignModel(NamedTuple):
    """One model's files."""

    name: str  # "": what the file says, or its name
    predictions: Path
    class_map: str  # "": classes are matched by name
    annotations: str  # COCO file that names the ids of COCO results; "": none
    val: Path | None  # predictions for the images of data.val
    val_annotations: str


class ForeignSettings(NamedTuple):
    """All models, and what is done about what does not fit."""

    models: tuple[ForeignModel, ...]
    unpredicted: str  # an image that a model does not name: "empty", it shows nothing there, or "unknown"
    unknown_images: str  # predictions for other images than the run's: "error" or "drop"
    bad_boxes: str  # boxes without area or outside their image: "error" or "drop"


def check_label_keys(config: ConfigDict) -> None:
    """Check what config.pseudo.labels asks for.

    Raises:
        InputError: it does not exist, lacks predictions, or does not go with rounds or with thresholds by
            the teacher's precision.
    """
    asked, foreign = label_source(config), config.foreign
    if asked == TEACHER_LABELS:
        return
    if not foreign.predictions.strip():
        raise InputError(
            f"config.pseudo.labels={asked} takes other models' predictions, but config.foreign.predictions "
            "is empty; name their file or folder, as --config.foreign.predictions=results.json"
        )
    if asked == FOREIGN_LABELS and config.selftrain.rounds > 1:
        raise InputError(
            f"config.pseudo.labels=foreign has the same labels in each of config.selftrain.rounds="
            f"{config.selftrain.rounds} rounds; set rounds to 1, or config.pseudo.labels=both"
        )
    for key, idle in (("thresholds", ""), ("min_class_recall", 0)):
        if config.pseudo[key] != idle:
            raise InputError(
                f"config.pseudo.{key}={config.pseudo[key]} goes by the teacher's precision on val, which "
                f"says nothing of labels of config.pseudo.labels={asked}; set config.pseudo.threshold and "
                "per_class_thresholds yourself"
            )
    read_foreign_settings(config)


def read_foreign_settings(config: ConfigDict) -> ForeignSettings:
    """Read config.foreign.

    Raises:
        InputError: a choice does not exist, or lists have different lengths.
    """
    foreign = config.foreign
    for key, known in CHOICES.items():
        if foreign[key] not in known:
            raise InputError(f"config.foreign.{key}={foreign[key]!r} is not one of {', '.join(known)}")
    paths = read_paths(foreign.predictions)
    columns = {
        key: one_each(foreign[key], len(paths), f"config.foreign.{key}")
        for key in ("model", "map", "annotations", "val", "val_annotations")
    }
    if len(paths) > 1 and len({*columns["val"]}) < len(paths) and any(columns["val"]):
        raise InputError(
            f"config.foreign.val={foreign.val!r}: the same val predictions for several models; give each "
            "its own"
        )
    models = tuple(
        ForeignModel(name, path, class_map, annotations, Path(val) if val else None, val_annotations)
        for path, (name, class_map, annotations, val, val_annotations) in zip(
            paths, zip(*columns.values(), strict=True), strict=True
        )
    )
    return ForeignSettings(models, foreign.unpredicted, foreign.unknown_images, foreign.bad_boxes)
