"""A teacher that reads its masks off the pictures: red is the class, green the confidence."""

import numpy as np

from selftrain_jax.data.source import Source, decode_image, encode_png
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.inference import Inferred
from selftrain_jax.selftrain.label_job import write_pseudo_labels
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.tasks.segmentation.pseudo.counts import count_masks, mask_totals
from selftrain_jax.tasks.segmentation.run_files import MaskSettings, MaskTotals
from selftrain_jax.types import Category

CATEGORIES = (Category(0, "background"), Category(1, "cat"), Category(3, "dog"))
IDS = [0, 1, 3]


def make_maps(index):
    """Return mask and confidence of image `index`; sizes differ, image 3 is unsure everywhere."""
    rng = np.random.default_rng((7, index))
    size_px = (6 + index % 4, 9)
    mask = rng.choice(IDS, size_px, p=(0.6, 0.3, 0.1)).astype(np.uint8)
    confidence = rng.integers(10, 120 if index == 3 else 256, size_px, dtype=np.uint8)
    return mask, confidence


def make_source(num_images, bad=(), name="toy", read_labels=None, categories=()):
    """Those in `bad` do not decode."""

    def read_encoded(index):
        if index in bad:
            return b"no image"
        mask, confidence = make_maps(index)
        return encode_png(np.stack([mask, confidence, mask * 0], axis=-1))

    return Source(
        name=name,
        categories=categories,
        image_ids=tuple(f"image-{i}" for i in range(num_images)),
        read_labels=read_labels or (lambda index: {"image_id": f"image-{index}"}),
        read_encoded=read_encoded,
        read_image=lambda index: decode_image(read_encoded(index), f"image-{index}"),
    )


def make_labeller(source, fail_at_chunk=None):
    """Label in batches of 2, until the chunk where the teacher dies."""

    def infer(chunks):
        for number, (shard, indices) in enumerate(chunks):
            if number == fail_at_chunk:
                raise RuntimeError("killed")
            yield shard, [infer_one(index) for index in indices]

    def infer_one(index):
        encoded = source.read_encoded(index)
        try:
            image = decode_image(encoded, source.image_ids[index])
        except InputError as error:
            return error
        labels = {"image_id": source.image_ids[index], "is_pseudo": True}
        labels |= {"mask": image[..., 0].copy(), "confidence": image[..., 1].copy()}
        return Inferred(encoded, image.shape[:2], labels)

    return Labeller(infer, 2, MaskSettings(sizes_px=(32, 64)), MaskTotals, count_masks, mask_totals)


def label_masks(directory, num_images=10, *, bad=(), fail_at_chunk=None, **kwargs):
    """Label toy images in shards of 4; return what the manifest holds."""
    source = make_source(num_images, bad)
    return write_pseudo_labels(
        directory=directory,
        source=source,
        labeller=make_labeller(source, fail_at_chunk),
        categories=CATEGORIES,
        provenance={"teacher": {"checkpoint": "t/100", "digest": "abc", "step": 100}, "versions": {}},
        images_per_shard=4,
        **kwargs,
    ).to_json()
