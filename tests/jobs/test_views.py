"""Views compared on val by a teacher whose labels depend on the view (the command: test_thresholds)."""

import dataclasses

import numpy as np
import pytest

from configs import common
from selftrain_jax.command_line import flatten
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.run import open_run
from selftrain_jax.jobs.views import Measured, format_views, list_choices, measure_choice, run_views
from selftrain_jax.selftrain.inference import Inferred
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.stages.graph import Stage
from selftrain_jax.tasks.detection.pseudo.view_choices import BOX_VIEWS, measure_boxes
from selftrain_jax.tasks.segmentation.pseudo.view_choices import MASK_VIEWS, measure_masks
from selftrain_jax.tasks.spec import Predictor
from selftrain_jax.types import IGNORED, Category
from tests.tiny_run import config_with


def unused(*_):
    raise AssertionError


CLASSES = (Category(1, "cat"), Category(2, "dog"))


def boxes(image_id, rows):
    """Rows are ymin, xmin, ymax, xmax, class and, of found boxes, score."""
    table = np.array(rows, float).reshape(len(rows), -1)
    labels = {"image_id": image_id, "boxes": table[:, :4], "classes": table[:, 4].astype(int)}
    return labels | ({"scores": table[:, 5]} if table.shape[1] > 5 else {})


def test_boxes_are_measured_as_coco_does():
    truth = boxes("a", [(0, 0, 10, 10, 1), (0, 20, 10, 30, 2)])
    found = boxes("a", [(0, 0, 10, 6, 1, 0.9), (0, 20, 10, 30, 2, 0.8)])
    # The cat's IoU of 0.6 is right at 3 of 10 limits, the dog at all.
    numbers = measure_boxes([(truth, found)], CLASSES)
    assert numbers == pytest.approx({"AP": (0.3 + 1) / 2, "AP50": 1.0, "AP75": 0.5})


def test_masks_are_measured_over_known_pixels():
    truth = {"mask": np.array([[0, 0, 1, IGNORED]], np.uint8)}
    found = {"mask": np.array([[0, 1, 1, 2]], np.uint8)}
    numbers = measure_masks([(truth, found)], (Category(0, "sky"), Category(1, "sea"), Category(2, "sun")))
    assert numbers == pytest.approx({"mIoU": 0.5, "pixels right": 2 / 3})
    unknown = {"mask": np.full((1, 4), IGNORED, np.uint8)}
    assert measure_masks([(unknown, found)], (Category(2, "sun"),)) == {"mIoU": -1.0, "pixels right": -1.0}


@pytest.mark.parametrize("choices", [BOX_VIEWS, MASK_VIEWS])
def test_the_configs_own_views_come_first_and_no_choice_twice(choices):
    config = common.get_config()
    listed = list_choices(config, choices)
    assert listed[0] == tuple(flatten(config.to_dict())[key] for key in choices.keys)
    assert sorted(map(str, listed)) == sorted(set(map(str, listed)))
    assert set(choices.choices) <= set(listed)
    config.pseudo.views, config.pseudo.scales = "1.5", (3.0,)
    assert list_choices(config, choices)[1:] == list(choices.choices)


def rows(*numbers):
    return [Measured((f"1,{i}f",), {"AP": ap}, cost) for i, (ap, cost) in enumerate(numbers)]


def test_table_marks_the_best_and_of_equals_the_cheaper():
    text = format_views(rows((0.2, 1.0), (0.4, 8.0), (0.4, 2.0)), ["pseudo.views"], "9 images of toy/val")
    title, head, now, dear, cheap, advice = text.splitlines()
    assert title.startswith("labels of 9 images of toy/val, compared")
    assert head.split() == ["AP", "cost", "views"]
    assert now.split() == ["now", "20.0", "1.0", "--config.pseudo.views=1,0f"]
    assert dear.split()[0] == "40.0"
    assert cheap.split() == ["best", "40.0", "2.0", "--config.pseudo.views=1,2f"]
    assert advice == "label in the best: --config.pseudo.views=1,2f"


def test_nothing_to_change_where_the_configs_views_are_the_best():
    text = format_views(rows((0.4, 1.0), (0.4, 1.0)), ["pseudo.views"], "9 images")
    assert text.splitlines()[-1] == "the best is in use"
    assert "best, now" in text


def open_toy(workdir, **changes):
    """A run whose teacher finds half of each object unless it looks mirrored too."""

    def open_predictor(config, task, mesh):
        share = 1.0 if "f" in config.pseudo.views else 0.62

        def label(source, index):
            labels = source.read_labels(index)
            found = labels["boxes"].copy()
            found[:, 3] = found[:, 1] + share * (found[:, 3] - found[:, 1])
            labels |= {"boxes": found, "scores": np.full(len(found), 0.9, np.float32)}
            return Inferred(b"", (1, 1), labels)

        def labeller(models, source):
            def infer(chunks):
                for number, indices in chunks:
                    yield number, [label(source, index) for index in indices]

            return Labeller(infer, 2, None, None, None, None)

        return Predictor(unused, unused, None, labeller, unused)

    run = open_run(config_with(**changes), workdir, is_plan=True)
    toy = dataclasses.replace(run.self_training, open_predictor=open_predictor)
    return dataclasses.replace(run, self_training=toy)


def test_a_choice_is_measured_with_labels_made_in_it(tmp_path):
    run = open_toy(tmp_path)
    narrow, right = (measure_choice(run, [{}], (views,)) for views in ("1", "1,1f"))
    assert narrow.numbers == pytest.approx({"AP": 0.3, "AP50": 1.0, "AP75": 0.0})
    assert right.numbers == pytest.approx({"AP": 1.0, "AP50": 1.0, "AP75": 1.0})
    assert (narrow.cost, right.cost) == (1.0, 2.0)
    assert run.config.pseudo.views == "1"


def test_labels_of_other_models_have_no_views_to_choose(tmp_path):
    run = open_toy(tmp_path, pseudo__labels="foreign", foreign__predictions="a.json")
    with pytest.raises(InputError, match=r"pseudo\.labels=foreign: another model labels"):
        run_views(run, Stage("labels"))
