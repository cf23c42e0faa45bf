"""Test images on which the student gained and lost most against another stage, and the typical ones.

Call `test_galleries`.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import UInt8

from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.html.galleries import LONGEST_PX, Gallery, Picture, chosen_galleries, spread
from selftrain_jax.report.workdir import RunFiles, evaluations, points
from selftrain_jax.run_files.arms import CONTROLS
from selftrain_jax.tasks.segmentation.draw import fit_mask, hatched
from selftrain_jax.tasks.segmentation.report.galleries import (
    IMAGES_A_GALLERY,
    MaskStyle,
    draw_mask,
    draw_plain,
)
from selftrain_jax.tasks.segmentation.report.results import image_gains
from selftrain_jax.text import number, percent
from selftrain_jax.types import IGNORED

Predicted = Callable[[str, str], UInt8[np.ndarray, "H W"] | None]
"""From a stage and an image id to the class map it predicted, None where there is none."""

GAINED = (0, 158, 115)  # the student's colour
LOST = (213, 94, 0)
BOTH_WRONG = (96, 96, 96)  # about; the image shows through
FONT_PX = 20  # five pictures side by side are small


def test_galleries(run: RunFiles, source: Source, predicted: Predicted, style: MaskStyle) -> list[Gallery]:
    """Show truth beside what the other stage and the student predict: typical, most gained, most lost.

    The other stage is the teacher, or the control where the teacher is not evaluated. Until the student is,
    images are spread evenly through the split.

    Raises: InputError when a prediction has another size than its image.
    """
    positions = {image_id: index for index, image_id in enumerate(source.image_ids)}
    other = next((name for name in ("teacher", *CONTROLS) if image_gains(run, name)), None)
    if other is None:
        chosen = [source.image_ids[index] for index in spread(len(source), IMAGES_A_GALLERY)]
        choices = [("Truth beside predictions", "Evenly spread, not chosen by result.", chosen)]
        stages = list(evaluations(run))
    else:
        known = {name: gain for name, gain in image_gains(run, other).items() if name in positions}
        choices, stages = choose(known, other), [other, "student"]
    style = style._replace(font_px=FONT_PX)

    def draw(image_id: str) -> list[Picture]:
        return _row(run, source, positions[image_id], stages, predicted, style)

    return chosen_galleries(choices, "rows wide", draw, IMAGES_A_GALLERY)


def choose(gains: Mapping[str, float], other: str) -> list[tuple[str, str, list[str]]]:
    """Pick the typical images, those with the highest and those with the lowest gain (below 0)."""
    ranked = sorted(gains, key=lambda image_id: -gains[image_id])
    best = [image_id for image_id in ranked if gains[image_id] > 0][:IMAGES_A_GALLERY]
    worst = [image_id for image_id in ranked[::-1] if gains[image_id] < 0][:IMAGES_A_GALLERY]
    median = number(float(np.median(list(gains.values()))) if gains else None, signed=True)
    typical = f"Nearest to the median gain, {median} points of the image's mIoU over the {other}."
    gained = f"Highest gain over the {other}: what the pseudo labels taught."
    lost = f"Lowest gain over the {other}. Look for errors that the pseudo labels have too."
    nearest = nearest_to_median(gains, IMAGES_A_GALLERY)
    return [("Typical", typical, nearest), ("Gained most", gained, best), ("Lost most", lost, worst)]


def nearest_to_median(gains: Mapping[str, float], count: int) -> list[str]:
    """Pick the images whose gain is nearest to the median of all."""
    median = float(np.median(list(gains.values()))) if gains else 0.0
    return sorted(gains, key=lambda image_id: abs(gains[image_id] - median))[:count]


def draw_change(
    image: UInt8[np.ndarray, "H W 3"],
    truth: UInt8[np.ndarray, "H W"],
    before: UInt8[np.ndarray, "H W"],
    after: UInt8[np.ndarray, "H W"],
) -> Picture:
    """Paint what became right, and what became wrong, on a pale grey image; ignored truth is hatched."""
    small, codes = fit_mask(image, change_codes(truth, before, after), LONGEST_PX)
    grey = small.mean(axis=-1, keepdims=True) * 0.5 + 127
    drawn = np.repeat(np.floor(grey), 3, axis=-1).astype(np.uint8)
    drawn = np.where((codes == IGNORED)[..., None], hatched(drawn), drawn)
    drawn[codes == 1], drawn[codes == 2] = GAINED, LOST
    drawn[codes == 3] //= 2
    counted = codes != IGNORED
    shares = [percent(float((codes == code)[counted].mean()) if counted.any() else 0.0) for code in (1, 2, 3)]
    words = f"became right {shares[0]}, wrong {shares[1]}; wrong in both {shares[2]}"
    return Picture(drawn, words, f"What changed: {words}")


def change_codes(
    truth: UInt8[np.ndarray, "H W"], before: UInt8[np.ndarray, "H W"], after: UInt8[np.ndarray, "H W"]
) -> UInt8[np.ndarray, "H W"]:
    """Code each pixel: 0 right in both, 1 became right, 2 became wrong, 3 wrong in both, or IGNORED."""
    was, now = before == truth, after == truth
    codes = np.select([was & now, ~was & now, was & ~now], [0, 1, 2], 3)
    return np.where(truth == IGNORED, IGNORED, codes).astype(np.uint8)


def _row(
    run: RunFiles, source: Source, index: int, stages: list[str], predicted: Predicted, style: MaskStyle
) -> list[Picture]:
    example, image_id = source.read(index), source.image_ids[index]
    image, truth = example["image"], example["mask"]
    masks = {stage: mask for stage in stages if (mask := predicted(stage, image_id)) is not None}
    for stage, mask in masks.items():
        if mask.shape != truth.shape:
            sizes = [f"{height} x {width}" for height, width in (mask.shape, truth.shape)]
            raise InputError(
                f"{stage}/masks: the class map of image {image_id} has {sizes[0]} pixels, "
                f"its truth {sizes[1]} (height x width); evaluate the {stage} again"
            )
    pictures = [draw_plain(image, image_id), draw_mask(image, truth, style, "truth")]
    pictures += [
        draw_mask(image, mask, style, _stage_caption(run, stage, image_id)) for stage, mask in masks.items()
    ]
    if len(masks) == 2 and "student" in masks:
        pictures.append(draw_change(image, truth, masks[stages[0]], masks["student"]))
    return pictures


def _stage_caption(run: RunFiles, stage: str, image_id: str) -> str:
    evaluation = evaluations(run).get(stage)
    value = points(None if evaluation is None else evaluation.details.per_image.get(image_id))
    return f"{stage}, mIoU {number(value)}" if np.isfinite(value) else stage
