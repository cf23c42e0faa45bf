"""2-D convolution in the form that is fast on each platform; call `convolve()`."""

from functools import partial

from jaxtyping import Array, Float

from selftrain_jax.models.cpu_convolution import convolve_cpu
from selftrain_jax.models.cuda_convolution import convolve_cuda
from selftrain_jax.models.mixed_convolution import Convolution, convolve_mixed
from selftrain_jax.models.native_convolution import Pads, native
from selftrain_jax.models.platforms import choose_by_platform
from selftrain_jax.models.spatial_sharding import rows_are_split, shard_rows


def convolve(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k C C2"], stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C2"]:
    """Convolve NHWC with HWIO in x's dtype; the gradient of the kernel has the kernel's."""
    return convolve_by_platform(convolve_cpu, x, kernel, stride, pads)


def convolve_by_platform(
    on_cpu: Convolution,
    x: Float[Array, "B h w C"],
    kernel: Float[Array, "k k C1 C2"],
    stride: int,
    pads: Pads,
) -> Float[Array, "B h2 w2 C2"]:
    """Convolve by `on_cpu` there, elsewhere by XLA's convolution; C1 is C, or 1 for a depthwise one.

    Where devices split the rows of an image, GPUs have the form of TPUs, whose gradients XLA's partitioner
    gets right.
    """
    forms = {"default": native if x.dtype == kernel.dtype else convolve_mixed}
    if x.dtype != kernel.dtype and not rows_are_split():
        forms["cuda"] = convolve_cuda
    choices = {name: partial(form, stride=stride, pads=pads) for name, form in forms.items()}
    y = choose_by_platform(shard_rows(x), kernel, cpu=partial(on_cpu, stride=stride, pads=pads), **choices)
    return shard_rows(y)
