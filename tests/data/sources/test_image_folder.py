import pathlib

import numpy as np
import pytest
from PIL import Image

from selftrain_jax.data.source import decode_image, encoded_suffix
from selftrain_jax.data.sources.image_folder import read_image_folder
from selftrain_jax.errors import InputError


def save(path: pathlib.Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(path)


def test_images_are_found_below_sorted_and_named_by_relative_path(tmp_path: pathlib.Path) -> None:
    for name in ("b.PNG", "sub/deep/a.webp", "sub/c.bmp", "a.jpeg", ".hidden.png", ".cache/d.png"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    source = read_image_folder(tmp_path)
    assert source.image_ids == ("a.jpeg", "b.PNG", "sub/c.bmp", "sub/deep/a.webp")
    assert source.categories == ()
    assert source.read_labels(2) == {"image_id": "sub/c.bmp"}


def test_encoded_bytes_are_the_files_or_png_of_other_formats(tmp_path: pathlib.Path) -> None:
    save(tmp_path / "a.jpg", 9)
    save(tmp_path / "b.bmp", 7)
    source = read_image_folder(tmp_path)
    assert source.read_encoded(0) == (tmp_path / "a.jpg").read_bytes()
    assert encoded_suffix(source.read_encoded(1)) == ".png"
    assert np.array_equal(decode_image(source.read_encoded(1), "test"), source.read_image(1))
    assert (source.read_image(1) == 7).all()


def test_folder_without_images_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"holds no images; expected files named \*\.jpg"):
        read_image_folder(tmp_path)


def test_missing_folder_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="nowhere: the image folder does not exist"):
        read_image_folder(tmp_path / "nowhere")


def test_link_out_of_the_folder_is_refused(tmp_path: pathlib.Path) -> None:
    save(tmp_path / "secret.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(InputError, match=r"links out of this folder.*a\.png"):
        read_image_folder(tmp_path / "images")


def test_linked_root_and_links_within_it_are_fine(tmp_path: pathlib.Path) -> None:
    save(tmp_path / "real" / "a.png", 5)
    (tmp_path / "real" / "b.png").symlink_to(tmp_path / "real" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    source = read_image_folder(tmp_path / "link")
    assert source.image_ids == ("a.png", "b.png")
    assert (source.read_image(1) == 5).all()


def test_damaged_file_is_named_when_it_is_read(tmp_path: pathlib.Path) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"broken")
    source = read_image_folder(tmp_path)
    with pytest.raises(InputError, match=r"a\.png: not an image"):
        source.read_image(0)
