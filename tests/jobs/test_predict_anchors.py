"""Predicting with anchors that were found from boxes: the run's record has their size."""

import json

import pytest
from PIL import Image

from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job
from selftrain_jax.jobs.model import trained_anchors
from tests.tiny_run import config_with

pytestmark = [pytest.mark.tf, pytest.mark.compiles]


def test_the_size_is_that_of_the_training(base, tmp_path):
    images = tmp_path / "new"
    images.mkdir()
    Image.fromarray(read_builtin("test", num_images=1, image_size_px=64).read_image(0)).save(images / "a.png")
    found = {}
    for size in (4.0, 0.0):
        output = tmp_path / f"{size}"
        changes = {"predict__input": str(images), "predict__output": str(output), "model__anchor_size": size}
        run_job("predict", config_with(**changes), base)
        found[size] = json.loads((output / "predictions.json").read_text())
    assert found[4.0]["annotations"]
    assert found[0.0] == found[4.0]
    with pytest.raises(InputError, match=r"anchor_size: 4.0 then, 2.0 now"):
        run_job("predict", config_with(predict__input=str(images), model__anchor_size=2.0), base)


def test_a_folder_without_a_record_says_nothing_of_anchors(tmp_path):
    config = config_with(model__anchor_size=0.0)
    assert trained_anchors(config, tmp_path) is config
