"""Small convolutions in bfloat16 with float32 kernels, and their numbers by the definition."""

import jax.numpy as jnp
import numpy as np

CASES = [  # input, channels in, channels out, kernel, stride, pads
    ((2, 6, 5), 3, 4, 3, 1, ((1, 1), (1, 1))),
    ((2, 6, 5), 3, 4, 1, 2, ((0, 0), (0, 0))),
    ((3, 8, 7), 2, 4, 3, 2, ((0, 1), (1, 1))),  # a last row or column that no kernel reaches
    ((2, 7, 7), 1, 4, 5, 2, ((1, 2), (2, 2))),
    ((2, 2, 2), 3, 2, 3, 1, ((1, 1), (1, 1))),  # smaller than the kernel
    ((2, 3, 3), 8, 16, 3, 1, ((1, 1), (1, 1))),
]


def example(shape, inputs, outputs, kernel_px, depthwise):
    random = np.random.default_rng(0)
    channels = (1, inputs) if depthwise else (inputs, outputs)
    x = jnp.asarray(random.normal(size=(*shape, inputs)), jnp.bfloat16)
    return x, jnp.asarray(random.normal(size=(kernel_px, kernel_px, *channels)), jnp.float32)


def loops(x, kernel, stride, pads, is_depthwise):
    """The convolution by its definition, pixel by pixel, in NumPy's float64."""
    x = np.pad(np.float64(x), ((0, 0), *pads, (0, 0)))
    size = len(kernel)
    rows, columns = ((n - size) // stride + 1 for n in x.shape[1:3])
    y = np.zeros((len(x), rows, columns, kernel.shape[3]))
    for i in range(rows):
        for j in range(columns):
            window = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
            if is_depthwise:
                y[:, i, j] = np.einsum("bklc,klc->bc", window, kernel[:, :, 0])
            else:
                y[:, i, j] = np.einsum("bklc,klco->bo", window, kernel)
    return y


def kernel_slopes(x, kernel, weights, stride, pads, is_depthwise):
    """The gradient of Σ weights · y, linear in the kernel: a unit kernel's output is the slope."""
    slopes = np.zeros(kernel.shape)
    for index in np.ndindex(*kernel.shape):
        unit = np.zeros(kernel.shape)
        unit[index] = 1
        slopes[index] = (np.float64(weights) * loops(x, unit, stride, pads, is_depthwise)).sum()
    return slopes
