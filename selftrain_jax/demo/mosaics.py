"""Mosaics of the built-in data: regions of real materials, told apart by their texture, with exact masks.

Call `lay_out` for the regions, which is all that a mask needs, and `paint` for the pixels; both are pure
functions of their arguments.

Splits take different columns of a photograph: what evaluation shows is in no image of `train` or `unlabeled`.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from selftrain_jax.demo import material as scene_material
from selftrain_jax.types import Category

VOID = 255  # no class: ignored by loss and evaluation
REGIONS = (3, 6)
BEND_FRAC = 0.05  # of the image: the standard deviation by which borders are bent
BEND_KNOTS = 5  # random places along a side between which the bend is smooth
VOID_SHARE = 1 / 3  # of the images
VOID_AREA_FRAC = (0.05, 0.15)
ZOOM = (0.7, 1.4)
REFERENCE_PX = 128  # the image size that `Material.scale` is for

# Columns of a photograph that a split uses. `unlabeled` has train's and as many again; 2 % are left out
# between those of training, val and test.
COLUMNS_FRAC = {"train": (0.0, 0.3), "unlabeled": (0.0, 0.6), "val": (0.62, 0.78), "test": (0.8, 1.0)}


class Material(NamedTuple):
    """A class, and the photograph that shows it."""

    name: str
    photo: str
    scale: float  # pixels of an image of 128 px for a pixel of the photograph, before the random zoom
    margin_frac: float = 0.0  # cut off on all sides: not the material


MATERIALS = (
    Material("brick", "brick", 0.6),
    Material("grass", "grass", 0.8),
    Material("gravel", "gravel", 1.0),
    Material("stars", "hubble_deep_field", 0.6),
    Material("vessels", "retina", 0.35, 0.16),
    Material("tissue", "ihc", 0.8),
)
CATEGORIES = tuple(Category(index, material.name) for index, material in enumerate(MATERIALS))


class Layout(NamedTuple):
    """The regions of an image and their materials."""

    regions: UInt8[np.ndarray, "S S"]  # number of the region at each pixel, from 0
    classes: Int[np.ndarray, " R"]  # by region; two that touch differ
    void: Bool[np.ndarray, "S S"]  # covered by a patch of noise

    @property
    def mask(self) -> UInt8[np.ndarray, "S S"]:
        """The class at each pixel, 255 where it is void."""
        return np.where(self.void, VOID, self.classes[self.regions]).astype(np.uint8)


def lay_out(rng: np.random.Generator, size_px: int) -> Layout:
    """Divide an image into 3 to 6 regions of materials; every third image on average gets a void patch."""
    regions = _part(rng, int(rng.integers(REGIONS[0], REGIONS[1] + 1)), size_px)
    classes = _choose_classes(rng, _touching(regions))
    void = _patch(rng, size_px) if rng.random() < VOID_SHARE else np.zeros((size_px, size_px), bool)
    return Layout(regions, classes, void)


def paint(rng: np.random.Generator, layout: Layout, split: str) -> UInt8[np.ndarray, "S S 3"]:
    """Fill each region with a crop of its own from the split's part of a photograph, and void with noise."""
    size_px = len(layout.regions)
    canvas = np.zeros((size_px, size_px, 3), np.float32)
    for region, index in enumerate(layout.classes):
        inside = layout.regions == region
        canvas[inside] = relight(rng, cut(rng, MATERIALS[index], split, size_px))[inside]
    canvas += rng.normal(0, rng.uniform(1, 6), canvas.shape)
    canvas[layout.void] = rng.uniform(0, 256, (np.count_nonzero(layout.void), 3))
    return np.clip(canvas, 0, 255).astype(np.uint8)


def cut(rng: np.random.Generator, material: Material, split: str, size_px: int) -> Float[np.ndarray, "S S 3"]:
    """Crop a square from the split's part of a photograph, zoom, mirror and turn it by quarters."""
    picture = split_part(material, split, size_px)
    side_px = size_px / math.exp(rng.uniform(*np.log(ZOOM)))
    left, top = rng.uniform(0, 1, 2) * (picture.width - side_px, picture.height - side_px)
    box = (left, top, left + side_px, top + side_px)
    crop = picture.resize((size_px, size_px), Image.Resampling.BICUBIC, box=box)
    turned = np.rot90(np.asarray(crop), int(rng.integers(4)))
    return turned[:, :: rng.choice((-1, 1))].astype(np.float32)


