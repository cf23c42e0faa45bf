"""Each segmentation row of the paper has its run: the fields are the row's, and its network builds."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from configs import paper, voc_nasfpn
from selftrain_jax.build.experiment import build_normalizer, build_schedule
from selftrain_jax.paper.recipe import find_recipe, find_teacher
from selftrain_jax.paper.row import Row
from selftrain_jax.paper.rows import ROWS, find_row
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.types import Batch, Category, MaskTargets

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden/paper_segmentation.json").read_text())
PUBLISHED = [dict(zip(GOLDEN["fields"], entry, strict=True)) for entry in GOLDEN["rows"]]
STUDENTS = [entry for entry in PUBLISHED if entry["unlabeled"]]
REFERENCE = pathlib.Path(__file__).parents[3] / "shared" / "reference" / "paper_tables.json"
VOC_CLASSES = tuple(Category(class_id, f"class {class_id}") for class_id in range(21))
SPLITS = {"train": "train", "train+val": "trainval", "train+aug (human)": "train_aug"}
UNLABELED = {
    None: ("none", ""),
    "pascal_aug": ("voc", ""),
    "imagenet": ("tfds", "imagenet2012"),
    "coco_240k": ("folder", ""),
}
# Parameters of the networks without the ImageNet classifier that the official graphs carry along unused:
# 71,731,837 less 1,638,400 + 5,120 + 2,561,000, and 485,972,801 less 7,573,504 + 11,008 + 5,505,000.
NUM_PARAMETERS = {"efficientnet_b7": 67_527_317, "efficientnet_l2": 472_883_289}
NUM_OF_HEAD = 3 * (9 * 256 * 256 + 256 + 512) + 256 * 21 + 21  # three convolutions with a norm, the classes


def name_of(entry: dict) -> str:
    return f"{entry['table']}-{entry['row']}"


def count(tree) -> int:
    return sum(x.size for x in jax.tree.leaves(tree))


@functools.cache
def config_of(table: int, row: int) -> ConfigDict:
    return paper.get_config(f"table={table},row={row}")


def row_of(entry: dict) -> Row:
    return find_row(entry["table"], entry["row"])


@pytest.mark.skipif(not REFERENCE.exists(), reason=f"{REFERENCE} is not on this machine")
def test_what_the_configs_are_held_against_is_the_reference() -> None:
    rows = [entry for entry in json.loads(REFERENCE.read_text())["rows"] if entry["task"] == "segmentation"]
    fields = [name for name in GOLDEN["fields"] if name != "row"]
    assert [[entry[name] for name in fields] for entry in PUBLISHED] == [
        [entry[name] for name in fields] for entry in rows
    ]


def test_every_segmentation_row_is_held_against_it() -> None:
    ours = [(int(row.table), row.row) for row in ROWS if row.task == "segmentation"]
    assert ours == [(entry["table"], entry["row"]) for entry in PUBLISHED]
    assert len(ours) == 25


@pytest.mark.parametrize("entry", PUBLISHED, ids=name_of)
def test_the_config_is_the_published_run(entry: dict) -> None:
    config = config_of(entry["table"], entry["row"])
    last = config.student if entry["unlabeled"] else config.teacher
    assert config.task == "segmentation"
    assert config.model.backbone == entry["backbone"]
    assert config.image.size_px == entry["image_size"]
    assert config.augment.policy == entry["augment"].lower()
    assert (config.augment.jitter_max, config.augment.magnitude) == (0.0, 10)  # the policy's own
    assert (config.teacher.policy, config.student.policy) == ("", "")
    assert config.teacher.init == entry["init"]
    assert (config.data.kind, config.data.train) == ("voc", SPLITS[entry["labels"]])
    assert (config.data.val, config.data.test, config.data.label_percent) == ("val", "val", 100)
    assert (config.unlabeled.kind, config.unlabeled.tfds) == UNLABELED[entry["unlabeled"]]
    assert config.unlabeled.split == ("aug" if entry["unlabeled"] == "pascal_aug" else "train")
    assert entry["steps"] in (None, last.steps)
    assert (config.paper.metric, config.paper.value) == (entry["metric"], entry["value"])
    assert config.joint.weight == 0
    assert config.student.control == "none"


@pytest.mark.parametrize("entry", STUDENTS, ids=name_of)
def test_the_student_is_the_published_one(entry: dict) -> None:
    config = config_of(entry["table"], entry["row"])
    assert config.student.init == entry["student_init"] == "teacher"
    assert config.selftrain.alpha == entry["alpha"] == 1.0
    assert config.selftrain.loss_norm == "ema"
    assert config.student.batch_size == (256 if entry["backbone"] == "efficientnet_l2" else 512)
    build_normalizer(config)


@pytest.mark.parametrize("entry", PUBLISHED, ids=name_of)
def test_batch_rate_and_precision_are_voc_nasfpns(entry: dict) -> None:
    config = config_of(entry["table"], entry["row"])
    whole = voc_nasfpn.get_config(f"backbone={entry['backbone'].removeprefix('efficientnet_')}")
    for key in ("model", "optimizer", "segmentation", "pseudo", "eval"):
        assert config[key] == whole[key]
    assert config.teacher.batch_size == 256
    for stage in ("teacher", "student"):
        assert config[stage].learning_rate == (0.2 if entry["backbone"] == "efficientnet_l2" else 0.08)
        schedule, num_steps = build_schedule(config, stage)
        assert num_steps == (20_000 if entry["backbone"] == "efficientnet_l2" else 40_000)
        assert schedule(num_steps - 1) < schedule(config.optimizer.warmup_steps)


# (table, row) of a student and of the supervised row that it starts from; by hand.
TEACHERS = {
    (6, 2): (6, 1),
    (6, 4): (6, 3),
    (8, 3): (8, 1),  # S1
    (8, 6): (8, 4),  # S4; not the one on train + aug
    (14, 3): (14, 1),
    (14, 4): (14, 2),
    (14, 5): (14, 1),
    (14, 6): (14, 2),
    (14, 7): (14, 1),
    (14, 8): (14, 2),
}


@pytest.mark.parametrize(("student", "teacher"), TEACHERS.items(), ids=str)
def test_the_teacher_is_the_supervised_row_beside_it(student: tuple, teacher: tuple) -> None:
    assert find_teacher(find_row(*student)) == find_row(*teacher)


def test_the_teacher_of_train_val_is_the_one_of_train_on_other_labels() -> None:
    teacher, beside = find_teacher(find_row(6, 5)), find_row(6, 3)
    assert teacher.labels == "train+val"
    assert teacher.value is None, "the paper has no such number"
    assert (teacher.steps, teacher.backbone, teacher.init) == (beside.steps, beside.backbone, beside.init)
    assert set(TEACHERS) | {(6, 5)} == {(entry["table"], entry["row"]) for entry in STUDENTS}


def test_what_the_paper_does_not_say_is_marked_as_assumed() -> None:
    assumed = {
        name_of(entry): config_of(entry["table"], entry["row"]).paper.assumed
        for entry in PUBLISHED
        if find_recipe(row_of(entry)).assumed
    }
    # Table 11's random and ImageNet starts: no steps; Table 6's train+val: no teacher.
    assert set(assumed) == {"11-1", "11-2", "11-3", "11-4", "6-5"}
    assert assumed["11-2"] == ("teacher.steps: 40000, as all rows of efficientnet_b7 on VOC that say it",)
    assert "train+val" in assumed["6-5"][0]


def test_a_number_of_the_test_server_says_what_is_measured_instead() -> None:
    assert "measured on val here, which it is trained on" in config_of(6, 5).paper.note
    others = [entry for entry in PUBLISHED if name_of(entry) != "6-5"]
    assert not [e for e in others if "measured on" in config_of(e["table"], e["row"]).paper.note]


def test_a_fold_of_whole_splits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fold=1: the rows of table=14 have whole splits of VOC"):
        paper.get_config("table=14,row=1,fold=1")


NETWORKS = {
    json.dumps(
        [config_of(e["table"], e["row"])[key].to_dict() for key in ("model", "image", "segmentation")]
    ): e
    for e in reversed(PUBLISHED)
}


def test_all_rows_share_two_networks() -> None:
    assert sorted(entry["backbone"] for entry in NETWORKS.values()) == list(NUM_PARAMETERS)


@pytest.mark.compiles
@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(entry, marks=[pytest.mark.slow] * (entry["backbone"] == "efficientnet_l2"))
        for entry in NETWORKS.values()
    ],
    ids=lambda entry: entry["backbone"],
)
def test_each_network_builds_abstractly(entry: dict) -> None:
    config = config_of(entry["table"], entry["row"])
    task = get_task(config.task).build_task(config, VOC_CLASSES)
    variables = jax.eval_shape(task.init, jax.random.key(0))
    assert count(variables["params"]) == NUM_PARAMETERS[entry["backbone"]]
    assert count(variables["params"]["segmenter"]) == NUM_OF_HEAD
    images = jax.ShapeDtypeStruct((2, 512, 512, 3), jnp.float32)
    masks = MaskTargets(jax.ShapeDtypeStruct((2, 512, 512), jnp.uint8))
    batch = Batch(images, masks, jax.ShapeDtypeStruct((2,), jnp.bool_))
    terms, updated = jax.eval_shape(task.loss, variables, batch, jax.random.key(0))
    assert terms.human.shape == terms.pseudo.shape == ()
    assert jax.tree.structure(updated["batch_stats"]) == jax.tree.structure(variables["batch_stats"])
    assert jax.eval_shape(task.predict, variables, images).logits.shape == (2, 128, 128, 21)
