"""summary.json: every headline number of a run with what it was measured with; `write_summary`."""

import json
import pathlib
import shlex
import sys
from typing import Any

from ml_collections import ConfigDict

from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, show, write_json
from selftrain_jax.jobs.summary_table import format_summary
from selftrain_jax.run_files.arms import (
    CONTROLS,
    ORACLE,
    find_stronger_control,
    share_of_oracle,
)
from selftrain_jax.run_files.corrections import read_layers
from selftrain_jax.run_files.cost import sum_costs
from selftrain_jax.run_files.evaluation import EVALUATION_FILE, Evaluation
from selftrain_jax.run_files.fields import JsonObject, Number
from selftrain_jax.run_files.manifest import MANIFEST_FILE, Manifest, labelled_by
from selftrain_jax.run_files.quality import QUALITY_FILE, Quality
from selftrain_jax.run_files.rounds import Round, Rounds, read_rounds, round_folder, stage_folders
from selftrain_jax.run_files.stage import find_stop
from selftrain_jax.run_files.summary import (
    SUMMARY_FILE,
    LabelSummary,
    RoundSummary,
    StageSummary,
    Summary,
    VariantSummary,
    summary_parts,
)
from selftrain_jax.run_files.variants import (
    CONFIG_FILE,
    differing_values,
    pick_number,
    pick_value,
    variant_folders,
)
from selftrain_jax.selftrain.corrections import summarize_corrections
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.stages.records import IGNORED_CLASSES, read_record
from selftrain_jax.stages.versions import device_name, versions
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.tasks.spec import TaskSpec

LABELS_FOLDER = "pseudo_labels"


def write_summary(workdir: pathlib.Path, config: ConfigDict) -> str:
    """Gather the stages' numbers into summary.json and return them as a table for the terminal.

    Raises:
        InputError: a file of the run, of a round or of a variant is damaged.
    """
    task, values = get_task(config.task), json.loads(json.dumps(config.to_dict()))
    headline, rounds = task.metrics[0].key, read_rounds(workdir)
    stages = summarize_stages(workdir, rounds, task)
    labels = _summarize_labels(workdir, _read_manifest(workdir, task))
    by_round = tuple(_summarize_round(workdir, entry, task) for entry in rounds.rounds) if rounds else ()
    parts = summary_parts(stages, labels, by_round)
    variants = {
        name: _summarize_variant(folder, values, task) for name, folder in variant_folders(workdir).items()
    }
    summary = Summary(
        stages=stages,
        pseudo_labels=labels,
        **_compare(stages, headline),
        metric=headline,
        device=device_name(),
        versions=versions(),
        seconds_total=sum(part.seconds for part in parts.values()),
        cost=sum_costs(part.cost for part in parts.values()),
        seed=config.seed,
        command=shlex.join(["python", "-m", "selftrain_jax.main", *sys.argv[1:]]),
        kept_round=rounds.kept if rounds else None,
        stopped_early=rounds.stopped_early if rounds else None,
        rounds=by_round or None,
        val=_read_val(workdir, rounds, values) if variants else None,
        variants=variants or None,
        config=values,
    )
    write_json(workdir / SUMMARY_FILE, summary.to_json())
    return format_summary(summary, task.metrics)


def summarize_stages(workdir: pathlib.Path, rounds: Rounds | None, task: TaskSpec) -> dict[str, StageSummary]:
    """Sum up the stages that are finished; of a run in rounds the kept round's student and its controls."""
    summaries = {
        name: _summarize_stage(folder, workdir, task)
        for name, folder in stage_folders(workdir, rounds).items()
    }
    return {name: summary for name, summary in summaries.items() if summary is not None}


def _summarize_stage(directory: pathlib.Path, workdir: pathlib.Path, task: TaskSpec) -> StageSummary | None:
    path = directory / EVALUATION_FILE
    if not path.exists():
        return None
    value = read_json(path, f"run --job=evaluate --stage={directory.name} again")
    evaluation = Evaluation.from_json(value, path, task.evaluation_details)
    parent = directory.parent.relative_to(workdir)  # of a round, or nothing
    is_whole = pathlib.PurePosixPath(evaluation.checkpoint).is_relative_to(parent)
    return StageSummary(
        scores={metric.key: evaluation.scores[metric.key] for metric in task.metrics},
        checkpoint=evaluation.checkpoint if is_whole else str(parent / evaluation.checkpoint),
        split=evaluation.split,
        steps=evaluation.checkpoint_step,
        seconds=evaluation.training_secs,
        cost=evaluation.cost.summarize() if evaluation.cost else None,
        stopped=find_stop(read_record(directory)),
    )


