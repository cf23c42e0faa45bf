"""COCO results, YOLO txt and Label Studio's predictions: the same boxes out of each, and bad files named."""

import json
import pathlib
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.foreign.boxes import ForeignBoxes
from selftrain_jax.selftrain.foreign.files import hash_content, one_each
from selftrain_jax.selftrain.foreign.read_boxes import read_foreign_boxes

KEY = "config.foreign.predictions"
HEIGHT, WIDTH = 100, 200
BOX = (10.0, 20.0, 40.0, 80.0)  # yxyx
RESULT = {"image_id": 7, "category_id": 3, "bbox": [20, 10, 60, 30], "score": 0.75}
LINE = "3 0.25 0.25 0.3 0.3 0.75"  # the same box, as shares of 200 x 100


def region(**changes: object) -> dict:
    value = {"x": 10, "y": 10, "width": 30, "height": 30, "rectanglelabels": ["cat"], "rotation": 0}
    return {"type": "rectanglelabels", "value": {**value, **changes}, "score": 0.75}


def task(*results: dict, image: str = "/data/upload/1/0a1b2c3d-a.jpg", **prediction: object) -> dict:
    own = {"model_version": "sam3", "result": list(results), **prediction}
    return {"id": 1, "data": {"image": image}, "predictions": [own], "annotations": []}


def write(path: pathlib.Path, content: object) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def read(path: pathlib.Path, annotations: str = "") -> ForeignBoxes:
    return read_foreign_boxes(path, annotations, KEY)


def in_pixels(found: ForeignBoxes) -> np.ndarray:
    return found.boxes * (np.array([HEIGHT, WIDTH, HEIGHT, WIDTH]) if found.is_frac else 1)


def test_the_three_formats_hold_the_same_box(tmp_path: pathlib.Path) -> None:
    coco = read(write(tmp_path / "r.json", [RESULT]))
    write(tmp_path / "labels/a.txt", LINE)
    yolo = read(tmp_path / "labels")
    studio = read(write(tmp_path / "s.json", [task(region())]))
    for found in (coco, yolo, studio):
        np.testing.assert_allclose(in_pixels(found), [BOX])
        assert found.scores.tolist() == [0.75]
    assert (coco.images, coco.labels, dict(coco.names)) == (("7",), ("3",), {})
    assert (yolo.images, yolo.labels, dict(yolo.names)) == (("a.txt",), ("3",), {})
    assert (studio.images, studio.labels, dict(studio.names)) == (("a.jpg",), ("cat",), {"cat": "cat"})
    assert studio.model == "sam3"


def test_an_annotation_file_names_images_and_classes_of_results(tmp_path: pathlib.Path) -> None:
    images = [{"id": 7, "file_name": "x/a.jpg"}, {"id": 8, "file_name": "x/b.jpg"}]
    names = write(tmp_path / "a.json", {"images": images, "categories": [{"id": 3, "name": "cat"}]})
    found = read(write(tmp_path / "r.json", [RESULT]), str(names))
    assert found.images == ("x/a.jpg", "x/b.jpg")  # the second one without a box
    assert dict(found.names) == {"3": "cat"}
    with pytest.raises(InputError, match=r"r\.json\[0\]: image_id 9 is not in the annotation file"):
        read(write(tmp_path / "r.json", [{**RESULT, "image_id": 9}]), str(names))


def test_yolo_reads_empty_files_and_names(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "b.txt", "")
    write(tmp_path / "a.txt", f"{LINE}\n\n{LINE}\n")
    write(tmp_path / "classes.txt", "dog\ncow\nhen\ncat\n")
    found = read(tmp_path)
    assert found.images == ("a.txt", "b.txt")
    assert found.names["3"] == "cat"
    assert found.place(1) == f"{tmp_path / 'a.txt'}:3"


