"""Each format's parser: values worked out by hand, scores and ids, and each kind of bad input once."""

import math

import pytest

from selftrain_jax.data.formats import label_studio, labelme, open_images, voc, yolo
from selftrain_jax.data.formats.shapes import Shape, bounds, ellipse, polygon_area, read_whole, rotate
from selftrain_jax.data.sources.coco_records import read_outline
from selftrain_jax.data.sources.xml_tree import parse_xml
from selftrain_jax.errors import InputError

NAMES = {0: "cat", 1: "dog"}
PLACE = {"x": 1, "y": 1, "width": 5, "height": 5}


def test_yolo_lines_are_boxes_polygons_and_predictions() -> None:
    text = "0 0.5 0.5 0.5 0.25\n\n1 0.1 0.2 0.3 0.2 0.3 0.6\n0.0 0.5 0.5 1 1 0.75\n"
    shapes, problems = yolo.parse_lines(text, NAMES, (40, 80), "a.txt")
    assert not problems
    assert shapes[0] == Shape("cat", (15.0, 20.0, 25.0, 60.0), 1, score=None)._replace(area=shapes[0].area)
    assert shapes[1].yxyx == pytest.approx((8, 8, 24, 24))
    assert shapes[1].area == pytest.approx(16 * 16 / 2)
    assert (shapes[2].score, shapes[2].number) == (0.75, 4)


def test_yolo_key_points_behind_a_box_are_left_out() -> None:
    shapes, _ = yolo.parse_lines("0 0.5 0.5 1 1 0.2 0.2 2", NAMES, (10, 10), "a.txt", has_key_points=True)
    assert shapes[0].yxyx == (0, 0, 10, 10)
    assert shapes[0].outline == ()


@pytest.mark.parametrize("score", [None, 0.123456789])
def test_yolo_line_that_is_written_is_read_again(score: float | None) -> None:
    shape = Shape("dog", (3.125, 7.7, 19.2, 33.3), 1, score=score)
    found, _ = yolo.parse_lines(yolo.write_line(1, shape, (48, 64)), NAMES, (48, 64), "a.txt")
    assert found[0].yxyx == pytest.approx(shape.yxyx, abs=1e-12)
    assert found[0].score == score


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ("0 0.5 0.5 0.5", "malformed", "expected class cx cy w h"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "malformed", "expected class cx cy w h"),
        ("x 0.5 0.5 0.5 0.5", "malformed", "expected class"),
        ("0 nan 0.5 0.5 0.5", "malformed", "expected class"),
        ("2 0.5 0.5 0.5 0.5", "unknown_class", "class 2 has no name .known: 0 to 1"),
        ("0 32 20 10 10", "malformed", "divide pixels by"),
    ],
)
def test_bad_yolo_line_is_found_with_its_number(line: str, kind: str, words: str) -> None:
    shapes, problems = yolo.parse_lines(f"0 0.5 0.5 0.5 0.5\n{line}", NAMES, (40, 80), "a.txt")
    assert len(shapes) == 1
    assert (problems[0].kind, problems[0].where) == (kind, "a.txt:2")
    assert words in problems[0].message or words.replace(".", "(") in problems[0].message


@pytest.mark.parametrize("names", [None, [], ["a", "a"], {"x": "a"}, {0: ["a"]}])
def test_yolo_names_are_a_list_or_numbered(names: object) -> None:
    with pytest.raises(InputError, match="names"):
        yolo.parse_names(names, "data.yaml")
    assert yolo.parse_names({"1": "b", 0: "a"}, "data.yaml") == {0: "a", 1: "b"}


def region(value: dict, kind: str = "rectanglelabels", **more: object) -> dict:
    sizes = {"original_width": 200, "original_height": 100, "image_rotation": 0}
    return {"type": kind, "value": value, "id": "r", **sizes, **more}


def task(*results: dict, **more: object) -> dict:
    return {"id": 7, "data": {"image": "a.png"}, "annotations": [{"result": list(results), **more}]}


