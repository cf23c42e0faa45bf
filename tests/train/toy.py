"""A linear regression as a `Task`: y = images . kernel + bias, noise from the rng, a running mean."""

import jax
import jax.numpy as jnp
import numpy as np

from selftrain_jax.types import Batch, BoxTargets, LossTerms, Task

TRUE_KERNEL = np.array([1.0, -2.0, 3.0], np.float32)
TRUE_BIAS = 0.5


def make_task(noise=0.0, num_features=3):
    def init(rng):
        kernel = jax.random.normal(rng, (num_features, 1))
        params = {"dense": {"kernel": kernel, "bias": jnp.zeros(1)}}
        return {"params": params, "batch_stats": {"mean": jnp.zeros(1)}}

    def loss(variables, batch, rng):
        dense = variables["params"]["dense"]
        y = (batch.images.reshape(-1, num_features) @ dense["kernel"] + dense["bias"])[:, 0]
        y = y + noise * jax.random.normal(rng, y.shape)
        errors = (y - batch.targets.boxes[:, 0, 0]) ** 2
        terms = [
            (jnp.sum(errors * chosen) / jnp.maximum(jnp.sum(chosen), 1.0), jnp.sum(chosen))
            for chosen in ((~batch.is_pseudo).astype(jnp.float32), batch.is_pseudo.astype(jnp.float32))
        ]
        (human, num_human), (pseudo, num_pseudo) = terms
        metrics = {"toy/squared_num_pseudo": num_pseudo**2}
        mean = 0.9 * variables["batch_stats"]["mean"] + 0.1 * jnp.mean(y)
        return LossTerms(human, pseudo, num_human, num_pseudo, metrics), {"batch_stats": {"mean": mean}}

    return Task(init, loss, predict=None)


def make_batch(step, batch_size=8, with_pseudo=True):
    rng = np.random.default_rng((7, step))
    images = rng.normal(size=(batch_size, 1, 1, 3)).astype(np.float32)
    y = images.reshape(-1, 3) @ TRUE_KERNEL + TRUE_BIAS
    boxes = np.zeros((batch_size, 1, 4), np.float32)
    boxes[:, 0, 0] = y
    valid = np.ones((batch_size, 1), bool)
    targets = BoxTargets(boxes, np.ones((batch_size, 1), np.int32), valid, ~valid)
    is_pseudo = (np.arange(batch_size) % 2 == 1) & with_pseudo
    return Batch(images, targets, is_pseudo)


def make_stream(start_step, **options):
    step = start_step
    while True:
        batch = make_batch(step, **options)
        yield batch, [f"image-{step}-{i}" for i in range(len(batch.is_pseudo))]
        step += 1


def assert_same(first, second):
    """Compare two states bit for bit."""
    raw = [
        jax.tree.map(
            lambda x: np.asarray(
                jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
            ),
            state,
        )
        for state in (first, second)
    ]
    assert jax.tree.structure(raw[0]) == jax.tree.structure(raw[1])
    jax.tree.map(np.testing.assert_array_equal, *raw)
