"""The released checkpoints: their numbers are the paper's, and comparing them is exact."""

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.paper.comparison import compare, format_comparison, suspects
from selftrain_jax.paper.released import RELEASED, find_released, released_of_weights
from selftrain_jax.paper.rows import rows
from selftrain_jax.pretrain.catalogue import WEIGHTS

DETECTOR, SEGMENTER = find_released("spinenet143"), find_released("b7_nasfpn_ssl")
AS_PUBLISHED = {
    "hard_nms": {"ap": 0.5063},
    "soft_nms_tensorflow": {"ap": 0.509},
    "soft_nms_bodla": {"ap": 0.5},
}


def judge(scores, num_images=5000, released=DETECTOR):
    return suspects(released, compare(released, scores), num_images)


def test_every_number_in_the_order_of_the_names():
    first = {released.name: released.numbers[0].published for released in RELEASED}
    assert list(first.values())[:13] == [
        *(39.5, 42.8, 46.7, 50.6, 52.0, 52.2, 53.9, 40.4, 42.4, 85.2, 86.7, 88.7, 90.0)
    ]
    soft = {released.name: {n.published for n in released.numbers[1:]} for released in RELEASED[:7]}
    assert [soft[name] for name in list(soft)[3:]] == [{50.9}, {52.6}, {52.4}, {54.2}]


def test_numbers_are_the_papers_tables_5_and_6():
    published = {number.published for released in RELEASED for number in released.numbers}
    for table in ("5", "6"):
        assert {row.value for row in rows(table) if " val " in row.metric} <= published


def test_each_checkpoint_is_a_row_of_the_catalogue():
    known = {weights.name: weights for weights in WEIGHTS}
    assert len({released.name for released in RELEASED}) == len(RELEASED)
    for released in RELEASED:
        assert known[released.weights].kind == "detector"
        assert released_of_weights(released.weights) == released


def test_the_tolerance_is_of_points_and_has_its_own_end():
    hard, tensorflow, bodla = compare(DETECTOR, AS_PUBLISHED)
    assert (hard.ours, hard.difference) == (pytest.approx(50.63), pytest.approx(0.03))
    assert (hard.within_tolerance, tensorflow.within_tolerance, bodla.within_tolerance) == (True, True, False)
    edge, beyond = ({**AS_PUBLISHED, "hard_nms": {"ap": ap}} for ap in (0.508, 0.50801))
    assert compare(DETECTOR, edge)[0].within_tolerance
    assert not compare(DETECTOR, beyond)[0].within_tolerance


def test_one_reading_of_soft_nms_is_enough():
    assert judge(AS_PUBLISHED) == []
    (only,) = judge({**AS_PUBLISHED, "soft_nms_tensorflow": {"ap": 0.5}})
    assert only.startswith("the NMS convention: hard NMS agrees")


def test_the_wrong_val_set_is_said_though_the_numbers_agree():
    (only,) = judge(AS_PUBLISHED, num_images=4952)
    assert only.startswith("the wrong val set: 4,952 images were measured, COCO val2017 has 5,000")


def test_class_ids_come_first_where_next_to_nothing_is_found():
    nothing = {setting: {"ap": 0.004} for setting in AS_PUBLISHED}
    assert judge(nothing)[0].startswith("the class ids: the labels need COCO's own ids")
    assert judge(nothing)[1].startswith("the input rule")
    near = {setting: {"ap": 0.49} for setting in AS_PUBLISHED}
    assert judge(near)[0].startswith("the weights: an archive may hold moving averages")
    assert not any(cause.startswith("the class ids") for cause in judge(near))


def test_a_segmenter_is_judged_by_the_official_miou_alone():
    scores = {"masks": {"miou_resized": 0.868, "miou": 0.5}}
    compared = compare(SEGMENTER, scores)
    assert [row.within_tolerance for row in compared] == [True, None]
    assert suspects(SEGMENTER, compared, 1449) == []
    off = judge({"masks": {"miou_resized": 0.8, "miou": 0.868}}, 1449, SEGMENTER)
    assert off
    assert not any("NMS" in cause or "activation" in cause for cause in off)


def test_the_table_has_ours_published_and_difference():
    compared = compare(DETECTOR, AS_PUBLISHED)
    lines = format_comparison(DETECTOR, compared, ["the resizing"]).splitlines()
    assert lines[2].split() == ["AP,", "hard", "NMS", "50.63", "50.6", "+0.03", "within"]
    assert lines[4].split()[-4:] == ["50.00", "50.9", "-0.90", "OFF"]
    assert lines[-2:] == ["what to suspect:", "  - the resizing"]
    masks = compare(SEGMENTER, {"masks": {"miou_resized": 0.867, "miou": 0.85}})
    assert format_comparison(SEGMENTER, masks, []).splitlines()[-1].split()[-2:] == ["85.00", "-"]


def test_a_wrong_name_gives_the_nearest():
    with pytest.raises(InputError, match=r"'spinenet49x'.*did you mean spinenet49 or spinenet49s or"):
        find_released("spinenet49x")
