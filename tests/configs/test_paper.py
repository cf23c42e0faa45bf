"""Each detection row of the paper has its run: the fields are the row's, and its network builds."""

import collections
import functools
import importlib
import json

import pytest
from ml_collections import ConfigDict

from configs import paper
from selftrain_jax.build.experiment import build_normalizer, build_schedule
from selftrain_jax.errors import InputError
from selftrain_jax.paper.recipe import find_recipe, find_teacher
from selftrain_jax.paper.row import Row
from selftrain_jax.paper.rows import ROWS, find_row, rows
from tests.configs.test_configs import CASES

DETECTION = [row for row in ROWS if row.task == "detection"]
STUDENTS = [row for row in DETECTION if row.unlabeled]
DATASETS = {"imagenet": "imagenet2012", "openimages": "open_images_v4"}
NETWORK_KEYS = ("model", "image", "loss", "postprocess")


def name_of(row: Row) -> str:
    return f"{row.table}-{row.row}"


@functools.cache
def config_of(row: Row) -> ConfigDict:
    return paper.get_config(f"table={row.table},row={row.row}")


def network_of(config: ConfigDict) -> str:
    return json.dumps([config[key].to_dict() for key in NETWORK_KEYS], sort_keys=True)


@pytest.mark.parametrize("row", DETECTION, ids=name_of)
def test_the_config_is_the_rows_run(row: Row) -> None:
    config = config_of(row)
    last = config.student if row.unlabeled else config.teacher
    assert config.model.backbone == row.backbone
    assert config.image.size_px == row.image_size_px
    assert config.data.label_percent == float(row.labels.rstrip("%"))
    assert config.teacher.init == row.init
    assert row.steps in (None, last.steps)
    assert (config.paper.table, config.paper.row, config.paper.value) == (row.table, row.row, row.value)
    assert config.joint.weight == (row.joint_weight or 0.0)
    assert config.joint.stage == (
        "both" if row.joint_weight is None else "student" if row.unlabeled else "teacher"
    )
    if row.joint_weight:
        assert (config.joint.kind, config.joint.tfds) == ("tfds", "imagenet2012")
    if row.unlabeled:
        assert (config.unlabeled.kind, config.unlabeled.tfds) == ("tfds", DATASETS[row.unlabeled])
        assert config.student.init == row.student_init
        assert row.alpha in (None, config.selftrain.alpha)
        assert config.selftrain.loss_norm == row.loss_norm
        assert config.student.control == "none"
        build_normalizer(config)
    else:
        assert config.unlabeled.kind == "none"


@pytest.mark.parametrize("row", DETECTION, ids=name_of)
def test_policy_precision_batch_and_rate_are_the_papers(row: Row) -> None:
    config = config_of(row)
    spinenet, resnet101 = row.backbone.startswith("spinenet"), row.backbone == "resnet101"
    policy = {stage: config[stage].policy or config.augment.policy for stage in ("teacher", "student")}
    if spinenet:
        assert policy["teacher"] == "s1"  # its baseline has neither AutoAugment nor RandAugment
        assert (config.augment.jitter_min, config.augment.jitter_max) == (0.5, 2.0)
    else:
        assert policy["teacher"] == row.augment.lower()
        assert config.augment.jitter_max == 0.0  # the policy's own
    if row.unlabeled:
        assert policy["student"] == row.augment.lower()
    assert config.augment.magnitude == (15 if resnet101 else 10)
    assert config.model.dtype == ("float32" if resnet101 else "bfloat16")
    assert config.optimizer.decay_bn == resnet101
    assert config.optimizer.weight_decay == 1e-4
    assert config.optimizer.schedule == "cosine"
    rate = 0.16 if spinenet else 0.32
    assert config.teacher.learning_rate == rate
    assert config.student.learning_rate == (2 * rate if row.larger_rate else rate)
    assert config.teacher.batch_size == (128 if spinenet else 256)
    assert config.student.batch_size == 2 * config.teacher.batch_size  # as many pseudo labels as human ones
    for stage in ("teacher", "student"):
        schedule, num_steps = build_schedule(config, stage)
        assert schedule(num_steps - 1) < schedule(config.optimizer.warmup_steps)


