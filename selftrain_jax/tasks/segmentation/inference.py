"""A trained segmenter over a source of images, and its mIoU; start at `build_segmenter`."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tensorflow as tf
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, UInt8
from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.augment.policies import make_inference_resize
from selftrain_jax.augment.resize import legacy_nearest_window
from selftrain_jax.data.source import Source, subset
from selftrain_jax.data.tiles import Tiling
from selftrain_jax.geometry import confusion_matrix, iou_by_class, mean_iou
from selftrain_jax.segmentation.multi_scale import label_pixels
from selftrain_jax.tasks.segmentation.draw import mask_path, save_mask_png
from selftrain_jax.tasks.segmentation.pseudo.labeller import predict_masks
from selftrain_jax.tasks.segmentation.pseudo.network import Label, Load, MaskNetwork, network_sizes
from selftrain_jax.tasks.tiles import read_tiling
from selftrain_jax.train.sharding import jit_predict, local_mesh, shard_batch, shard_state
from selftrain_jax.types import Category, FittedImages, PixelLogits, Task, Variables

MASKS_FOLDER = "masks"


@dataclass(frozen=True)
class Segmenter:
    """A segmenter without its weights; each function is compiled once for each shape."""

    place: Callable[[Variables], Variables]
    predict: Callable[[Variables, FittedImages], PixelLogits]
    label: Label
    batch_size: int
    image_size_px: int
    max_side_px: int
    tiling: Tiling | None = None


def build_segmenter(config: ConfigDict, task: Task, mesh: Mesh) -> Segmenter:
    """Return the segmenter of a run, for this host's devices and its part of the batch."""
    mesh = local_mesh(mesh)
    return Segmenter(
        place=lambda variables: shard_state(mesh, variables),
        predict=jit_predict(mesh, task.predict),
        label=_jit_label(mesh),
        batch_size=config.eval.batch_size // hosts.count(),
        image_size_px=config.image.size_px,
        max_side_px=config.segmentation.max_side_px,
        tiling=read_tiling(config),
    )


def bind_variables(
    segmenter: Segmenter,
    models: Sequence[Variables],
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    top_k: int = 1,
) -> MaskNetwork:
    """Put the weights of one model or more on the devices.

    Class maps will be averaged over the models and the scales, of the `top_k` classes.

    Raises:
        InputError: there is no scale or one is not a number above 0, or the largest side is too small.
    """
    sizes_px = network_sizes(segmenter.image_size_px, scales)
    return MaskNetwork(
        load=_bind_load({*sizes_px, segmenter.image_size_px}),
        models=tuple(partial(segmenter.predict, segmenter.place(variables)) for variables in models),
        label=segmenter.label if top_k == 1 else partial(segmenter.label, top_k=top_k),
        top_k=top_k,
        batch_size=segmenter.batch_size,
        sizes_px=sizes_px,
        flip=flip,
        max_side_px=segmenter.max_side_px,
        tiling=segmenter.tiling,
    )


def evaluate_masks(
    segmenter: Segmenter, network: MaskNetwork, source: Source, directory: Path | None = None
) -> dict[str, Any]:
    """Measure mIoU; write the class maps as `<directory>/masks/*.png`.

    `miou` counts pixels of the images as they are. `miou_resized` is the official code's: images and
    masks fitted into the network's input. Both are over all pixels of the set, averaged over the classes
    that occur; `per_image` is each image's own, None where all of it is ignored.

    Raises:
        InputError: an image or a mask is bad, or the network's output is not finite.

    Paper: Section 4.3, mIoU on VOC's val split.
    """
    num_classes = max(category.id for category in source.categories) + 1
    confusions = np.zeros((2, num_classes, num_classes), np.int64)  # at the images' own size, and resized
    mious: dict[str, float | None] = {}
    part = subset(source, hosts.shard_range(len(source)), source.name)
    frame_size_px = segmenter.image_size_px
    with closing(predict_masks(source=part, network=network, frame_size_px=frame_size_px)) as predictions:
        for index, predicted in enumerate(predictions):
            truth = part.read_labels(index)["mask"]
            confusion = confusion_matrix(truth, predicted.original, num_classes)
            fitted = _fit(truth, predicted.resized.shape)
            confusions += [confusion, confusion_matrix(fitted, predicted.resized, num_classes)]
            mious[predicted.image_id] = mean_iou(confusion)
            if directory is not None:
                save_mask_png(mask_path(directory / MASKS_FOLDER, predicted.image_id), predicted.original)
    by_host = hosts.gather([confusions.tolist(), mious])
    original, resized = np.sum([counts for counts, _ in by_host], axis=0)
    return _summarise(source, original, resized) | {
        "per_image": {image_id: miou for _, mious in by_host for image_id, miou in mious.items()},
        "image_size_px": segmenter.image_size_px,
        "sizes_px": list(network.sizes_px),
        "flip": network.flip,
    }


