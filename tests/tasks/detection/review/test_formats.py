"""Every format: out and back is exact without a change, and each change is what it is."""

import json
import pathlib
import re
import shutil
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import yaml

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.corrections import ReviewedBox
from selftrain_jax.run_files.review import REVIEW_FILE, read_review
from selftrain_jax.tasks.detection.review.send import Layout
from tests.tasks.detection.review.sent import (
    ALL_FORMATS,
    BOXES,
    CATEGORIES,
    LAYOUT,
    SIZE,
    make_review,
    read_back,
    submit,
)

FILES = {"label_studio": "tasks.json", "cvat": "annotations.xml", "coco": "annotations.json"}


def export(folder: pathlib.Path, tool: str, layout: Layout = LAYOUT):
    """Export, and submit every task of Label Studio's."""
    review, output = make_review(folder, tool, layout)
    if tool == "label_studio":
        submit(output / "tasks.json", 0, 1, 2)
    path = output / FILES[tool] if tool in FILES else output
    return review, output, path


@pytest.mark.parametrize("tool", ALL_FORMATS)
def test_a_round_trip_without_a_change_is_exact(tmp_path: pathlib.Path, tool: str) -> None:
    review, output, path = export(tmp_path, tool)
    assert read_review(output / REVIEW_FILE) == review
    found = read_back(path, review, confirmed=True)
    assert (found.format, found.num_images) == (tool, 3)
    assert [image.image_id for image in found.reviewed] == list(BOXES)
    for image in found.reviewed:
        assert image.boxes == tuple(
            ReviewedBox(
                outcome="kept",
                box=own.box,
                class_id=own.class_id,
                index=own.index,
                teacher_class=own.class_id,
                score=own.score,
            )
            for own in BOXES[image.image_id]
        )


@pytest.mark.parametrize("tool", [tool for tool in ALL_FORMATS if tool != "label_studio"])
def test_an_image_without_a_change_stays_pseudo_unless_it_is_confirmed(
    tmp_path: pathlib.Path, tool: str
) -> None:
    review, _, path = export(tmp_path, tool)
    assert read_back(path, review).reviewed == ()
    assert {image.by for image in read_back(path, review, confirmed=True).reviewed} == {"anna"}


def test_in_label_studio_a_submitted_annotation_confirms_its_image(tmp_path: pathlib.Path) -> None:
    review, output = make_review(tmp_path, "label_studio")
    tasks = submit(output / "tasks.json", 1)
    tasks[0]["annotations"] = [{"result": [], "was_cancelled": True}]  # skipped
    (output / "tasks.json").write_text(json.dumps(tasks))
    found = read_back(output / "tasks.json", review, confirmed=True)
    (image,) = found.reviewed
    assert (image.image_id, image.by, image.at) == ("a/two", "user 1", "2026-11-27T09:00:00Z")


def edit_json(path: pathlib.Path, change) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def change_label_studio(path: pathlib.Path) -> None:
    def change(tasks):
        regions = tasks[0]["annotations"][0]["result"]
        regions[0]["value"]["x"] += 100 * 3 / SIZE[1]
        regions[1]["value"]["rectanglelabels"] = ["cat"]
        del regions[2]
        sides = {key: regions[0][key] for key in ("original_width", "original_height")}
        value = {**added, "rectanglelabels": ["cat"]}
        regions.append({"id": "Xy7", "type": "rectanglelabels", **sides, "value": value})

    added = {"x": 100 * 80 / SIZE[1], "y": 100 * 2 / SIZE[0], "width": 100 * 10 / SIZE[1]}
    added |= {"height": 100 * 9 / SIZE[0], "rotation": 0}
    edit_json(path, change)


def change_coco(path: pathlib.Path) -> None:
    """As a tool that renumbers annotations and keeps no attributes."""

    def change(document):
        annotations = document["annotations"]
        annotations[0]["bbox"][0] += 3
        annotations[1]["category_id"] = 1
        del annotations[2]
        annotations.append({"image_id": 1, "category_id": 1, "bbox": [80, 2, 10, 9]})
        for number, annotation in enumerate(reversed(annotations)):
            annotation |= {"id": number}
            annotation.pop("attributes", None)

    edit_json(path, change)