def test_label_studio_rectangle_turns_about_its_upper_left_corner() -> None:
    value = {"x": 50, "y": 50, "width": 10, "height": 20, "rotation": 90, "rectanglelabels": ["cat"]}
    image = label_studio.parse_tasks([task(region(value))], "x.json").images[0]
    # 20 px wide and 20 px high at (100, 50); a quarter turn clockwise lays it to the left of its corner.
    assert image.shapes[0].yxyx == pytest.approx((50, 80, 70, 100))
    assert image.shapes[0].area == pytest.approx(400)
    assert (image.size_px, image.image_id, image.shapes[0].shape_id) == ((100, 200), "7", "r")


def test_label_studio_polygon_and_ellipse_have_outlines() -> None:
    polygon = {"points": [[0, 0], [50, 0], [0, 50]], "polygonlabels": ["dog"]}
    round_one = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 10, "ellipselabels": ["cat"]}
    found = label_studio.parse_tasks([task(region(polygon), region(round_one))], "x.json").images[0].shapes
    assert found[0].yxyx == (0, 0, 50, 100)
    assert found[0].area == 2500
    assert found[1].yxyx == pytest.approx((40, 80, 60, 120))
    assert found[1].area == pytest.approx(math.pi * 20 * 10, rel=0.01)


def test_label_studio_takes_the_newest_annotation_and_no_skipped_one() -> None:
    value = {"x": 0, "y": 0, "width": 10, "height": 10}
    old, new = (region(value | {"rectanglelabels": [name]}) for name in ("cat", "dog"))
    annotations = [
        {"result": [new], "updated_at": "2026-02-01T00:00:00Z"},
        {"result": [old], "updated_at": "2026-01-01T00:00:00Z"},
        {"result": [old], "updated_at": "2026-03-01T00:00:00Z", "was_cancelled": True},
    ]
    both = {"data": {"image": "a.png"}, "annotations": annotations}
    nobody = {"data": {"image": "b.png"}, "annotations": []}
    empty = {"data": {"image": "c.png"}, "annotations": [{"result": []}]}
    parsed = label_studio.parse_tasks([both, nobody, empty], "x.json")
    assert [image.name for image in parsed.images] == ["a.png", "c.png"]
    assert [shape.name for shape in parsed.images[0].shapes] == ["dog"]
    assert parsed.left_out == {label_studio.SEVERAL: 1, label_studio.NOT_ANNOTATED: 1}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (region({**PLACE, "rectanglelabels": []}), "without a label"),
        (region({**PLACE, "rectanglelabels": ["a"]}, original_width=0), "original"),
        (region({**PLACE, "rectanglelabels": ["a"]}, image_rotation=90), "image_rotation"),
    ],
)
def test_bad_region_is_found_with_its_place(bad: dict, words: str) -> None:
    parsed = label_studio.parse_tasks([task(bad)], "x.json")
    assert parsed.problems[0].where == "x.json, tasks[0].annotations[0].result[0]"
    assert words in parsed.problems[0].message


def test_brush_masks_are_counted_as_left_out() -> None:
    parsed = label_studio.parse_tasks([task(region({"rle": [1], "brushlabels": ["a"]}, "brushlabels"))], "x")
    assert parsed.left_out == {"brushlabels results": 1}


def test_labelme_shapes_are_drawn_as_labelme_draws_them() -> None:
    shapes = [
        {"label": "cat", "points": [[9, 8], [1, 2]], "shape_type": "rectangle"},
        {"label": "dog", "points": [[5, 5], [8, 9]], "shape_type": "circle", "score": 0.5, "group_id": 3},
        {"label": "dog", "points": [[0, 0], [4, 0], [0, 4]], "shape_type": "polygon"},
        {"label": "dog", "points": [[0, 0], [4, 0]], "shape_type": "line"},
        {"label": "dog", "points": [[0, 0], [4, 0]], "shape_type": "polygon"},
    ]
    document = {"imagePath": "a.png", "shapes": shapes, "imageHeight": 10, "imageWidth": 12.0}
    parsed = labelme.parse_image(document, "a.json")
    found = parsed.images[0].shapes
    assert [shape.yxyx for shape in found[:1]] == [(2, 1, 8, 9)]
    assert found[1].yxyx == pytest.approx((0, 0, 10, 10))
    assert (found[1].score, found[1].shape_id, found[2].area) == (0.5, "3", 8)
    assert parsed.images[0].size_px == (10, 12)
    assert parsed.left_out == {"shapes of type 'line'": 1}
    assert [problem.where for problem in parsed.problems] == ["a.json, shapes[4]"]