def test_label_studio_takes_the_predictions_score_and_skips_other_regions(tmp_path: pathlib.Path) -> None:
    scored = region()
    del scored["score"]
    polygon = {"type": "polygonlabels", "value": {}}
    local = "/data/local-files/?d=set/b%20c.jpg"
    unlabelled = {"data": {"image": "c.jpg"}, "predictions": []}
    found = read(write(tmp_path / "s.json", [task(scored, polygon, image=local, score=0.5), unlabelled]))
    assert found.scores.tolist() == [0.5]
    assert found.images == ("set/b c.jpg",)
    assert found.notes == ("1 regions of type polygonlabels are no boxes, left out",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "a list without any prediction; expected COCO results"),
        ({"annotations": [], "images": []}, "annotation file, whose boxes people drew: they have no scores"),
        ({"boxes": 1}, "expected COCO results"),
        ("box,score\n1,2", "not JSON.*expected COCO results"),
        ("", "is empty; the model's export was not finished"),
        ([{**RESULT, "score": None}], r"r\.json\[0\]: a box without a score; expected the key \"score\""),
        (
            [RESULT, {**RESULT, "score": 75}],
            r"\[1\]: the score is 75; 1 of 2 .* in percent, up to 75: divide",
        ),
        ([{**RESULT, "score": -3.5}], r"\[0\]: the score is -3.5.* of 0 to 1"),
        ([{**RESULT, "score": 101.5}], r"\[0\]: the score is 101.5.* sigmoid"),
        (
            [RESULT, {"image_id": 7, "category_id": 3, "bbox": [1, 2, 3], "score": 1}],
            r"\[1\]: .*x, y, width, h",
        ),
        ([{"image_id": 7, "category_id": 3, "segmentation": {}, "score": 1}], r"\[0\]: a mask and no bbox"),
        ([task(region(rotation=30))], r"s*\[0\], predictions\[0\].result\[0\]: turned by 30 degrees"),
        ([task(region(x=640))], "in pixels; expected percent"),
        ([task(region(rectanglelabels=["a", "b"]))], "one label in rectanglelabels"),
        ([task({**region(), "score": None})], 'a box without a score; expected "score" in the region'),
        (
            [{**task(), "predictions": [{"result": []}, {"result": []}]}],
            "2 predictions, .*one model at a time",
        ),
        ([task(region()), task(region(), model_version="b")], "2 model versions"),
        ([{**task(), "data": {"a": "1", "b": "2"}}], "expected the image as"),
        ([{**task(), "predictions": [{"result": None}]}], "expected a list of regions"),
    ],
)
def test_bad_json_is_named(tmp_path: pathlib.Path, content: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(write(tmp_path / "r.json", content))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("3 0.25 0.25 0.3 0.3", r"a\.txt:2: a box without a score; expected six columns.*save_conf=True"),
        ("3 50 25 60 30 0.75", r"a\.txt:2: .* no shares of the image; divide pixels by the image's width"),
        ("3 0.25 0.25 0.3 0.3 75", r"a\.txt:2: the score is 75; .*percent, up to 75: divide them by 100"),
        ("3 0.25 0.25 0.3 0.3 0.1 0.2 0.3", r"a\.txt:2: .*expected class cx cy w h"),
        ("3 0.1 0.1 0.3 0.1 0.3 0.3", r"a\.txt:2: a box without a score; .* predict boxes"),
        ("3 0.25 x 0.3 0.3 0.5", r"a\.txt:2: .*expected class cx cy w h"),
    ],
)
def test_bad_lines_of_yolo_are_named(tmp_path: pathlib.Path, line: str, words: str) -> None:
    write(tmp_path / "a.txt", f"{LINE}\n{line}\n")
    with pytest.raises(InputError, match=words):
        read(tmp_path)


def archive(tmp_path: pathlib.Path) -> pathlib.Path:
    with zipfile.ZipFile(tmp_path / "labels.zip", "w") as file:
        file.writestr("a.txt", LINE)
    return tmp_path / "labels.zip"


def empty(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "labels").mkdir()
    return tmp_path / "labels"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (archive, r"is an archive; unpack it with `unzip .*labels.zip -d .*labels`"),
        (empty, "is an empty folder"),
        (lambda path: path / "none.json", "does not exist"),
        (lambda path: write(path / "a.txt", LINE), "is one txt file; expected"),
        (lambda path: write(path / "f/a.csv", LINE).parent, "has no txt file"),
    ],
)
def test_bad_paths_are_named(
    tmp_path: pathlib.Path, make: Callable[[pathlib.Path], pathlib.Path], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        read(make(tmp_path))


def test_what_unpacks_an_archive_unpacks_it(tmp_path: pathlib.Path) -> None:
    import shlex
    import shutil
    import subprocess

    if shutil.which("unzip") is None:
        pytest.skip("unzip is not installed")
    with pytest.raises(InputError) as error:
        read(archive(tmp_path))
    command = str(error.value).split("`")[1]
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    assert len(read(tmp_path / "labels").boxes) == 1


def test_content_is_identified_not_where_it_lies(tmp_path: pathlib.Path) -> None:
    first, second = (write(tmp_path / name / "a.txt", LINE).parent for name in "xy")
    assert hash_content(first) == hash_content(second) != ""
    write(second / "a.txt", LINE + "\n")
    assert hash_content(first) != hash_content(second)
    assert hash_content(tmp_path / "none") == ""


def test_lists_have_one_value_or_one_each() -> None:
    assert one_each("", 2, "k") == ("", "")
    assert one_each("a", 2, "k") == ("a", "a")
    assert one_each("a, b", 2, "k") == ("a", "b")
    with pytest.raises(InputError, match="k lists 3 values for 2 predictions"):
        one_each("a,b,c", 2, "k")
