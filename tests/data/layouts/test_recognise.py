"""Folders of several kinds: what is recognised, what is refused and with which remedy, and painted masks."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from configs import common
from selftrain_jax.data.layouts.tree import canonical, clean_name
from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.voc_boxes import read_voc
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.convert_data import run_convert
from selftrain_jax.tasks.detection.data import auto_coco_files
from selftrain_jax.tasks.lookup import get_task
from tests.data.layouts.exports import EXPORTS, coco_document, cvat, draw, roboflow, save, write, yolo


def make_config(root: pathlib.Path, task: str = "detection", **data):
    config = common.get_config()
    config.task = task
    config.data.update(kind="auto", dir=str(root), **data)
    return config


def open_boxes(root: pathlib.Path, name: str = "train", **data) -> Source:
    return get_task("detection").open_split(make_config(root, **data), "data", name)


def open_masks(root: pathlib.Path, name: str = "train", **data) -> Source:
    return get_task("segmentation").open_split(make_config(root, "segmentation", **data), "data", name)


def boxes_of(source: Source) -> list[np.ndarray]:
    return [source.read_labels(index)["boxes"] for index in range(len(source))]


SPLITS = {"train": draw(6), "val": draw(3, seed=1)}


def test_our_own_layout_is_what_kind_coco_reads(tmp_path: pathlib.Path) -> None:
    for split, pictures in SPLITS.items():
        for picture in pictures:
            save(picture, tmp_path / "images")
        write(tmp_path / f"annotations/{split}.json", coco_document(pictures, {"cat": 3, "dog": 90}))
    own = {"annotations": "annotations/{split}.json", "images": "images"}
    found = open_boxes(tmp_path, **own)
    config = make_config(tmp_path, **own)
    config.data.kind = "coco"
    expected = get_task("detection").open_split(config, "data", "train")
    assert (found.categories, found.image_ids) == (expected.categories, expected.image_ids)
    for index in range(6):
        for key, value in expected.read(index).items():
            np.testing.assert_array_equal(found.read(index)[key], value)


def test_voc_lists_are_what_kind_voc_reads_and_cvats_corners_count_from_0(tmp_path: pathlib.Path) -> None:
    box = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax><ymax>30</ymax></bndbox>"
    for split, pictures in SPLITS.items():
        for picture in pictures:
            save(picture, tmp_path / "JPEGImages")
            item = f"<object><name>cat</name>{box}</object>"
            name = picture.name[:-4]
            write(
                tmp_path / f"Annotations/{name}.xml",
                f"<annotation><filename>{picture.name}</filename>{item}</annotation>",
            )
        names = "\n".join(picture.name[:-4] for picture in pictures)
        write(tmp_path / f"ImageSets/Main/{split}.txt", names)
    found, expected = open_boxes(tmp_path), read_voc(tmp_path, "train")
    assert (found.name, found.image_ids) == (expected.name, expected.image_ids)
    np.testing.assert_array_equal(boxes_of(found), boxes_of(expected))
    np.testing.assert_array_equal(boxes_of(found)[0], [[2, 1, 30, 20]])
    write(tmp_path / "labelmap.txt", "# label:color_rgb:parts:actions\ncat:1,2,3::\n")
    np.testing.assert_array_equal(boxes_of(open_boxes(tmp_path))[0], [[3, 2, 30, 20]])


@pytest.mark.parametrize("kind", ["yolo without yaml", "darknet of CVAT", "one level deeper"])
def test_yolo_in_other_folders(kind: str, tmp_path: pathlib.Path) -> None:
    yolo(tmp_path, SPLITS)
    expected = boxes_of(open_boxes(tmp_path))
    if kind == "one level deeper":
        shutil.copytree(tmp_path, tmp_path.with_name("outer") / "inner" / "set")
        found = open_boxes(tmp_path.with_name("outer"))
    elif kind == "yolo without yaml":
        (tmp_path / "data.yaml").unlink()
        with pytest.raises(InputError, match=r"config\.data\.classes=NAME"):
            open_boxes(tmp_path)
        write(tmp_path / "classes.txt", "cat\ndog\n")
        found = open_boxes(tmp_path)
    else:
        root = tmp_path.with_name("darknet")
        for picture in SPLITS["train"]:
            save(picture, root / "obj_train_data")
        for path in (tmp_path / "train/labels").glob("*.txt"):
            shutil.copy(path, root / "obj_train_data")
        names = "\n".join(f"data/obj_train_data/{picture.name}" for picture in SPLITS["train"])
        write(root / "train.txt", names)
        write(root / "obj.names", "cat\ndog\n")
        write(root / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n")
        found = open_boxes(root, split="0.7,0.1,0.2")
    for left, right in zip(boxes_of(found), expected, strict=True):
        np.testing.assert_array_equal(left, right)


def test_ids_from_0_get_1_added_and_kind_coco_names_the_remedy(tmp_path: pathlib.Path) -> None:
    for split, pictures in SPLITS.items():
        for picture in pictures:
            save(picture, tmp_path / "images")
        write(tmp_path / f"annotations/{split}.json", coco_document(pictures, {"cat": 0, "dog": 1}))
    found = open_boxes(tmp_path)
    assert found.categories == ((1, "cat"), (2, "dog"))
    assert found.read_labels(1)["classes"].tolist() == SPLITS["train"][1].classes.tolist()
    assert "plus 1" in found.notes[1]
    config = make_config(tmp_path, annotations="annotations/{split}.json", images="images")
    config.data.kind = "coco"
    with pytest.raises(InputError, match=r"config.data.kind=auto, which adds 1"):
        get_task("detection").open_split(config, "data", "train")


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_archive_is_refused_with_the_command_that_unpacks_it(name: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    command = "unzip" if name.endswith("zip") else "tar -xf"
    for root in (tmp_path / name, tmp_path):
        with pytest.raises(InputError, match=rf"{command} .*{name}"):
            open_boxes(root)


def test_unknown_folder_says_what_is_there_and_what_was_expected(tmp_path: pathlib.Path) -> None:
    save(SPLITS["train"][0], tmp_path / "pictures")
    write(tmp_path / "notes.txt", "x")
    with pytest.raises(InputError, match=r"it holds notes.txt, pictures/ with 1 images.*Expected data.yaml"):
        open_boxes(tmp_path, split="0.7,0.1,0.2")


def test_split_that_is_not_there_lists_those_that_are(tmp_path: pathlib.Path) -> None:
    roboflow(tmp_path, SPLITS)
    with pytest.raises(InputError, match="no split 'minival'; splits found: train, valid"):
        open_boxes(tmp_path, "minival", val="minival")


@pytest.mark.parametrize(
    ("export", "file", "images"),
    [
        (roboflow, "train/_annotations.coco.json", "train"),
        (cvat, "annotations/instances_train.json", "images/train"),
    ],
)
def test_coco_files_of_a_recognised_folder_are_known(tmp_path: pathlib.Path, export, file, images) -> None:
    export(tmp_path, SPLITS)
    found = auto_coco_files(make_config(tmp_path))
    assert found["train"] == (tmp_path / file, tmp_path / images)
    listed = json.loads(found["train"][0].read_text())["images"]
    assert all((tmp_path / images / record["file_name"]).is_file() for record in listed)
    assert len(found) == len(SPLITS)


def test_other_formats_have_no_coco_files(tmp_path: pathlib.Path) -> None:
    yolo(tmp_path, SPLITS)
    assert auto_coco_files(make_config(tmp_path)) == {}
    assert auto_coco_files(make_config(tmp_path / "none")) == {}


def test_boxes_of_0_to_1_are_said_to_be_shares(tmp_path: pathlib.Path) -> None:
    cvat(tmp_path, SPLITS)
    path = tmp_path / "annotations/instances_train.json"
    document = json.loads(path.read_text())
    for record in document["annotations"]:
        record["bbox"] = [value / 64 for value in record["bbox"]]
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="between 0 and 1: they are normalized"):
        open_boxes(tmp_path)


def test_image_names_of_windows_are_found_by_their_end(tmp_path: pathlib.Path) -> None:
    cvat(tmp_path, SPLITS)
    path = tmp_path / "annotations/instances_train.json"
    path.write_text(path.read_text().replace("pic_0_", "images\\\\1\\\\pic_0_"))
    assert len(open_boxes(tmp_path)) == 6
    (tmp_path / "images/train/pic_0_3.png").unlink()
    with pytest.raises(InputError, match=r"pic_0_3.png' is nowhere below"):
        open_boxes(tmp_path)


def polygons(root: pathlib.Path) -> None:
    """A square of 20 px with one of 8 px inside, cat and dog, and a box without outline."""
    pictures = draw(1)
    document = coco_document(pictures, {"cat": 1, "dog": 2})
    save(pictures[0], root / "images")
    square = {"image_id": 0, "iscrowd": 0, "bbox": []}
    document["annotations"] = [
        {"id": 1, "category_id": 2, **square, "segmentation": [[16, 16, 24, 16, 24, 24, 16, 24]]},
        {"id": 2, "category_id": 1, **square, "segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]]},
        {"id": 3, "category_id": 1, **square, "bbox": [40, 0, 10, 5], "segmentation": []},
    ]
    write(root / "annotations/instances_default.json", document)


def test_masks_are_painted_large_objects_first_and_bare_boxes_are_ignored(tmp_path: pathlib.Path) -> None:
    polygons(tmp_path)
    source = open_masks(tmp_path, split="0.7,0.1,0.2")
    expected = np.zeros((48, 64), np.uint8)
    expected[10:30, 10:30], expected[16:24, 16:24], expected[:5, 40:50] = 1, 2, 255
    assert source.categories == ((0, "background"), (1, "cat"), (2, "dog"))
    np.testing.assert_array_equal(source.read_labels(0)["mask"], expected)
    assert "1 of 3 objects are boxes alone" in source.notes[2]
    dogs = open_masks(tmp_path, split="0.7,0.1,0.2", classes="background,dog")
    np.testing.assert_array_equal(dogs.read_labels(0)["mask"] == 1, expected == 2)
    boxes = open_boxes(tmp_path, split="0.7,0.1,0.2")
    np.testing.assert_array_equal(boxes_of(boxes)[0], [[16, 16, 24, 24], [10, 10, 30, 30], [0, 40, 5, 50]])


def test_boxes_alone_are_refused_as_masks(tmp_path: pathlib.Path) -> None:
    yolo(tmp_path, SPLITS)
    with pytest.raises(InputError, match="masks need outlines"):
        open_masks(tmp_path)


def mask_files(root: pathlib.Path, image: str, mask: str) -> np.ndarray:
    ids = np.arange(48 * 64).reshape(48, 64) % 3
    for split in ("train", "val"):
        for folder, name, pixels in (("images", image, np.zeros((48, 64, 3))), ("masks", mask, ids)):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(root / split / folder / name)
    return ids


def test_suffixes_pair_masks_that_are_called_otherwise_and_the_error_names_them(
    tmp_path: pathlib.Path,
) -> None:
    ids = mask_files(tmp_path, "a_leftImg8bit.png", "a_labelIds.png")
    (tmp_path / "train/masks/a_color.png").write_bytes(b"another kind")
    (tmp_path / "val/masks/a_color.png").write_bytes(b"another kind")
    classes = "background,cat,dog"
    with pytest.raises(InputError, match=r"image_suffix=_leftImg8bit --config.data.mask_suffix=_labelIds"):
        open_masks(tmp_path, classes=classes)
    found = open_masks(tmp_path, classes=classes, image_suffix="_leftImg8bit", mask_suffix="_labelIds")
    assert found.image_ids == ("a",)
    np.testing.assert_array_equal(found.read_labels(0)["mask"], ids)


def test_colours_are_classes_by_key_or_labelmap(tmp_path: pathlib.Path) -> None:
    ids = mask_files(tmp_path, "a.png", "a.png")
    colors = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
    for split in ("train", "val"):
        Image.fromarray(colors[ids]).save(tmp_path / split / "masks/a.png")
    classes = "background,cat,dog"
    with pytest.raises(InputError, match=r"config\.data\.mask_colors"):
        open_masks(tmp_path, classes=classes).read_labels(0)
    found = open_masks(tmp_path, classes=classes, mask_colors="0,0,0=0;128,0,0=1;0,128,0=2")
    np.testing.assert_array_equal(found.read_labels(0)["mask"], ids)
    missing = open_masks(tmp_path, classes=classes, mask_colors="0,0,0=0;128,0,0=1")
    with pytest.raises(InputError, match=r"\(0, 128, 0\)"):
        missing.read_labels(0)
    with pytest.raises(InputError, match="mask colors"):
        open_masks(tmp_path, classes=classes, mask_colors="0,0=0")
    write(tmp_path / "labelmap.txt", "background:0,0,0::\ncat:128,0,0::\ndog:0,128,0::\n")
    listed = open_masks(tmp_path)
    assert listed.categories == ((0, "background"), (1, "cat"), (2, "dog"))
    np.testing.assert_array_equal(listed.read_labels(0)["mask"], ids)


@pytest.mark.parametrize("tool", EXPORTS)
@pytest.mark.parametrize("images", ["copy", "link"])
def test_converted_data_set_is_the_same_source(tool: str, images: str, tmp_path: pathlib.Path) -> None:
    EXPORTS[tool](tmp_path / "in", SPLITS)
    config = make_config(tmp_path / "in")
    config.convert.update(output=str(tmp_path / "out"), images=images)
    run_convert(config)
    assert sorted(path.name for path in (tmp_path / "out/annotations").iterdir()) == [
        "train.json",
        "val.json",
    ]
    for name in ("train", "val", "test"):
        before, after = open_boxes(tmp_path / "in", name), open_boxes(tmp_path / "out", name)
        assert (after.categories, after.image_ids) == (before.categories, before.image_ids)
        for index in range(len(before)):
            left, right = before.read(index), after.read(index)
            np.testing.assert_array_equal(left["image"], right["image"])
            np.testing.assert_array_equal(left["classes"], right["classes"])
            np.testing.assert_allclose(left["boxes"], right["boxes"], rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="exists"):
        run_convert(config)


def test_conversion_that_fails_leaves_nothing(tmp_path: pathlib.Path) -> None:
    cvat(tmp_path / "in", SPLITS)
    (tmp_path / "in/images/val/pic_1_2.png").write_bytes(b"no image")
    config = make_config(tmp_path / "in")
    config.convert.output = str(tmp_path / "out")
    with pytest.raises(InputError, match="not an image"):
        run_convert(config)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_names_of_splits_and_images_as_tools_write_them() -> None:
    assert [canonical(name) for name in ("train2017", "Valid", "test", "trainval", "images")] == [
        "train",
        "val",
        "test",
        "",
        "",
    ]
    assert clean_name("/data/local-files/?d=shots/a%20b.png") == "shots/a b.png"
    assert clean_name("..\\images\\a.png") == "images/a.png"
    assert clean_name("s3://bucket/shots/a.png") == "bucket/shots/a.png"
