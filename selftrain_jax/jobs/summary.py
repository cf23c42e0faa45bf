"""summary.json: every headline number of a run with what it was measured with; `write_summary`."""

import json
import pathlib
import shlex
import sys
from typing import Any

from ml_collections import ConfigDict

from selftrain_jax.io import read_json, write_json
from selftrain_jax.jobs.workdir import device_name, versions
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.tasks.spec import Metric
from selftrain_jax.text import format_percent

STAGES = ("teacher", "control", "student")


def write_summary(workdir: pathlib.Path, config: ConfigDict) -> str:
    """Gather the stages' numbers into summary.json and return them as a table for the terminal."""
    metrics = get_task(config.task).metrics
    scores = tuple(metric.key for metric in metrics)
    finished = [name for name in STAGES if (workdir / name / "evaluation.json").exists()]
    stages = {name: _stage(workdir, name, scores) for name in finished}
    labels = _pseudo_labels(workdir)
    summary: dict[str, Any] = {**stages, "pseudo_labels": labels}
    for other in ("teacher", "control"):
        pair = [stages[name][scores[0]] for name in ("student", other) if name in stages]
        is_known = len(pair) == 2 and min(pair) >= 0
        summary[f"gain_over_{other}"] = pair[0] - pair[1] if is_known else None
    seconds = [stage["seconds"] for stage in stages.values()] + [labels.get("seconds", 0.0)]
    summary |= {
        "metric": scores[0],
        "device": device_name(),
        "versions": versions(),
        "seconds_total": sum(seconds),
        "seed": config.seed,
        "command": shlex.join(["python", "-m", "selftrain_jax.main", *sys.argv[1:]]),
        "config": config.to_dict(),
    }
    write_json(workdir / "summary.json", json.loads(json.dumps(summary)))
    return format_summary(summary, metrics)


def format_summary(summary: dict[str, Any], metrics: tuple[Metric, ...]) -> str:
    """Return the headline numbers as a small table, in percent."""
    heads = " ".join(f"{metric.head:>7}" for metric in metrics)
    lines = [f"{'':10}{heads} {'steps':>7} {'seconds':>8}"]
    for name in STAGES:
        if name in summary:
            stage = summary[name]
            values = " ".join(f"{format_percent(stage[metric.key]):>7}" for metric in metrics)
            lines.append(f"{name:10}{values} {stage['steps']:7d} {stage['seconds']:8.0f}")
    for other in ("teacher", "control"):
        if summary[f"gain_over_{other}"] is not None:
            gain = 100 * summary[f"gain_over_{other}"]
            lines.append(f"student over {other}: {gain:+.1f} {metrics[0].head}")
    return "\n".join(lines)


def _stage(workdir: pathlib.Path, name: str, scores: tuple[str, ...]) -> dict[str, Any]:
    evaluation = read_json(workdir / name / "evaluation.json", f"run --job=evaluate --stage={name} again")
    return {
        **{key: evaluation[key] for key in (*scores, "checkpoint", "split")},
        "steps": evaluation["checkpoint_step"],
        "seconds": evaluation["training_secs"],
    }


def _pseudo_labels(workdir: pathlib.Path) -> dict[str, Any]:
    """Count the labels; their precision and recall are None where the truth is not known."""
    directory = workdir / "pseudo_labels"
    if not (directory / "manifest.json").exists():
        return {}
    manifest = read_manifest(directory)
    unit = "pixels" if manifest.get("kind") == "masks" else "boxes"
    counts = {name: count[f"{unit}_at_threshold"] for name, count in manifest["per_class"].items()}
    labels = {
        "images": manifest["num_images"],
        unit: manifest[f"num_{unit}_at_threshold"],
        "per_class": counts,
        "precision": None,
        "recall": None,
        "seconds": manifest["seconds"],
    }
    if unit == "pixels":
        labels |= {"coverage": manifest["coverage"], "miou": None}
    if (directory / "quality.json").exists():
        quality = read_json(directory / "quality.json", "delete it and run --job=pseudo_label again")
        labels |= {key: value for key, value in quality["at_threshold"].items() if key in labels}
    return labels
