"""Evaluation, prediction and labelling that end early leave no thread and no tf.data iterator behind."""

import functools
import pathlib
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from ml_collections import ConfigDict

from selftrain_jax.errors import InputError, RunAgainError
from selftrain_jax.selftrain import write_shards
from selftrain_jax.tasks.classification.inference import make_measure
from selftrain_jax.tasks.classification.targets import read_in_order
from selftrain_jax.tasks.detection.inference import Detector, detect
from selftrain_jax.tasks.segmentation.inference import Segmenter, evaluate_masks
from selftrain_jax.train.sharding import make_mesh
from selftrain_jax.types import Category, Task
from tests.leftovers import nothing_left
from tests.tasks.classification.test_targets import prepared
from tests.tasks.classification.test_targets import source_of as class_source
from tests.tasks.detection.pseudo import pseudo_toy
from tests.tasks.segmentation.pseudo.test_inference import Toy, random_mask
from tests.tasks.segmentation.pseudo.test_inference import make_source as mask_source

pytestmark = [pytest.mark.tf, pytest.mark.compiles]

MASKS = [random_mask(0, 40, 40)] * 20


def stop(*_: object) -> None:
    """Do what SIGTERM does to the main thread."""
    raise RunAgainError("stopped by SIGTERM")


def test_labelling(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_shards, "encode_record", stop)
    with nothing_left():
        with pytest.raises(RunAgainError) as raised:
            pseudo_toy.label(tmp_path)
        assert raised.tb is not None  # the frames live on, as in a process that ends with this error


def test_detection() -> None:
    detector = Detector(
        place=lambda variables: variables,
        predict=lambda variables, images: pseudo_toy.Teacher()(images),
        load=pseudo_toy.load,
        batch_size=2,
        image_size_px=pseudo_toy.SIZE_PX,
        score_floor=0.05,
        eval_backend="pycocotools",
    )
    with nothing_left():
        with pytest.raises(InputError, match="image-1") as raised:
            list(detect(detector, {}, pseudo_toy.make_source(20, bad=(1,))))
        assert raised.tb is not None


def test_segmentation() -> None:
    toy = Toy()
    segmenter = Segmenter(
        place=lambda variables: variables,
        predict=lambda variables, images: toy.predict(images),
        label=toy.network().label,
        batch_size=2,
        image_size_px=64,
        max_side_px=256,
    )
    source = replace(mask_source(MASKS), read_labels=stop, categories=(Category(0, "background"),))
    with nothing_left():
        with pytest.raises(RunAgainError) as raised:
            evaluate_masks(segmenter, toy.network(), source)
        assert raised.tb is not None


def test_classification() -> None:
    config = ConfigDict(
        {
            "image": {"size_px": 8},
            "eval": {"batch_size": 2},
            "data": {"max_bad_images": 0, "max_stall_secs": 600},
        }
    )
    task = Task(init=lambda rng: {}, loss=stop, predict=lambda variables, images: stop())
    with nothing_left():
        with pytest.raises(RunAgainError) as raised:
            make_measure(config, task, make_mesh(), class_source())({})
        assert raised.tb is not None


def test_reading_in_order_that_is_left() -> None:
    read = functools.partial(read_in_order, prepare=prepared, batch_size=2)
    with nothing_left(), closing(read(class_source())) as batches:
        np.testing.assert_array_equal(next(batches).targets.classes, [0, 1])
        batches.close()
