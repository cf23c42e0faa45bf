"""Plain vision transformers of DINOv2 and DINOv3, backbones of level 4; call `ViT(VARIANTS[name])`.

Not in the paper. Sources: Dosovitskiy et al. 2021 (ViT); Oquab et al. 2023 (DINOv2); Darcet et al. 2024
(registers); Siméoni et al. 2025 (DINOv3). The layers are those of timm's `vision_transformer.py` and
`eva.py`, whose weights they take; `simple_pyramid.py` makes the other levels.
"""

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

from selftrain_jax.errors import InputError
from selftrain_jax.models.layers import LayerStyle
from selftrain_jax.models.patches import TOKEN_INIT, PatchEmbedding, resize_positions
from selftrain_jax.models.rotary import rotary_angles
from selftrain_jax.models.vit_block import Block, layer_norm

LEVEL = 4  # of the output's stride, 16


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The sizes and parts of a vision transformer."""

    width: int  # channels of a token
    num_heads: int
    depth: int = 12
    patch_px: int  # of the published kernel; see `PatchEmbedding`
    num_registers: int
    # "patches": learned, of patches alone; "all": learned, the class token has one too; "rotary": computed
    positions: Literal["patches", "all", "rotary"]
    grid: int = 37  # of learned positions, along each axis: images of 518 px
    norm_epsilon: float
    qkv_bias: bool

    @property
    def num_prefix(self) -> int:
        """The tokens before the patches: the class token and the registers."""
        return 1 + self.num_registers


def _dinov2(width: int, num_heads: int, num_registers: int) -> Variant:
    return Variant(
        width=width,
        num_heads=num_heads,
        patch_px=14,
        num_registers=num_registers,
        positions="patches" if num_registers else "all",
        norm_epsilon=1e-6,
        qkv_bias=True,
    )


def _dinov3(width: int, num_heads: int) -> Variant:
    return Variant(
        width=width,
        num_heads=num_heads,
        patch_px=16,
        num_registers=4,
        positions="rotary",
        norm_epsilon=1e-5,
        qkv_bias=False,  # the published ones are zero
    )


SIZES = {"small": (384, 6), "base": (768, 12)}
VARIANTS = {
    **{f"{size}_dinov2": _dinov2(*sizes, 0) for size, sizes in SIZES.items()},
    **{f"{size}_dinov2_reg4": _dinov2(*sizes, 4) for size, sizes in SIZES.items()},
    **{f"{size}_dinov3": _dinov3(*sizes) for size, sizes in SIZES.items()},
}


class ViT(nn.Module):
    """Vision transformer without a head: patch tokens, class token, registers, `block0` to `block11`, `norm`.

    In training a branch of block i of n is kept with probability 1 - drop_connect_rate · i / (n - 1).
    """

    variant: Variant
    drop_connect_rate: float = 0.0
    style: LayerStyle = LayerStyle()

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], *, train: bool) -> dict[int, Float[Array, "B _ _ _"]]:
        """Return the last block's patch tokens behind the final norm as the map of level 4, of stride 16.

        They are timm's `forward_features` without the class token and the registers.

        Raises:
            InputError: the image is no multiple of 16 pixels, or the rate is not in [0, 1).
        """
        if not 0 <= self.drop_connect_rate < 1:
            raise InputError(f"The drop-connect rate is {self.drop_connect_rate}; it must be in [0, 1).")
        v = self.variant
        patches = PatchEmbedding(v.width, v.patch_px, self.style, name="patches")(images)
        height, width = patches.shape[1:3]
        is_rotary = v.positions == "rotary"
        angles = rotary_angles(height, width, v.width // v.num_heads, v.num_prefix) if is_rotary else None
        x = self._tokens(patches)
        for i in range(v.depth):
            survival = 1 - self.drop_connect_rate * i / max(1, v.depth - 1)
            block = Block(v.num_heads, v.norm_epsilon, v.qkv_bias, survival, self.style, name=f"block{i}")
            x = block(x, angles, train=train)
        x = layer_norm(v.norm_epsilon, self.style, "norm")(x[:, v.num_prefix :])
        return {LEVEL: x.reshape(patches.shape)}

    def _tokens(self, patches: Float32[Array, "B h w C"]) -> Float32[Array, "B N C"]:
        """Add learned positions; put the class token and the registers before the patches."""
        v = self.variant
        batch, height, width, channels = patches.shape
        class_token = self.param("class_token", TOKEN_INIT, (1, 1, channels))
        registers = (
            self.param("registers", TOKEN_INIT, (1, v.num_registers, channels)) if v.num_registers else None
        )
        if v.positions != "rotary":
            has_class = v.positions == "all"
            positions = self.param("positions", TOKEN_INIT, (1, has_class + v.grid**2, channels))
            class_token += positions[:, :1] if has_class else 0
            grid = positions[0, has_class:].reshape(v.grid, v.grid, channels)
            patches += resize_positions(grid, height, width)
        prefix = class_token if registers is None else jnp.concatenate([class_token, registers], axis=1)
        prefix = jnp.broadcast_to(prefix, (batch, v.num_prefix, channels))
        return jnp.concatenate([prefix, patches.reshape(batch, -1, channels)], axis=1)
