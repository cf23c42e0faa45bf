"""summary.json: every headline number of a run with what it was measured with; `write_summary`."""

import json
import pathlib
import shlex
import sys

from ml_collections import ConfigDict

from selftrain_jax.io import read_json, write_json
from selftrain_jax.run_files.evaluation import EVALUATION_FILE, Evaluation
from selftrain_jax.run_files.manifest import MANIFEST_FILE, LabelTotals
from selftrain_jax.run_files.quality import QUALITY_FILE, Quality
from selftrain_jax.run_files.summary import STAGES, SUMMARY_FILE, LabelSummary, StageSummary, Summary
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.stages.versions import device_name, versions
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.tasks.spec import Metric, TaskSpec
from selftrain_jax.text import format_points


def write_summary(workdir: pathlib.Path, config: ConfigDict) -> str:
    """Gather the stages' numbers into summary.json and return them as a table for the terminal."""
    task = get_task(config.task)
    headline = task.metrics[0].key
    finished = [name for name in STAGES if (workdir / name / EVALUATION_FILE).exists()]
    stages = {name: _summarize_stage(workdir / name, task) for name in finished}
    labels = None
    if task.self_training is not None:
        labels = _summarize_labels(workdir / "pseudo_labels", task.self_training.label_totals)
    secs = [stage.seconds for stage in stages.values()] + [labels.seconds if labels else 0.0]
    summary = Summary(
        stages=stages,
        pseudo_labels=labels,
        gain_over_teacher=_gain(stages, "teacher", headline),
        gain_over_control=_gain(stages, "control", headline),
        metric=headline,
        device=device_name(),
        versions=versions(),
        seconds_total=sum(secs),
        seed=config.seed,
        command=shlex.join(["python", "-m", "selftrain_jax.main", *sys.argv[1:]]),
        config=json.loads(json.dumps(config.to_dict())),
    )
    write_json(workdir / SUMMARY_FILE, summary.to_json())
    return format_summary(summary, task.metrics)


def format_summary(summary: Summary, metrics: tuple[Metric, ...]) -> str:
    """Return the headline numbers as a small table, in percent."""
    heads = " ".join(f"{metric.head:>7}" for metric in metrics)
    lines = [f"{'':10}{heads} {'steps':>7} {'seconds':>8}"]
    for name, stage in summary.stages.items():
        values = " ".join(f"{format_points(stage.scores[metric.key]):>7}" for metric in metrics)
        lines.append(f"{name:10}{values} {stage.steps:7d} {stage.seconds:8.0f}")
    gains = {"teacher": summary.gain_over_teacher, "control": summary.gain_over_control}
    for other, gain in gains.items():
        if gain is not None:
            lines.append(f"student over {other}: {100 * gain:+.1f} {metrics[0].head}")
    return "\n".join(lines)


def _summarize_stage(directory: pathlib.Path, task: TaskSpec) -> StageSummary:
    path = directory / EVALUATION_FILE
    value = read_json(path, f"run --job=evaluate --stage={directory.name} again")
    evaluation = Evaluation.from_json(value, path, task.evaluation_details)
    return StageSummary(
        scores={metric.key: evaluation.scores[metric.key] for metric in task.metrics},
        checkpoint=evaluation.checkpoint,
        split=evaluation.split,
        steps=evaluation.checkpoint_step,
        seconds=evaluation.training_secs,
    )


def _gain(stages: dict[str, StageSummary], other: str, score: str) -> float | None:
    """Subtract another stage's score from the student's; None where one is missing or undefined."""
    pair = [stages[name].scores[score] for name in ("student", other) if name in stages]
    return pair[0] - pair[1] if len(pair) == 2 and min(pair) >= 0 else None


def _summarize_labels(directory: pathlib.Path, totals: type[LabelTotals]) -> LabelSummary | None:
    """Count the labels; what `quality.json` would say is None where the truth is not known."""
    if not (directory / MANIFEST_FILE).exists():
        return None
    manifest = read_manifest(directory, totals)
    quality = {"precision": None, "recall": None, **manifest.labels.summary}
    path = directory / QUALITY_FILE
    if path.exists():
        value = read_json(path, "delete it and run --job=pseudo_label again")
        at_threshold = Quality.from_json(value, path).at_threshold
        quality |= {name: at_threshold[name] for name in quality if name in at_threshold}
    return LabelSummary(
        images=manifest.num_images,
        counts={manifest.labels.unit: manifest.labels.num_kept},
        per_class=manifest.labels.kept_per_class,
        seconds=manifest.seconds,
        quality=quality,
    )
