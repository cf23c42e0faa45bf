"""Sizes of image files from their headers alone; paths with the split's name in them."""

import io
import pathlib
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from selftrain_jax.data import image_files
from selftrain_jax.data.image_files import check_image_file, fill_template, read_image_file, read_image_size
from selftrain_jax.data.source import image_size
from selftrain_jax.errors import InputError


def encode(image: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG of that size, cut off where its pixels begin."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return start + struct.pack(">I", 9) + b"IDAT"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
def test_size_is_height_and_width_whatever_the_format(kind: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_bytes(encode(np.zeros((4, 6, 3), np.uint8), kind))
    assert read_image_size(tmp_path / "a") == (4, 6)


def test_what_follows_the_header_is_not_read(tmp_path: pathlib.Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (512, 400, 3)).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(encode(noise, "PNG")[:1000])  # of 600,000 bytes
    assert read_image_size(tmp_path / "a.png") == (512, 400)


NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
def test_whole_file_is_checked_without_decoding_and_one_cut_off_anywhere_is_refused(
    kind: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded, path = encode(NOISE, kind), tmp_path / "a"
    decoded: list[pathlib.Path] = []
    path.write_bytes(encoded)
    with monkeypatch.context() as patch:
        patch.setattr(image_files, "read_image_file", lambda path, size_px: decoded.append(path))
        check_image_file(path, (40, 60))
    assert not decoded
    for length in (0, len(encoded) // 4, len(encoded) // 2, len(encoded) - 200):
        path.write_bytes(encoded[:length])
        with pytest.raises(InputError) as error:
            check_image_file(path)
        with pytest.raises(InputError) as expected:
            read_image_file(path)
        assert str(error.value) == str(expected.value)


def test_odd_end_alone_condemns_no_image_that_decodes(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_bytes(encode(NOISE, "JPEG") + bytes(1000))
    check_image_file(tmp_path / "a")


def test_file_of_another_size_than_stated_is_told_as_when_it_is_read(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_bytes(encode(NOISE, "PNG"))
    with pytest.raises(InputError, match=r"60 x 40 pixels .* annotation says 40 x 60"):
        check_image_file(tmp_path / "a", (60, 40))


@pytest.mark.parametrize(
    ("encoded", "match"),
    [
        (b"x" * 40, r"a\.png: not an image \(40 bytes\); expected one of JPEG, PNG"),
        (b"", r"a\.png: not an image \(0 bytes\)"),
        (png_header(9000, 9000), r"a\.png: the image is too large \(9000 x 9000 pixels\)"),
        (png_header(90000, 90000), r"a\.png: the image is too large"),
        (encode(np.zeros((2, 2), np.uint16), "PNG"), r"a\.png: pixels of mode I;16"),
    ],
    ids=["no image", "empty", "large", "huge", "16 bits"],
)
def test_what_is_no_image_is_told_as_from_its_bytes(
    encoded: bytes, match: str, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded)
    with pytest.raises(InputError, match=match) as error:
        read_image_size(path)
    with pytest.raises(InputError) as same:
        image_size(encoded, str(path))
    assert str(error.value) == str(same.value)


def test_file_that_is_not_there_or_is_a_folder_is_named(tmp_path: pathlib.Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(InputError, match=f"{path}: cannot be read"):
            read_image_size(path)


def test_split_is_put_in_wherever_it_is_named() -> None:
    assert fill_template("{split}/images-{split}", "val", "key") == "val/images-val"
    assert fill_template("images", "val", "key") == "images"
    assert fill_template("", "val", "key") == ""


@pytest.mark.parametrize("template", ["{splt}", "{split", "split}", "{}", "{0}", "{split!z}", "{{split}}"])
def test_other_braces_are_refused_with_key_and_template(template: str) -> None:
    with pytest.raises(InputError) as error:
        fill_template(template, "val", "config.data.images")
    assert str(error.value).startswith(f"config.data.images={template!r} has braces other than")
