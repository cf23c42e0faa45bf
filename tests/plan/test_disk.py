"""The disk that a run needs: how many checkpoints are held, and label shards by a sample of the images."""

import pathlib

import numpy as np
import pytest

from selftrain_jax.data.source import Source, encode_png
from selftrain_jax.errors import InputError
from selftrain_jax.plan.disk import SAMPLE, count_checkpoints, estimate_shard_bytes, free_bytes


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1000, 100, 2, False), 3),
        ((1000, 100, 2, True), 4),
        ((100, 100, 2, True), 1),
        ((100, 0, 5, False), 1),
    ],
)
def test_last_best_and_the_one_being_written_are_held(
    arguments: tuple[int, int, int, bool], expected: int
) -> None:
    steps, every, keep, has_best = arguments
    assert count_checkpoints(steps, every, keep, has_best=has_best) == expected


def make_source(num: int) -> Source:
    image = encode_png(np.zeros((4, 8, 3), np.uint8))

    def read(index: int) -> bytes:
        if index == 0:
            raise InputError("cut off")
        return image + b"x" * (index % 2 * 100)

    return Source(
        "images", (), tuple(map(str, range(num))), lambda _: {}, read, lambda _: np.zeros((4, 8, 3))
    )


def test_shards_are_the_images_and_their_labels_times_their_number() -> None:
    size = len(encode_png(np.zeros((4, 8, 3), np.uint8)))
    assert estimate_shard_bytes(make_source(3), lambda size_px: 10 * size_px[0] + size_px[1]) == 3 * (
        size + 50 + 48
    )


def test_a_large_source_is_sampled() -> None:
    reads = []
    source = make_source(10 * SAMPLE + 1)
    counted = Source(
        *(getattr(source, name) for name in ("name", "categories", "image_ids", "read_labels")),
        lambda index: reads.append(index) or source.read_encoded(index),
        source.read_image,
    )
    assert estimate_shard_bytes(counted, lambda _: 0.0) > 0
    assert len(reads) == SAMPLE


def test_free_room_is_asked_of_the_nearest_folder_that_is_there(tmp_path: pathlib.Path) -> None:
    free, where = free_bytes(tmp_path / "not" / "there")
    assert where == tmp_path
    assert free > 0
