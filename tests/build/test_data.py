"""From the config to data sets: what is refused before a run, and told by its key."""

import pathlib

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from configs import common
from selftrain_jax.build.data import build_batches, build_sources
from selftrain_jax.build.unlabeled import open_unlabeled
from selftrain_jax.data.pipeline import take_steps
from selftrain_jax.data.sampling import generator_permutation, raw_permutation
from selftrain_jax.data.source import Source, subset
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.tasks.segmentation import data as segmentation_data
from tests import tiny, tiny_masks

SPLITS = ("train", "val", "test")


def write_masks(root: pathlib.Path) -> ConfigDict:
    """Two images with masks a split; return the config that reads them."""
    for split in SPLITS:
        for name in "ab":
            _save(root / split / "images" / f"{name}.png", np.full((4, 6, 3), 60, np.uint8))
            _save(root / split / "masks" / f"{name}.png", np.resize(np.array([0, 1, 255], np.uint8), (4, 6)))
    config = common.get_config()
    config.task, config.unlabeled.kind = "segmentation", "none"
    config.data.update(kind="folder", dir=str(root), classes="sky,road")
    config.data.update(images="{split}/images", masks="{split}/masks")
    return config


def _save(path: pathlib.Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the sources whose masks are checked, as they come."""
    names: list[str] = []
    monkeypatch.setattr(segmentation_data, "check_masks", lambda source: names.append(source.name))
    return names


def test_masks_of_val_and_test_are_checked_each_once(tmp_path: pathlib.Path, checked: list[str]) -> None:
    config = write_masks(tmp_path)
    build_sources(config)
    assert [name.rpartition("/")[2] for name in checked] == ["val", "test"]
    checked.clear()
    config.data.val = "test"
    build_sources(config)
    assert [name.rpartition("/")[2] for name in checked] == ["test"]


def test_drawn_masks_are_not_checked(checked: list[str]) -> None:
    build_sources(tiny_masks.get_config())
    assert checked == []


@pytest.mark.parametrize("split", ["val", "test"])
def test_bad_or_empty_masks_of_evaluation_are_told_before_training(
    split: str, tmp_path: pathlib.Path
) -> None:
    config = write_masks(tmp_path)
    config.data.max_bad_images = 5  # of training; evaluation needs every mask
    build_sources(config)
    _save(tmp_path / split / "masks" / "b.png", np.full((4, 6), 7, np.uint8))
    with pytest.raises(InputError, match=rf"1 masks of masks:.*/{split} are bad, .*b\.png: ids outside"):
        build_sources(config)
    for name in "ab":
        _save(tmp_path / split / "masks" / f"{name}.png", np.full((4, 6), 255, np.uint8))
    with pytest.raises(InputError, match=rf"/{split}: not one pixel of its 2 masks has a class"):
        build_sources(config)


def open_train(config: ConfigDict) -> Source:
    return get_task(config.task).open_split(config, "data", "train")


@pytest.fixture
def train(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """Boxes; and the current folder holds an image, which an empty path would find."""
    _save(tmp_path / "a.png", np.zeros((4, 6, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    return read_builtin("train", num_images=1, image_size_px=64)


@pytest.mark.parametrize("folder", ["", " "])
@pytest.mark.parametrize(
    ("task", "group", "kind"),
    [
        ("detection", "unlabeled", "folder"),
        ("segmentation", "unlabeled", "folder"),
        ("detection", "unlabeled", "coco"),
        ("detection", "unlabeled", "voc"),
        ("segmentation", "unlabeled", "voc"),  # and no config.data.dir that it could stand for
        ("detection", "data", "coco"),
        ("detection", "data", "voc"),
        ("segmentation", "data", "voc"),
        ("segmentation", "data", "folder"),
    ],
)
def test_empty_folder_is_not_taken_for_the_current_one(
    task: str, group: str, kind: str, folder: str, train: Source
) -> None:
    config = common.get_config()
    config.task, config.data.classes = task, "sky,road"
    config[group].update(kind=kind, dir=folder)
    with pytest.raises(InputError, match=rf"^config\.{group}\.dir is empty; name the folder of ") as error:
        open_unlabeled(config, train) if group == "unlabeled" else open_train(config)
    assert f"--config.{group}.dir=FOLDER" in str(error.value)


def test_current_folder_may_be_named(train: Source) -> None:
    config = common.get_config()
    config.unlabeled.update(kind="folder", dir=".")
    assert open_unlabeled(config, train).image_ids == ("a.png",)


def test_without_a_folder_unlabelled_voc_masks_come_from_that_of_the_labelled(
    train: Source, tmp_path: pathlib.Path
) -> None:
    config = common.get_config()
    config.task = "segmentation"
    config.data.dir, config.unlabeled.kind = str(tmp_path), "voc"
    with pytest.raises(InputError, match=f"^{tmp_path}: no ImageSets/Segmentation"):
        open_unlabeled(config, train)


@pytest.mark.parametrize("template", ["{splt}.json", "{split.json"])
@pytest.mark.parametrize("group", ["data", "unlabeled"])
@pytest.mark.parametrize("name", ["images", "annotations"])
def test_template_of_coco_with_other_braces_is_refused_with_its_key(
    name: str, group: str, template: str, train: Source
) -> None:
    config = common.get_config()
    config[group].update({"kind": "coco", "dir": "data", name: template})
    with pytest.raises(InputError) as error:
        open_unlabeled(config, train) if group == "unlabeled" else open_train(config)
    assert str(error.value).startswith(f"config.{group}.{name}={template!r} has braces")


def test_kinds_of_boxes_are_refused_for_masks_each_with_its_reason() -> None:
    config = common.get_config()
    config.task, config.data.kind = "segmentation", "auto"
    with pytest.raises(InputError) as error:
        get_task(config.task).check_config(config)
    assert "config.data.kind=auto without config.data.dir is TFDS" in str(error.value)
    config.data.dir = "somewhere"
    get_task(config.task).check_config(config)
    config.data.kind, config.data.tfds = "tfds", "voc/2012"
    with pytest.raises(InputError, match="TFDS"):
        get_task(config.task).check_config(config)


@pytest.mark.tf
@pytest.mark.parametrize("permutation", [None, generator_permutation])
def test_both_halves_of_a_batch_follow_the_order_that_the_stage_asks_for(permutation) -> None:
    config = tiny_masks.get_config()
    config.student.batch_size, config.data.builtin.train = 4, 10
    train = open_train(config)
    human, pseudo = subset(train, range(4)), subset(train, range(4, 10))
    options = {} if permutation is None else {"permutation": permutation}
    (_, ids), *_ = take_steps(build_batches(config, "student", human, pseudo, **options), 0, 1)
    order = permutation or raw_permutation
    assert ids[0::2] == [train.image_ids[index] for index in order(4, 2, 0)[:2]]
    assert ids[1::2] == [train.image_ids[4 + index] for index in order(6, 502, 0)[:2]]


@pytest.mark.tf
def test_pseudo_labelled_images_have_a_policy_of_their_own() -> None:
    config = tiny_masks.get_config()
    config.augment.policy, config.student.batch_size, config.data.builtin.train = "s1", 8, 8
    train = open_train(config)

    def first_images(policy: str) -> np.ndarray:
        config.student.pseudo_policy = policy
        (batch, _), *_ = take_steps(build_batches(config, "student", train, train), 0, 1)
        return np.asarray(batch.images)

    same, strong = first_images(""), first_images("s4")
    assert np.array_equal(same[0::2], strong[0::2])  # the human-labelled ones
    assert not np.array_equal(same[1::2], strong[1::2])
    assert np.array_equal(first_images(config.augment.policy), same)


def test_unknown_mask_value_is_told_and_ignored_or_mapped_as_the_message_says(tmp_path: pathlib.Path) -> None:
    config = write_masks(tmp_path)
    _save(tmp_path / "val" / "masks" / "b.png", np.resize(np.array([0, 1, 7], np.uint8), (4, 6)))
    with pytest.raises(InputError, match="ids outside the classes: 7") as error:
        build_sources(config)
    for key in ("classes", "mask_values", "ignore_value"):
        assert f"config.data.{key}" in str(error.value)
    mapped, named = write_masks(tmp_path / "mapped"), write_masks(tmp_path / "named")
    mapped.data.update(dir=str(tmp_path), mask_values="0=0,1=1,7=255")
    named.data.update(dir=str(tmp_path), classes="a,b,c,d,e,f,g,h")
    for config in (mapped, named):
        build_sources(config)


def test_image_of_voc_with_more_boxes_than_slots_is_refused_with_the_value_to_set(
    tmp_path: pathlib.Path,
) -> None:
    config = common.get_config()
    config.data.update(kind="voc", dir=str(tmp_path), classes="cat")
    config.unlabeled.kind = "none"
    config.image.max_boxes, config.postprocess.max_detections = 2, 2
    box = "<object><name>cat</name><bndbox><ymin>1</ymin><xmin>1</xmin><ymax>3</ymax><xmax>{}</xmax></bndbox>"
    objects = "".join(box.format(number) + "</object>" for number in (2, 3, 4))
    _save(tmp_path / "JPEGImages" / "a.png", np.zeros((4, 6, 3), np.uint8))
    (tmp_path / "Annotations").mkdir()
    xml = f"<annotation><filename>a.png</filename>{objects}</annotation>"
    (tmp_path / "Annotations" / "a.xml").write_text(xml)
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for split in SPLITS:
        (tmp_path / "ImageSets" / "Main" / f"{split}.txt").write_text("a\n")
    with pytest.raises(InputError, match=r"image a has 3\. Set --config\.image\.max_boxes=3,"):
        build_sources(config)
    config.image.max_boxes = 3
    build_sources(config)


def test_drawn_boxes_need_slots_too() -> None:
    config = tiny.get_config()
    build_sources(config)
    config.image.max_boxes = config.postprocess.max_detections = 1
    with pytest.raises(InputError, match=r"builtin.* images have more boxes than config\.image\.max_boxes=1"):
        build_sources(config)
