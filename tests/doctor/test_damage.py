"""Damage that importers hide, one planted fault a test: what the doctor says; of sound data nothing."""

import json
import pathlib
import shlex

import numpy as np
import pytest
from PIL import Image

from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.coco import read_coco_json
from selftrain_jax.data.sources.image_folder import read_image_folder
from selftrain_jax.doctor.class_names import judge_names
from selftrain_jax.doctor.coco_files import CocoFile, judge_coco_files
from selftrain_jax.doctor.corners import Corners, count_corners, judge_corners
from selftrain_jax.doctor.examine import scan_split
from selftrain_jax.doctor.neighbours import Frame, find_frames, propose, split_number
from selftrain_jax.doctor.turns import judge_turns
from selftrain_jax.doctor.verdicts import judge_repeats, judge_unlabelled
from selftrain_jax.doctor.voc_files import voc_corners
from selftrain_jax.html.blocks import Finding
from selftrain_jax.tasks.detection.box_statistics import judge_boxes, summarise_boxes
from selftrain_jax.types import Category

WIDTH, HEIGHT = 40, 30


def plain_document() -> dict:
    """Three images, two of them with a box; classes with ids 1 and 3; an outline that fills its box."""
    images = [{"id": n, "file_name": f"{n}.png", "width": WIDTH, "height": HEIGHT} for n in (1, 2, 3)]
    outline = [[4, 5, 14, 5, 14, 13, 4, 13]]
    boxes = [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "bbox": [4, 5, 10, 8],
            "area": 80,
            "segmentation": outline,
        },
        {"id": 2, "image_id": 2, "category_id": 3, "bbox": [1, 2, 20, 20], "area": 200},
    ]
    categories = [{"id": 1, "name": "car"}, {"id": 3, "name": "dog"}]
    return {"images": images, "annotations": boxes, "categories": categories}


def save_images(root: pathlib.Path, names, **options) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / name, **options)


def judge(tmp_path: pathlib.Path, document: dict, **options) -> list[Finding]:
    """Write the file and its images, and return what is no ok."""
    save_images(tmp_path / "images", sorted({image["file_name"] for image in document["images"]}))
    (tmp_path / "train.json").write_text(json.dumps(document))
    found = judge_coco_files({"train": CocoFile(tmp_path / "train.json", tmp_path / "images")}, **options)
    return [finding for finding in found if finding.level != "ok"]


def test_of_a_sound_file_nothing_is_said_but_what_is_harmless(tmp_path: pathlib.Path) -> None:
    assert judge(tmp_path, plain_document()) == []
    files = {split: CocoFile(tmp_path / "train.json", tmp_path / "images") for split in ("train", "val")}
    said = [finding.finding for finding in judge_coco_files(files)]  # with the same ids in both files
    assert said[:2] == [
        "train: class ids run from 1 to 3 with 1 gaps: harmless, their outputs stay unused",
        "train: 1 of 3 images are listed without an object: they teach background",
    ]
    assert len(said) == 4


def test_phantom_class_of_roboflow_is_named_and_left_out_as_the_remedy_says(tmp_path: pathlib.Path) -> None:
    document = plain_document()
    for category in document["categories"]:
        category["supercategory"] = "vehicles, pets"
    document["categories"].append({"id": 9, "name": "vehicles, pets", "supercategory": "none"})
    (finding,) = judge(tmp_path, document)
    assert "class 'vehicles, pets' has no box and is the supercategory of others" in finding.finding
    (key,) = [word for word in shlex.split(finding.remedy) if word.startswith("--config.data.classes=")]
    names = key.partition("=")[2].split(",")
    source = read_coco_json(tmp_path / "train.json", tmp_path / "images", category_names=names)
    assert [name for _, name in source.categories] == ["car", "dog"]


