"""`--job=views`: in which views of an image a teacher labels best, measured on val; call `run_views`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.command_line import flatten
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.calibration import check_val
from selftrain_jax.jobs.run import Run
from selftrain_jax.jobs.thresholds import align
from selftrain_jax.jobs.training import begin_inputs, restore_labellers
from selftrain_jax.selftrain.label_job import pair_with_found
from selftrain_jax.stages.graph import Stage
from selftrain_jax.tasks.spec import ViewChoices
from selftrain_jax.types import Variables


class Measured(NamedTuple):
    """Labels in some views."""

    values: tuple[Any, ...]  # of the keys that say which views
    numbers: Mapping[str, float]  # compared with val's labels, the headline first
    cost: float  # pixels that the network sees, 1: the image once as it is


def run_views(run: Run, labels: Stage) -> None:
    """Label val in several choices of views, print how good the labels are, and the flags of the best.

    The labels are made as a round's teacher, or all models so far, would make them. Nothing is written.

    Raises:
        InputError: val cannot serve, the teacher is not finished or other models label.
    """
    check_val(run.config, run.sources.val)
    begin_inputs(run, labels)
    models = restore_labellers(run, labels)
    if not models:
        raise InputError(
            "config.pseudo.labels=foreign: another model labels, in views of its own; --job=views is about "
            "this run's teacher, --config.pseudo.labels=teacher"
        )
    # One host does it, on its own devices.
    hosts.run_on_host0(lambda: _compare(run, models))


def _compare(run: Run, models: Sequence[Variables]) -> None:
    choices, val = run.self_training.view_choices, run.sources.val
    measured = list[Measured]()
    for values in list_choices(run.config, choices):
        print(f"labels {len(val)} images with {format_flags(choices.keys, values)}", flush=True)
        measured.append(measure_choice(run, models, values))
    print(format_views(measured, choices.keys, f"{len(val)} images of {val.name}"), flush=True)


def list_choices(config: ConfigDict, choices: ViewChoices) -> list[tuple[Any, ...]]:
    """Return the values to compare: the config's own first, then the task's other ones."""
    flat = flatten(config.to_dict())
    own = tuple(flat[key] for key in choices.keys)
    return [own, *(values for values in choices.choices if values != own)]


def measure_choice(run: Run, models: Sequence[Variables], values: tuple[Any, ...]) -> Measured:
    """Label val in some views and compare."""
    choices, val = run.self_training.view_choices, run.sources.val
    config = run.config.copy_and_resolve_references()
    config.update_from_flattened_dict(dict(zip(choices.keys, values, strict=True)))
    predictor = run.self_training.open_predictor(config, run.experiment.task, run.experiment.mesh)
    pairs = pair_with_found(val, predictor.labeller(models, val))
    cost = run.self_training.label_pixels(flatten(config.to_dict())) / config.image.size_px**2
    return Measured(values, choices.measure(pairs, val.categories), cost)


def format_views(measured: Sequence[Measured], keys: Sequence[str], images: str) -> str:
    """Return a table for a terminal, the first row the config's own, and the flags of the best.

    The best has the highest first number; of equals the one that costs least.
    """
    best = min(measured, key=lambda row: (-next(iter(row.numbers.values())), row.cost))
    rows = [["", *measured[0].numbers, "cost", "views"]]
    for row in measured:
        marks = ["best"] * (row is best) + ["now"] * (row is measured[0])
        numbers = [f"{100 * number:.1f}" for number in row.numbers.values()]
        rows.append([", ".join(marks), *numbers, f"{row.cost:.1f}", format_flags(keys, row.values)])
    in_use = best is measured[0]
    return "\n".join(
        [
            f"labels of {images}, compared with what people said; cost: how many of the network's inputs "
            "an image takes, padding included",
            *align(rows),
            "the best is in use" if in_use else f"label in the best: {format_flags(keys, best.values)}",
        ]
    )


def format_flags(keys: Iterable[str], values: Iterable[Any]) -> str:
    """Write the flags that set some views."""
    return " ".join(f"--config.{key}={_quote(value)}" for key, value in zip(keys, values, strict=True))


def _quote(value: Any) -> str:
    return f"'({','.join(map(str, value))},)'" if isinstance(value, tuple | list) else str(value)
