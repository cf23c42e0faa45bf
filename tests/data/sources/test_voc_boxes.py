import json
import logging
import pathlib
import re
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from selftrain_jax.data.sources.voc_boxes import find_problems, read_voc
from selftrain_jax.data.sources.xml_tree import parse_xml
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.detection.coco_export import write_coco_json
from selftrain_jax.types import Category

BCCD = pathlib.Path(__file__).parents[3] / "shared/data/bccd"
WIDTH, HEIGHT = 60, 40
SIZE = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"


def box(name: str, xmin: Any, ymin: Any, xmax: Any, ymax: Any, more: str = "") -> str:
    corners = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<object>\n<name>{name}</name>{more}<bndbox>{corners}</bndbox></object>\n"


def write_xml(
    root: pathlib.Path, image_id: str, *objects: str, file_name: str = "", size: str = SIZE
) -> None:
    path = root / "Annotations" / f"{image_id}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    name = f"<filename>{file_name or image_id + '.png'}</filename>"
    path.write_text(f"<annotation>\n{name}{size}\n{''.join(objects)}</annotation>")


def save_image(path: pathlib.Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), value, np.uint8)).save(path)


def write_split(root: pathlib.Path, split: str, text: str) -> None:
    path = root / "ImageSets" / "Main" / f"{split}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """Images b and a for training (in this order), c for testing; only c has a zebra."""
    root = tmp_path / "toys"
    for value, image_id in enumerate(("a", "b", "c")):
        save_image(root / "JPEGImages" / f"{image_id}.png", value)
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    write_xml(root, "a", box("cat", 1, 1, WIDTH, HEIGHT), box("Dog", 3, 5, 7, 11.5, part))
    write_xml(root, "b", box("cat", 2, 3, 4, 5, "<difficult>1</difficult>"))
    write_xml(root, "c", box("zebra", 2, 3, 4, 5))
    write_split(root, "train", "b\na\n\n")
    write_split(root, "test", "c\n")
    return root


def test_one_based_inclusive_corners_become_half_open_yxyx(root: pathlib.Path) -> None:
    source = read_voc(root, "train")
    assert source.name == "voc:toys/train"
    assert source.image_ids == ("b", "a")
    labels = source.read_labels(1)
    # The whole image, then columns 3..7 and rows 5..11.5 counted from 1.
    assert labels["boxes"].tolist() == [[0, 0, HEIGHT, WIDTH], [4, 2, 11.5, 7]]
    assert labels["boxes"].dtype == np.float32
    assert [int(source.read_image(index)[0, 0, 0]) for index in range(2)] == [1, 0]


def test_all_splits_share_the_sorted_names_of_the_whole_folder(root: pathlib.Path) -> None:
    train, test = read_voc(root, "train"), read_voc(root, "test")
    assert (
        train.categories == test.categories == (Category(1, "Dog"), Category(2, "cat"), Category(3, "zebra"))
    )
    assert train.read_labels(1)["classes"].tolist() == [2, 1]
    assert test.read_labels(0)["classes"].tolist() == [3]


def test_given_classes_set_the_ids_by_position(root: pathlib.Path) -> None:
    source = read_voc(root, "train", ("cat", "Dog"))
    assert source.categories == (Category(1, "cat"), Category(2, "Dog"))
    assert source.read_labels(1)["classes"].tolist() == [1, 2]


def test_difficult_objects_are_flagged_as_crowds(root: pathlib.Path) -> None:
    source = read_voc(root, "train")
    assert source.read_labels(0)["is_crowd"].tolist() == [True]
    assert source.read_labels(1)["is_crowd"].tolist() == [False, False]


def test_objects_have_no_area_but_their_boxs(root: pathlib.Path) -> None:
    source = read_voc(root, "train")
    for index in range(2):
        assert set(source.read_labels(index)) == {"image_id", "boxes", "classes", "is_crowd"}
    write_coco_json(source, root / "truth.json")
    written = json.loads((root / "truth.json").read_text())["annotations"]
    assert [entry["area"] for entry in written] == [3 * 3, WIDTH * HEIGHT, 5 * 7.5]


def test_image_may_lie_deeper_and_have_another_name_than_the_annotation(root: pathlib.Path) -> None:
    save_image(root / "JPEGImages" / "deep" / "x.png", 77)
    write_xml(root, "sub/d", box("cat", 2, 3, 4, 5), file_name="deep/x.png")
    write_split(root, "train", "sub/d\n")
    source = read_voc(root, "train")
    assert source.image_ids == ("sub/d",)
    assert source.read_image(0)[0, 0, 0] == 77


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>"])
def test_a_size_not_stated_is_read_from_the_image(root: pathlib.Path, size: str) -> None:
    write_xml(root, "a", box("cat", 0, 0, 1000, 1000), size=size)
    assert read_voc(root, "train").read_labels(1)["boxes"].tolist() == [[0, 0, HEIGHT, WIDTH]]


BAD_BOXES = [
    (box("cat", 5, 6, 5, 9), "zero_area", r"image a: the box .* has no area"),
    (box("cat", 5, 6, 5, 6), "zero_area", r"= \(6, 5, 6, 5\) has no area"),
    (box("cat", 5, 6, 9, 3), "zero_area", "no area"),
    (box("cat", 61, 6, 70, 9), "outside", "outside the image"),
    (box("cat", "nan", 6, 7, 9), "nan", "not a finite number"),
    (box("cat", 5, 6, "1e999", 9), "nan", "not a finite number"),
]
BAD_OBJECTS = [
    (box("cta", 5, 6, 7, 9), "unknown_class", r"class 'cta' .*\(nearest: cat\)"),
    (box("", 5, 6, 7, 9), "unknown_class", "class None"),
    (box("cat", "five", 6, 7, 9), "malformed", r"\['6', 'five', '9', '7'\]; expected four numbers"),
    ("<object>\n<name>cat</name></object>", "malformed", "expected four numbers"),
]


@pytest.mark.parametrize(("bad", "kind", "words"), BAD_BOXES + BAD_OBJECTS)
def test_each_fault_is_found_with_its_line_and_stops_the_reader(
    root: pathlib.Path, bad: str, kind: str, words: str
) -> None:
    write_xml(root, "a", box("cat", 2, 3, 4, 5), bad)
    problems = list(find_problems(root, "train", ("cat", "Dog")))
    assert [problem.kind for problem in problems] == [kind]
    # <annotation>, the file name and the first object take lines 1 to 4.
    assert problems[0].where == str(root.resolve() / "Annotations" / "a.xml") + ":5"
    assert re.search(words, problems[0].message)
    with pytest.raises(InputError, match=rf"voc:toys/train: 1 problem\n.*a\.xml:5: .*{words}"):
        read_voc(root, "train", ("cat", "Dog"))


@pytest.mark.parametrize(("bad", "kind", "words"), BAD_BOXES)
def test_bad_boxes_can_be_dropped_with_one_warning(
    root: pathlib.Path, bad: str, kind: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_xml(root, "a", box("cat", 2, 3, 4, 5), bad)
    with caplog.at_level(logging.WARNING):
        source = read_voc(root, "train", bad_boxes="drop")
    assert source.read_labels(1)["boxes"].tolist() == [[2, 1, 5, 4]]
    assert len(caplog.records) == 1
    assert "1 problem" in caplog.text


def test_missing_image_and_names_that_lead_outside_are_refused(root: pathlib.Path) -> None:
    (root / "secret.png").write_bytes((root / "JPEGImages" / "a.png").read_bytes())
    (root / "JPEGImages" / "link.png").symlink_to(root / "secret.png")
    cases = {
        "gone.png": ("missing_image", "'gone.png' is not in"),
        "../secret.png": ("malformed", "leaves"),
        "link.png": ("malformed", "leaves"),
        str(root / "JPEGImages" / "a.png"): ("malformed", "leaves"),
    }
    for file_name, (kind, words) in cases.items():
        write_xml(root, "a", file_name=file_name)
        (problem,) = find_problems(root, "train")
        assert (problem.kind, words in problem.message) == (kind, True)
        with pytest.raises(InputError, match=words):
            read_voc(root, "train")


def test_faults_of_the_split_list_name_its_line(root: pathlib.Path) -> None:
    write_split(root, "train", "a\nb\na\nghost\n../c\n")
    problems = list(find_problems(root, "train"))
    assert [(problem.kind, problem.where[-11:]) for problem in problems] == [
        ("duplicate_id", "train.txt:3"),
        ("malformed", "train.txt:4"),
        ("malformed", "train.txt:5"),
    ]
    assert "ghost has no annotation file" in problems[1].message


def test_unknown_split_is_answered_with_the_known_ones(root: pathlib.Path) -> None:
    with pytest.raises(InputError, match="no split 'val'; splits found: test, train"):
        read_voc(root, "val")


def test_empty_split_is_refused(root: pathlib.Path) -> None:
    write_split(root, "val", "\n")
    with pytest.raises(InputError, match=r"val\.txt: is empty"):
        read_voc(root, "val")


@pytest.mark.parametrize("name", ["", "Annotations", "JPEGImages"])
def test_missing_folders_are_named(root: pathlib.Path, name: str) -> None:
    (root / name).rename(root.parent / "moved")
    with pytest.raises(InputError, match=f"{root / name}.* does not exist"):
        read_voc(root, "train")


def test_broken_xml_is_refused_with_its_line_even_in_another_split(root: pathlib.Path) -> None:
    (root / "Annotations" / "c.xml").write_text("<annotation>\n<filename>c.png</filename>\n<object>")
    with pytest.raises(InputError, match=r"c\.xml:3: not XML"):
        read_voc(root, "train")
    assert len(read_voc(root, "train", ("cat", "Dog"))) == 2  # with classes given, c is not looked at


def test_repeated_class_names_are_refused(root: pathlib.Path) -> None:
    with pytest.raises(InputError, match="repeat"):
        read_voc(root, "train", ("cat", "cat"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entity_declarations_are_refused_before_they_expand(tmp_path: pathlib.Path, encoding: str) -> None:
    layers = "\n".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha"}">' for n in range(10))
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n<!DOCTYPE x [\n{layers}\n]>\n<x>&e9;</x>'
    path = tmp_path / "laughs.xml"
    path.write_bytes(text.encode(encoding))
    started = time.process_time()
    with pytest.raises(InputError, match=r"laughs\.xml:3: declares the entity 'e0'"):
        parse_xml(path)
    assert time.process_time() - started < 1


def test_tree_knows_lines_and_texts(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text("<a>\n<b>\n <c> one &amp; two </c><c>three</c></b>\n<empty/></a>")
    tree = parse_xml(path)
    assert tree.find_text("b/c") == "one & two"
    assert [child.line for child in tree.children] == [2, 4]
    assert tree.find_text("empty") is None
    assert tree.find_text("b/none/c") is None


REAL = """
import json, time
import numpy as np
from selftrain_jax.data.sources.voc_boxes import find_problems, read_voc
started = time.process_time()
splits = [read_voc(ROOT, split, bad_boxes="drop") for split in ("train", "val", "test")]
seconds = (time.process_time() - started) / 3
classes = np.concatenate([split.read_labels(i)["classes"] for split in splits for i in range(len(split))])
print(json.dumps({
    "seconds": seconds,
    "images": [len(split) for split in splits],
    "names": [category.name for category in splits[0].categories],
    "boxes": np.bincount(classes).tolist(),
    "shape": splits[2].read(0)["image"].shape,
    "problems": list(find_problems(ROOT, "train")),
}))
"""


@pytest.mark.skipif(not BCCD.is_dir(), reason=f"real data: {BCCD} is absent")
def test_real_blood_cells_are_read_in_under_a_second() -> None:
    """In a process of its own: the checks on shapes cost ten times the reading."""
    code = REAL.replace("ROOT", repr(str(BCCD)))
    found = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert found["seconds"] < 1
    assert found["images"] == [205, 87, 72]
    assert found["names"] == ["Platelets", "RBC", "WBC"]
    # 361, 4155 and 372 as written; the two boxes without area are red cells.
    assert found["boxes"] == [0, 361, 4153, 372]
    assert found["shape"] == [480, 640, 3]
    ((kind, where, _),) = found["problems"]
    assert kind == "zero_area"
    assert where == f"{BCCD}/Annotations/BloodImage_00343.xml:50"