def test_phantom_class_that_the_reader_drops_is_not_named_again(tmp_path: pathlib.Path) -> None:
    document = plain_document()
    for category in document["categories"]:
        category["supercategory"] = "things"
    document["categories"].append({"id": 9, "name": "things", "supercategory": "none"})
    assert judge(tmp_path, document, drops_groups=True) == []
    document["categories"].append({"id": 0, "name": "objects"})
    (finding,) = judge(tmp_path, document, drops_groups=True)
    assert "class 'objects' has no box and has id 0" in finding.finding


def test_class_0_without_a_box_is_a_phantom_and_with_boxes_is_none(tmp_path: pathlib.Path) -> None:
    document = plain_document()
    document["categories"].append({"id": 0, "name": "objects"})
    (finding,) = judge(tmp_path, document)
    assert "class 'objects' has no box and has id 0" in finding.finding
    document["annotations"][0]["category_id"] = 0
    assert not [finding for finding in judge(tmp_path, document) if "'objects'" in finding.finding]


def test_images_that_no_split_lists_are_counted_unless_the_teacher_labels_them(
    tmp_path: pathlib.Path,
) -> None:
    save_images(tmp_path / "images", ["background.jpg", "other.png"])
    (finding,) = judge(tmp_path, plain_document())
    assert "train: 2 of 5 image files in" in finding.finding
    assert "background.jpg, other.png" in finding.finding
    assert judge(tmp_path, plain_document(), unlabelled=[tmp_path / "images"]) == []
    document = plain_document()
    document["images"] += [{"id": 7, "file_name": "background.jpg"}, {"id": 8, "file_name": "./other.png"}]
    assert judge(tmp_path, document) == []


def test_file_that_two_ids_name_is_found(tmp_path: pathlib.Path) -> None:
    document = plain_document()
    document["images"][2]["file_name"] = "1.png"
    (finding,) = judge(tmp_path, document)
    assert "train: 1 image files are listed under several ids: 1.png" in finding.finding


def test_area_above_its_box_and_outline_apart_from_it_are_found(tmp_path: pathlib.Path) -> None:
    document = plain_document()
    document["annotations"][1]["area"] = 421  # 20 x 20 and 5 % are 420
    (finding,) = judge(tmp_path, document)
    assert "1 of 2 objects have an area above their box's: annotations[1] (area 421, box" in finding.finding
    document["annotations"][1]["area"] = 420
    document["annotations"][0]["segmentation"][0][0] = 1.9
    (finding,) = judge(tmp_path, document)
    assert "1 of 2 outlines and boxes are apart: annotations[0] (by 2 px)" in finding.finding
    document["annotations"][0]["segmentation"] = {"counts": "run lengths", "size": [30, 40]}
    assert judge(tmp_path, document) == []


@pytest.mark.parametrize("text", ["[]", "{}", '{"images": 3, "annotations": [4], "categories": null}', "{"])
def test_file_that_the_reader_refuses_is_passed_over(text: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "train.json").write_text(text)
    files = {"train": CocoFile(tmp_path / "train.json", tmp_path)}
    assert [finding for finding in judge_coco_files(files) if finding.level != "ok"] == []


def whole_width(low: float, high: float) -> Corners:
    """Boxes over the whole of three images, as a tool that counts so writes them."""
    sides = (low, low, WIDTH + high, HEIGHT + high, WIDTH, HEIGHT)
    return count_corners([tuple(map(float, sides))] * 3)


@pytest.mark.parametrize(
    ("low", "high", "counts_from", "words"),
    [
        (0, 0, 0, None),  # COCO
        (1, 0, 1, None),  # VOC
        (
            1,
            1,
            0,
            "6 sides of boxes lie 1 px beyond their image, 6 at 1 and none at 0: pixels seem to be count",
        ),
        (0, -1, 0, "6 sides of boxes lie at 0, 6 1 px before the far border and none on it"),
        (0, 0, 1, "6 sides of boxes lie at 0, but VOC counts pixels from 1"),
        (0, -1, 1, "6 sides of boxes lie at 0, but VOC counts pixels from 1"),
        (5, -5, 0, None),
    ],
)
def test_borders_tell_how_a_file_counts_pixels(low, high, counts_from: int, words) -> None:
    found = list(judge_corners("train", whole_width(low, high), counts_from=counts_from))
    assert [words in finding.finding for finding in found] == ([] if words is None else [True])


