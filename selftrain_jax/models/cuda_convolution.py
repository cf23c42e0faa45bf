"""Convolution in bfloat16 on NVIDIA GPUs, with float32 kernels; call `convolve_cuda()`.

XLA's GPU compiler has no convolution of bfloat16 operands with a float32 result: it casts the operands to
float32 first, so that they are read in twice the bytes and multiplied at half the speed. Here the kernel's
gradient is a bfloat16 convolution too. cuDNN sums it in float32 and rounds it once, on each device; over
the devices the rounded parts are summed in float32. Devices may split the batch, not the rows of an image.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from selftrain_jax.models.mixed_convolution import with_float32_kernel
from selftrain_jax.models.native_convolution import NO_PADS, Pads, native
from selftrain_jax.models.spatial_sharding import EXAMPLES, active_mesh

LANE = 8  # channels that cuDNN's bfloat16 kernels read at once; others it pads itself, in a pass of its own


def aligned(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k C1 C2"], stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C2"]:
    """Convolve, in one dtype, with channels of zeros up to a multiple of `LANE`, which change no number.

    XLA fuses the padding and the slicing with what comes before and after. Of an image's three channels
    most would be zeros; with a stride of 2 its blocks of 2x2 pixels are the channels.
    """
    if x.shape[-1] != kernel.shape[2]:  # depthwise
        return native(x, kernel, stride, pads)
    if stride == 2 and x.shape[-1] < LANE:
        x, kernel = space_to_depth(x, kernel, pads)
        stride, pads = 1, NO_PADS
    outputs = kernel.shape[3]
    more_in, more_out = -x.shape[-1] % LANE, -outputs % LANE
    x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, more_in)))
    kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, more_in), (0, more_out)))
    return native(x, kernel, stride, pads)[..., :outputs]


def space_to_depth(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k C C2"], pads: Pads
) -> tuple[Float[Array, "B h2 w2 4*C"], Float[Array, "k2 k2 4*C C2"]]:
    """Turn a convolution with a stride of 2 into one of blocks of 2x2 pixels, without stride or padding."""
    size, channels = kernel.shape[0], x.shape[-1]
    blocks = -(-size // 2)
    sides = []
    for pixels, (before, after) in zip(x.shape[1:3], pads, strict=True):
        outputs = (pixels + before + after - size) // 2 + 1
        sides.append((before, 2 * (outputs + blocks - 1) - pixels - before, 0))
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *sides, (0, 0, 0)))
    rows, columns = (n // 2 for n in x.shape[1:3])
    x = x.reshape(-1, rows, 2, columns, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    more = 2 * blocks - size
    kernel = jnp.pad(kernel, ((0, more), (0, more), (0, 0), (0, 0)))
    kernel = kernel.reshape(blocks, 2, blocks, 2, channels, -1).transpose(0, 2, 1, 3, 4, 5)
    return (
        x.reshape(-1, rows, columns, 4 * channels),
        kernel.reshape(blocks, blocks, 4 * channels, -1),
    )


def kernel_gradient(
    x: Float[Array, "B h w C"],
    kernel: Float[Array, "k k C1 C2"],
    gradient: Float[Array, "B h2 w2 C2"],
    stride: int,
    pads: Pads,
) -> Float[Array, "k k C1 C2"]:
    """Return the kernel's gradient: each device's in x's dtype, their sum in float32.

    Were the sum left to XLA's partitioner, it would be of the convolution's dtype.
    """

    def of_device(x: Array, gradient: Array) -> Array:
        pull = jax.vjp(lambda kernel: aligned(x, kernel, stride, pads), kernel)[1]
        return pull(gradient)[0].astype(jnp.float32)

    mesh = active_mesh()
    if mesh is None or all(mesh.shape[axis] == 1 for axis in EXAMPLES):
        return of_device(x, gradient)
    summed = jax.shard_map(
        lambda x, gradient: lax.psum(of_device(x, gradient), EXAMPLES),
        mesh=mesh,
        in_specs=(PartitionSpec(EXAMPLES), PartitionSpec(EXAMPLES)),
        out_specs=PartitionSpec(),
        check_vma=False,  # else autodiff sums the gradient of a kernel that all devices share, in bfloat16
    )
    return summed(x, gradient)


convolve_cuda = with_float32_kernel(aligned, kernel_gradient)
