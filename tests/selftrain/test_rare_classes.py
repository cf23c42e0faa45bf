"""Classes that the teacher hardly ever finds: by hand from a calibration."""

import pytest

from selftrain_jax.selftrain.rare_classes import describe_unfound, find_unfound
from tests.selftrain.test_calibration import calibration, curve

CUTS = (0.05, 0.5, 0.9)
# At 0.05, 0.5 and 0.9: cat 0.8, 0.6, 0.2; dog 0.5, 0.1, 0; no owl in the images.
CURVES = {
    "IoU 0.5": {
        "cat": curve(10, [20, 9, 2], [8, 6, 2]),
        "dog": curve(20, [30, 4, 0], [10, 2, 0]),
        "owl": curve(0, [9, 4, 2], [0, 0, 0]),
    },
    "IoU 0.75": {"cat": curve(10, [20, 9, 2], [0, 0, 0])}
    | {name: curve(9, [0, 0, 0], [0, 0, 0]) for name in ("dog", "owl")},
}


@pytest.mark.parametrize(
    ("per_class", "common", "bound", "expected"),
    [
        ({}, 0.5, 0.1, []),
        ({}, 0.5, 0.11, [("dog", 0.1)]),
        ({}, 0.5, 0.7, [("dog", 0.1), ("cat", 0.6)]),
        ({}, 0.3, 0.7, [("dog", 0.1), ("cat", 0.6)]),  # the first cut from 0.3 on is 0.5
        ({"dog": 0.05}, 0.5, 0.5, []),
        ({"cat": 0.9}, 0.05, 0.3, [("cat", 0.2)]),
        ({}, 0.99, 0.1, [("dog", 0.0)]),
    ],
)
def test_recall_at_a_class_own_threshold_decides(per_class, common, bound, expected):
    found = find_unfound(calibration(CURVES, CUTS), per_class, common, bound)
    assert [(name, pytest.approx(recall)) for name, recall in found] == expected


def test_what_is_ignored_and_what_is_unknown_is_said():
    measured = calibration(CURVES, CUTS)
    ignored, unknown = describe_unfound(measured, find_unfound(measured, {}, 0.5, 0.3), 0.3)
    assert "'dog' (recall 0.10 of 20)" in ignored
    assert "'cat'" not in ignored
    assert "under 0.3 in toy/val (config.pseudo.min_class_recall)" in ignored
    assert unknown.endswith("toy/val has none of them: 'owl'")
    assert "no class" in describe_unfound(measured, [], 0.3)[0]
