import pathlib

import numpy as np
import pytest
from PIL import Image

from selftrain_jax.data.sources.paired_folders import make_value_table, read_mask_folder, translate
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category
from tests.data.sources.voc_mask_images import palette_image

CAMVID = pathlib.Path(__file__).parents[4] / "shared/data/camvid"
SIZE_PX = (4, 6)
NAMES = ("ground", "cat", "dog")


def write_pair(root: pathlib.Path, stem: str, mask: np.ndarray | Image.Image, suffix: str = ".jpg") -> None:
    image_path, mask_path = root / "train/images" / f"{stem}{suffix}", root / "train/masks" / f"{stem}.png"
    for path in (image_path, mask_path):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SIZE_PX, 3), 60, np.uint8)).save(image_path)
    (Image.fromarray(mask) if isinstance(mask, np.ndarray) else mask).save(mask_path)


def filled(*values: int) -> np.ndarray:
    return np.resize(np.array(values, np.uint8), SIZE_PX)


def test_pairs_are_found_by_name_and_read_without_loss(tmp_path: pathlib.Path) -> None:
    masks = {"b": filled(0, 1, 2), "a": filled(2, 255), "deep/c": filled(1)}
    for number, (stem, mask) in enumerate(masks.items()):
        write_pair(tmp_path, stem, mask, (".jpg", ".png", ".JPEG")[number])
    source = read_mask_folder(tmp_path, "train", class_names=NAMES)
    assert source.image_ids == ("a", "b", "deep/c")
    assert source.categories == (Category(0, "ground"), Category(1, "cat"), Category(2, "dog"))
    for index, image_id in enumerate(source.image_ids):
        example = source.read(index)
        assert example.keys() == {"image_id", "image", "mask"}
        assert example["image_id"] == image_id
        assert example["image"].shape == (*SIZE_PX, 3)
        assert np.array_equal(example["mask"], masks[image_id])


def test_folders_of_images_and_masks_can_be_named(tmp_path: pathlib.Path) -> None:
    write_pair(tmp_path, "a", filled(1))
    (tmp_path / "train/images").rename(tmp_path / "pictures-train")
    (tmp_path / "train/masks").rename(tmp_path / "ids")
    source = read_mask_folder(tmp_path, "train", images="pictures-{split}", masks="ids", class_names=NAMES)
    assert source.read_labels(0)["mask"].max() == 1


def test_a_list_names_the_images_of_a_split(tmp_path: pathlib.Path) -> None:
    for number, stem in enumerate(("a", "b", "deep/c", "d")):
        write_pair(tmp_path, stem, filled(number % 3))
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/train.txt").write_text("deep/c\n\nb.jpg\n")
    folders = {"images": "train/images", "masks": "train/masks", "class_names": NAMES}
    source = read_mask_folder(tmp_path, "train", lists="lists/{split}.txt", **folders)
    assert source.image_ids == ("deep/c", "b")
    assert [int(source.read_labels(index)["mask"].max()) for index in range(2)] == [2, 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "a\nb\na\n",
            r"train\.txt: 1 names are there twice; expected the name of an image a line, each once",
        ),
        ("\n \n", r"train\.txt: is empty; expected the name of an image a line"),
        ("a\nz\n", "z"),
    ],
)
def test_lists_that_do_not_fit_are_refused(text: str, words: str, tmp_path: pathlib.Path) -> None:
    for stem in "ab":
        write_pair(tmp_path, stem, filled(0))
    (tmp_path / "train.txt").write_text(text)
    folders = {"images": "train/images", "masks": "train/masks", "class_names": NAMES}
    with pytest.raises(InputError, match=words):
        read_mask_folder(tmp_path, "train", lists="{split}.txt", **folders)


def test_lone_images_and_masks_are_listed(tmp_path: pathlib.Path) -> None:
    for stem in "abcdefgh":
        write_pair(tmp_path, stem, filled(0))
    for stem in "abcdef":
        (tmp_path / f"train/masks/{stem}.png").unlink()
    (tmp_path / "train/images/h.jpg").unlink()
    with pytest.raises(
        InputError, match=r"6 images have no mask: a, b, c, d, e and 1 more; 1 masks have no image: h\."
    ):
        read_mask_folder(tmp_path, "train", class_names=NAMES)


def test_two_images_of_one_name_are_refused(tmp_path: pathlib.Path) -> None:
    write_pair(tmp_path, "a", filled(0))
    write_pair(tmp_path, "a", filled(0), ".png")
    with pytest.raises(InputError, match=r"1 files have the name of another but for the suffix"):
        read_mask_folder(tmp_path, "train", class_names=NAMES)


def test_missing_mask_folder_is_refused(tmp_path: pathlib.Path) -> None:
    write_pair(tmp_path, "a", filled(0))
    with pytest.raises(InputError, match=r"val/images: the image folder does not exist"):
        read_mask_folder(tmp_path, "val", class_names=NAMES)


