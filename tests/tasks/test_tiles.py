"""Tiles as the config asks for them: what training sees, what is counted by image, what the doctor says."""

import numpy as np
import pytest

from selftrain_jax.build.data import build_batches, build_sources, labelled_part
from selftrain_jax.data.pipeline import take_steps
from selftrain_jax.data.source import subset
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.errors import InputError
from selftrain_jax.stages.settings import deciding_settings
from selftrain_jax.tasks.detection.data import judge_slots
from selftrain_jax.tasks.detection.targets import box_targets
from selftrain_jax.tasks.detection.tile_boxes import judge_tile_boxes
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.tasks.tiles import count_tiles, cut_tiles, read_tiling
from tests import tiny, tiny_masks

pytestmark = pytest.mark.tf


def tiled_config(module=tiny, **image):
    config = module.get_config()
    config.image.update(**({"tile_px": 40} | image))
    return config


def test_the_overlap_is_a_share_of_the_tile_and_off_is_off():
    assert read_tiling(tiny.get_config()) is None
    tiling = read_tiling(tiled_config(tile_overlap_frac=0.3, tile_min_visible=0.4))
    assert (tiling.tile_px, tiling.overlap_px, tiling.min_visible) == (40, 12, 0.4)
    assert read_tiling(tiled_config(tile_overlap_frac=0.99)).overlap_px == 39


@pytest.mark.parametrize("module", [tiny, tiny_masks])
def test_values_that_do_not_fit_are_refused_before_a_run(module):
    config = tiled_config(module, tile_px=8)
    with pytest.raises(InputError, match=r"config\.image\.tile_px=8 "):
        get_task(config.task).check_config(config)


@pytest.mark.parametrize("module", [tiny, tiny_masks])
def test_batches_are_of_tiles_and_labels_are_counted_by_image(module):
    config = tiled_config(module)
    config.data.label_percent = 50.0
    sources = build_sources(config)
    assert len(sources.human) == 4
    assert len(labelled_part(config, read_builtin("train", num_images=8, image_size_px=64))) == 4
    assert count_tiles(config, sources.human) == 4 * 4
    batches = build_batches(config, "teacher", sources.human, sources.human)
    ((batch, ids),) = take_steps(batches, 0, 1)
    assert batch.images.shape == (4, 64, 64, 3)
    assert all("#" in image_id for image_id in ids)
    epoch = [
        i for _, own in take_steps(build_batches(config, "teacher", sources.human, None), 0, 4) for i in own
    ]
    assert sorted(epoch) == sorted(cut_tiles(config, sources.human).image_ids)


def test_a_student_s_batch_has_tiles_of_both_sources():
    config = tiled_config()
    human, pseudo = (read_builtin(split, num_images=3, image_size_px=64) for split in ("train", "unlabeled"))
    ((batch, ids),) = take_steps(build_batches(config, "student", human, pseudo), 0, 1)
    assert sorted(image_id.split("-")[0] for image_id in ids) == ["train"] * 2 + ["unlabeled"] * 2
    assert all("#" in image_id for image_id in ids)
    assert batch.is_pseudo.sum() == 2


def test_a_sliver_takes_a_slot_that_is_ignored_and_is_not_left_out():
    """A crowd would be: what is left out is background to the network."""
    config = tiled_config(tile_min_visible=0.5)
    source = read_builtin("train", num_images=8, image_size_px=64)
    tiles = cut_tiles(config, source)
    examples = [tiles.read(index) for index in range(len(tiles))]
    ignored = [example for example in examples if example["is_ignore"].any()]
    assert ignored
    for example in ignored:
        targets = box_targets(config.image.max_boxes).read(example, "here")
        assert len(targets["boxes"]) == len(example["boxes"])
        np.testing.assert_array_equal(targets["is_ignore"], example["is_ignore"])


def test_sampling_by_class_counts_tiles():
    config = tiled_config()
    config.data.update(sampling="class", repeat_threshold=1.0)
    source = read_builtin("train", num_images=3, image_size_px=64)
    ids = {i for _, own in take_steps(build_batches(config, "teacher", source, None), 0, 3) for i in own}
    assert ids <= set(cut_tiles(config, source).image_ids)


def test_slots_are_those_of_a_tile():
    source = read_builtin("train", num_images=8, image_size_px=64)
    most = max(len(source.read_labels(index)["boxes"]) for index in range(8))
    config = tiled_config(max_boxes=most - 1)
    assert not list(judge_slots(tiled_config(max_boxes=most), source))
    (finding,) = judge_slots(tiled_config(max_boxes=1), source)
    assert finding.level == "error"
    assert "tiles have more boxes" in finding.finding
    assert "#" in finding.finding
    config.image.tile_px = 0
    (finding,) = judge_slots(config, source)
    assert "images have more boxes" in finding.finding


def test_the_doctor_names_tiles_sizes_and_boxes_that_no_tile_shows():
    source = read_builtin("train", num_images=8, image_size_px=64)
    tiles, sizes, lost = judge_tile_boxes(tiled_config(tile_px=32, tile_min_visible=0.9), "train", source)
    assert tiles.finding == (
        "train: 8 images are 72 tiles of 32 px, at most 9 an image; a step's batch is of tiles"
    )
    sides = [np.prod(box[2:] - box[:2]) ** 0.5 for i in range(8) for box in source.read_labels(i)["boxes"]]
    before, after = min(sides), 2 * min(sides)
    assert f"the smallest object is {after:.1f} px" in sizes.finding
    assert f"without tiles {before:.1f} and" in sizes.finding
    assert lost.level == "warning"
    assert "no tile shows 90%" in lost.finding


def test_the_doctor_says_where_tiles_change_nothing_and_where_they_are_missed():
    source = read_builtin("train", num_images=2, image_size_px=64)
    (finding,) = judge_tile_boxes(tiled_config(tile_px=64), "train", source)
    assert finding.level == "warning"
    assert "no image is larger than config.image.tile_px=64" in finding.finding
    assert not list(judge_tile_boxes(tiny.get_config(), "train", source))
    large = read_builtin("train", num_images=2, image_size_px=512)
    config = tiny.get_config()
    config.image.size_px = 16
    (finding,) = judge_tile_boxes(config, "train", large)
    assert (
        "px in the network's input, as images of 512 px are fitted into config.image.size_px=16"
        in finding.finding
    )
    assert "--config.image.tile_px=16" in finding.remedy


def test_how_tiles_are_cut_decides_nothing_without_tiles():
    plain, other = tiny.get_config(), tiny.get_config()
    other.image.update(tile_overlap_frac=0.5, tile_min_visible=0.1)
    for stage in ("teacher", "labels", "student", "evaluation"):
        assert deciding_settings(plain, stage) == deciding_settings(other, stage)
        plain.image.tile_px = other.image.tile_px = 40
        assert deciding_settings(plain, stage) != deciding_settings(other, stage)
        plain.image.tile_px = other.image.tile_px = 0


def test_a_subset_of_tiles_is_a_subset_of_their_labels():
    tiles = cut_tiles(tiled_config(), read_builtin("train", num_images=2, image_size_px=64))
    part = subset(tiles, [5, 1])
    for index, tile in enumerate((5, 1)):
        assert part.read_labels(index)["image_id"] == tiles.image_ids[tile] == part.image_ids[index]
        np.testing.assert_array_equal(part.read_image(index), tiles.read_image(tile))
        assert part.read_size(index) == tiles.read_size(tile)
