"""The reader that docs/adding_a_dataset.md shows works, and refuses what its page says it refuses."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from selftrain_jax.errors import InputError

from .markdown import ROOT, code_blocks


@pytest.fixture(scope="module")
def read_csv_boxes():
    (code,) = code_blocks((ROOT / "docs/adding_a_dataset.md").read_text(), "python")
    names: dict = {}
    exec(compile(code, "docs/adding_a_dataset.md", "exec"), names)
    return names["read_csv_boxes"]


@pytest.fixture
def cells(tmp_path: pathlib.Path):
    (tmp_path / "images").mkdir()
    for name, value in (("b.png", 1), ("a.png", 2)):
        Image.fromarray(np.full((20, 30, 3), value, np.uint8)).save(tmp_path / "images" / name)

    def write(*rows: str, header: str = "image,ymin,xmin,ymax,xmax,class") -> pathlib.Path:
        (tmp_path / "train.csv").write_text("\n".join([header, *rows]) + "\n")
        return tmp_path

    return write


def test_boxes_come_with_their_images_in_the_files_order(read_csv_boxes, cells) -> None:
    root = cells("b.png,1,2,3,4,red", "a.png,0,0,5,6,white", "b.png,10,10,40,40,white")
    source = read_csv_boxes(root, "train", ("red", "white"))
    assert source.image_ids == ("b.png", "a.png")
    assert source.categories == ((1, "red"), (2, "white"))
    example = source.read(0)
    assert example["boxes"].tolist() == [[1, 2, 3, 4], [10, 10, 20, 30]]  # clipped to the image
    assert example["classes"].tolist() == [1, 2]
    assert (example["image"] == 1).all()
    assert source.read(1)["boxes"].tolist() == [[0, 0, 5, 6]]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("../a.png,1,2,3,4,red", ["line 2", "leaves"]),
        ("c.png,1,2,3,4,red", ["line 2", "'c.png'", "missing_image"]),
        ("a.png,1,2,3,4,rad", ["line 2", "'rad'", "nearest: red"]),
        ("a.png,1,2,3,wide,red", ["line 2", "expected four numbers"]),
        ("a.png,1,2,3", ["line 2", "unknown class None"]),
        ("a.png,1,2,1,4,red", ["line 2", "has no area"]),
    ],
)
def test_a_bad_row_is_named_with_its_line(read_csv_boxes, cells, row: str, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        read_csv_boxes(cells(row), "train", ("red", "white"))
    assert all(word in str(error.value) for word in words), error.value


def test_other_columns_are_refused(read_csv_boxes, cells) -> None:
    with pytest.raises(InputError, match="expected image,ymin"):
        read_csv_boxes(cells(header="file,x,y"), "train", ("red",))
