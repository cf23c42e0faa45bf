import pathlib

import numpy as np
import pytest
from PIL import Image

from selftrain_jax.data.source import without_labels
from selftrain_jax.data.sources.voc_masks import CATEGORIES, read_voc_masks, refuse_tfds_masks, voc_palette
from selftrain_jax.errors import InputError
from tests.data.sources.voc_mask_images import (
    AUG,
    SIZE_PX,
    TRAIN,
    VAL,
    colours,
    mask_of,
    palette_image,
    write_new,
    write_sbd,
    write_sbd_png,
    write_voc,
)


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return write_voc(tmp_path_factory.mktemp("voc") / "VOCdevkit", len(AUG))


@pytest.fixture(scope="module")
def sbd(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return write_sbd(tmp_path_factory.mktemp("sbd"))


def test_there_are_20_classes_and_the_background() -> None:
    assert [category.id for category in CATEGORIES] == list(range(21))
    assert (CATEGORIES[0].name, CATEGORIES[15].name, CATEGORIES[20].name) == (
        "background",
        "person",
        "tvmonitor",
    )


def test_palette_is_the_one_of_voc() -> None:
    assert voc_palette().tolist() == [list(colours(value)) for value in range(256)]
    assert voc_palette()[[1, 8, 15, 20, 255]].tolist() == [
        [128, 0, 0], [64, 0, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192],
    ]  # fmt: skip


def test_own_splits_have_the_sizes_and_masks_of_the_paper(voc: pathlib.Path) -> None:
    for split, image_ids, value in (("train", TRAIN, 1), ("val", VAL, 2)):
        source = read_voc_masks(voc, split)
        assert source.image_ids == tuple(image_ids)
        assert source.categories == CATEGORIES
        example = source.read(3)
        assert example["image_id"] == image_ids[3]
        assert example["image"].shape == (*SIZE_PX, 3)
        assert np.array_equal(example["mask"], mask_of(value))
    assert len(read_voc_masks(voc, "trainval")) == 2913


def test_of_an_image_only_the_header_is_read_for_the_size_of_its_mask(
    voc: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, whole, read = read_voc_masks(voc, "train"), [], pathlib.Path.read_bytes
    monkeypatch.setattr(pathlib.Path, "read_bytes", lambda path: (whole.append(path.name), read(path))[1])
    source.read_labels(0)
    assert whole == [f"{TRAIN[0]}.png"]


def test_the_folder_above_will_do(voc: pathlib.Path) -> None:
    for root in (voc.parent, voc.parent.parent):
        assert read_voc_masks(root, "val").image_ids == tuple(VAL)


def test_aug_is_what_sbd_has_outside_train_and_val(voc: pathlib.Path, sbd: pathlib.Path) -> None:
    source = read_voc_masks(voc, "aug", sbd=sbd)
    assert source.image_ids == tuple(AUG)
    assert set(np.unique(source.read_labels(0)["mask"])) == {0, 3}
    assert without_labels(source).read_labels(1) == {"image_id": AUG[1]}


def test_train_aug_keeps_the_masks_of_voc_for_train(voc: pathlib.Path, sbd: pathlib.Path) -> None:
    source = read_voc_masks(voc, "train_aug", sbd=sbd)
    assert len(source) == 10582
    assert source.image_ids == (*TRAIN, *AUG)
    assert not {*source.image_ids} & {*VAL}
    assert source.read_labels(0)["mask"].tolist() == mask_of(1).tolist()
    assert set(np.unique(source.read_labels(1464)["mask"])) == {0, 3}


def test_png_folder_stands_in_for_the_mat_files(voc: pathlib.Path, tmp_path: pathlib.Path) -> None:
    source = read_voc_masks(voc, "aug", sbd=write_sbd_png(tmp_path / "png"))
    assert source.image_ids == tuple(AUG)
    assert np.array_equal(source.read_labels(9117)["mask"], mask_of(3))


def test_aug_without_sbd_says_what_is_missing(voc: pathlib.Path) -> None:
    with pytest.raises(
        InputError, match=r"SegmentationClassAug: the SBD folder \(config.data.sbd\) does not exist"
    ):
        read_voc_masks(voc, "train_aug")


def test_unknown_split_is_refused_with_the_known_ones(voc: pathlib.Path) -> None:
    with pytest.raises(
        InputError, match="no split 'test' of masks; choose one of train, val, trainval, train_aug, aug"
    ):
        read_voc_masks(voc, "test")


def test_folder_that_is_no_voc_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="no ImageSets/Segmentation in it"):
        read_voc_masks(tmp_path, "train")


def test_incomplete_sbd_is_refused_with_both_numbers(voc: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for image_id in [*TRAIN[:5], *AUG[:7]]:
        (tmp_path / f"{image_id}.mat").touch()
    for split, found, due in (("aug", 7, 9118), ("train_aug", 1471, 10582)):
        with pytest.raises(InputError, match=rf"for {split}, give {found} images; expected {due}"):
            read_voc_masks(voc, split, sbd=tmp_path)


class TestBroken:
    """VOC folders of which something was changed."""

    @pytest.fixture
    def folder(self, tmp_path: pathlib.Path) -> pathlib.Path:
        return write_voc(tmp_path)

    def test_lists_of_another_size_are_refused(self, folder: pathlib.Path) -> None:
        path = folder / "ImageSets/Segmentation/train.txt"
        path.write_text("\n".join(TRAIN[:209]))
        with pytest.raises(
            InputError, match=r"train\.txt: 209 images; expected 1464, the size of train in VOC 2012"
        ):
            read_voc_masks(folder, "train")
        path.write_text("\n".join([*TRAIN, TRAIN[0]]))
        with pytest.raises(InputError, match=r"train\.txt: 1 ids are listed twice"):
            read_voc_masks(folder, "train")
        path.unlink()
        with pytest.raises(InputError, match=r"train\.txt: cannot be read"):
            read_voc_masks(folder, "train")

    @pytest.mark.parametrize(("place", "suffix"), [("JPEGImages", ".jpg"), ("SegmentationClass", ".png")])
    def test_missing_files_are_listed(self, folder: pathlib.Path, place: str, suffix: str) -> None:
        for image_id in VAL[:6]:
            (folder / place / f"{image_id}{suffix}").unlink()
        with pytest.raises(InputError, match=rf"{place}: 6 of 1449 .* missing: '2008_000000{suffix}'"):
            read_voc_masks(folder, "val")

    def test_bad_masks_are_refused_when_read(self, folder: pathlib.Path) -> None:
        masks = folder / "SegmentationClass"
        shuffled = [colours(value) for value in (0, 2, 1)]
        write_new(masks / f"{TRAIN[0]}.png", palette_image(np.minimum(mask_of(1), 2), shuffled))
        write_new(masks / f"{TRAIN[1]}.png", palette_image(mask_of(21)))
        write_new(masks / f"{TRAIN[2]}.png", palette_image(mask_of(1)[:, :5]))
        write_new(masks / f"{TRAIN[3]}.png", Image.new("RGB", SIZE_PX[::-1]))
        source = read_voc_masks(folder, "train")
        for index, match in enumerate(
            (
                r"000000\.png: its palette does not match VOC's colours: 2 .* 1: \(0, 128, 0\) instead",
                r"000001\.png: ids outside the classes: 21 \(20 pixels\); expected 0 to 20",
                r"000002\.png: the mask is 5 x 6 pixels",
                r"000003\.png: the mask is colour \(RGB\)",
            )
        ):
            with pytest.raises(InputError, match=match):
                source.read_labels(index)
        assert source.read_labels(4)["mask"].max() == 255


def test_tfds_has_no_masks_and_says_where_they_are() -> None:
    with pytest.raises(
        InputError, match=r"voc/2012 was asked for masks, but TFDS's voc .* VOCdevkit .*kind=voc"
    ):
        refuse_tfds_masks("voc/2012")
