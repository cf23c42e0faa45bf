"""The numbers of Figures 1, 2 and 3, measured in their vector graphics.

`FIGURES` has their rows: Figure 1's left panel, then the right one; Figure 2 by panels, each with loss
normalisation first; Figure 3 by policies.
"""

from selftrain_jax.paper.coco_tables import POLICIES, SHARES, b7_line, coco_line
from selftrain_jax.paper.row import Row

_SETUPS = {"imagenet": "ImageNet Init", "imagenet_pp": "ImageNet++ Init", "rand": "Rand Init"}

# AP with 20, 50 and 100 % of the labels; Figure 1 shows a part of these.
_SUPERVISED = {
    "S1": ([29.94, 35.58, 39.45], [33.45, 38.07, 40.85], [22.73, 33.50, 39.15]),
    "S2": ([31.11, 36.35, 40.70], [33.97, 38.72, 41.35], [26.17, 35.60, 41.50]),
    "S3": ([32.98, 38.46, 43.17], [35.63, 39.97, 43.37], [29.78, 38.40, 43.94]),
    "S4": ([33.29, 38.84, 43.27], [35.94, 39.88, 43.81], [30.73, 39.55, 44.25]),
}

# (policy, steps, larger learning rate): AP by alpha with and without normalisation; None if it diverged.
_BY_ALPHA: dict[tuple[str, int, bool], tuple[dict[float, float], dict[float, float | None]]] = {
    ("S1", 90_000, False): (
        {0.25: 37.88, 0.5: 38.31, 1.0: 38.64, 2.0: 39.93, 3.0: 39.99, 4.0: 40.04},
        {0.25: 38.27, 0.5: 38.28, 1.0: 38.73, 2.0: 39.41, 3.0: None, 4.0: None},
    ),
    ("S1", 180_000, False): (
        {0.5: 37.63, 1.0: 38.16, 2.0: 39.25, 3.0: 39.91, 5.0: 39.82},
        {0.5: 37.88, 1.0: 38.05, 2.0: 38.72, 3.0: None, 5.0: None},
    ),
    ("S2", 180_000, False): (
        {0.25: 40.42, 0.5: 40.65, 1.0: 40.99, 2.0: 41.81, 3.0: 41.82, 5.0: 41.03},
        {0.25: 40.32, 0.5: 40.62, 1.0: 40.96, 2.0: 41.59, 3.0: None, 5.0: None},
    ),
    ("S2", 180_000, True): (
        {0.25: 41.34, 0.5: 41.51, 1.0: 41.92, 2.0: 41.02, 3.0: 40.32, 5.0: 39.47},
        {0.25: 41.41, 0.5: 41.33, 1.0: 41.56, 2.0: None, 3.0: None, 5.0: None},
    ),
    ("S3", 180_000, False): (
        {0.25: 42.85, 0.5: 43.46, 1.0: 43.76, 2.0: 42.92, 3.0: 41.92, 5.0: 40.26},
        {0.25: 42.90, 0.5: 42.90, 1.0: 43.50, 2.0: 43.94, 3.0: None, 5.0: None},
    ),
    ("S4", 180_000, False): (
        {0.25: 43.59, 0.5: 44.59, 1.0: 44.20, 2.0: 43.12},
        {0.25: 43.68, 0.5: 43.32, 1.0: None, 2.0: None},
    ),
}


def _figure_1() -> list[Row]:
    rows = []
    for index, (init, setup) in enumerate(_SETUPS.items()):
        values = [_SUPERVISED[policy][index][-1] for policy in POLICIES]
        rows += b7_line("figure1", f"left: {setup}", init=init, augment=POLICIES, value=values)
    for index, (init, setup) in enumerate(_SETUPS.items()):
        values = _SUPERVISED["S4"][index]
        rows += b7_line("figure1", f"right: {setup}", init=init, augment="S4", labels=SHARES, value=values)
    return rows


def _figure_2() -> list[Row]:
    rows = []
    for (policy, steps, larger_rate), (normalised, plain) in _BY_ALPHA.items():
        rate = ", larger learning rate" if larger_rate else ""
        curves = ("ema", "loss normalisation", normalised), ("plain", "plain loss", plain)
        for loss_norm, name, curve in curves:
            rows += coco_line(
                "figure2",
                f"{policy}, {steps // 1000}k{rate}: {name}",
                backbone="resnet101",
                augment=policy,
                unlabeled="imagenet",
                student_init="teacher",
                steps=steps,
                alpha=list(curve),
                value=list(curve.values()),
                loss_norm=loss_norm,
                larger_rate=larger_rate,
                note="the larger rate is not given" if larger_rate else None,
            )
    return rows


def _figure_3() -> list[Row]:
    rows = []
    for policy, lines in _SUPERVISED.items():
        for (init, setup), values in zip(_SETUPS.items(), lines, strict=True):
            rows += b7_line(
                "figure3", f"{policy}: {setup}", init=init, augment=policy, labels=SHARES, value=values
            )
    return rows


FIGURES: list[Row] = [*_figure_1(), *_figure_2(), *_figure_3()]
