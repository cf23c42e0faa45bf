"""Other models' boxes as labels, alone or merged with each other and the teacher's; call `read_foreign`."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from selftrain_jax.data.source import Source, subset
from selftrain_jax.detection.box_fusion import fuse_boxes
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.fields import JsonObject
from selftrain_jax.selftrain.foreign.labels import ForeignLabels, Teacher, read_unlabelled, relabel_chunks
from selftrain_jax.selftrain.inference import Inferred
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.stages.choices import BOTH_LABELS, label_source
from selftrain_jax.tasks.detection.pseudo.foreign_boxes import ModelBoxes, open_model_boxes
from selftrain_jax.tasks.detection.pseudo.foreign_weights import measure_weights, weigh_scores
from selftrain_jax.tasks.detection.pseudo.labeller import box_totals, count_boxes
from selftrain_jax.tasks.detection.run_files import BoxSettings, BoxTotals
from selftrain_jax.tasks.foreign_settings import ForeignSettings, read_foreign_settings
from selftrain_jax.tasks.foreign_weights import describe_models, weight_table
from selftrain_jax.threads import NUM_READERS
from selftrain_jax.types import Category, Example

BATCH_SIZE = 32


def read_foreign(
    config: ConfigDict, unlabeled: Source, val: Source, categories: Sequence[Category]
) -> ForeignLabels:
    """Read the predictions that config.foreign names for a run's unlabelled images, and for val.

    Raises:
        InputError: a file does not fit, as `open_model_boxes`; or there are boxes for no image at all.
    """
    settings, floor = read_foreign_settings(config), float(config.pseudo.score_floor)
    models = [open_model_boxes(model, settings, unlabeled, categories, floor) for model in settings.models]
    on_val = [
        open_model_boxes(model, settings, val, categories, floor, is_val=True) if model.val else None
        for model in settings.models
    ]
    source, lines = _choose_images(models, unlabeled, settings, label_source(config))
    weights = [_weigh_model(boxes, val, categories) if boxes else None for boxes in on_val]
    lines += [line for boxes in on_val if boxes for line in boxes.lines]

    def label_with(teacher: Teacher | None) -> tuple[Labeller, tuple[JsonObject, ...]]:
        measure = functools.partial(_measure_teacher, teacher, categories) if teacher else None
        num_classes = 1 + max(category.id for category in categories)
        table = weight_table([boxes.class_ids for boxes in models], weights, num_classes, measure)
        merge = functools.partial(
            _merge,
            models=models,
            weights=table,
            has_teacher=teacher is not None,
            is_seen_everywhere=settings.unpredicted == "empty",
            score_floor=floor,
        )
        counts = [{"model": boxes.name, "num_boxes": boxes.num_boxes} for boxes in models]
        described = describe_models(counts, settings, table, categories)
        return _labeller(merge, source, teacher, len(models), floor), described

    all_lines = [line for boxes in models for line in boxes.lines] + lines
    return ForeignLabels(source, tuple(all_lines), label_with)


def _choose_images(
    models: Sequence[ModelBoxes], unlabeled: Source, settings: ForeignSettings, asked: str
) -> tuple[Source, list[str]]:
    """Return the images that get labels, and what is to be said of those that no model names."""
    if not any(boxes.num_boxes for boxes in models):
        raise InputError(
            "no box of config.foreign.predictions is left for the unlabelled images: "
            + "; ".join(line.strip() for boxes in models for line in boxes.lines)
        )
    named = frozenset[str]().union(*(boxes.named for boxes in models))
    missing = [image_id for image_id in unlabeled.image_ids if image_id not in named]
    if not missing:
        return unlabeled, []
    count = f"{len(missing)} of {len(unlabeled)} unlabelled images are not in the predictions"
    if settings.unpredicted == "empty":
        return unlabeled, [
            f"{count}: they count as images without an object; if the model has not seen them, set "
            "--config.foreign.unpredicted=unknown"
        ]
    if asked == BOTH_LABELS:
        return unlabeled, [f"{count}: the teacher alone labels them"]
    kept = [index for index, image_id in enumerate(unlabeled.image_ids) if image_id in named]
    return subset(unlabeled, kept), [f"{count}: left out"]


def _weigh_model(boxes: ModelBoxes, val: Source, categories: Sequence[Category]) -> Float[np.ndarray, " K"]:
    def pairs() -> Iterator[tuple[Example, Example]]:
        for index, image_id in enumerate(val.image_ids):
            yield val.read_labels(index), boxes.labels_of(image_id)

    return measure_weights(pairs(), categories)


def _measure_teacher(teacher: Teacher, categories: Sequence[Category]) -> Float[np.ndarray, " K"]:
    return measure_weights(teacher.on_val(), categories)


def _labeller(
    merge: Callable[[Inferred], Example],
    source: Source,
    teacher: Teacher | None,
    num_foreign: int,
    floor: float,
) -> Labeller:
    if teacher:
        infer, batch_size, settings = (
            teacher.labeller.infer,
            teacher.labeller.batch_size,
            teacher.labeller.settings,
        )
        settings = dataclasses.replace(settings, num_models=settings.num_models + num_foreign)
    else:
        infer = functools.partial(read_unlabelled, source=source, num_threads=NUM_READERS)
        batch_size, settings = BATCH_SIZE, BoxSettings(score_floor=floor, num_models=num_foreign)
    return Labeller(
        infer=lambda chunks: relabel_chunks(infer(chunks), merge),
        batch_size=batch_size,
        settings=settings,
        totals=BoxTotals,
        count_images=count_boxes,
        describe_counts=box_totals,
    )


def _merge(
    image: Inferred,
    *,
    models: Sequence[ModelBoxes],
    weights: Float[np.ndarray, "T K"],
    has_teacher: bool,
    is_seen_everywhere: bool,
    score_floor: float,
) -> Example:
    """Return an image's boxes: one model's as they are, those of several merged by their weights.

    With several models, only those that have seen the image are asked.
    """
    image_id = image.labels["image_id"]
    seen = [place for place, boxes in enumerate(models) if is_seen_everywhere or image_id in boxes.named]
    found = [image.labels] * has_teacher + [models[place].labels_of(image_id) for place in seen]
    rows = [0] * has_teacher + [place + has_teacher for place in seen]
    if len(weights) == 1:
        (own,) = found
        merged: Example = {"boxes": own["boxes"], "classes": own["classes"], "scores": own["scores"]}
    else:
        merged = merge_boxes(found, weights[rows], score_floor)
    return {"image_id": image_id, **merged, "is_pseudo": True}


def merge_boxes(found: Sequence[Example], weights: Float[np.ndarray, "T K"], score_floor: float) -> Example:
    """Merge the boxes of T models by weighted boxes fusion; boxes of weight 0 are left out.

    Labels have `place_std` too. Scores are at most 1: several boxes of one model in a cluster could pass it.
    """
    boxes, classes, scores = (
        np.concatenate([labels[key] for labels in found]) for key in ("boxes", "classes", "scores")
    )
    models = np.repeat(np.arange(len(found)), [len(labels["boxes"]) for labels in found])
    scores = weigh_scores(scores, classes, models, weights)
    kept = scores > 0
    fused = fuse_boxes(boxes[kept], classes[kept], scores[kept], models[kept], num_views=len(found))
    is_label = fused.scores >= np.float32(score_floor)
    return {
        "boxes": fused.boxes[is_label],
        "classes": fused.classes[is_label],
        "scores": np.minimum(fused.scores[is_label], np.float32(1)),
        "place_std": fused.place_std[is_label],
    }
