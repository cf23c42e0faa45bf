"""XLA's own convolutions with rows on eight fake devices against one: arguments are rows of a device.

Gradients on TPU and GPU are XLA's; the networks' on CPU are not quite, so that they are looked at here.
"""

import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from selftrain_jax.models.layers import padding_px
from selftrain_jax.models.mixed_convolution import convolve_mixed
from selftrain_jax.models.native_convolution import native
from selftrain_jax.models.spatial_sharding import shard_rows
from selftrain_jax.train.sharding import make_mesh, shard_batch, shard_state, with_mesh

KERNELS = [(1, 1), (1, 2), (3, 1), (3, 2), (5, 1), (5, 2), (7, 2)]  # size, stride
BATCH_SIZE, CHANNELS = 8, 4


def cases() -> Iterator[tuple]:
    for kernel_px, stride in KERNELS:
        for padding in ("same", "fixed"):
            for is_depthwise in (False, True):
                yield kernel_px, stride, padding, is_depthwise


def outputs_and_gradients(mesh, size_px: int) -> dict[tuple, list[np.ndarray]]:
    """Run all cases, each on a copy of the images and with a kernel of its own, as one program."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH_SIZE, size_px, size_px, CHANNELS)).astype(np.float32)

    def kernel_of(case: tuple) -> np.ndarray:
        kernel_px, _, _, is_depthwise = case
        shape = (kernel_px, kernel_px, 1 if is_depthwise else CHANNELS, CHANNELS)
        return rng.normal(size=shape).astype(np.float32)

    def loss_of(case: tuple, kernels: dict, x):
        kernel_px, stride, padding, _ = case
        pads = (padding_px(size_px, kernel_px, stride, padding),) * 2
        y, z = (
            shard_rows(convolve(shard_rows(x), kernels[name], stride, pads))
            for name, convolve in (("native", native), ("mixed", convolve_mixed))
        )
        return jnp.sum(jnp.sin(y) + jnp.cos(z)), (y, z)

    def loss(kernels: list, images: list):
        losses, outputs = zip(*map(loss_of, cases(), kernels, images), strict=True)
        return sum(losses), outputs

    graded = jax.jit(jax.value_and_grad(with_mesh(mesh, loss), argnums=(0, 1), has_aux=True))
    kernels = shard_state(mesh, [dict.fromkeys(("native", "mixed"), kernel_of(case)) for case in cases()])
    (_, outputs), gradients = graded(kernels, [shard_batch(mesh, x) for _ in cases()])
    found = zip(cases(), outputs, *gradients, strict=True)
    return {case: [np.asarray(leaf) for leaf in jax.tree.leaves(arrays)] for case, *arrays in found}


def main() -> None:
    for space in (2, 4):
        mesh, one = make_mesh(space=space), make_mesh(devices=jax.devices()[:1])
        for rows in map(int, sys.argv[1:]):  # of a device
            expected, found = (outputs_and_gradients(of, rows * space) for of in (one, mesh))
            for case in cases():
                pairs = zip(expected[case], found[case], strict=True)
                error = max(np.abs(a - b).max() / np.abs(a).max() for a, b in pairs)
                assert error < 1e-4, f"space {space}, {rows} rows a device, {case}: {error:.1e}"
    print("equal")


main()
