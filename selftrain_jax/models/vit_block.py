"""The block of a vision transformer: attention, then two dense layers, both scaled; call `Block`."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from selftrain_jax.models.layers import LayerStyle, drop_connect
from selftrain_jax.models.rotary import rotate

DENSE_INIT = nn.initializers.truncated_normal(0.02)
SCALE_INIT = nn.initializers.constant(1e-5)  # of LayerScale, DINOv2's and DINOv3's
EXPANSION = 4


def layer_norm(epsilon: float, style: LayerStyle, name: str) -> nn.LayerNorm:
    """Make a normalisation over channels, with moments in float32 and the result in the style's dtype."""
    return nn.LayerNorm(epsilon, dtype=jnp.dtype(style.dtype), use_fast_variance=False, name=name)


@jax.checkpoint
def attend(
    query: Float[Array, "B N heads d"], key: Float[Array, "B N heads d"], value: Float[Array, "B N heads d"]
) -> Float[Array, "B N heads d"]:
    """Return softmax(query · key / √d) · value for each head, with the softmax in float32.

    `jax.nn.dot_product_attention` adds its products in float32 and is the door to a fused kernel; plain jnp
    would be the same lines. It makes a weight for each pair of tokens. `jax.checkpoint` makes them once more
    for the gradient, so that a step holds those of one block and not of all: at 640 px, with 1,605 tokens,
    62 MB of float32 an image for each product of 6 heads (ViT-S; ViT-B 124 MB), not 12 times that.
    """
    return jax.nn.dot_product_attention(query, key, value)


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