def test_corners_of_voc_are_read_as_the_files_have_them(tmp_path: pathlib.Path) -> None:
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("a\nb\nabsent\n")
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
    box = "<object><bndbox><xmin>0</xmin><ymin>1</ymin><xmax>40</xmax><ymax>29</ymax></bndbox></object>"
    (tmp_path / "Annotations" / "a.xml").write_text(f"<annotation>{size}{box}</annotation>")
    (tmp_path / "Annotations" / "b.xml").write_text(f"<annotation>{size}<object/></annotation>")
    assert voc_corners(tmp_path, "val") == Corners(at_0=1, at_1=1, at_last=1, at_size=1, beyond=0)
    assert voc_corners(tmp_path, "none") == Corners(0, 0, 0, 0, 0)


def boxes_of(boxes, is_crowd) -> list[Finding]:
    """Judge a split of one image with these boxes."""
    labels = {
        "image_id": "a",
        "boxes": np.array(boxes, np.float32),
        "classes": np.ones(len(boxes), np.int32),
        "is_crowd": np.array(is_crowd, bool),
    }
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    names = (Category(1, "car"),)
    scan = scan_split(Source("tiny", names, ("a",), lambda _: dict(labels), lambda _: b"", lambda _: image))
    found = judge_boxes("train", 1, summarise_boxes(scan))
    return [finding for finding in found if "under 10 boxes" not in finding.finding]


def test_objects_that_are_all_crowds_are_an_error_and_mostly_crowds_a_warning() -> None:
    box = [1, 2, 10, 20]
    (finding,) = boxes_of([box, box], [True, True])
    assert finding.level == "error"
    assert "train: all 2 objects are crowds (iscrowd=1, difficult=1): nothing is trained" in finding.finding
    assert "CVAT" in finding.remedy
    (finding,) = boxes_of([box] * 3, [True, True, False])
    assert "train: 2 of 3 objects are crowds" in finding.finding
    assert boxes_of([box, box], [True, False]) == []


def test_coordinates_from_0_to_1_are_an_error_that_says_so() -> None:
    findings = boxes_of([[0.1, 0.2, 0.9, 0.8], [0, 0, 1, 1]], [False, False])
    assert [finding.level for finding in findings] == ["error"]
    assert "coordinates seem to be shares of the image, from 0 to 1" in findings[0].finding


def named(*names: str) -> Source:
    categories = tuple(Category(number, name) for number, name in enumerate(names, 1))
    return Source("x", categories, (), lambda _: {}, lambda _: b"", lambda _: np.zeros((1, 1, 3), np.uint8))


def test_names_that_differ_by_case_or_space_are_found_within_and_between_splits() -> None:
    (within,) = judge_names({"train": named("car", "Car", "dog")})
    assert within.finding.startswith("train: the classes 'car' and 'Car' differ only by case")
    (between,) = judge_names({"train": named("traffic light"), "val": named("Traffic_Light ")})
    assert "'traffic light' in train; 'Traffic_Light ' in val" in between.finding
    assert list(judge_names({"train": named("car", "cart"), "val": named("car", "cart")})) == []


