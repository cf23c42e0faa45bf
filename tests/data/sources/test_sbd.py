import pathlib

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from selftrain_jax.data.sources.voc_masks import SBD_FOLDERS, find_sbd_masks, read_sbd_mask
from selftrain_jax.errors import InputError
from tests.data.sources.voc_mask_images import write_sbd_mat

IDS = np.array([[0, 5, 20], [0, 0, 1]], np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_mat_file_gives_its_segmentation(tmp_path: pathlib.Path, dtype: type) -> None:
    write_sbd_mat(tmp_path / "a.mat", IDS.astype(dtype))
    decoded = read_sbd_mask(tmp_path / "a.mat")
    assert np.array_equal(decoded.mask, IDS)
    assert decoded.mask.dtype == np.uint8
    assert decoded.palette is None


def test_png_file_gives_its_ids(tmp_path: pathlib.Path) -> None:
    Image.fromarray(IDS).save(tmp_path / "a.png")
    assert np.array_equal(read_sbd_mask(tmp_path / "a.png").mask, IDS)


@pytest.mark.parametrize("place", SBD_FOLDERS)
def test_masks_are_found_where_the_archives_unpack_to(tmp_path: pathlib.Path, place: str) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("b.mat", "a.mat", "train.txt"):
        (folder / name).touch()
    assert find_sbd_masks(tmp_path) == {"a": folder / "a.mat", "b": folder / "b.mat"}


def test_folder_without_masks_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"no masks of SBD found; expected \*\.mat or \*\.png"):
        find_sbd_masks(tmp_path)
    with pytest.raises(InputError, match=r"the SBD folder \(config.data.sbd\) does not exist"):
        find_sbd_masks(tmp_path / "sbd")


def test_two_masks_for_one_image_are_refused(tmp_path: pathlib.Path) -> None:
    for name in ("a.mat", "a.png"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="2 masks for 1 images"):
        find_sbd_masks(tmp_path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "no MATLAB header, 0 bytes"),
        (b"no mat file" * 40, "no MATLAB header, 440 bytes"),
        ({"GTinst": 1}, "no variable GTcls"),
        ({"GTcls": np.zeros((3, 3))}, "GTcls is no structure"),
        ({"GTcls": {"Boundaries": 1}}, "GTcls has no field Segmentation"),
        ({"GTcls": {"Segmentation": np.zeros((2, 3, 3), np.uint8)}}, r"Segmentation is uint8 \(2, 3, 3\)"),
        ({"GTcls": {"Segmentation": np.array([[300, 1]])}}, "expected ids of 0 to 255"),
        ({"GTcls": {"Segmentation": np.array([[0.5, 1]])}}, "expected ids of 0 to 255"),
        ({"GTcls": {"Segmentation": np.array([[np.nan, 1]])}}, "expected ids of 0 to 255"),
        ({"GTcls": {"Segmentation": "a text"}}, "the field holds no numbers"),
        ({"GTcls": {"Segmentation": np.zeros((0, 0))}}, r"GTcls.Segmentation is .* \(0, 0\)"),
    ],
)
def test_malformed_mat_files_are_refused(tmp_path: pathlib.Path, content: bytes | dict, match: str) -> None:
    path = tmp_path / "2008_000002.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        savemat(path, content)
    with pytest.raises(InputError, match=rf"2008_000002\.mat: .*{match}"):
        read_sbd_mask(path)