@pytest.mark.parametrize("row", STUDENTS, ids=name_of)
def test_the_teacher_is_the_supervised_row_beside_it(row: Row) -> None:
    teacher, config = find_teacher(row), config_of(row)
    assert (teacher.unlabeled, teacher.joint_weight) == (None, None)
    for field in ("backbone", "init", "labels", "image_size_px"):
        assert getattr(teacher, field) == getattr(row, field)
    assert teacher.augment == (None if row.backbone.startswith("spinenet") else row.augment)
    assert teacher.table == row.table or not any(find_teacher(o) == o for o in rows(row.table))
    assert teacher.steps in (None, config.teacher.steps)


# (table, row): the teacher's steps, the student's steps and alpha; by hand from Appendix H.
BY_HAND = {
    ("2", 11): (90_000, 90_000, 0.5),
    ("3", 4): (45_000, 90_000, 3.0),
    ("3", 18): (45_000, 45_000, 0.25),
    ("4", 4): (200_000, 120_000, 0.25),
    ("5", 7): (370_000, 370_000, 0.5),
    ("7", 8): (5_625, 90_000, 2.0),
    ("9", 4): (45_000, 180_000, 4.0),
    ("10", 8): (120_000, 90_000, 0.5),  # steps and alpha are Table 2's
    ("10", 9): (45_000, 180_000, 1.0),
    ("13", 12): (120_000, 120_000, 0.5),
    ("figure2", 17): (45_000, 180_000, 5.0),
}


@pytest.mark.parametrize(("key", "expected"), BY_HAND.items(), ids=str)
def test_steps_of_teacher_and_student_by_hand(key: tuple[str, int], expected: tuple) -> None:
    config = config_of(find_row(*key))
    assert (config.teacher.steps, config.student.steps, config.selftrain.alpha) == expected


def test_what_the_paper_does_not_say_is_marked_as_assumed() -> None:
    assumed = collections.Counter(row.table for row in DETECTION if config_of(row).paper.assumed)
    # Table 10: alpha of a random start; Figure 1: ImageNet++ but for S4; Figure 2: the larger rate;
    # Figure 3: all but S4, Table 2's three at 100 % of both inits.
    assert assumed == {"10": 4, "figure1": 3, "figure2": 12, "figure3": 36 - 9 - 6}
    estimate = config_of(find_row("figure3", 7))  # S1, random, 20 %: 45,000 * 45,000 / 120,000
    assert estimate.teacher.steps == 16_875
    floor = config_of(find_row("figure3", 4))  # S1, ImageNet++, 20 %: 5,625 * 22,500 / 90,000
    assert floor.teacher.steps == 5_625


def test_an_estimate_gives_table_2_back() -> None:
    for row in (row for row in rows("2") if not row.unlabeled):
        unknown = row._replace(table="figure3", metric="")
        assert find_recipe(unknown._replace(steps=None)).teacher_steps == row.steps


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (None, "say which run"),
        ("table=3", "say which run"),
        ("table=1,row=1", "not one of 2, 3, 4"),
        ("table=3,row=99", "rows 1 to 18"),
        ("table=3,line=1", "not one of table, row"),
    ],
)
def test_a_run_that_does_not_exist_is_refused(arguments: str | None, words: str) -> None:
    with pytest.raises((InputError, ValueError), match=words):
        paper.get_config(arguments)


NETWORKS = {network_of(config_of(row)): row for row in reversed(DETECTION)}


def test_all_rows_share_five_networks() -> None:
    assert sorted(row.backbone for row in NETWORKS.values()) == [
        "efficientnet_b7",
        "resnet101",
        "resnet50",
        "spinenet143",
        "spinenet190",
    ]


def test_each_network_is_one_that_the_test_of_all_configs_builds() -> None:
    """There every network's step and predictions are traced, which takes seconds each."""
    built = {
        network_of(importlib.import_module(f"configs.{name}").get_config(arguments))
        for name, arguments, categories in CASES
        if categories is None  # COCO's
    }
    assert set(NETWORKS) <= built
