"""Anchors that fit the boxes, compared with all anchors of the image."""

import dataclasses

import numpy as np
import pytest

from configs import common, own_data
from selftrain_jax.data.source import Source
from selftrain_jax.detection.anchors import make_anchors
from selftrain_jax.errors import InputError
from selftrain_jax.geometry import box_iou
from selftrain_jax.tasks.detection.anchor_fit import (
    ANCHOR_SIZES,
    FEWEST,
    best_overlap,
    choose_anchor_size,
    fit_anchors,
    fitting_shares,
    gather_boxes,
    judge_anchors,
)
from selftrain_jax.tasks.detection.spec import build_task, check_config
from selftrain_jax.types import Category

CLASSES = (Category(1, "cell"), Category(2, "platelet"))


def make_source(rows, *, size_px=(256, 256)):
    """Each row is an image's [(ymin, xmin, side, class, is_crowd)], or an error."""

    def read_labels(index):
        if isinstance(rows[index], InputError):
            raise rows[index]
        table = np.array(rows[index], float).reshape(-1, 5)
        boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:3]], axis=1)
        return {
            "image_id": f"{index}",
            "boxes": boxes.astype(np.float32),
            "classes": table[:, 3].astype(np.int32),
            "is_crowd": table[:, 4].astype(bool),
        }

    return Source(
        name="toy/train",
        image_ids=tuple(f"{index}" for index in range(len(rows))),
        categories=CLASSES,
        read_labels=read_labels,
        read_image=lambda index: np.zeros((*size_px, 3), np.uint8),
        read_encoded=lambda index: b"",
        read_size=lambda index: size_px,
    )


def cells(count, side, class_id=1):
    return [[(7.0 * index, 11.0 * index, side, class_id, 0)] for index in range(count)]


def make_config(**model):
    config = common.get_config()
    config.image.size_px = 256
    config.model.update(model)
    return config


@pytest.mark.parametrize("anchor_size", [4.0, 1.5])
@pytest.mark.parametrize("size_px", [256, 192])  # the second is padded to 256
def test_the_nearest_anchors_are_the_best_of_all(anchor_size, size_px):
    rng = np.random.default_rng(0)
    corner, side = rng.uniform(0, 0.8 * size_px, (200, 2)), rng.uniform(4, 120, (200, 2))
    boxes = np.concatenate([corner, np.minimum(corner + side, size_px)], axis=1)
    anchors = make_anchors(image_size_px=256, anchor_size=anchor_size)
    found = best_overlap(boxes, size_px, range(3, 8), anchor_size)
    np.testing.assert_allclose(found, box_iou(boxes, anchors).max(axis=1), atol=1e-6)


def test_boxes_are_gathered_as_the_network_sees_them():
    rows = [[(0, 0, 100, 1, 0), (0, 0, 50, 2, 1)], [(100, 100, 20, 2, 0)]]
    found = gather_boxes(make_config(), make_source(rows, size_px=(512, 1024)))
    assert [own.name for own in found] == ["cell", "platelet"]
    assert found[0].boxes.tolist() == [[0, 0, 25, 25]]  # 1024 px into 256 px; the crowd is left out
    assert found[1].boxes.tolist() == [[25, 25, 30, 30]]


def test_images_that_cannot_be_read_are_left_out():
    source = make_source([[(0, 0, 100, 1, 0)], InputError("bad"), [(0, 0, 50, 1, 0)]])
    sizes = {0: (256, 256), 2: (0, 0)}  # as `read_size` says of a file that is no image
    source = dataclasses.replace(source, read_size=sizes.__getitem__)
    assert [own.boxes.tolist() for own in gather_boxes(make_config(), source)] == [[[0, 0, 100, 100]], []]


def test_a_pyramid_of_other_levels_has_other_anchors():
    source = make_source(cells(9, 12.0))
    coarse = gather_boxes(make_config(), source)[:1]  # the other classes have no box
    shares = [fitting_shares(coarse, make_config(min_level=level), 1.5)[0] for level in (3, 4)]
    assert shares[0] > 0.5 > shares[1]


def test_tiles_are_seen_larger():
    config = make_config()
    config.image.tile_px = 256
    found = gather_boxes(config, make_source([[(0, 0, 100, 1, 0)]], size_px=(512, 1024)))
    assert found[0].boxes.tolist() == [[0, 0, 100, 100]]


