"""Segmentation's network in the jobs' hands: evaluation, pseudo masks, predictions; call `open_predictor`."""

import pathlib
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict
from PIL import Image

from selftrain_jax import hosts
from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.voc_masks import voc_palette
from selftrain_jax.errors import InputError
from selftrain_jax.io import atomic_write, write_json
from selftrain_jax.selftrain.checks import class_thresholds
from selftrain_jax.selftrain.inference import Chunk, InferredChunk, chunks_in_order
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.tasks.config_values import class_thresholds_by_name
from selftrain_jax.tasks.segmentation.draw import mask_path, overlay, save_mask_png
from selftrain_jax.tasks.segmentation.inference import (
    MASKS_FOLDER,
    Segmenter,
    bind_variables,
    build_segmenter,
    evaluate_masks,
)
from selftrain_jax.tasks.segmentation.pseudo.labeller import infer_masks, mask_labeller
from selftrain_jax.tasks.segmentation.pseudo.network import MaskNetwork, check_max_side, network_sizes
from selftrain_jax.tasks.segmentation.pseudo.source import confidence_levels, mask_low_confidence
from selftrain_jax.tasks.spec import Predictor
from selftrain_jax.text import shorten_list
from selftrain_jax.types import IGNORED, Category, Example, Task, Variables


def open_predictor(config: ConfigDict, task: Task, mesh: Mesh) -> Predictor:
    """Close segmentation's inference over a run's network and config.

    Raises:
        InputError: the config's scales or largest side do not fit; before anything is trained.
    """
    segmenter, settings = build_segmenter(config, task, mesh), config.pseudo
    check_max_side(config.segmentation.max_side_px)
    for scales in (settings.scales, config.evaluate.scales):
        network_sizes(config.image.size_px, scales)

    def measure_scales(variables: Variables, source: Source) -> dict[str, Any]:
        several = {"scales": config.evaluate.scales, "flip": config.evaluate.flip}
        return evaluate_masks(segmenter, bind_variables(segmenter, [variables], **several), source)

    def labeller(models: Sequence[Variables], source: Source) -> Labeller:
        network = bind_variables(
            segmenter, models, scales=settings.scales, flip=settings.flip, top_k=settings.mask_top_k
        )
        return _log_shapes(mask_labeller(source, network), network)

    has_scales = tuple(config.evaluate.scales) != (1.0,) or config.evaluate.flip
    return Predictor(
        measure=partial(_evaluate, segmenter),
        evaluate=partial(_evaluate, segmenter),
        measure_scales=measure_scales if has_scales else None,
        labeller=labeller,
        find=partial(_find, config, segmenter),
    )


def _log_shapes(labeller: Labeller, network: MaskNetwork) -> Labeller:
    """Print at the end how many shapes were compiled."""

    def infer(chunks: Iterable[Chunk]) -> Generator[InferredChunk, None, None]:
        yield from labeller.infer(chunks)
        hosts.log(f"pseudo labels: compiled for {network.shapes_used}")

    return labeller._replace(infer=infer)


def _evaluate(
    segmenter: Segmenter, variables: Variables, source: Source, directory: pathlib.Path | None = None
) -> dict[str, Any]:
    return evaluate_masks(segmenter, bind_variables(segmenter, [variables]), source, directory)


def _find(
    config: ConfigDict, segmenter: Segmenter, variables: Variables, source: Source
) -> Generator[Example, None, None]:
    """Yield each image's mask and confidence, over config.predict's scales. Raises: InputError."""
    settings = config.predict
    network = bind_variables(segmenter, [variables], scales=settings.scales, flip=settings.flip)
    chunks = chunks_in_order(len(source), network.batch_size)
    with closing(infer_masks(chunks, source=source, network=network)) as inferred:
        for image in (image for _, images in inferred for image in images):
            if isinstance(image, InputError):
                raise image
            yield image.labels


def write_found(
    config: ConfigDict,
    source: Source,
    found: Iterable[Example],
    categories: tuple[Category, ...],
    output: pathlib.Path,
) -> str:
    """Write `masks/`, `drawn/` (hatched below config.pseudo's thresholds), `classes.json`."""
    _check_names(source)
    threshold = config.pseudo.threshold
    levels = confidence_levels(class_thresholds(categories, threshold, class_thresholds_by_name(config)))
    output.mkdir(parents=True, exist_ok=True)
    palette = voc_palette().tolist()
    rows = [{"id": id, "name": name, "color": palette[id]} for id, name in categories]
    write_json(output / "classes.json", rows)
    names = {id: name for id, name in categories if name.lower() != "background"}
    sure = total = 0
    for position, labels in enumerate(found):
        kept = mask_low_confidence(labels["mask"], labels["confidence"], levels)
        _write(output, source.read_image(position), labels, kept, names)
        sure, total = sure + int((kept != IGNORED).sum()), total + kept.size
    return f"{len(source)} images, {sure / total:.1%} of their pixels sure to {threshold} or more"


def _check_names(source: Source) -> None:
    """Refuse images whose masks would have one name. Raises: InputError."""
    names = Counter(_name_of(image_id) for image_id in source.image_ids)
    doubled = [image_id for image_id in source.image_ids if names[_name_of(image_id)] > 1]
    if doubled:
        raise InputError(
            f"{len(doubled)} images of {source.name} differ in nothing but the suffix: "
            f"{shorten_list(doubled)}. A mask is named as its image without it: give them other names"
        )


def _name_of(image_id: str) -> str:
    return str(pathlib.PurePosixPath(image_id).with_suffix(""))


def _write(
    output: pathlib.Path, pixels: np.ndarray, labels: Example, kept: np.ndarray, names: dict[int, str]
) -> None:
    name = _name_of(labels["image_id"])
    save_mask_png(mask_path(output / MASKS_FOLDER, name), labels["mask"])
    drawn = overlay(pixels, kept, names=names)
    path = mask_path(output / "drawn", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "wb") as file:
        Image.fromarray(drawn).save(file, format="PNG")
