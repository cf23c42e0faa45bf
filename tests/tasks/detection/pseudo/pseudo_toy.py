"""A teacher that reads its answer off the picture, and a source whose pictures hold it."""

import jax
import jax.numpy as jnp
import numpy as np

from selftrain_jax.data.source import Source, decode_image, encode_png
from selftrain_jax.selftrain.label_job import write_pseudo_labels
from selftrain_jax.tasks.detection.pseudo.labeller import Network, box_labeller
from selftrain_jax.types import Category, Detections

CATEGORIES = (Category(1, "cat"), Category(7, "dog"))
SIZE_PX = 16
HEIGHT, WIDTH = 20, 32


def make_source(num_images, bad=(), name="toy"):
    """Image i is grey of value i; those in `bad` do not decode."""

    def read_encoded(index):
        if index in bad:
            return b"no image"
        return encode_png(np.full((HEIGHT, WIDTH, 3), index, np.uint8))

    return Source(
        name=name,
        categories=(),
        image_ids=tuple(f"image-{i}" for i in range(num_images)),
        read_labels=lambda index: {"image_id": f"image-{index}"},
        read_encoded=read_encoded,
        read_image=lambda index: decode_image(read_encoded(index), f"image-{index}"),
    )


def load(image, size_px=SIZE_PX):
    """Halve the height and take a quarter of the width."""
    network = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
    small = image[::2, ::4]
    network[: small.shape[0], : small.shape[1]] = small
    return network, np.array(small.shape[:2])


class Teacher:
    """Finds in image i a cat of score i/100, a dog of 0.3, one of 0.04, and leaves an unused slot."""

    def __init__(self, fail_at_call=None):
        self.shapes, self.batches, self.fail_at_call = [], [], fail_at_call
        self._answer = jax.jit(self._detect)

    def __call__(self, fitted):
        if len(self.batches) == self.fail_at_call:
            raise RuntimeError("killed")
        self.batches.append(fitted.images)
        mesh = jax.make_mesh((2,), ("data",))
        sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
        return self._answer(jax.device_put(fitted.images, sharding))

    @staticmethod
    def _detect(images):
        value = images[:, 0, 0, 0].astype(jnp.float32)
        ones = jnp.ones_like(value)
        cat_score = value * 1.0000005 / 100  # XLA may multiply by a rounded 1/100: 0.05 is to reach the floor
        cat = jnp.stack([value * 0 + 1, ones, ones * 5, ones * 6], axis=1)
        dog = jnp.stack([-ones, ones * 2, ones * 99, ones * 4], axis=1)
        return Detections(
            boxes=jnp.stack([cat, dog, dog, dog], axis=1),
            scores=jnp.stack([cat_score, ones * 0.3, ones * 0.04, ones * 0], axis=1),
            classes=jnp.stack([ones * 1, ones * 7, ones * 7, ones * 0], axis=1).astype(jnp.int32),
            valid=jnp.stack([ones, ones, ones, ones * 0], axis=1).astype(bool),
        )


def make_labeller(source, teacher=None):
    """Label in batches of 2."""
    network = Network(load, (teacher or Teacher(),), 2, SIZE_PX, score_floor=0.05)
    return box_labeller(source, network, num_threads=2)


def label(directory, num_images=10, *, bad=(), teacher=None, digest="abc", **kwargs):
    """Label toy images in shards of 4 with batches of 2; return what the manifest holds."""
    source = make_source(num_images, bad)
    return write_pseudo_labels(
        **dict(
            directory=directory,
            source=source,
            labeller=make_labeller(source, teacher),
            categories=CATEGORIES,
            provenance={
                "teacher": {"checkpoint": "t/100", "digest": digest, "step": 100},
                "nms": {"iou_threshold": 0.5},
                "config": {"name": "toy"},
                "versions": {"jax": jax.__version__},
            },
            images_per_shard=4,
            **kwargs,
        )
    ).to_json()