def test_bad_masks_are_refused_when_read_and_named(tmp_path: pathlib.Path) -> None:
    write_pair(tmp_path, "colour", Image.fromarray(np.zeros((*SIZE_PX, 3), np.uint8)))
    write_pair(tmp_path, "ids", filled(1, 3))
    write_pair(tmp_path, "size", filled(1)[:3])
    source = read_mask_folder(tmp_path, "train", class_names=NAMES)
    for index, match in enumerate(
        (r"colour\.png: .*RGB", r"ids\.png: .* 3 \(12 pixels\)", r"size\.png: .* 6 x 3")
    ):
        with pytest.raises(InputError, match=match):
            source.read(index)


def test_palettes_that_differ_between_files_are_refused(tmp_path: pathlib.Path) -> None:
    colours = [(0, 0, 0), (9, 9, 9), (7, 7, 7)]
    write_pair(tmp_path, "a", filled(0, 1))  # grey, as it comes out of another tool
    write_pair(tmp_path, "b", palette_image(filled(0, 1, 2), colours))
    write_pair(tmp_path, "c", palette_image(filled(0, 2, 1), [colours[0], colours[2], colours[1]]))
    write_pair(tmp_path, "d", palette_image(filled(0, 1), [*colours[:2], (1, 2, 3)]))
    source = read_mask_folder(tmp_path, "train", class_names=NAMES)
    for index in (0, 1, 3):
        assert set(np.unique(source.read_labels(index)["mask"])) >= {0, 1}
    with pytest.raises(InputError, match=r"c\.png: its palette does not match .*b\.png: 2 .* 1: \(7, 7, 7\)"):
        source.read_labels(2)


def test_values_are_mapped_to_classes(tmp_path: pathlib.Path) -> None:
    write_pair(tmp_path, "a", filled(0, 7, 11, 30, 99))
    source = read_mask_folder(
        tmp_path, "train", class_names=NAMES, values="0=0, 7=1,11=2,30=255", ignore_value=99
    )
    assert np.array_equal(source.read_labels(0)["mask"], filled(0, 1, 2, 255, 255))


def test_unmapped_values_are_named_with_their_pixels() -> None:
    table = make_value_table("0=0,7=1", 255, 3)
    with pytest.raises(
        InputError, match=r"m: ids outside .*: 1 \(8 pixels\), 2 \(8 .*expected one of 0, 7, 255"
    ):
        translate(filled(0, 1, 2), table, "m")


def test_without_ignore_value_255_is_an_unknown_id() -> None:
    assert translate(filled(255), make_value_table("", 255, 3), "m").min() == 255
    with pytest.raises(InputError, match=r"255 \(24 pixels\); expected one of 0, 1, 2\."):
        translate(filled(255), make_value_table("", -1, 3), "m")
    with pytest.raises(InputError, match="255"):
        translate(filled(255), make_value_table("", 11, 3), "m")


@pytest.mark.parametrize(
    ("values", "ignore_value", "match"),
    [
        ("0=0,7", 255, r"cannot take '7'; expected the file's value"),
        ("0=0,0=1", 255, "cannot take '0=1'"),
        ("256=1", 255, "cannot take '256=1'"),
        ("a=1", 255, "cannot take 'a=1'"),
        ("-1=1", 255, "cannot take '-1=1'"),
        ("0=3", 255, r"name the classes 3; expected 0 to 2, or 255"),
        ("0=0,255=1", 255, "the mask value 255 is both class 1 and"),
        ("", 2, "the mask value 2 is both class 2 and"),
        ("", 256, "ignore_value is 256; expected 0 to 255, or -1"),
    ],
)
def test_values_that_make_no_sense_are_refused(values: str, ignore_value: int, match: str) -> None:
    with pytest.raises(InputError, match=match):
        make_value_table(values, ignore_value, 3)


@pytest.mark.parametrize("names", [(), ("one",), ("a", "b", "a"), ("a", ""), tuple(map(str, range(256)))])
def test_class_names_must_be_there_and_differ(names: tuple[str, ...], tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"class names: .* expected 2 to 255 names"):
        read_mask_folder(tmp_path, "train", class_names=names)


@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not on this machine")
def test_camvid_reads_with_11_ignored() -> None:
    names = [str(number) for number in range(11)]
    source = read_mask_folder(CAMVID, "val", class_names=names, ignore_value=11)
    assert len(source) == 101
    example = source.read(0)
    assert example["mask"].shape == example["image"].shape[:2] == (360, 480)
    assert set(np.unique(example["mask"])) <= {*range(11), 255}


@pytest.mark.parametrize("template", ["{splt}/images", "{split/images", "{}/images", "{split.real}", "a}b"])
def test_templates_with_other_braces_are_refused_with_their_key(
    template: str, tmp_path: pathlib.Path
) -> None:
    write_pair(tmp_path, "a", filled(0))
    for key in ("images", "masks"):
        with pytest.raises(InputError) as error:
            read_mask_folder(tmp_path, "train", class_names=NAMES, **{key: template})
        assert f"config.data.{key}={template!r} has braces" in str(error.value)
        assert "as {split}/images" in str(error.value)


def test_of_an_image_only_the_header_is_read_for_its_size(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pair(tmp_path, "a", filled(1))
    source, whole, read = read_mask_folder(tmp_path, "train", class_names=NAMES), [], pathlib.Path.read_bytes
    monkeypatch.setattr(pathlib.Path, "read_bytes", lambda path: (whole.append(path.name), read(path))[1])
    assert source.read_labels(0)["mask"].max() == 1
    assert whole == ["a.png"]