def change_cvat(path: pathlib.Path) -> None:
    tree = ElementTree.parse(path)
    image = tree.getroot().find("image")
    boxes = image.findall("box")
    for side in ("xtl", "xbr"):
        boxes[0].set(side, str(float(boxes[0].get(side)) + 3))
    boxes[1].set("label", "cat")
    image.remove(boxes[2])
    ElementTree.SubElement(image, "box", label="cat", xtl="80", ytl="2", xbr="90", ybr="11")
    ElementTree.SubElement(image, "tag", label="seen")
    tree.write(path)


def change_yolo(path: pathlib.Path) -> None:
    text = path / "labels" / "a" / "one 1.txt"
    lines = [line.split() for line in text.read_text().splitlines()]
    lines[0][1] = str(float(lines[0][1]) + 3 / SIZE[1])
    lines[1][0] = "0"
    del lines[2]
    lines.append(["0", str(85 / SIZE[1]), str(6.5 / SIZE[0]), str(10 / SIZE[1]), str(9 / SIZE[0])])
    text.write_text("\n".join(" ".join(line) for line in lines))


def change_labelme(path: pathlib.Path) -> None:
    def change(document):
        shapes = document["shapes"]
        for point in shapes[0]["points"]:
            point[0] += 3
        shapes[1]["label"] = "cat"
        del shapes[2]
        corners = [[80, 2], [90, 2], [90, 11], [80, 11]]
        shapes.append({"label": "cat", "points": corners, "shape_type": "polygon"})

    edit_json(path / "a" / "one 1.json", change)


CHANGES = {
    "label_studio": change_label_studio,
    "coco": change_coco,
    "cvat": change_cvat,
    "yolo": change_yolo,
    "labelme": change_labelme,
}


@pytest.mark.parametrize("tool", ALL_FORMATS)
def test_each_change_comes_back_as_what_it_is(tmp_path: pathlib.Path, tool: str) -> None:
    review, _, path = export(tmp_path, tool)
    CHANGES[tool](path)
    image = next(image for image in read_back(path, review).reviewed if image.image_id == "a/one 1")
    assert [box.outcome for box in image.boxes] == ["moved", "relabelled", "removed", "kept", "added"]
    moved, relabelled, _, kept, added = image.boxes
    sent = BOXES["a/one 1"]
    np.testing.assert_allclose(moved.box, np.add(sent[0].box, (0, 3, 0, 3)), atol=1e-3)
    assert (relabelled.box, relabelled.class_id, relabelled.teacher_class) == (sent[1].box, 1, 3)
    assert kept.box == sent[3].box
    np.testing.assert_allclose(added.box, [2, 80, 11, 90], atol=1e-3)
    assert added.class_id == 1


@pytest.mark.parametrize("tool", ["coco", "cvat"])
def test_an_image_that_is_there_without_boxes_lost_them_all(tmp_path: pathlib.Path, tool: str) -> None:
    review, _, path = export(tmp_path, tool)
    if tool == "coco":
        edit_json(path, lambda document: document["annotations"].clear())
    else:
        path.write_text(re.sub(r" *<box.*</box>\n", "", path.read_text()))
    found = read_back(path, review, removed="ignore")
    assert [image.image_id for image in found.reviewed] == ["a/one 1", "a/two"]
    assert {image.removed for image in found.reviewed} == {"ignore"}
    assert {box.outcome for image in found.reviewed for box in image.boxes} == {"removed"}


def test_an_image_that_is_not_in_the_file_was_not_looked_at(tmp_path: pathlib.Path) -> None:
    review, output, path = export(tmp_path, "yolo")
    (output / "labels" / "a" / "one 1.txt").unlink()
    (output / "labels" / "a" / "two.txt").write_text("")
    (image,) = read_back(path, review).reviewed
    assert (image.image_id, [box.outcome for box in image.boxes]) == ("a/two", ["removed"])


