"""How good SimCLR's features are, on val; call `make_view_measure`."""

import functools
from collections.abc import Callable
from contextlib import closing
from typing import Any, cast

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from selftrain_jax.augment.crop import centre_crop
from selftrain_jax.contrastive.loss import nt_xent
from selftrain_jax.contrastive.neighbours import knn_accuracy
from selftrain_jax.contrastive.task import split_views
from selftrain_jax.data.source import Source, subset
from selftrain_jax.errors import InputError
from selftrain_jax.models.input_normalization import fitted_images
from selftrain_jax.tasks.classification.targets import read_in_order
from selftrain_jax.tasks.contrastive.data import views_in_order
from selftrain_jax.train.sharding import jit_predict, local_mesh, shard_state
from selftrain_jax.types import ClassTargets, FittedImages, Task, Variables

Measure = Callable[[Variables], dict[str, float]]

BANK_IMAGES = 10_000  # of train, whose classes the images of val are given
SEED = 17  # of the views of val


def make_view_measure(config: ConfigDict, task: Task, mesh: Mesh, train: Source, val: Source) -> Measure:
    """Return the function from variables to contrastive_top1, contrastive_loss and num_images of val.

    They are those of batches of config.eval.batch_size images, whole ones alone, with the running averages of
    BatchNorm: among more views the right one is harder to find. Where the sources have classes, `knn_top1` is
    the accuracy by nearest neighbours among 10,000 images of train, on centre crops.

    Raises:
        InputError: val has fewer than two images, or config.eval.batch_size is 1.
    """
    mesh = local_mesh(mesh)  # each host measures all
    batch_size = _batch_size(config, len(val), mesh.shape["data"] * mesh.shape["model"])
    project = jit_predict(mesh, task.predict)
    features = jit_predict(mesh, cast(Callable[[Any, Any], Any], task.features))

    def measure(variables: Variables) -> dict[str, float]:
        placed = shard_state(mesh, variables)
        scores = _measure_views(config, functools.partial(project, placed), val, batch_size)
        if train.categories and val.categories:
            embed = functools.partial(_embed, config, functools.partial(features, placed))
            scores["knn_top1"] = knn_accuracy(*embed(_bank(train)), *embed(val))
        return scores

    return measure


def _batch_size(config: ConfigDict, num_images: int, num_parts: int) -> int:
    """Return how many images are compared with one another: a batch's, or all that there are."""
    batch_size = min(config.eval.batch_size, num_images // num_parts * num_parts)
    if batch_size < 2:
        raise InputError(
            f"config.eval.batch_size={config.eval.batch_size} of the {num_images} images of val, on "
            f"{num_parts} devices: SimCLR compares images with one another; expected at least 2 in a batch"
        )
    return batch_size


def _measure_views(
    config: ConfigDict, project: Callable[[FittedImages], Any], val: Source, batch_size: int
) -> dict[str, float]:
    num_batches, losses, hits = len(val) // batch_size, [], []
    score = jax.jit(functools.partial(nt_xent, temperature=config.pretrain.simclr.temperature))
    views = views_in_order(config, val, batch_size=batch_size, num_batches=num_batches, seed=SEED)
    with closing(views):
        for batch, _ in views:
            pixels: Any = split_views(np.asarray(batch.images))
            covered_px: Any = np.full((len(pixels), 2), pixels.shape[1], np.int32)
            found = score(np.asarray(project(FittedImages(pixels, covered_px))))
            losses.append(float(np.mean(found.losses)))
            hits.append(float(np.mean(found.hits)))
    return {
        "contrastive_top1": float(np.mean(hits)),
        "contrastive_loss": float(np.mean(losses)),
        "num_images": batch_size * num_batches,
    }


def _bank(train: Source) -> Source:
    """Take images of a source at even distances."""
    count = min(BANK_IMAGES, len(train))
    return subset(train, np.arange(count) * len(train) // count)


def _embed(
    config: ConfigDict, features: Callable[[FittedImages], Any], source: Source
) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of a source's images that decode, [N, C] of length 1, and their classes."""
    batches = read_in_order(
        source,
        prepare=functools.partial(centre_crop, output_size_px=config.image.size_px),
        batch_size=config.eval.batch_size,
        max_bad_images=config.data.max_bad_images,
        max_stall_secs=float(config.data.max_stall_secs),
    )
    rows, classes = [], []
    with closing(batches):
        for batch in batches:
            rows.append(np.asarray(features(fitted_images(batch))))
            classes.append(np.asarray(cast(ClassTargets, batch.targets).classes))
    known = np.concatenate(classes) >= 0
    return np.concatenate(rows)[known], np.concatenate(classes)[known]
