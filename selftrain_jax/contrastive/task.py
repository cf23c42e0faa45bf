"""SimCLR as the pure functions of a `Task`: no label is used; call `make_contrastive_task`.

The paper starts detectors from published SimCLR weights (Table 4); this makes such weights from one's own
images.
"""

from typing import cast

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from selftrain_jax.contrastive.loss import check_temperature, nt_xent
from selftrain_jax.models.projection import ProjectedBackbone
from selftrain_jax.types import Batch, FittedImages, LossTerms, Task, Variables

TOP1 = "contrastive_top1"


def make_contrastive_task(*, model: ProjectedBackbone, image_size_px: int, temperature: float) -> Task:
    """Make init, loss, predict and features for a model.

    The images of a training batch are pairs of views, [B, 2S, S, 3]: see `split_views`. `predict` and
    `features` take images as they are and return their projections, and what the backbone makes of them.

    Raises:
        InputError: as `check_temperature`.
    """
    check_temperature(temperature)

    def init(rng: PRNGKeyArray) -> Variables:
        return dict(model.init(rng, jnp.zeros((1, image_size_px, image_size_px, 3)), train=False))

    def loss(variables: Variables, batch: Batch, rng: PRNGKeyArray) -> tuple[LossTerms, Variables]:
        views = split_views(batch.images)
        projections, updates = model.apply(
            variables, views, train=True, mutable=["batch_stats"], rngs={"drop": rng}
        )
        return loss_terms(projections, temperature), dict(updates)

    def predict(variables: Variables, images: Float[Array, "B H W 3"]) -> Float[Array, "B D"]:
        return cast(Array, model.apply(variables, images, train=False))

    def features(variables: Variables, inputs: FittedImages) -> Float[Array, "B C"]:
        pooled = cast(Array, model.apply(variables, inputs.images, train=False, method="pool"))
        return pooled / jnp.maximum(jnp.linalg.norm(pooled, axis=-1, keepdims=True), 1e-12)

    return Task(init=init, loss=loss, predict=predict, features=features)


def split_views(pairs: Array | np.ndarray) -> Array | np.ndarray:
    """Turn pairs of views, [B, 2S, S, 3], into views, [2B, S, S, 3]: those of an image follow one another."""
    num_images, height, width, channels = pairs.shape
    return pairs.reshape(2 * num_images, height // 2, width, channels)


def loss_terms(projections: Float[Array, "V D"], temperature: float) -> LossTerms:
    """Average NT-Xent, and how often a view finds its image's other one, over all views."""
    scores = nt_xent(projections, temperature)
    zero = jnp.zeros((), jnp.float32)
    return LossTerms(
        human=jnp.mean(scores.losses),
        pseudo=zero,
        num_human=jnp.full((), projections.shape[0] // 2, jnp.float32),
        num_pseudo=zero,
        metrics={f"train/{TOP1}": jnp.mean(scores.hits.astype(jnp.float32))},
    )
