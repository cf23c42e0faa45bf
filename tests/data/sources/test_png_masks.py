import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from selftrain_jax.data.sources import png_masks as mask_files
from selftrain_jax.data.sources.png_masks import (
    DecodedMask,
    check_mask,
    check_palette,
    decode_mask,
    first_palette,
)
from selftrain_jax.errors import InputError
from tests.data.sources.voc_mask_images import palette_image

IDS = np.array([[0, 1, 20], [255, 7, 0]], np.uint8)


def encode(image: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey_png(values: np.ndarray, bits: int) -> bytes:
    """A grey PNG of few bits, which Pillow does not write: its palette PNG with the colours taken out."""
    import struct
    import zlib

    encoded = encode(palette_image(values), bits=bits)
    chunks, place = [], 8
    while place < len(encoded):
        (length,) = struct.unpack(">I", encoded[place : place + 4])
        kind, body = encoded[place + 4 : place + 8], encoded[place + 8 : place + 8 + length]
        place += 12 + length
        if kind == b"IHDR":
            assert body[8] == bits, "Pillow chose other bits"
            body = body[:9] + b"\0" + body[10:]
        if kind != b"PLTE":
            crc = struct.pack(">I", zlib.crc32(kind + body))
            chunks.append(struct.pack(">I", length) + kind + body + crc)
    return encoded[:8] + b"".join(chunks)


def test_palette_and_grey_masks_decode_to_their_ids_not_to_colours() -> None:
    grey, palette = (
        decode_mask(encode(Image.fromarray(IDS)), "m"),
        decode_mask(encode(palette_image(IDS)), "m"),
    )
    assert np.array_equal(grey.mask, IDS)
    assert np.array_equal(palette.mask, IDS)
    assert grey.palette is None
    assert palette.palette is not None
    assert palette.palette[:2].tolist() == [[0, 0, 0], [128, 0, 0]]


def test_random_masks_survive_the_file() -> None:
    mask = np.random.default_rng(0).integers(0, 256, (33, 65)).astype(np.uint8)
    for image in (Image.fromarray(mask), palette_image(mask)):
        assert np.array_equal(decode_mask(encode(image, optimize=True), "m").mask, mask)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_keeps_its_ids_where_pillow_stretches_them(bits: int) -> None:
    values = (np.arange(24).reshape(3, 8) % 2**bits).astype(np.uint8)
    decoded = decode_mask(grey_png(values, bits), "m")
    assert np.array_equal(decoded.mask, values)
    assert decoded.mask.dtype == np.uint8


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palettes_of_few_bits_keep_their_ids(bits: int) -> None:
    values = (np.arange(24).reshape(3, 8) % 2**bits).astype(np.uint8)
    assert np.array_equal(decode_mask(encode(palette_image(values), bits=bits), "m").mask, values)


COLOUR = Image.fromarray(np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize(
    ("encoded", "match"),
    [
        (encode(COLOUR), r"m\.png: the mask is colour \(RGB\); expected one channel of ids"),
        (encode(COLOUR.convert("RGBA")), r"transparency \(RGBA\)"),
        (encode(COLOUR.convert("LA")), r"grey with transparency \(LA\)"),
        (encode(Image.fromarray(np.zeros((4, 4), np.uint16))), r"16 bits \(I;16\)"),
        (encode(COLOUR.convert("L"), "JPEG"), "a JPEG, which blurs ids"),
        (encode(COLOUR.convert("L"), "BMP"), "no PNG"),
        (b"", r"no PNG \(0 bytes\)"),
        (encode(COLOUR.convert("L"))[:20], "cut off"),
        (
            encode(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)))[:900],
            "damaged",
        ),
    ],
)
def test_other_files_are_refused_with_what_was_found(encoded: bytes, match: str) -> None:
    with pytest.raises(InputError, match=match):
        decode_mask(encoded, "m.png")


def test_huge_masks_are_refused_by_their_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_files, "MAX_IMAGE_PIXELS", 15)
    with pytest.raises(InputError, match=r"too large \(4 x 4 pixels\); expected at most 15"):
        decode_mask(encode(COLOUR.convert("L")), "m")


def test_mask_fits_when_size_and_ids_do() -> None:
    check_mask(IDS, (2, 3), 21, "m")


def test_another_size_than_the_image_is_named_width_first() -> None:
    with pytest.raises(
        InputError, match=r"m: the mask is 3 x 2 pixels \(width x height\), its image is 2 x 3"
    ):
        check_mask(IDS, (3, 2), 21, "m")


def test_ids_outside_the_classes_are_counted_but_255_is_not() -> None:
    with pytest.raises(
        InputError, match=r"m: ids outside the classes: 7 \(1 pixels\), 20 \(1 .*expected 0 to 6"
    ):
        check_mask(IDS, (2, 3), 7, "m")
    with pytest.raises(InputError, match=r"254 \(6 pixels\); expected 0 to 20"):
        check_mask(np.full((2, 3), 254, np.uint8), (2, 3), 21, "m")


def test_palette_must_agree_for_the_ids_in_use_only() -> None:
    palette = np.arange(24, dtype=np.uint8).reshape(8, 3)
    other = palette.copy()
    other[3] = 0
    mask = np.array([[0, 1, 7]], np.uint8)
    check_palette(DecodedMask(mask, other), palette, "a.png", "b.png")
    check_palette(DecodedMask(mask, None), palette, "a.png", "b.png")
    check_palette(DecodedMask(mask, palette[:2]), palette, "a.png", "b.png")
    mask[0, 0] = 3
    with pytest.raises(
        InputError, match=r"b.png: .* not match a.png: 1 .* 3: \(0, 0, 0\) instead of \(9, 10, 11\)"
    ):
        check_palette(DecodedMask(mask, other), palette, "a.png", "b.png")


def test_first_palette_passes_over_grey_and_broken_files(tmp_path: pathlib.Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    paths[0].write_bytes(b"no image")
    Image.fromarray(IDS).save(paths[1])
    paths[2].write_bytes(encode(palette_image(IDS))[:60])
    palette_image(IDS).save(paths[3])
    found = first_palette(paths)
    assert found is not None
    assert found[0] == paths[3]
    assert found[1][20].tolist() == [0, 64, 128]
    assert first_palette(paths[:3]) is None
