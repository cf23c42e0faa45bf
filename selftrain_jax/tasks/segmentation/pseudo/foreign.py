"""Other models' masks as labels, alone or merged with each other and the teacher's; call `read_foreign`."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from selftrain_jax.data.source import Source, subset
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.fields import JsonObject
from selftrain_jax.selftrain.foreign.labels import ForeignLabels, Teacher, read_unlabelled, relabel_chunks
from selftrain_jax.selftrain.inference import Inferred
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.stages.choices import BOTH_LABELS, label_source
from selftrain_jax.tasks.foreign_settings import ForeignSettings, read_foreign_settings
from selftrain_jax.tasks.foreign_weights import describe_models, weight_table
from selftrain_jax.tasks.segmentation.pseudo.counts import count_masks, mask_totals
from selftrain_jax.tasks.segmentation.pseudo.foreign_masks import (
    ModelMasks,
    measure_mask_weights,
    merge_masks,
    open_model_masks,
)
from selftrain_jax.tasks.segmentation.run_files import MaskSettings, MaskTotals
from selftrain_jax.text import shorten_list
from selftrain_jax.threads import NUM_READERS
from selftrain_jax.types import Category, Example

BATCH_SIZE = 8


def read_foreign(
    config: ConfigDict, unlabeled: Source, val: Source, categories: Sequence[Category]
) -> ForeignLabels:
    """Read the masks that config.foreign names for a run's unlabelled images, and for val.

    Raises:
        InputError: a folder does not fit, as `open_model_masks`.
    """
    settings = read_foreign_settings(config)
    models = [open_model_masks(model, settings, unlabeled, categories) for model in settings.models]
    on_val = [
        open_model_masks(model, settings, val, categories, is_val=True) if model.val else None
        for model in settings.models
    ]
    source, lines = _choose_images(models, unlabeled, settings, label_source(config))
    weights = [_weigh_model(masks, val, categories) if masks else None for masks in on_val]
    lines += [line for masks in on_val if masks for line in masks.lines]

    def label_with(teacher: Teacher | None) -> tuple[Labeller, tuple[JsonObject, ...]]:
        measure = functools.partial(_measure_teacher, teacher, categories) if teacher else None
        num_classes = 1 + max(category.id for category in categories)
        table = weight_table([masks.class_ids for masks in models], weights, num_classes, measure)
        merge = functools.partial(_merge, models=models, weights=table, has_teacher=teacher is not None)
        counts = [{"model": masks.name, "num_masks": len(masks.names)} for masks in models]
        described = describe_models(counts, settings, table, categories)
        return _labeller(merge, source, teacher, len(models)), described

    return ForeignLabels(
        source, tuple([line for masks in models for line in masks.lines] + lines), label_with
    )


def _choose_images(
    models: Sequence[ModelMasks], unlabeled: Source, settings: ForeignSettings, asked: str
) -> tuple[Source, list[str]]:
    """Return the images that get labels; an image without a map is refused unless it may be unknown."""
    named = frozenset[str]().union(*(masks.names for masks in models))
    missing = [image_id for image_id in unlabeled.image_ids if image_id not in named]
    if not missing:
        return unlabeled, []
    count = f"{len(missing)} of {len(unlabeled)} unlabelled images have no class map: {shorten_list(missing)}"
    if settings.unpredicted != "unknown":
        raise InputError(
            f"{count}. Predict for them too, or go without them by --config.foreign.unpredicted=unknown"
        )
    if asked == BOTH_LABELS:
        return unlabeled, [f"{count}: the teacher alone labels them"]
    kept = [index for index, image_id in enumerate(unlabeled.image_ids) if image_id in named]
    return subset(unlabeled, kept), [f"{count}: left out"]


def _weigh_model(masks: ModelMasks, val: Source, categories: Sequence[Category]) -> Float[np.ndarray, " K"]:
    def pairs() -> Iterator[tuple[Example, Example]]:
        for index, image_id in enumerate(val.image_ids):
            if image_id in masks.names:
                yield val.read_labels(index), masks.labels_of(image_id)

    return measure_mask_weights(pairs(), categories)


def _measure_teacher(teacher: Teacher, categories: Sequence[Category]) -> Float[np.ndarray, " K"]:
    return measure_mask_weights(teacher.on_val(), categories)


def _labeller(
    merge: functools.partial, source: Source, teacher: Teacher | None, num_foreign: int
) -> Labeller:
    if teacher:
        infer, settings = teacher.labeller.infer, teacher.labeller.settings
        settings = dataclasses.replace(settings, top_k=1, num_models=settings.num_models + num_foreign)
    else:
        infer = functools.partial(read_unlabelled, source=source, num_threads=NUM_READERS)
        settings = MaskSettings(num_models=num_foreign)
    return Labeller(
        infer=lambda chunks: relabel_chunks(infer(chunks), merge),
        batch_size=teacher.labeller.batch_size if teacher else BATCH_SIZE,
        settings=settings,
        totals=MaskTotals,
        count_images=count_masks,
        describe_counts=mask_totals,
    )


def _merge(
    image: Inferred, *, models: Sequence[ModelMasks], weights: Float[np.ndarray, "T K"], has_teacher: bool
) -> Example:
    """Return an image's mask: one model's as it is, or those of the models that have seen it merged."""
    image_id = image.labels["image_id"]
    seen = [position for position, masks in enumerate(models) if image_id in masks.names]
    found = [image.labels] * has_teacher + [models[position].labels_of(image_id) for position in seen]
    rows = [0] * has_teacher + [position + has_teacher for position in seen]
    merged = found[0] if len(found) == 1 else merge_masks(found, weights[rows])
    return {
        "image_id": image_id,
        "mask": merged["mask"],
        "confidence": merged["confidence"],
        "is_pseudo": True,
    }
