import numpy as np
import pytest
import tensorflow as tf

from selftrain_jax.augment.autoaugment import AUTOAUGMENT, autoaugment
from selftrain_jax.augment.operations import BOX_ONLY_OPERATIONS, OPERATIONS, apply_operation

pytestmark = pytest.mark.tf


def test_v0_is_the_published_table():
    assert AUTOAUGMENT["v0"] == (
        (("TranslateX_BBox", 0.6, 4), ("Equalize", 0.8, 10)),
        (("TranslateY_Only_BBoxes", 0.2, 2), ("Cutout", 0.8, 8)),
        (("Sharpness", 0.0, 8), ("ShearX_BBox", 0.4, 0)),
        (("ShearY_BBox", 1.0, 2), ("TranslateY_Only_BBoxes", 0.6, 6)),
        (("Rotate_BBox", 0.6, 10), ("Color", 1.0, 6)),
    )


def test_versions_have_their_sizes_and_known_operations():
    assert {version: len(table) for version, table in AUTOAUGMENT.items()} == {
        "v0": 5,
        "v1": 20,
        "v2": 15,
        "v3": 15,
    }
    assert AUTOAUGMENT["v1"][:5] == AUTOAUGMENT["v0"]
    assert sum(len(policy) for policy in AUTOAUGMENT["v2"]) == 44  # one pair, fourteen triples
    for table in AUTOAUGMENT.values():
        for name, probability, level in (entry for policy in table for entry in policy):
            assert name in OPERATIONS or name in BOX_ONLY_OPERATIONS
            assert 0 <= probability <= 1
            assert 0 <= level <= 10


def test_sub_policies_are_drawn_uniformly_and_their_operations_with_their_probabilities(
    monkeypatch, over_seeds
):
    probe = (
        (("SolarizeAdd", 1.0, 1),),  # 0 becomes 11
        (("SolarizeAdd", 1.0, 2), ("Invert", 0.25, 0)),  # 22, or 233 after an inversion
        (("SolarizeAdd", 0.5, 3), ("SolarizeAdd", 0.0, 10)),  # 33 or 0
        (("Invert", 1.0, 0), ("SolarizeAdd", 1.0, 4)),  # 255: the order matters
    )
    monkeypatch.setitem(AUTOAUGMENT, "probe", probe)
    black = {"image": tf.zeros([2, 2, 3], tf.uint8)}
    values = over_seeds(lambda seed: autoaugment(black, seed, version="probe")["image"][0, 0, 0], 800)
    shares = {value: np.mean(values == value) for value in (11, 22, 233, 33, 0, 255)}
    assert sum(shares.values()) == pytest.approx(1.0)
    expected = {11: 1 / 4, 22: 3 / 16, 233: 1 / 16, 33: 1 / 8, 0: 1 / 8, 255: 1 / 4}
    for value, share in expected.items():
        assert shares[value] == pytest.approx(share, abs=0.046), value  # 3 deviations


def test_the_third_sub_policy_of_v0_changes_nothing(golden_tensors, over_seeds):
    def run(seed):
        tensors = golden_tensors
        for name, probability, level in AUTOAUGMENT["v0"][2]:
            tensors = apply_operation(tensors, name, level=level, probability=probability, seed=seed)
        return tensors["image"], tensors["mask"]

    images, masks = over_seeds(run, 20)
    assert np.all(images == golden_tensors["image"].numpy())
    assert np.all(masks == golden_tensors["mask"].numpy())


@pytest.mark.parametrize(
    "version", ["v0", *(pytest.param(name, marks=pytest.mark.slow) for name in ("v1", "v2", "v3"))]
)
def test_every_version_runs_in_a_graph_without_known_sizes(version, golden_tensors, in_dataset):
    examples = [golden_tensors | {"seed": tf.constant([1, index])} for index in range(8)]

    def run(x):
        seed = x.pop("seed")
        return autoaugment(x, seed, version=version)

    for example, result in zip(examples, in_dataset(run, *examples), strict=True):
        assert result["image"].shape == (12, 16, 3)
        eager = autoaugment(golden_tensors, example["seed"], version=version)
        for key, value in eager.items():
            np.testing.assert_array_equal(result[key], value, err_msg=f"{key} of seed {example['seed']}")
