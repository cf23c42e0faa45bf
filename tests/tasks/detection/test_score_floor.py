"""Pseudo labels hold boxes from pseudo.score_floor on, evaluation those from postprocess.score_threshold."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from selftrain_jax.data.source import Source, encode_png
from selftrain_jax.models.input_normalization import take_pixels
from selftrain_jax.models.retinanet import RetinaNet, make_retinanet
from selftrain_jax.tasks.detection import spec
from selftrain_jax.tasks.detection.inference import build_detector, detect
from selftrain_jax.tasks.detection.predictor import open_predictor
from selftrain_jax.train.sharding import make_mesh
from selftrain_jax.types import Category
from tests import tiny

pytestmark = [pytest.mark.tf, pytest.mark.compiles]

SCORES = (0.3, 0.02, 0.004)
NUM_IMAGES = 2


class Scripted(RetinaNet):
    """Finds three boxes, far from each other, of SCORES in every image."""

    def apply(self, variables: Any, images: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Answer with logits of the background class and one more, and boxes that equal their anchors."""
        num_anchors = 9 * (64 + 16 + 4)  # of levels 3 to 5
        scores, places = jnp.array(SCORES), jnp.array([0, 9 * 36, 9 * 63])  # on the 8 x 8 cells of level 3
        logits = jnp.full((len(images), num_anchors, 2), -50.0)
        logits = logits.at[:, places, 1].set(jnp.log(scores / (1 - scores)))
        return logits, jnp.zeros((len(images), num_anchors, 4))


def make_scripted(**settings: Any) -> Scripted:
    model = make_retinanet(**settings)
    fields = [field.name for field in dataclasses.fields(model) if field.name not in ("parent", "name")]
    return Scripted(**{name: getattr(model, name) for name in fields})


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> ConfigDict:
    monkeypatch.setattr(spec, "make_retinanet", make_scripted)
    config = tiny.get_config()
    config.postprocess.score_threshold = 0.05
    config.pseudo.update(score_floor=0.05, threshold=0.5)
    config.eval.batch_size = NUM_IMAGES
    return config


def make_source() -> Source:
    images = np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, 64, 64, 3)).astype(np.uint8)
    ids = tuple(map(str, range(NUM_IMAGES)))
    return Source(
        "noise",
        (),
        ids,
        lambda index: {"image_id": ids[index]},
        lambda index: encode_png(images[index]),
        images.__getitem__,
    )


def scores_of(config: ConfigDict) -> tuple[list[float], list[float], float]:
    """Return the scores of pseudo labels and of an evaluation, and the floor that the manifest names."""
    task = take_pixels(spec.build_task(config, (Category(1, "cat"),)))
    mesh = make_mesh(devices=jax.devices()[:1])
    labeller = open_predictor(config, task, mesh).labeller([{}], make_source())
    ((_, labelled),) = labeller.infer([(0, range(NUM_IMAGES))])
    (evaluated, _) = detect(build_detector(config, task, mesh), {}, make_source())
    return labelled[0].labels["scores"].tolist(), evaluated["scores"].tolist(), labeller.settings.score_floor


@pytest.mark.parametrize(
    ("floor", "num_labels"), [(0.05, 1), (0.01, 2), (0.001, 3), (0.1, 1), (0.5, 0)], ids=str
)
def test_records_hold_what_the_manifest_says_whatever_the_evaluation_keeps(
    floor: float, num_labels: int, config: ConfigDict
) -> None:
    config.pseudo.score_floor = floor
    labelled, evaluated, stated = scores_of(config)
    np.testing.assert_allclose(labelled, SCORES[:num_labels], rtol=1e-5)
    np.testing.assert_allclose(evaluated, SCORES[:1], rtol=1e-5)
    assert stated == floor


def test_lower_evaluation_threshold_does_not_lower_the_floor(config: ConfigDict) -> None:
    config.postprocess.score_threshold, config.pseudo.score_floor = 0.001, 0.01
    labelled, evaluated, _ = scores_of(config)
    assert (len(labelled), len(evaluated)) == (2, 3)


@pytest.mark.parametrize(("floor", "used"), [(0.05, 0.05), (0.01, 0.01), (0.2, 0.05)])
def test_manifest_and_identity_name_the_threshold_that_nms_used(
    floor: float, used: float, config: ConfigDict
) -> None:
    config.pseudo.score_floor = floor
    label_settings = spec.DETECTION.self_training.label_settings
    assert label_settings(config) == {"nms": {**config.postprocess.to_dict(), "score_threshold": used}}
