"""The block of a vision transformer: attention, then two dense layers, both scaled; call `Block`."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32

from selftrain_jax.models.layers import LayerStyle, drop_connect
from selftrain_jax.models.rotary import rotate

DENSE_INIT = nn.initializers.truncated_normal(0.02)
SCALE_INIT = nn.initializers.constant(1e-5)  # of LayerScale, DINOv2's and DINOv3's
EXPANSION = 4


def layer_norm(epsilon: float, style: LayerStyle, name: str) -> nn.LayerNorm:
    """Make a normalisation over channels, with moments in float32 and the result in the style's dtype."""
    return nn.LayerNorm(epsilon, dtype=jnp.dtype(style.dtype), use_fast_variance=False, name=name)


Heads = Float[Array, "B N heads d"]


@jax.custom_vjp
def attend(query: Heads, key: Heads, value: Heads) -> Heads:
    """Return softmax(query · key / √d) · value for each head, with the softmax in float32.

    The weights of all pairs of tokens are made once more for the gradient and not kept, whatever
    config.optimizer.remat says. At 640 px, 1,605 tokens, an array of them is 62 MB of float32 an image for
    the 6 heads of ViT-S, 124 MB for ViT-B. In bfloat16 a block of ViT-S then keeps 49 MB an image for the
    gradient and not 141, one of ViT-B 95 and not 281.

    It is `jax.nn.dot_product_attention`, which adds up in float32 whatever the dtype and has one argument for
    a fused kernel; the same in plain jnp would leave both to us.
    """
    return jax.nn.dot_product_attention(query, key, value)


def _attend_forward(query: Heads, key: Heads, value: Heads) -> tuple[Heads, tuple[Heads, Heads, Heads]]:
    return attend(query, key, value), (query, key, value)


def _attend_backward(inputs: tuple[Heads, Heads, Heads], gradient: Heads) -> tuple[Heads, Heads, Heads]:
    # Lest XLA keep the weights of the forward pass for here, or make them before the gradient is there.
    inputs, gradient = lax.optimization_barrier((inputs, gradient))
    return jax.vjp(jax.nn.dot_product_attention, *inputs)[1](gradient)


attend.defvjp(_attend_forward, _attend_backward)


class Attention(nn.Module):
    """Self-attention of all tokens, with rotary positions where there are angles."""

    num_heads: int
    qkv_bias: bool
    style: LayerStyle

    @nn.compact
    def __call__(
        self, x: Float[Array, "B N C"], angles: Float32[np.ndarray, "N d"] | None
    ) -> Float[Array, "B N C"]:
        """Attend in the style's dtype."""
        batch, num_tokens, channels = x.shape
        dense = partial(nn.Dense, dtype=jnp.dtype(self.style.dtype), kernel_init=DENSE_INIT)
        qkv = dense(3 * channels, use_bias=self.qkv_bias, name="qkv")(x)
        shape = (batch, num_tokens, self.num_heads, channels // self.num_heads)
        query, key, value = (part.reshape(shape) for part in jnp.split(qkv, 3, axis=-1))
        if angles is not None:
            query, key = rotate(query, angles), rotate(key, angles)
        return dense(channels, name="projection")(attend(query, key, value).reshape(x.shape))


class Block(nn.Module):
    """x + scale1 · attention(norm1(x)), then x + scale2 · mlp(norm2(x)).

    The sum stays in float32, as LayerScale starts at 1e-5, which bfloat16 would lose beside x. In training a
    branch is kept with probability `survival`, by the rng "drop".
    """

    num_heads: int
    norm_epsilon: float
    qkv_bias: bool
    survival: float
    style: LayerStyle

    @nn.compact
    def __call__(
        self, x: Float32[Array, "B N C"], angles: Float32[np.ndarray, "N d"] | None, *, train: bool
    ) -> Float32[Array, "B N C"]:
        """Return the tokens with both branches added."""
        y = layer_norm(self.norm_epsilon, self.style, "norm1")(x)
        y = Attention(self.num_heads, self.qkv_bias, self.style, name="attention")(y, angles)
        x += self._branch(y, "scale1", train=train)
        y = layer_norm(self.norm_epsilon, self.style, "norm2")(x)
        return x + self._branch(self._mlp(y), "scale2", train=train)

    def _mlp(self, x: Float[Array, "B N C"]) -> Float[Array, "B N C"]:
        """Expand by 4, GELU by its exact formula, project."""
        dense = partial(nn.Dense, dtype=jnp.dtype(self.style.dtype), kernel_init=DENSE_INIT)
        y = nn.gelu(dense(EXPANSION * x.shape[-1], name="expand")(x), approximate=False)
        return dense(x.shape[-1], name="project")(y)

    def _branch(self, y: Float[Array, "B N C"], name: str, *, train: bool) -> Float32[Array, "B N C"]:
        """Scale each channel (LayerScale), and drop the branch of some examples."""
        y = y.astype(jnp.float32) * self.param(name, SCALE_INIT, (y.shape[-1],))
        if train and self.survival < 1:
            y = drop_connect(y[:, None], self.survival, self.make_rng("drop"))[:, 0]
        return y