def test_what_tools_call_an_image_leads_to_it(tmp_path: pathlib.Path) -> None:
    """A base name, a path of its own, an upload of Label Studio's, another suffix."""
    review, _, path = export(tmp_path, "coco")
    names = ["one 1.png", "/data/upload/3/1a2b3c4d-two.png", "b\\three.jpg"]

    def rename(document):
        for image, name in zip(document["images"], names, strict=True):
            image["file_name"] = name

    edit_json(path, rename)
    found = read_back(path, review, confirmed=True)
    assert [image.image_id for image in found.reviewed] == list(BOXES)


def test_yolo_has_links_to_the_images_and_scores_where_asked(tmp_path: pathlib.Path) -> None:
    review, output, path = export(tmp_path, "yolo", LAYOUT._replace(yolo_scores=True))
    assert yaml.safe_load((output / "data.yaml").read_text())["names"] == dict(
        enumerate(name for _, name in CATEGORIES)
    )
    image = output / "images" / "a" / "one 1.png"
    assert image.readlink() == tmp_path / "images" / "a" / "one 1.png"
    lines = (output / "labels/a/one 1.txt").read_text().splitlines()
    assert [float(line.split()[5]) for line in lines] == [own.score for own in BOXES["a/one 1"]]
    assert (output / "labels" / "b" / "three.txt").read_text() == ""
    assert read_back(path, review, confirmed=True).reviewed[0].boxes[0].outcome == "kept"


def test_yolo_as_label_studio_writes_it(tmp_path: pathlib.Path) -> None:
    review, output, _ = export(tmp_path, "yolo")
    (output / "data.yaml").unlink()
    (output / "classes.txt").write_text("\n".join(name for _, name in CATEGORIES))
    (output / "notes.json").write_text("{}")
    assert len(read_back(output, review, confirmed=True).reviewed) == 3


def test_label_studio_gets_addresses_scores_and_a_version(tmp_path: pathlib.Path) -> None:
    _, output = make_review(tmp_path, "label_studio", Layout("http://x/?d=", tmp_path, False))
    task = json.loads((output / "tasks.json").read_text())[0]
    assert task["data"] == {"image": "http://x/?d=images/a/one%201.png", "image_id": "a/one 1"}
    (prediction,) = task["predictions"]
    assert prediction["model_version"] == "d" * 12
    assert prediction["score"] == pytest.approx(np.mean([box.score for box in BOXES["a/one 1"]]))
    assert [region["id"] for region in prediction["result"]] == ["r0", "r2", "r3", "r5"]
    labels = ElementTree.parse(output / "labeling_config.xml").getroot().iter("Label")
    assert [label.get("value") for label in labels] == [name for _, name in CATEGORIES]


def test_images_that_the_tool_does_not_serve_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"not below config\.review\.url_root=/nowhere"):
        make_review(tmp_path, "label_studio", Layout("/d=", pathlib.Path("/nowhere"), False))
    assert not (tmp_path / "label_studio").exists()
    assert not list(tmp_path.glob("*.tmp"))


def test_an_export_into_a_folder_with_something_in_it_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "coco").mkdir()
    make_review(tmp_path, "coco")  # empty is fine
    before = (tmp_path / "coco" / "annotations.json").read_bytes()
    with pytest.raises(InputError, match=r"coco is not empty; name a new folder"):
        make_review(tmp_path, "coco")
    assert (tmp_path / "coco" / "annotations.json").read_bytes() == before


def break_coco(**changes):
    return lambda path: edit_json(path, lambda document: document["annotations"][0].update(changes))


def lose_images(path):
    edit_json(path, lambda document: document["images"][0].update(file_name="elsewhere.png"))


def resize(path):
    edit_json(path, lambda document: document["images"][0].update(width=194, height=122))


