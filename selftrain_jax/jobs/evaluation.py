"""A stage's checkpoint measured on the test split, into evaluation.json and evaluation_scales.json."""

from pathlib import Path

from selftrain_jax import hosts
from selftrain_jax.io import read_json, write_json
from selftrain_jax.jobs.run import Run, restore_stage
from selftrain_jax.jobs.stage_state import is_evaluated, wanted_evaluation
from selftrain_jax.run_files.evaluation import EVALUATION_FILE, SCALES_FILE, Evaluation
from selftrain_jax.run_files.fields import JsonObject
from selftrain_jax.run_files.stage import EVALUATION_STAGE_FILE
from selftrain_jax.stages.graph import Stage
from selftrain_jax.stages.records import write_record
from selftrain_jax.tasks.spec import Metric
from selftrain_jax.text import format_points
from selftrain_jax.train.checkpoint import find_step, training_cost, training_secs
from selftrain_jax.types import Variables


def evaluate_stage(run: Run, stage: Stage, *, again: bool = False) -> None:
    """Measure a trained stage on the test split, and masks over config.evaluate's scales, unless it was done.

    With `again` it is measured whatever was done before.

    Raises:
        InputError: the stage has no checkpoint, or was measured otherwise than this command would.
    """
    folder = run.workdir / stage.folder
    if not again and hosts.run_on_host0(lambda: is_evaluated(run, stage)):
        hosts.log(f"{stage.folder}: finished before, in {folder}")
    else:
        _evaluate(run, stage, folder)
    _evaluate_scales(run, stage, folder)


def _evaluate(run: Run, stage: Stage, folder: Path) -> None:
    """Write what the stage predicts, then evaluation.json, then the record of how it was measured."""
    variables, step = _restore(run, folder)
    result = run.predictor.evaluate(variables, run.sources.test, folder)
    evaluation = _write_evaluation(run, folder / EVALUATION_FILE, stage, step, result)
    hosts.run_on_host0(lambda: write_record(folder, wanted_evaluation(run, stage), EVALUATION_STAGE_FILE))
    hosts.log(f"{stage.folder}: test {_headline(run.task.metrics, evaluation)} at step {step}")


def _evaluate_scales(run: Run, stage: Stage, folder: Path) -> None:
    if run.predictor.measure_scales is None:
        return
    path, settings = folder / SCALES_FILE, run.config.evaluate
    variables, step = _restore(run, folder)
    asked = {"checkpoint_step": step, "scales": list(settings.scales), "flip": settings.flip}

    def is_done() -> bool:
        found = Evaluation.from_json(read_json(path, "delete it"), path, run.task.evaluation_details)
        return asked.items() <= found.to_json().items()

    if hosts.run_on_host0(lambda: path.exists() and is_done()):
        return
    result = {**run.predictor.measure_scales(variables, run.sources.test), **asked}
    evaluation = _write_evaluation(run, path, stage, step, result)
    metrics = _headline(run.task.metrics, evaluation)
    hosts.log(f"{stage.folder}: test {metrics} over inputs of {result['sizes_px']} px")


def _restore(run: Run, folder: Path) -> tuple[Variables, int]:
    return restore_stage(run, folder), find_step(folder, run.config.eval.checkpoint)


def _write_evaluation(run: Run, path: Path, stage: Stage, step: int, result: JsonObject) -> Evaluation:
    """Write what was measured of a stage, with what it was measured on."""
    cost = training_cost(path.parent)
    facts = {
        "split": run.sources.test.name,
        "num_images": len(run.sources.test),
        "checkpoint_step": step,
        "checkpoint": f"{stage.folder}/checkpoints/{step}",
        "training_secs": training_secs(path.parent),
        **({"cost": cost.to_json()} if cost else {}),
    }
    evaluation = Evaluation.from_json({**result, **facts}, path, run.task.evaluation_details)
    hosts.run_on_host0(lambda: write_json(path, evaluation.to_json()))
    return evaluation


def measure_on_val(run: Run, variables: Variables) -> dict[str, float]:
    """Measure weights on the val split: a point of the learning curve."""
    result = run.predictor.measure(variables, run.sources.val)
    return {f"eval/{key}": result[key] for key, _, _ in run.task.metrics}


def _headline(metrics: tuple[Metric, ...], evaluation: Evaluation) -> str:
    """Name the two scores that count most."""
    return ", ".join(f"{name} {format_points(evaluation.scores[key])}" for key, name, _ in metrics[:2])
