"""The names that data flows through. Imports nothing of the package.

Letters in shapes: B examples, H W pixels, C channels, A anchors of all levels, M box slots of an
image (padded), K classes (channel 0 is the background), D detections kept.
Boxes are yxyx pixels of the network's input unless the name says otherwise.
NamedTuples hold traced data, frozen dataclasses hold static choices.
"""

from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple, TypedDict

import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8

Variables = dict[str, Any]
"""A linen variable dict: `params` and, with BatchNorm, `batch_stats`."""

Metrics = Mapping[str, Array]
"""Scalars by name, `group/name`."""

IGNORED = 255
"""The value of mask pixels that are ignored: neither learnt from nor measured."""

MAX_CLASS_ID = 9999
"""Every id up to the highest costs channels of the class head."""

SIZE_STEP_PX = 32
"""A segmenter's input is padded to multiples of it: its backbone halves an image five times."""


class Category(NamedTuple):
    """A class: `id` is its channel in the class head; from 1 for boxes (0 is the background), else from 0."""

    id: int
    name: str


class Example(TypedDict, total=False):
    """One image with what is known of it, on the host. An absent key is absent, never None."""

    image: UInt8[np.ndarray, "H W 3"]
    image_id: str
    coco_id: int  # COCO's number of the image, where `image_id` is another (TFDS); not of unlabelled images
    file_name: str  # as in COCO's annotation files; beside `coco_id`
    boxes: Float[np.ndarray, "N 4"]  # float32, yxyx pixels of this image
    classes: Int[np.ndarray, " N"]  # int32, Category.id
    scores: Float[np.ndarray, " N"]  # float32; pseudo labels only
    # float32; pseudo labels over several views only: `detection.box_fusion.fuse_boxes`
    place_std: Float[np.ndarray, " N"]
    is_crowd: Bool[np.ndarray, " N"]
    areas: Float[np.ndarray, " N"]  # float32, px² of the object itself; where unknown, the box counts
    is_ignore: Bool[
        np.ndarray, " N"
    ]  # pseudo boxes between the two thresholds: neither object nor background
    mask: UInt8[np.ndarray, "H W"]  # Category.id of each pixel, or IGNORED
    confidence: UInt8[np.ndarray, "H W"]  # pseudo masks only: floor(256 * probability), at most 255
    # Pseudo masks of k = 2 or 3 classes a pixel: the second class, its probability as `confidence`, and the
    # third's.
    runners_up: UInt8[np.ndarray, "H W R"]
    # Of the target beside the class in `mask`: the second class, its share in 255ths, and the third's.
    soft_mask: UInt8[np.ndarray, "H W 4"]
    pixel_weight: UInt8[np.ndarray, "H W 1"]  # of the pixel's loss, in 255ths
    is_pseudo: bool
    image_class: int  # Category.id of the whole image, from 0


class BoxTargets(NamedTuple):
    """Boxes of a batch, padded to M slots an image.

    `valid` marks the slots that hold a box. Where `ignore` is also set the box is a region in
    which anchors are neither object nor background. Weights that are None are 1 for every box.
    """

    boxes: Float[Array, "B M 4"]
    classes: Int[Array, "B M"]
    valid: Bool[Array, "B M"]
    ignore: Bool[Array, "B M"]
    box_weight: Float[Array, "B M"] | None = None  # of the box loss
    class_weight: Float[Array, "B M"] | None = None  # of the class loss of the anchors that a box matches
    class_target: Float[Array, "B M"] | None = None  # the score that these anchors are to give its class


class MaskTargets(NamedTuple):
    """The class of each pixel of the network's input, or IGNORED.

    With `soft`, two more classes have shares of 255ths of the target: (second class, its share, third class,
    its share); what is left is the share of the class in `masks`. `weight` is what each pixel's loss counts,
    in 255ths; None: all count 1.
    """

    masks: UInt8[Array, "B H W"]
    soft: UInt8[Array, "B H W 4"] | None = None
    weight: UInt8[Array, "B H W 1"] | None = None


class ClassTargets(NamedTuple):
    """The class of each image, from 0; -1 where there is none."""

    classes: Int[Array, " B"]


class Batch(NamedTuple):
    """What a training step sees.

    On their way to the devices images are pixels that cover `covered_px` (height, width) from the corner on.
    A task gets them normalised (mean 0, deviation 1), zero where padded, with `covered_px` None: see
    `models.input_normalization`. `auxiliary` is a second task's batch, of its own sizes (joint training).
    """

    images: UInt8[Array, "B H W 3"] | Float[Array, "B H W 3"]
    targets: BoxTargets | MaskTargets | ClassTargets
    is_pseudo: Bool[Array, " B"]
    auxiliary: "Batch | None" = None
    covered_px: Int[Array, "B 2"] | None = None


BatchStream = Generator[tuple[Batch, list[str]], None, None]
"""Batches and their image ids. Whoever opens a stream closes it: threads read for it until then."""

Batches = Callable[[int], BatchStream]
"""From a step to the endless stream that begins at that step."""


class Detections(NamedTuple):
    """Boxes found, best first; unused slots have `valid` False, score 0 and class 0."""

    boxes: Float[Array, "B D 4"]
    scores: Float[Array, "B D"]
    classes: Int[Array, "B D"]
    valid: Bool[Array, "B D"]


class DenseBoxes(NamedTuple):
    """The box and the class scores of every anchor, before any is selected."""

    boxes: Float[Array, "B A 4"]  # in pixels of the network's input, within it
    logits: Float[Array, "B A K"]  # of sigmoids; channel 0 is the background, which is never said


class PixelLogits(NamedTuple):
    """The score of every class on a grid of a quarter of the input's resolution, float32."""

    logits: Float[Array, "B h w K"]


class ClassScores(NamedTuple):
    """The probability of every class, which add up to 1."""

    probabilities: Float[Array, "B K"]


class LossTerms(NamedTuple):
    """The task's loss on each source, each by its own normaliser, 0 where a source is absent.

    `auxiliary` is added to what the loss normalisation makes of the two; it carries its weight already.
    """

    human: Float[Array, ""]
    pseudo: Float[Array, ""]
    num_human: Float[Array, ""]  # images from each source in the batch
    num_pseudo: Float[Array, ""]
    metrics: dict[str, Float[Array, ""]]
    auxiliary: Float[Array, ""] | float = 0.0


class FittedImages(NamedTuple):
    """Images fitted into the network's input from the corner on, and what they cover of it.

    A task gets them normalised, as the images of a `Batch`.
    """

    images: UInt8[Array, "B S S 3"] | Float[Array, "B S S 3"]
    covered_px: Int[Array, "B 2"]  # height, width


class Task(NamedTuple):
    """The pure functions that make a trainer's task; everything static is closed over.

    `loss` runs the network once in training mode and returns the new `batch_stats` too. `features` returns
    what the backbone makes of each image, a vector of length 1, `dense` what `predict` selects from, where
    it does.
    """

    init: Callable[[PRNGKeyArray], Variables]
    loss: Callable[[Variables, Batch, PRNGKeyArray], tuple[LossTerms, Variables]]
    predict: Callable[[Variables, Any], Any]  # from normalised images to Detections, PixelLogits, ...
    features: Callable[[Variables, FittedImages], Float[Array, "B C"]] | None = None
    dense: Callable[[Variables, Any], DenseBoxes] | None = None
