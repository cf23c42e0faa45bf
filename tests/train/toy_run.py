"""Runs of `train()` on the toy task; call `run()` with what is different."""

import jax

from selftrain_jax.selftrain.loss_norm import ema_loss_normalizer
from selftrain_jax.train.loop import train
from selftrain_jax.train.optimizer import momentum_sgd, warmup_cosine
from selftrain_jax.train.sharding import make_mesh
from selftrain_jax.train.state import create_state
from selftrain_jax.train.step import jit_train_step, make_train_step
from tests.train.toy import make_stream, make_task

TASK = make_task(noise=0.1)
TX = momentum_sgd(weight_decay=1e-4, clip_norm=10.0)
NORMALIZER = ema_loss_normalizer(0.5)
MESH = make_mesh()
TRAIN_STEP = jit_train_step(make_train_step(TASK, TX, NORMALIZER, ema_decay=0.9), MESH)


def new_state():
    return create_state(TASK, TX, NORMALIZER, jax.random.key(0), with_ema=True)


def run(directory, **changes):
    settings = {
        "name": "student",
        "train_step": TRAIN_STEP,
        "new_state": new_state,
        "state_shapes": jax.eval_shape(new_state),
        "schedule": warmup_cosine(0.05, 0.01, 2, 6),
        "batches": make_stream,
        "num_steps": 6,
        "directory": directory,
        "mesh": MESH,
        "checkpoint_every": 2,
        "log_every": 1,
    }
    return train(**{**settings, **changes})