def double(path):
    edit_json(
        path, lambda document: document["images"][1].update(file_name=document["images"][0]["file_name"])
    )


def name_class(path):
    edit_json(path, lambda document: document["categories"][0].update(name="cats"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (name_class, r"annotations\[0\]: class 'cats' is not one of this run's \(.*cat"),
        (break_coco(category_id=9), r"category_id is 9, which the file does not list"),
        (
            break_coco(bbox=[90, 2, 30, 9]),
            r"from \(90.0, 2.0\) to \(120.0, 11.0\) is outside the image: a/one",
        ),
        (break_coco(bbox=[10, 2, 0, 9]), r"is empty: a/one 1.png has 97 x 61"),
        (break_coco(bbox=[1, 2, float("nan"), 9]), r"bbox is .*; expected 4 finite numbers"),
        (lose_images, r"1 of its 3 images did not go out for this review: elsewhere.png"),
        (resize, r"has 194 x 122 pixels there and 97 x 61 here"),
        (double, r"image a/one 1 is twice"),
        (lambda path: path.write_text("{}"), r"of no format that corrections are read in"),
        (lambda path: path.write_text("id,label\n"), r"of no format that corrections are read in"),
        (lambda path: path.write_text('{"images": '), r"not JSON"),
        (lambda path: path.unlink(), r"does not exist; name the file"),
    ],
)
def test_bad_files_are_refused(tmp_path: pathlib.Path, spoil, words: str) -> None:
    review, _, path = export(tmp_path, "coco")
    spoil(path)
    with pytest.raises(InputError, match=words):
        read_back(path, review)


def test_an_archive_is_refused_with_the_command_that_unpacks_it(tmp_path: pathlib.Path) -> None:
    review, output, _ = export(tmp_path, "cvat")
    for kind, command in (("zip", "unzip .*back.zip -d .*back"), ("gztar", r"tar -xf .*back\.tar\.gz")):
        archive = shutil.make_archive(str(tmp_path / kind / "back"), kind, output)
        for path in (archive, pathlib.Path(archive).parent):
            with pytest.raises(InputError, match=f"is an archive; unpack it .*{command}"):
                read_back(pathlib.Path(path), review)


@pytest.mark.parametrize(
    ("tool", "old", "new", "words"),
    [
        ("cvat", "<box ", '<box rotation="30" ', "turned by 30 degrees"),
        ("cvat", "box", "ellipse", "has ellipse; expected boxes alone"),
        ("cvat", "xtl=", "left=", "expected 4 finite numbers"),
        ("cvat", "<annotations>", "<annotation>", "not XML"),
        ("label_studio", '"rotation": 0', '"rotation": 5', "it is turned, or no rectangle"),
        ("label_studio", '"original_width": 97,', "", "expected original_width and original_height"),
        ("label_studio", '"annotations"', '"other"', "export the project as JSON, not JSON-MIN"),
        ("label_studio", '["cat"]', '["cat", "dog"]', "expected one class"),
        ("labelme", '"rectangle"', '"point"', "shapes of type 'point', which are no boxes"),
        ("yolo", "0 ", "9 ", r"class 9 has no name \(known: 0 to 2\)"),
        ("yolo", "0 ", "0 1.5 ", "numbers outside 0 to 1"),
        ("yolo", "names", "nomes", "names is None; expected a list of class names"),
    ],
)
def test_bad_content_is_refused_by_its_place(
    tmp_path: pathlib.Path, tool: str, old: str, new: str, words: str
) -> None:
    review, output, path = export(tmp_path, tool)
    files = [output / FILES[tool]] if tool in FILES else sorted(output.rglob("one*.*[nt]"))
    for file in [*files, *output.glob("data.yaml")]:
        if file.suffix in (".json", ".xml", ".txt", ".yaml") and not (old == "0 " and file.suffix == ".yaml"):
            file.write_text(
                file.read_text().replace(old, new, 1) if old == "0 " else file.read_text().replace(old, new)
            )
    with pytest.raises(InputError, match=words):
        read_back(path, review)
