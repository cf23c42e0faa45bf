"""A fabricated detection run with rounds, variants and a search around it, as the jobs lay them out."""

import json
import os
import shutil
from pathlib import Path

from selftrain_jax.stages.folders import share
from tests.tasks.conftest import write_json, write_labels, write_stage, write_workdir

CONFIG = {
    "task": "detection",
    "seed": 0,
    "pseudo": {"threshold": 0.5, "per_class_thresholds": ""},
    "selftrain": {"alpha": 1.0, "rounds": 1},
    "student": {"steps": 30},
}


def write_config(workdir: Path, **changes: object) -> None:
    """Write config.json with some values changed, named as in `pseudo__threshold=0.7`."""
    config = json.loads(json.dumps(CONFIG))
    for key, value in changes.items():
        group, _, name = key.partition("__")
        if name:
            config[group][name] = value
        else:
            config[group] = value
    write_json(workdir / "config.json", config)


def write_base(workdir: Path) -> Path:
    write_workdir(workdir)
    write_config(workdir)
    return workdir


def rescore(folder: Path, ap: float, steps: int = 30) -> None:
    """Give a stage another AP, and another number of steps."""
    path = folder / "evaluation.json"
    evaluation = json.loads(path.read_text())
    write_json(path, {**evaluation, "ap": ap, "checkpoint_step": steps})


def write_compared(workdir: Path, **aps: float) -> None:
    """Add stages beside the control, as `control_half` and `oracle`, by their AP."""
    for name, ap in aps.items():
        shutil.copytree(workdir / "control", workdir / name)
        rescore(workdir / name, ap)


def write_stop(folder: Path, step: int, at_most: int, group: str = "student", **settings: int) -> None:
    """Say in a finished stage's record that it had patience and where it ended."""
    settings = {f"{group}.steps": at_most, f"{group}.patience": 3, **settings}
    results = {"last": {"digest": "d", "step": step, "val": 0.25}}
    write_json(folder / "stage.json", {"stage": folder.name, "settings": settings, "results": results})


def write_variant(workdir: Path, name: str, ap: float | None, **changes: object) -> Path:
    """Add a variant that shares all but its student; without `ap` it has not begun that."""
    folder = workdir / "variants" / name
    folder.mkdir(parents=True)
    for stage in ("teacher", "control", "pseudo_labels"):
        os.symlink(f"../../{stage}", folder / stage)
    write_config(folder, **changes)
    if ap is not None:
        write_stage(folder, "student")
        rescore(folder / "student", ap)
    return folder


def recount_labels(folder: Path, threshold: float, num_boxes: int) -> None:
    """Give a variant the counts and the quality of its shared labels at a threshold of its own."""
    labels = folder / "pseudo_labels"
    shared = labels.resolve()
    labels.unlink()
    share(shared, labels)
    at = {"threshold": threshold, "precision": threshold, "recall": 1 - threshold}
    changes = {
        "manifest.json": {"threshold": threshold, "num_boxes_at_threshold": num_boxes},
        "quality.json": {"at_threshold": at},
    }
    for name, changed in changes.items():
        found = json.loads((labels / name).read_text())
        (labels / name).unlink()
        write_json(labels / name, {**found, **changed})


def write_val(folder: Path, **vals: float | None) -> None:
    """Say in a finished stage's record what its checkpoints, `last` and `best`, reached on val."""
    results = {which: {"digest": "d", "step": 30, "val": val} for which, val in vals.items()}
    write_json(folder / "stage.json", {"stage": folder.name, "settings": {}, "results": results})


def write_rounds(workdir: Path, vals: list[float], kept: int, *, stopped_early: bool = False) -> None:
    """Add rounds after the first, whose AP on test is 0.01 above that on val, and a control of all steps."""
    for number in range(2, len(vals) + 1):
        folder = workdir / f"round_{number}"
        write_stage(folder, "student")
        rescore(folder / "student", vals[number - 1] + 0.01)
        write_labels(folder)
    write_stage(workdir / f"round_{len(vals)}", "control")
    rescore(workdir / f"round_{len(vals)}" / "control", 0.3, 30 * len(vals))
    rounds = [{"round": number, "val": val} for number, val in enumerate(vals, 1)]
    write_json(workdir / "rounds.json", {"rounds": rounds, "kept": kept, "stopped_early": stopped_early})
