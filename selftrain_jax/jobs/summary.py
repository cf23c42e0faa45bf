"""summary.json: every headline number of a run with what it was measured with; `write_summary`."""

import json
import pathlib
import shlex
import sys
from typing import Any

from ml_collections import ConfigDict

from selftrain_jax.jobs.workdir import device_name, versions
from selftrain_jax.selftrain.manifest import read_json, write_json

STAGES = ("teacher", "control", "student")


def write_summary(workdir: pathlib.Path, config: ConfigDict) -> str:
    """Gather the stages' numbers into summary.json and return them as a table for the terminal."""
    stages = {name: _stage(workdir, name) for name in STAGES if (workdir / name / "evaluation.json").exists()}
    labels = _pseudo_labels(workdir)
    summary: dict[str, Any] = {**stages, "pseudo_labels": labels}
    for other in ("teacher", "control"):
        known = other in stages and "student" in stages
        summary[f"gain_over_{other}"] = stages["student"]["ap"] - stages[other]["ap"] if known else None
    seconds = [stage["seconds"] for stage in stages.values()] + [labels.get("seconds", 0.0)]
    summary |= {
        "device": device_name(),
        "versions": versions(),
        "seconds_total": sum(seconds),
        "seed": config.seed,
        "command": shlex.join(["python", "-m", "selftrain_jax.main", *sys.argv[1:]]),
        "config": config.to_dict(),
    }
    write_json(workdir / "summary.json", json.loads(json.dumps(summary)))
    return format_summary(summary)


def format_summary(summary: dict[str, Any]) -> str:
    """Return the headline numbers as a small table, AP in percent."""
    lines = [f"{'':10} {'AP':>6} {'AP50':>6} {'AP75':>6} {'steps':>7} {'seconds':>8}"]
    for name in STAGES:
        if name in summary:
            stage = summary[name]
            scores = " ".join(f"{100 * stage[key]:6.1f}" for key in ("ap", "ap50", "ap75"))
            lines.append(f"{name:10} {scores} {stage['steps']:7d} {stage['seconds']:8.0f}")
    for other in ("teacher", "control"):
        if summary[f"gain_over_{other}"] is not None:
            lines.append(f"student over {other}: {100 * summary[f'gain_over_{other}']:+.1f} AP")
    return "\n".join(lines)


def _stage(workdir: pathlib.Path, name: str) -> dict[str, Any]:
    evaluation = read_json(workdir / name / "evaluation.json", f"run --job=evaluate --stage={name} again")
    return {
        **{key: evaluation[key] for key in ("ap", "ap50", "ap75", "checkpoint", "split")},
        "steps": evaluation["checkpoint_step"],
        "seconds": evaluation["training_secs"],
    }


def _pseudo_labels(workdir: pathlib.Path) -> dict[str, Any]:
    directory = workdir / "pseudo_labels"
    if not (directory / "manifest.json").exists():
        return {}
    manifest = read_json(directory / "manifest.json", "run --job=pseudo_label again")
    counts = {name: count["boxes_at_threshold"] for name, count in manifest["per_class"].items()}
    labels = {
        "images": manifest["num_images"],
        "boxes": manifest["num_boxes_at_threshold"],
        "per_class": counts,
        "precision": None,  # not known without held-out truth
        "recall": None,
        "seconds": manifest["seconds"],
    }
    if (directory / "quality.json").exists():
        quality = read_json(directory / "quality.json", "delete it and run --job=pseudo_label again")
        labels |= {key: quality["at_threshold"][key] for key in ("precision", "recall")}
    return labels
