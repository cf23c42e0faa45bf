"""The operations of AutoAugment and RandAugment by name and level.

`apply_operation` applies one; `OPERATIONS` and `BOX_ONLY_OPERATIONS` list them. The arguments at level L (0
to 10; more extrapolates) are the released code's: Color, Contrast, Brightness, Sharpness 1.8 L/10 + 0.1;
Posterize trunc(4 L/10) bits; Solarize trunc(256 L/10); SolarizeAdd trunc(110 L/10); Cutout trunc(100 L/10)
px; Rotate 30 L/10 degrees; Shear 0.3 L/10; Translate 250 L/10 px. Arguments of geometric operations are
negated half of the time.

Geometric operations change image and mask alike; the others, Cutout included, change only the image. Pixels
under a Cutout keep their class, as objects keep their box: the network has to infer it from the surroundings.
Without boxes, operations inside boxes do nothing.

Paper: does not say what happens to masks, and no code was released. If the mask were 255 under a Cutout,
Cutout would teach nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import tensorflow as tf

from selftrain_jax.augment import geometry, pixel_ops
from selftrain_jax.augment.box_ops import bbox_cutout, within_boxes
from selftrain_jax.augment.tensors import Number, Seed, Tensors, image_size, split_seed

PixelScale: TypeAlias = tf.Tensor | Number
Operation = Callable[[Tensors, Number, PixelScale, Seed], Tensors]
"""(tensors, level, factor for arguments in pixels, seed) -> tensors."""


def pixel_scale(image: tf.Tensor, reference_size_px: int | None) -> PixelScale:
    """Return the factor for arguments in pixels: 1, or max(H, W) / reference_size_px.

    Differs: the released constants suit COCO's 640 px images; 250 px would move a 128 px image out of sight.
    With `reference_size_px=640` an image of any size moves as a COCO image does. None keeps the constants.
    """
    if reference_size_px is None:
        return 1.0
    return tf.cast(tf.maximum(*image_size(image)), tf.float32) / reference_size_px


def apply_operation(
    tensors: Tensors,
    name: str,
    *,
    level: Number,
    probability: Number = 1.0,
    scale: PixelScale = 1.0,
    box_fit: str = "corners",
    seed: Seed,
) -> Tensors:
    """Apply one operation of `OPERATIONS` or `BOX_ONLY_OPERATIONS` with a probability.

    For `*_Only_BBoxes` this is decided for each box, with a third of the probability.
    """
    draw_seed, seed = split_seed(seed, 2)
    if name in BOX_ONLY_OPERATIONS:
        inside = BOX_ONLY_OPERATIONS[name]
        return within_boxes(tensors, probability / 3, lambda crop, key: inside(crop, level, scale, key), seed)
    operation = ELLIPSE_OPERATIONS.get(name, OPERATIONS[name]) if box_fit == "ellipse" else OPERATIONS[name]
    if probability in (0.0, 1.0):
        return operation(tensors, level, scale, seed) if probability else tensors
    is_drawn = tf.random.stateless_uniform([], draw_seed) < probability
    return tf.cond(is_drawn, lambda: operation(tensors, level, scale, seed), lambda: tensors)


def _enhance(level: Number) -> Number:
    return 1.8 * level / 10 + 0.1


def _colors(change: Callable, argument: Callable[[Number], Number] | None = None) -> Operation:
    """Make an operation that changes only `image`, with at most one argument."""

    def operation(tensors: Tensors, level: Number, scale: PixelScale, seed: Seed) -> Tensors:
        arguments = () if argument is None else (argument(level),)
        return {**tensors, "image": change(tensors["image"], *arguments)}

    return operation


def _moves(
    move: Callable[[Tensors, tf.Tensor], Tensors], at_level_10: Number, in_px: bool = False
) -> Operation:
    """Make an operation that moves image, boxes and mask, in either direction with probability 1/2."""

    def operation(tensors: Tensors, level: Number, scale: PixelScale, seed: Seed) -> Tensors:
        amount = at_level_10 * level / 10 * (scale if in_px else 1.0)
        return move(tensors, tf.where(tf.random.stateless_uniform([], seed) < 0.5, amount, -amount))

    return operation


def _cutout(at_level_10: Number) -> Operation:
    def operation(tensors: Tensors, level: Number, scale: PixelScale, seed: Seed) -> Tensors:
        half_size_px = tf.cast(at_level_10 * level / 10 * scale, tf.int32)
        return {**tensors, "image": pixel_ops.cutout(tensors["image"], half_size_px, seed)}

    return operation


OPERATIONS: dict[str, Operation] = {
    "AutoContrast": _colors(pixel_ops.autocontrast),
    "Equalize": _colors(pixel_ops.equalize),
    "Invert": _colors(pixel_ops.invert),
    "Posterize": _colors(pixel_ops.posterize, lambda level: int(4 * level / 10)),
    "Solarize": _colors(pixel_ops.solarize, lambda level: int(256 * level / 10)),
    "SolarizeAdd": _colors(pixel_ops.solarize_add, lambda level: int(110 * level / 10)),
    "Color": _colors(pixel_ops.color, _enhance),
    "Contrast": _colors(pixel_ops.contrast, _enhance),
    "Brightness": _colors(pixel_ops.brightness, _enhance),
    "Sharpness": _colors(pixel_ops.sharpness, _enhance),
    "Cutout": _cutout(100),
    "BBox_Cutout": lambda tensors, level, scale, seed: bbox_cutout(tensors, 0.75 * level / 10, seed),
    "Rotate_BBox": _moves(geometry.rotate, 30),
    "ShearX_BBox": _moves(geometry.shear_x, 0.3),
    "ShearY_BBox": _moves(geometry.shear_y, 0.3),
    "TranslateX_BBox": _moves(geometry.translate_x, 250, in_px=True),
    "TranslateY_BBox": _moves(geometry.translate_y, 250, in_px=True),
}
"""For the whole image."""

ELLIPSE_OPERATIONS: dict[str, Operation] = {
    "Rotate_BBox": _moves(partial(geometry.rotate, box_fit="ellipse"), 30),
    "ShearX_BBox": _moves(partial(geometry.shear_x, box_fit="ellipse"), 0.3),
    "ShearY_BBox": _moves(partial(geometry.shear_y, box_fit="ellipse"), 0.3),
}
"""In place of those above where boxes are fitted by `geometry.fit_ellipse`."""

BOX_ONLY_OPERATIONS: dict[str, Operation] = {
    "TranslateX_Only_BBoxes": _moves(geometry.translate_x, 120, in_px=True),
    "TranslateY_Only_BBoxes": _moves(geometry.translate_y, 120, in_px=True),
    "ShearX_Only_BBoxes": _moves(geometry.shear_x, 0.3),
    "ShearY_Only_BBoxes": _moves(geometry.shear_y, 0.3),
    "Rotate_Only_BBoxes": _moves(geometry.rotate, 30),
    "Flip_Only_BBoxes": lambda tensors, level, scale, seed: geometry.flip_horizontal(tensors),
    "Equalize_Only_BBoxes": _colors(pixel_ops.equalize),
    "Cutout_Only_BBoxes": _cutout(50),
}
"""For the content of boxes."""