def relight(rng: np.random.Generator, pixels: Float[np.ndarray, "S S 3"]) -> Float[np.ndarray, "S S 3"]:
    """Fade the colours towards grey, then redraw brightness, contrast and tint."""
    grey = pixels.mean(2, keepdims=True)
    faded = grey + np.float32(rng.uniform(0, 1)) * (pixels - grey)
    contrast = math.exp(rng.uniform(math.log(0.6), math.log(1.4))) * rng.uniform(0.85, 1.15, 3)
    colour = rng.uniform(60, 190) + rng.uniform(-35, 35, 3)
    return (faded - faded.mean((0, 1))) * contrast.astype(np.float32) + colour.astype(np.float32)


@functools.cache
def split_part(material: Material, split: str, size_px: int) -> Image.Image:
    """Cut the split's columns out of a photograph and scale them; mirror what is too narrow for a crop.

    Cutting comes before scaling, so that no pixel is blended with one of another split.
    """
    photo = scene_material.stored_photo(material.photo)
    margin_px = round(material.margin_frac * photo.width), round(material.margin_frac * photo.height)
    width_px = photo.width - 2 * margin_px[0]
    first, last = (margin_px[0] + round(frac * width_px) for frac in COLUMNS_FRAC[split])
    part = photo.crop((first, margin_px[1], last, photo.height - margin_px[1]))
    scale = material.scale * size_px / REFERENCE_PX
    part = part.resize((round(part.width * scale), round(part.height * scale)), Image.Resampling.LANCZOS)
    pixels, least_px = np.asarray(part), math.ceil(size_px / ZOOM[0])
    missing_px = [(0, max(0, least_px - length)) for length in pixels.shape[:2]]
    return Image.fromarray(np.pad(pixels, (*missing_px, (0, 0)), mode="reflect"))


def _part(rng: np.random.Generator, num_regions: int, size_px: int) -> UInt8[np.ndarray, "S S"]:
    """Assign each pixel to the nearest of some points (Voronoi), after a smooth random displacement."""
    points = rng.uniform(0, size_px, (1, 2))
    while len(points) < num_regions:  # of 4 the one farthest from the others: no region is a sliver
        candidates = rng.uniform(0, size_px, (4, 2))
        nearest = np.square(candidates[:, None] - points).sum(2).min(1)
        points = np.append(points, candidates[[nearest.argmax()]], axis=0)
    y, x = (np.mgrid[:size_px, :size_px] + 0.5 + _bends(rng, size_px)).astype(np.float32)
    squares = [(y - point[0]) ** 2 + (x - point[1]) ** 2 for point in points]
    return np.argmin(squares, axis=0).astype(np.uint8)


def _bends(rng: np.random.Generator, size_px: int) -> Float[np.ndarray, "2 S S"]:
    """Draw two smooth fields of displacements in pixels."""
    knots = rng.normal(0, BEND_FRAC * size_px, (2, BEND_KNOTS, BEND_KNOTS)).astype(np.float32)
    fields = [Image.fromarray(field).resize((size_px, size_px), Image.Resampling.BICUBIC) for field in knots]
    return np.stack([np.asarray(field) for field in fields])


def _touching(regions: UInt8[np.ndarray, "S S"]) -> set[tuple[int, int]]:
    """Return the pairs of regions with pixels side by side, both ways round."""
    beside = ((regions[1:], regions[:-1]), (regions[:, 1:], regions[:, :-1]))
    pairs = np.concatenate([np.stack([one.ravel(), other.ravel()]) for one, other in beside], axis=1)
    apart = pairs[:, pairs[0] != pairs[1]].tolist()
    return {*zip(*apart, strict=True), *zip(*apart[::-1], strict=True)}


def _choose_classes(rng: np.random.Generator, touching: set[tuple[int, int]]) -> Int[np.ndarray, " R"]:
    """Draw a class for each region in turn, among those that no region beside it has."""
    classes: list[int] = []
    for region in range(1 + max(region for region, _ in touching)):
        taken = {classes[other] for other in range(region) if (region, other) in touching}
        free = [index for index in range(len(MATERIALS)) if index not in taken]
        classes.append(int(rng.choice(free)))
    return np.array(classes)


def _patch(rng: np.random.Generator, size_px: int) -> Bool[np.ndarray, "S S"]:
    """Place a disc or a rectangle that is wholly inside the image."""
    area_px, aspect = rng.uniform(*VOID_AREA_FRAC) * size_px**2, rng.uniform(0.5, 2)
    is_disc = rng.random() < 0.5
    radii = [math.sqrt(area_px / math.pi)] * 2
    if not is_disc:
        radii = [math.sqrt(area_px * aspect) / 2, math.sqrt(area_px / aspect) / 2]
    middle = [rng.uniform(radius, size_px - radius) for radius in radii]
    y, x = np.ogrid[:size_px, :size_px]
    dy, dx = np.abs(y + 0.5 - middle[0]) / radii[0], np.abs(x + 0.5 - middle[1]) / radii[1]
    return dy**2 + dx**2 < 1 if is_disc else np.maximum(dy, dx) < 1
