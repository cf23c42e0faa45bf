"""A backbone with SimCLR's projection head, dropped after pre-training; call `make_projected_backbone`."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from selftrain_jax.errors import InputError
from selftrain_jax.models.frozen_backbone import backbone_trains
from selftrain_jax.models.layers import LayerStyle
from selftrain_jax.models.settings import NetworkSettings, make_backbone

KERNEL_INIT = nn.initializers.normal(0.01)


class ProjectedBackbone(nn.Module):
    """Backbone, mean of its last map, and two dense layers with BatchNorm, ReLU between them.

    The first layer is as wide as the features; the second one's BatchNorm has no offset.

    Source: Chen et al., "A simple framework for contrastive learning of visual representations" (2020),
    section 4.2, with the BatchNorms and the initialisation of their code.
    """

    backbone: nn.Module
    output_dim: int = 128
    style: LayerStyle = LayerStyle()

    def pool(self, images: Float[Array, "B H W 3"], *, train: bool) -> Float[Array, "B C"]:
        """Return the mean of the backbone's last map, float32."""
        features = self.backbone(images, train=backbone_trains(train))
        return features[max(features)].mean(axis=(1, 2)).astype(jnp.float32)

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], *, train: bool) -> Float[Array, "B D"]:
        """Return the projections, float32; in training, drop-connect uses the rng "drop"."""
        x = self.pool(images, train=train)
        x = nn.Dense(x.shape[-1], use_bias=False, kernel_init=KERNEL_INIT, name="projection1")(x)
        x = nn.relu(self._norm("projection1_bn", train)(x))
        x = nn.Dense(self.output_dim, use_bias=False, kernel_init=KERNEL_INIT, name="projection2")(x)
        return self._norm("projection2_bn", train, use_bias=False)(x)

    def _norm(self, name: str, train: bool, use_bias: bool = True) -> nn.BatchNorm:
        """Make a BatchNorm; under `jax.jit` its moments are those of the whole sharded batch."""
        return nn.BatchNorm(
            use_running_average=not train,
            momentum=self.style.bn_momentum,
            epsilon=self.style.bn_epsilon,
            use_bias=use_bias,
            name=name,
        )


def make_projected_backbone(settings: NetworkSettings, output_dim: int) -> ProjectedBackbone:
    """Put a projection to `output_dim` numbers on the backbone of a detector with these settings.

    Raises:
        InputError: the backbone does not exist, its settings do not fit it, or `output_dim` is below 1.
    """
    if output_dim < 1:
        raise InputError(f"the projection has {output_dim} outputs; expected 1 or more, as SimCLR's 128")
    return ProjectedBackbone(make_backbone(settings), output_dim, settings.style)
