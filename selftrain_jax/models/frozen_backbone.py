"""A backbone that does not learn: `freeze_backbone` makes a task's loss treat it as evaluation does.

Not in the paper.
"""

from contextvars import ContextVar

import jax
from jaxtyping import PRNGKeyArray

from selftrain_jax.types import Batch, LossTerms, Task, Variables

BACKBONE = "backbone"

_is_frozen: ContextVar[bool] = ContextVar("is_frozen", default=False)


def backbone_trains(train: bool) -> bool:
    """Tell a network that trains or not whether its backbone does."""
    return train and not _is_frozen.get()


def freeze_backbone(task: Task) -> Task:
    """Run the backbone as in evaluation while the loss is computed, and give its weights no gradient.

    BatchNorms in it normalise by their running averages, which stay as they are, and no branch is dropped.
    The backward pass ends at its features. For the weights to stay, the optimizer must leave them out
    (`skip_backbone`): weight decay needs no gradient.
    """

    def loss(variables: Variables, batch: Batch, rng: PRNGKeyArray) -> tuple[LossTerms, Variables]:
        params = variables["params"]
        fixed = {**params, BACKBONE: jax.lax.stop_gradient(params[BACKBONE])}
        token = _is_frozen.set(True)
        try:
            return task.loss({**variables, "params": fixed}, batch, rng)
        finally:
            _is_frozen.reset(token)

    return task._replace(loss=loss)
