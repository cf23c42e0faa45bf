"""2-D convolution in the form that is fast on each platform; call `convolve()`."""

from functools import partial

from jax import lax
from jaxtyping import Array, Float

from selftrain_jax.models.cpu_convolution import convolve_cpu
from selftrain_jax.models.cuda_convolution import convolve_cuda
from selftrain_jax.models.mixed_convolution import convolve_mixed
from selftrain_jax.models.native_convolution import Pads, native
from selftrain_jax.models.spatial_sharding import shard_rows


def convolve(
    x: Float[Array, "B h w C"], kernel: Float[Array, "k k C C2"], stride: int, pads: Pads
) -> Float[Array, "B h2 w2 C2"]:
    """Convolve NHWC with HWIO in x's dtype; the gradient has the kernel's.

    The traced program has the forms of all platforms, and lowering picks one.
    """
    is_mixed = x.dtype != kernel.dtype
    y = lax.platform_dependent(
        shard_rows(x),
        kernel,
        cpu=partial(convolve_cpu, stride=stride, pads=pads),
        cuda=partial(convolve_cuda if is_mixed else native, stride=stride, pads=pads),
        default=partial(convolve_mixed if is_mixed else native, stride=stride, pads=pads),
    )
    return shard_rows(y)
