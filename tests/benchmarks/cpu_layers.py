"""What the CPU forms of convolutions gain: python -m tests.benchmarks.cpu_layers

Times XLA's own convolution against ours, forward and gradient, at sizes of EfficientNet-B0 and of the
ResNet-50 RetinaNet (256 px, 8 images). The two take turns in each round, so that what else the machine
does falls on both; the table gives each one's median and the ratio native / fast: median and spread
(least to greatest).
"""

import os
import time
from collections.abc import Callable

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np

from selftrain_jax.models.convolution import convolve
from selftrain_jax.models.depthwise import depthwise_convolve
from selftrain_jax.models.layers import padding_px
from selftrain_jax.models.native_convolution import native

ROUNDS, BATCH_SIZE = 7, 8
# size_px, channels in, channels out, kernel_px, stride
CONVOLUTIONS = [
    (128, 32, 16, 1, 1),
    (64, 96, 24, 1, 1),
    (64, 24, 144, 1, 1),
    (32, 64, 256, 1, 2),
    (16, 480, 112, 1, 1),
    (8, 192, 1152, 1, 1),
    (1, 1152, 48, 1, 1),
    (64, 64, 64, 3, 1),
    (64, 128, 128, 3, 2),
    (32, 256, 256, 3, 1),
    (16, 256, 256, 3, 1),
    (2, 256, 819, 3, 1),
]
# size_px, channels, kernel_px, stride
DEPTHWISE = [
    (128, 32, 3, 1),
    (128, 96, 3, 2),
    (64, 144, 3, 1),
    (64, 144, 5, 2),
    (32, 240, 5, 1),
    (16, 480, 3, 1),
    (16, 672, 5, 1),
    (8, 1152, 5, 1),
]


def milliseconds(function: Callable, *args: jax.Array) -> float:
    """Time one call, already compiled."""
    start = time.perf_counter()
    jax.block_until_ready(function(*args))
    return 1e3 * (time.perf_counter() - start)


def gradient_of(convolve: Callable) -> Callable:
    """Return the function that gives the gradients of input and kernel."""
    return lambda x, kernel, cotangent: jax.vjp(convolve, x, kernel)[1](cotangent)


def compare(native: Callable, fast: Callable, *args: jax.Array) -> str:
    """Time both in turns; return a row's medians and ratios."""
    native, fast = jax.jit(native), jax.jit(fast)
    milliseconds(native, *args), milliseconds(fast, *args)
    times = np.array([[milliseconds(f, *args) for f in (native, fast)] for _ in range(ROUNDS)])
    ratios = times[:, 0] / times[:, 1]
    spread = f"{ratios.min():.1f} to {ratios.max():.1f}"
    return (
        f"{np.median(times[:, 0]):9.2f} {np.median(times[:, 1]):8.2f} {np.median(ratios):6.1f} {spread:>14}"
    )


def print_rows(
    native: Callable, fast: Callable, label: str, shapes: tuple[tuple, tuple], stride: int
) -> None:
    """Print a line for the forward pass and one for the gradient."""
    random = np.random.default_rng(0)
    x, kernel = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in shapes)
    edge = padding_px(x.shape[1], kernel.shape[0], stride, "same")

    def bound(function: Callable) -> Callable:
        return lambda x, kernel: function(x, kernel, stride, (edge, edge))

    cotangent = jnp.ones(jax.eval_shape(bound(native), x, kernel).shape)
    forward = compare(bound(native), bound(fast), x, kernel)
    gradient = compare(gradient_of(bound(native)), gradient_of(bound(fast)), x, kernel, cotangent)
    print(f"{label:30} forward  {forward}")
    print(f"{'':30} gradient {gradient}", flush=True)


def main() -> None:
    """Print the table."""
    print(f"{os.cpu_count()} cores, {ROUNDS} rounds, {BATCH_SIZE} images")
    print(f"{'':39} {'native ms':>9} {'fast ms':>8} {'ratio':>6} {'spread':>14}")
    for size, channels, features, kernel_px, stride in CONVOLUTIONS:
        label = f"{kernel_px}x{kernel_px} /{stride} {size}x{size}x{channels}->{features}"
        shapes = (BATCH_SIZE, size, size, channels), (kernel_px, kernel_px, channels, features)
        print_rows(native, convolve, label, shapes, stride)
    for size, channels, kernel_px, stride in DEPTHWISE:
        label = f"depthwise {kernel_px}x{kernel_px} /{stride} {size}x{size}x{channels}"
        shapes = (BATCH_SIZE, size, size, channels), (kernel_px, kernel_px, 1, channels)
        print_rows(native, depthwise_convolve, label, shapes, stride)


if __name__ == "__main__":
    main()