def _compare(stages: dict[str, StageSummary], score: str) -> dict[str, Any]:
    """Return the student's gains, over which control, and its share of what an oracle gains."""
    scores = {name: stage.scores[score] for name, stage in stages.items()}
    control = find_stronger_control(scores)
    share = share_of_oracle(scores.get("student"), scores.get(control or ""), scores.get(ORACLE))
    return {
        "gain_over_teacher": _gain(stages, "teacher", score),
        "gain_over_control": _gain(stages, control, score) if control else None,
        "stronger_control": control if set(CONTROLS) <= set(stages) else None,
        "oracle_share_percent": None if share is None else 100 * share,
    }


def _gain(stages: dict[str, StageSummary], other: str, score: str) -> Number | None:
    """Subtract another stage's score from the student's; None where one is missing or undefined."""
    pair = [stages[name].scores[score] for name in ("student", other) if name in stages]
    return pair[0] - pair[1] if len(pair) == 2 and min(pair) >= 0 else None


def _read_manifest(directory: pathlib.Path, task: TaskSpec) -> Manifest | None:
    """Read what the labels of a run or a round are; None while there are none."""
    folder = directory / LABELS_FOLDER
    if task.self_training is None or not (folder / MANIFEST_FILE).exists():
        return None
    return read_manifest(folder, task.self_training.label_totals)


def _summarize_labels(directory: pathlib.Path, manifest: Manifest | None) -> LabelSummary | None:
    """Count the labels of a run or a round; what `quality.json` would say is None without it."""
    if manifest is None:
        return None
    quality: dict[str, Number | None] = {"precision": None, "recall": None, **manifest.labels.summary}
    path = directory / LABELS_FOLDER / QUALITY_FILE
    if path.exists():
        value = read_json(path, "delete it and run --job=pseudo_label again")
        measured = Quality.from_json(value, path).at_threshold
        quality |= {name: measured[name] for name in quality if name in measured}
    return LabelSummary(
        images=manifest.num_images,
        counts={manifest.labels.unit: manifest.labels.num_kept},
        per_class=manifest.labels.kept_per_class,
        seconds=manifest.seconds,
        cost=manifest.cost.summarize() if manifest.cost else None,
        quality=quality,
        ignored_classes=_read_ignored(directory),
        labelled_by=labelled_by(manifest) or None,
        corrections=_read_corrections(directory, manifest),
    )


def _read_corrections(directory: pathlib.Path, manifest: Manifest) -> JsonObject | None:
    layers = read_layers(directory / LABELS_FOLDER)
    return summarize_corrections(layers, dict(manifest.categories)) if layers else None


def _read_ignored(directory: pathlib.Path) -> tuple[str, ...] | None:
    """Return the classes that a run's or a round's student ignores for their recall; None: there are none."""
    record = read_record(directory / "student")
    named = record.inputs.get(IGNORED_CLASSES) if record else None
    return tuple(json.loads(named)) if named else None


def _read_val(workdir: pathlib.Path, rounds: Rounds | None, config: JsonObject) -> Number | None:
    """Return what the kept student's checkpoint in use reached on val; None where that is not known."""
    record = read_record(stage_folders(workdir, rounds)["student"])
    which = pick_value(config, "eval.checkpoint")
    result = record.results.get(which if isinstance(which, str) else "last") if record else None
    return None if result is None else result.val


def _summarize_round(workdir: pathlib.Path, entry: Round, task: TaskSpec) -> RoundSummary:
    folder = round_folder(workdir, entry.round)
    return RoundSummary(
        round=entry.round,
        val=entry.val,
        student=_summarize_stage(folder / "student", workdir, task),
        pseudo_labels=_summarize_labels(folder, _read_manifest(folder, task)),
    )


def _summarize_variant(folder: pathlib.Path, base: JsonObject, task: TaskSpec) -> VariantSummary:
    path, headline = folder / CONFIG_FILE, task.metrics[0].key
    config = read_json(path, "run the variant's command again, which writes it") if path.exists() else None
    if config is not None and not isinstance(config, dict):
        raise InputError(f"{path} holds {show(config)}; expected an object. Move {folder} away.")
    rounds, manifest = read_rounds(folder), _read_manifest(folder, task)
    stages = summarize_stages(folder, rounds, task)
    asked = pick_number(config, "pseudo.threshold")
    return VariantSummary(
        stages=stages,
        pseudo_labels=_summarize_labels(folder, manifest),
        **_compare(stages, headline),
        val=_read_val(folder, rounds, config or base),
        threshold=asked if manifest is None else manifest.threshold,
        alpha=pick_number(config, "selftrain.alpha"),
        differs=differing_values(base, config) if config else {},
    )