def turned_folder(root: pathlib.Path, orientation: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Source:
    """Write two photographs, one of them with an orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    root.mkdir()
    Image.new("RGB", size, "red").save(root / "a.jpg")
    Image.new("RGB", size, "blue").save(root / "b.jpg", exif=exif)
    return read_image_folder(root)


@pytest.mark.parametrize(
    ("orientation", "size", "level", "words"),
    [
        (3, (WIDTH, HEIGHT), "warning", "as b.jpg (3), and keep their size"),
        (6, (WIDTH, WIDTH), "warning", "as b.jpg (6), and keep their size"),
        (6, (WIDTH, HEIGHT), "ok", "the stated sizes are those of the stored pixels"),
        (1, (WIDTH, HEIGHT), None, ""),
    ],
)
def test_exif_turns_are_counted_and_judged_by_size(orientation, size, level, words, tmp_path) -> None:
    scan = scan_split(turned_folder(tmp_path / "photos", orientation, size))
    found = list(judge_turns({"train": scan}))
    assert [finding.level for finding in found] == ([level] if level else [])
    assert all(finding.finding.startswith("train: 1 of 2 images carry an EXIF turn") for finding in found)
    assert all(words in finding.finding for finding in found)
    unlabelled = list(judge_turns({"unlabelled": scan}))
    assert [finding.level for finding in unlabelled] == (["warning"] if level else [])


def test_image_under_two_ids_in_train_is_found(tmp_path: pathlib.Path) -> None:
    save_images(tmp_path / "images", ["1.png", "2.png"])
    (tmp_path / "images" / "copy.png").write_bytes((tmp_path / "images" / "1.png").read_bytes())
    scan = scan_split(read_image_folder(tmp_path / "images"))
    (finding,) = judge_repeats({"train": scan})
    assert "train: 2 of 3 images are there under several ids, as 1.png and copy.png" in finding.finding
    assert list(judge_repeats({"val": scan})) == []


def test_unlabelled_images_are_not_missed_where_train_could_not_be_opened() -> None:
    assert list(judge_unlabelled([])) == []


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("seq12_000341.jpg", ("seq12_", 341)),
        ("a/b-7", ("a/b-", 7)),
        ("v1_frame10_jpg.rf.0a1b2c.jpg", ("v1_frame", 10)),
        ("42.png", ("", 42)),
        ("left.png", None),
        ("a_" + "1" * 40, None),
    ],
)
def test_names_of_frames_are_taken_apart(name: str, found) -> None:
    assert split_number(name) == found


def test_frames_are_neighbours_where_numbers_are_near_and_pictures_alike() -> None:
    trained = [Frame("s1_000100.jpg", np.uint64(0)), Frame("s2_000100.jpg", np.uint64(0))]
    alike, other = np.uint64(2**12 - 1), np.uint64(2**13 - 1)  # 12 and 13 bits
    evaluated = [
        Frame("s1_000130.jpg", alike),
        Frame("s1_000131.jpg", alike),
        Frame("s2_000099.jpg", other),
        Frame("s3_000100.jpg", alike),
        Frame("photo.jpg", alike),
    ]
    assert find_frames(trained, evaluated) == [("s1_000100.jpg", "s1_000130.jpg")]


@pytest.mark.parametrize(
    ("names", "pair", "sizes"),
    [
        (["s1_01.jpg", "s1_02.jpg", "s2_01.jpg"], ("s1_01.jpg", "s1_02.jpg"), (2, 1)),
        (["v1/01.jpg", "v1/02.jpg", "v2/01.jpg"], ("v1/01.jpg", "v1/02.jpg"), (2, 1)),
        (["v1/a.jpg", "v1/b.jpg", "v2/a.jpg"], ("v1/a.jpg", "v1/b.jpg"), (2, 1)),
        (["p1_left_1.png", "p1_right_1.png", "p2_left_1.png"], ("p1_left_1.png", "p1_right_1.png"), (2, 1)),
        (
            ["a_1_jpg.rf.9f.jpg", "a_2_jpg.rf.7.jpg", "b_1.jpg"],
            ("a_1_jpg.rf.9f.jpg", "a_2_jpg.rf.7.jpg"),
            (2, 1),
        ),
        (["1.jpg", "2.jpg", "3.jpg"], ("1.jpg", "2.jpg"), None),
        (["cat.jpg", "dog.jpg"], ("cat.jpg", "dog.jpg"), None),
    ],
)
def test_proposed_regex_keeps_neighbours_together_in_more_than_one_group(names, pair, sizes) -> None:
    found = propose(names, [pair])
    assert (found.group_sizes if found else None) == sizes
    assert found is None or found.num_kept == 1
