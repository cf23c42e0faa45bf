"""What pseudo boxes count in the losses: from the config and the record to the batch."""

import dataclasses
import functools

import numpy as np
import pytest

from selftrain_jax.augment.policies import augment_policy
from selftrain_jax.data.pipeline import batch_examples, make_examples, take_steps
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.tasks.detection.pseudo.source import read_pseudo_boxes
from selftrain_jax.tasks.detection.pseudo.weights import (
    EQUAL,
    PseudoWeights,
    check_places,
    read_weights,
    weigh_boxes,
)
from selftrain_jax.tasks.detection.run_files import BoxTotals
from selftrain_jax.tasks.detection.spec import DETECTION, check_config
from selftrain_jax.tasks.detection.targets import box_targets
from selftrain_jax.tasks.spec import HumanLabels
from tests import tiny
from tests.tasks.detection.pseudo.pseudo_toy import label, make_source

pytestmark = pytest.mark.tf

SCORES, PLACES = (0.9, 0.6, 0.5), (0.02, 0.1, 1.0)
ALL = PseudoWeights(box_weight=2.0, max_place_std=0.1, class_weight="score", class_target="score")


def pseudo_example(index=0):
    return {
        "image_id": f"image-{index}",
        "boxes": np.array([[1, 1, 9, 9], [10, 2, 18, 12], [0, 20, 15, 30]], np.float32),
        "classes": np.array([1, 2, 3], np.int32),
        "scores": np.array(SCORES, np.float32),
        "place_std": np.array(PLACES, np.float32),
        "is_pseudo": True,
    }


def config_of(**pseudo):
    config = tiny.get_config()
    config.pseudo.update(pseudo)
    return config


def test_defaults_are_the_papers_and_leave_no_trace_in_a_batch():
    assert read_weights(tiny.get_config()) == EQUAL
    assert weigh_boxes(pseudo_example(), EQUAL) == {}
    targets = box_targets(4)
    assert set(targets.signature) == {"boxes", "classes", "is_ignore"}


def test_weights_by_hand():
    found = weigh_boxes(pseudo_example(), ALL)
    assert found["box_weight"].tolist() == [2, 2, 0]  # at the limit a box is kept
    for name in ("class_weight", "class_target"):
        np.testing.assert_array_equal(found[name], np.float32(SCORES))
    assert list(weigh_boxes(pseudo_example(), PseudoWeights(box_weight=0.0))) == ["box_weight"]
    assert list(weigh_boxes(pseudo_example(), PseudoWeights(max_place_std=0.5))) == ["box_weight"]


def test_human_boxes_count_1():
    human = pseudo_example()
    for key in ("is_pseudo", "scores", "place_std"):
        del human[key]
    found = weigh_boxes(human, ALL)
    assert set(found) == {"box_weight", "class_weight", "class_target"}
    assert all(values.tolist() == [1, 1, 1] for values in found.values())


@pytest.mark.parametrize(
    ("pseudo", "message"),
    [
        (dict(box_weight=-0.5), r"config\.pseudo\.box_weight=-0\.5 .*expected 0 \(no box loss\) to 100"),
        (dict(box_weight=float("nan")), "box_weight=nan"),
        (dict(box_weight=1e3), "box_weight=1000"),
        (dict(max_place_std=-0.1), r"max_place_std=-0\.1 .*above 0 and below 1"),
        (dict(max_place_std=1.0), r"max_place_std=1\.0 .*above 0 and below 1"),
        (dict(max_place_std=float("inf")), "max_place_std=inf"),
        (dict(class_weight="scores"), "config.pseudo.class_weight='scores' is not one of one, score"),
        (dict(class_target=""), "config.pseudo.class_target='' is not one of one, score"),
        (
            dict(max_place_std=0.1, views="1f"),
            r"max_place_std=0\.1 .*config\.pseudo\.views='1f' is one view\. Label with several, such as "
            r"--config\.pseudo\.views=1,1f .*--redo=labels",
        ),
        (dict(views="1,2x"), r"config\.pseudo\.views='1,2x': '2x' is no view"),
    ],
)
def test_what_does_not_fit_is_refused_before_data_are_opened(pseudo, message):
    with pytest.raises(InputError, match=message):
        check_config(config_of(**pseudo))


def test_the_remedy_for_one_view_works():
    config = config_of(max_place_std=0.1, views="1,1f,0.75,0.75f,1.25,1.25f")
    check_config(config)
    assert read_weights(config).max_place_std == 0.1


def test_labels_without_views_are_refused_where_the_place_is_asked(tmp_path):
    label(tmp_path)
    manifest = read_manifest(tmp_path, BoxTotals)
    check_places(manifest, EQUAL)
    with pytest.raises(InputError, match=r"labels were made with config\.pseudo\.views='1', one view"):
        check_places(manifest, ALL)
    human = HumanLabels(manifest.categories, {})
    config = config_of(score_floor=0.05, threshold=0.5, max_place_std=0.1, views="1,1f")
    with pytest.raises(InputError, match=r"max_place_std=0\.1 .*--redo=labels"):
        DETECTION.self_training.open_labels(config, tmp_path, human)
    settings = dataclasses.replace(manifest.labels.settings, views="1,1f")
    of_views = dataclasses.replace(manifest, labels=dataclasses.replace(manifest.labels, settings=settings))
    check_places(of_views, ALL)


def test_a_manifest_names_its_views(tmp_path):
    label(tmp_path)
    manifest = read_manifest(tmp_path, BoxTotals)
    assert manifest.labels.settings.views == "1"
    assert "place_std" not in read_pseudo_boxes(tmp_path).read_labels(0)


def source_of(read_labels):
    return dataclasses.replace(make_source(8), read_labels=read_labels)


def test_weights_stay_with_their_boxes_through_crops_and_mixing():
    def human(index):
        return {key: pseudo_example(index)[key] for key in ("image_id", "boxes", "classes")}

    augment = augment_policy("s4", output_size_px=32)
    make = functools.partial(
        make_examples, target_spec=box_targets(4, ALL), augment=augment, batch_size=2, seed=1
    )
    halves = make(source_of(human)), make(source_of(pseudo_example), is_pseudo=True)
    numbers = set()
    by_class = {1: (2.0, 0.9), 2: (2.0, 0.6), 3: (0.0, 0.5)}
    for batch, _ in take_steps(batch_examples(halves, [0, 1] * 2), 0, 6):
        targets = batch.targets
        assert targets.box_weight.shape == targets.class_weight.shape == (4, 4)
        for row, is_pseudo in enumerate(batch.is_pseudo):
            used = targets.valid[row]
            numbers.add(int(used.sum()))
            expected = [by_class[id] if is_pseudo else (1, 1) for id in targets.classes[row][used].tolist()]
            expected = np.array(expected, np.float32).reshape(-1, 2)
            np.testing.assert_array_equal(targets.box_weight[row][used], expected[:, 0])
            np.testing.assert_array_equal(targets.class_weight[row][used], expected[:, 1])
            np.testing.assert_array_equal(targets.class_target[row][used], expected[:, 1])
    assert len(numbers) > 1  # boxes were dropped


def test_a_plan_counts_the_slots_of_the_weights():
    shapes = DETECTION.self_training.target_shapes
    usual, weighted = (shapes(config_of(class_weight=value), 4) for value in ("one", "score"))
    assert (usual.class_weight, usual.box_weight) == (None, None)
    assert weighted.class_weight.shape == (4, 16)
    assert weighted.class_target is None