def test_the_papers_anchors_stay_where_they_fit():
    large = gather_boxes(make_config(), make_source(cells(FEWEST, 64.0)))
    assert choose_anchor_size(make_config(), large) == 4.0
    assert choose_anchor_size(make_config(), []) == 4.0
    few = gather_boxes(make_config(), make_source(cells(FEWEST - 1, 8.0)))
    assert choose_anchor_size(make_config(), few) == 4.0


def mean_overlaps(source, size):
    """The IoU of box and best anchor, on the mean of each class's boxes."""
    anchors = make_anchors(image_size_px=256, anchor_size=size)
    return np.array(
        [box_iou(own.boxes, anchors).max(1).mean() for own in gather_boxes(make_config(), source)]
    )


def test_small_objects_get_the_anchors_that_overlap_all_classes_most(capsys):
    source = make_source(cells(9, 12.0, 2) + cells(30, 90.0, 1))
    fitted = fit_anchors(make_config(anchor_size=0.0), source)
    means = {size: mean_overlaps(source, size) for size in ANCHOR_SIZES}
    allowed = {size: own.mean() for size, own in means.items() if (own >= means[4.0] - 0.05).all()}
    assert fitted.model.anchor_size == max(allowed, key=allowed.__getitem__) < 4.0
    assert "anchors by the human boxes: config.model.anchor_size=" in capsys.readouterr().out


def test_large_objects_lose_little_to_small_ones():
    source = make_source(cells(9, 12.0, 2) + cells(30, 34.0, 1))
    before, both = mean_overlaps(source, 4.0), {size: mean_overlaps(source, size) for size in ANCHOR_SIZES}
    chosen = fit_anchors(make_config(anchor_size=0.0), source).model.anchor_size
    best = max(both, key=lambda size: both[size].mean())
    assert before[0] - both[best][0] > 0.05  # the sum alone would have chosen it
    assert chosen != best
    assert (both[chosen] >= before - 0.05).all()


def test_not_the_smallest_class_alone_decides():
    small, large = cells(9, 12.0, 2), cells(30, 60.0, 1)
    alone = fit_anchors(make_config(anchor_size=0.0), make_source(small)).model.anchor_size
    both = fit_anchors(make_config(anchor_size=0.0), make_source(small + large)).model.anchor_size
    assert alone < both < 4.0


def test_a_size_that_is_given_stays():
    config = make_config(anchor_size=3.0)
    assert fit_anchors(config, make_source(cells(9, 12.0))) is config


@pytest.mark.parametrize("size", [-1.0, float("nan"), float("inf")])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(InputError, match=r"config\.model\.anchor_size=.*expected cells a side, or 0"):
        check_config(make_config(anchor_size=size))


def test_doctor_names_the_class_and_a_remedy_that_works():
    source = make_source(cells(9, 14.0, 2) + cells(9, 20.0, 1))
    findings = list(judge_anchors(make_config(), "train", source))
    assert [finding.level for finding in findings] == ["warning", "warning"]
    assert findings[1].finding == (
        "train: 100% of the boxes of platelet overlap no anchor with an IoU of 0.5: half are under 14 px in "
        "the network's input of 256 px, the smallest anchor is 32 px"
    )
    assert findings[1].remedy == "Set --config.model.anchor_size=2, or 0: by the boxes."
    assert not list(judge_anchors(make_config(anchor_size=2.0), "train", source))
    assert not list(judge_anchors(make_config(anchor_size=0.0), "train", source))


def test_doctor_shows_images_larger_where_others_would_lose_by_smaller_anchors():
    source = make_source(cells(9, 14.0, 2) + cells(9, 60.0, 1))
    (finding,) = judge_anchors(make_config(), "train", source)
    assert finding.remedy == (
        "Show the images larger (--config.image.size_px=512) or in tiles (config.image.tile_px). A little "
        "helps --config.model.anchor_size=2.5, or 0: by the boxes."
    )
    larger = make_config()
    larger.image.size_px = 512
    assert not list(judge_anchors(larger, "train", source))


def test_doctor_says_so_where_no_anchor_is_small_enough():
    source = make_source([*cells(9, 3.0), InputError("bad")])
    (finding,) = judge_anchors(make_config(anchor_size=0.0), "train", source)
    assert finding.remedy == (
        "Show the images larger (--config.image.size_px=512) or in tiles (config.image.tile_px)."
    )


def test_own_data_takes_anchors_by_the_boxes():
    assert own_data.get_config("kind=coco").model.anchor_size == 0
    with pytest.raises(InputError, match=r"found from human labels, which are not at hand here"):
        build_task(own_data.get_config("kind=coco"), CLASSES)
