"""Five student steps on eight devices against one: `python -m tests.train.sharded_steps TASK PX MESH ...`.

Run by test_sharding.py. The whole train state is compared: weights, momentum, batch statistics, the loss
normalisation's average; and then what the network predicts.
"""

import sys

import jax
import numpy as np

from selftrain_jax.build.experiment import build_experiment
from selftrain_jax.models.input_normalization import fitted_images
from selftrain_jax.train import sharding
from selftrain_jax.train.sharding import jit_predict, shard_batch, shard_state
from selftrain_jax.types import Batch, BoxTargets, Category, MaskTargets
from tests import tiny, tiny_masks

CATEGORIES = (Category(1, "one"), Category(2, "two"))
BATCH_SIZE, SLOTS, NUM_STEPS = 8, 4, 5
MESHES = {
    "data 8": {},
    "data 4 x space 2": {"space": 2},
    "data 4 x model 2": {"model": 2},
    "data 2 x space 2 x model 2": {"space": 2, "model": 2},
}
COMPILES: list[str] = []
TOLERANCE = 2e-4  # of the largest value of a tensor; float32 sums in another order, five steps long


def make_batch(step: int, size_px: int, is_boxes: bool) -> Batch:
    rng = np.random.default_rng(step)
    images = rng.integers(0, 256, (BATCH_SIZE, size_px, size_px, 3), np.uint8)
    covered_px = rng.integers(size_px // 2, size_px + 1, (BATCH_SIZE, 2), np.int32)
    if is_boxes:
        corner = rng.uniform(0, 30, (BATCH_SIZE, SLOTS, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(8, 30, corner.shape)], -1).astype(np.float32)
        boxes = np.minimum(boxes, size_px - 1)
        classes = rng.integers(1, 3, (BATCH_SIZE, SLOTS)).astype(np.int32)
        flags = rng.random((2, BATCH_SIZE, SLOTS)) < np.array([0.7, 0.1])[:, None, None]
        targets = BoxTargets(boxes, classes, flags[0], flags[1])
    else:
        masks = rng.integers(0, 3, (BATCH_SIZE, size_px, size_px)).astype(np.uint8)
        masks[:, : size_px // (2 + step)] = 255
        targets = MaskTargets(masks)
    return Batch(images, targets, np.arange(BATCH_SIZE) % 2 == 1, covered_px=covered_px)


def train(config, axes: dict[str, int], devices) -> dict[str, np.ndarray]:
    config = config.copy_and_resolve_references()
    config.mesh.update(axes)
    config.teacher.batch_size = config.student.batch_size = config.eval.batch_size = BATCH_SIZE
    config.optimizer.ema_decay, config.optimizer.weight_decay = 0.9, 1e-4
    experiment = build_experiment(config, CATEGORIES, devices=devices)
    mesh, is_boxes = experiment.mesh, config.task == "detection"
    state = shard_state(mesh, experiment.new_state())
    for number in range(NUM_STEPS):
        compiles_at_start = len(COMPILES)
        batch = shard_batch(mesh, make_batch(number, config.image.size_px, is_boxes))
        state, metrics = experiment.train_step(state, batch, np.float32(0.02))
        assert number == 0 or len(COMPILES) == compiles_at_start, f"compiled anew: {COMPILES[-1]}"
    fitted = fitted_images(make_batch(0, config.image.size_px, is_boxes))
    predicted = jit_predict(mesh, experiment.task.predict)(state.variables, fitted)
    metrics["predicted"] = getattr(predicted, "scores", predicted)  # of boxes the order may change
    assert all(np.any(leaf) for leaf in jax.tree.leaves(metrics["predicted"]))
    leaves = jax.tree.leaves_with_path({**state._replace(rng=())._asdict(), **metrics})
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def count_compiles(event: str, _: float, **about: str) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        COMPILES.append(str(about))


def main() -> None:
    jax.monitoring.register_event_duration_secs_listener(count_compiles)
    task = sys.argv[1]
    config = (tiny if task == "detection" else tiny_masks).get_config()
    config.image.size_px = int(sys.argv[2])
    sharding.LARGE = 1000  # so that tensors of this small network are split
    assert jax.device_count() == 8
    expected = train(config, {}, jax.devices()[:1])
    for name in sys.argv[3:]:
        found = train(config, MESHES[name], jax.devices())
        assert found.keys() == expected.keys()
        errors = {
            key: float(np.abs(found[key] - value).max() / max(np.abs(value).max(), 1e-3))
            for key, value in expected.items()
        }
        worst = max(errors, key=errors.__getitem__)
        print(
            f"{task}, {name}: worst {worst} {errors[worst]:.1e}", "equal" if errors[worst] < TOLERANCE else ""
        )
        sys.stdout.flush()


main()