def summarise_confusion(confusion: Int[np.ndarray, "K K"], categories: Sequence[Category]) -> dict[str, Any]:
    """Return miou, pixel_accuracy, each class's iou and true pixels by name, and the matrix; for JSON.

    -1 where a number is undefined, as in COCO's: a class that does not occur, or no pixel at all.
    """
    num_classes = max(category.id for category in categories) + 1
    assert len(confusion) == num_classes, f"{len(confusion)} classes counted, {num_classes} in the categories"
    miou, iou = mean_iou(confusion), np.nan_to_num(iou_by_class(confusion), nan=-1.0)
    num_true, num_pixels = confusion.sum(axis=1), confusion.sum()
    return {
        "miou": -1.0 if miou is None else miou,
        "pixel_accuracy": float(np.trace(confusion) / num_pixels) if num_pixels else -1.0,
        "per_class": {
            name: {"iou": float(iou[id]), "num_pixels": int(num_true[id])} for id, name in categories
        },
        "confusion": confusion.tolist(),
    }


def _summarise(
    source: Source, original: Int[np.ndarray, "K K"], resized: Int[np.ndarray, "K K"]
) -> dict[str, Any]:
    result, official = (summarise_confusion(counts, source.categories) for counts in (original, resized))
    for name, numbers in result["per_class"].items():
        numbers["iou_resized"] = official["per_class"][name]["iou"]
    return result | {"miou_resized": official["miou"]}


def _fit(mask: UInt8[np.ndarray, "H W"], size_px: tuple[int, ...]) -> UInt8[np.ndarray, "h w"]:
    """Resize nearest from the corner, as the official evaluation does; its size may be a pixel less."""
    resized = legacy_nearest_window(
        tf.constant(mask), tf.constant(size_px, tf.int32), tf.zeros([2], tf.int32), max(size_px)
    )
    return resized.numpy()


def _bind_load(sizes_px: Iterable[int]) -> Load:
    """Return the function that fits an image into a square input and says which part of it is covered."""
    resizes = {size_px: make_inference_resize(size_px) for size_px in sizes_px}
    return lambda image, size_px: resizes[size_px](image)


def _jit_label(mesh: Mesh) -> Label:
    """Compile `label_pixels` for logits that are on the devices and this host's part of the sizes."""
    split = NamedSharding(mesh, PartitionSpec("data"))

    @partial(jax.jit, static_argnums=(3, 4, 5), in_shardings=split)
    def label(
        logits: Sequence[Array],
        scaled_px: Array,
        target_px: Array,
        canvas_px: int,
        is_mirrored: tuple[bool, ...],
        top_k: int,
    ) -> tuple[Array, ...]:
        labels = label_pixels(logits, scaled_px, target_px, canvas_px, is_mirrored, top_k)
        return tuple(part for part in labels if part is not None)

    return lambda logits, scaled_px, target_px, canvas_px, is_mirrored, top_k=1: label(
        logits, *shard_batch(mesh, (scaled_px, target_px)), canvas_px, is_mirrored, top_k
    )
