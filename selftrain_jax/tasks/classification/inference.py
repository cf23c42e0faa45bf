"""The accuracy of a classifier on a source of images; call `make_measure`."""

import functools
from collections.abc import Callable
from contextlib import closing
from typing import cast

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from selftrain_jax.augment.crop import centre_crop
from selftrain_jax.classification.task import accuracy, count_hits
from selftrain_jax.data.source import Source
from selftrain_jax.models.input_normalization import fitted_images
from selftrain_jax.tasks.classification.targets import read_in_order
from selftrain_jax.train.sharding import jit_predict, local_mesh, shard_state
from selftrain_jax.types import ClassTargets, Task, Variables

Measure = Callable[[Variables], dict[str, float]]


def make_measure(config: ConfigDict, task: Task, mesh: Mesh, source: Source) -> Measure:
    """Return the function from variables to top1, top5 and num_images on centre crops of a source."""
    mesh = local_mesh(mesh)  # each host measures all: the crops are few
    predict = jit_predict(mesh, task.predict)

    def measure(variables: Variables) -> dict[str, float]:
        placed, counts = shard_state(mesh, variables), []
        batches = read_in_order(
            source,
            prepare=functools.partial(centre_crop, output_size_px=config.image.size_px),
            batch_size=config.eval.batch_size,
            max_bad_images=config.data.max_bad_images,
            max_stall_secs=float(config.data.max_stall_secs),
        )
        with closing(batches):
            for batch in batches:
                scores = predict(placed, fitted_images(batch))
                targets = cast(ClassTargets, batch.targets)
                counts.append(count_hits(np.asarray(scores.probabilities), np.asarray(targets.classes)))
        return accuracy(counts)

    return measure