def test_open_images_rows_are_shares_and_groups_are_crowds() -> None:
    lines = [
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf",
        "a,xclick,/m/1,1,0.25,0.5,0.1,0.2,1",
        "a,machine,/m/1,0.7,0,1,0,1,0",
        "b,xclick,/m/1,1,0,1,0,1,0",
        "a,xclick,/m/2,1,0,1,0,1,0",
        "a,xclick,/m/1,1,0,640,0,1,0",
    ]
    rows, problems, others = open_images.parse_boxes(lines, {"/m/1": "cat"}, "b.csv", ["a"])
    shape = open_images.to_shape(rows[0], (100, 200))
    assert (shape.yxyx, shape.is_crowd, rows[1].score, others) == ((10, 50, 20, 100), True, 0.7, 1)
    assert [(problem.kind, problem.where) for problem in problems] == [
        ("unknown_class", "b.csv:5"),
        ("malformed", "b.csv:6"),
    ]
    with pytest.raises(InputError, match="LabelName"):
        open_images.parse_boxes(["ImageID,XMin"], {}, "b.csv", [])


@pytest.mark.parametrize(("is_one_based", "expected"), [(True, (1, 0, 4, 3)), (False, (2, 1, 4, 3))])
def test_voc_object_with_two_boxes_gives_both(tmp_path, is_one_based: bool, expected: tuple) -> None:
    box = "<bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"
    (tmp_path / "a.xml").write_text(
        f"<annotation><filename>a.png</filename><object><name>cat</name>\n{box.format(1)}\n{box.format('x')}\n"
        f"{box.format(1)}</object></annotation>"
    )
    parsed = voc.parse_annotation(parse_xml(tmp_path / "a.xml"), "a.xml", is_one_based=is_one_based)
    assert [shape.yxyx for shape in parsed.images[0].shapes] == [expected, expected]
    assert [problem.where for problem in parsed.problems] == ["a.xml:3"]


def test_outlines_of_coco_are_polygons_or_run_lengths() -> None:
    assert read_outline([[0, 0, 4, 0, 4, 4]]) == ((0, 0, 4, 0, 4, 4),)
    assert read_outline({"size": [2, 2], "counts": [0, 4]}) == {"size": [2, 2], "counts": [0, 4]}
    assert read_outline([[0, 0, 4, 0]]) == read_outline([]) == read_outline(None) == ()


@pytest.mark.parametrize(
    ("stated", "whole"),
    [
        (640, 640),
        (640.0, 640),
        ("640", 640),
        ("640.0", 640),
        (True, None),
        (1.5, None),
        ("a", None),
        (None, None),
    ],
)
def test_whole_numbers_may_be_floats_or_text(stated: object, whole: int | None) -> None:
    assert read_whole(stated) == whole


def test_quarter_turns_come_back_to_the_start() -> None:
    ring = (1.0, 2.0, 5.0, 2.0, 5.0, 4.0)
    turned = ring
    for _ in range(4):
        turned = rotate(turned, 90.0, (3.0, 3.0))
    assert turned == pytest.approx(ring)
    assert (
        polygon_area(rotate(ring, 37.0, (0.0, 0.0))) == pytest.approx(polygon_area(ring)) == pytest.approx(4)
    )
    assert bounds(ellipse(5.0, 6.0, 2.0, 3.0)) == pytest.approx((3, 3, 9, 7))
