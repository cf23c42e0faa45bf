"""One seed of the study: the base run, then for each choice of images a copy with corrections and a variant.

python -m launch.study_review.seed --seed=0 --count=100 --config=configs/quickstart.py --runs=DIR [-- FLAGS]
"""

import argparse
import importlib
import json
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

from selftrain_jax.build.unlabeled import open_unlabeled
from selftrain_jax.data.source import Source
from selftrain_jax.io import write_json
from selftrain_jax.run_files.review import REVIEW_FILE, Review, read_review
from selftrain_jax.tasks.lookup import get_task

CHOICES = ("least_sure", "random")
NONE, VARIANT, TRUTH = "none", "reviewed", "truth.json"


def seed_folder(seed: int) -> str:
    """Return the name of a seed's folder."""
    return f"seed-{seed}"


def run_seed(options: argparse.Namespace) -> None:
    """Run a seed's base and its variants; what is finished is skipped."""
    folder = options.runs / seed_folder(options.seed)
    config = f"{options.config}:seed={options.seed}"
    base = folder / NONE
    _run(config, base, options.flags)
    for way in CHOICES:
        copy, sent = folder / way, folder / f"{way}-sent"
        if not copy.exists():
            shutil.copytree(base, folder / f"{way}.tmp", symlinks=True, dirs_exist_ok=True)
            (folder / f"{way}.tmp").rename(copy)
        review = [f"--config.review.output={sent}", "--config.review.format=coco"]
        if not sent.exists():
            chosen = [f"--config.review.choose={way}", f"--config.review.count={options.count}"]
            _run(config, copy, options.flags, "--job=export_labels", *review, *chosen)
        if not (copy / "pseudo_labels" / "corrections").exists():
            write_truth(open_truth(options.config, options.seed, options.flags), sent)
            back = [f"--config.review.file={sent / TRUTH}", "--config.review.confirmed=True"]
            _run(config, copy, options.flags, "--job=import_corrections", *review, *back)
        variant = [f"--variant={VARIANT}", "--config.pseudo.corrections=last"]
        _run(config, copy, options.flags, *variant)


def _run(config: str, workdir: pathlib.Path, flags: Sequence[str], *more: str) -> None:
    command = [sys.executable, "-m", "selftrain_jax.main", f"--config={config}", f"--workdir={workdir}"]
    subprocess.run([*command, *flags, *more], check=True)


def open_truth(config_file: str, seed: int, flags: Sequence[str]) -> Source:
    """Open the unlabelled images with their labels, as a run with these flags has them."""
    module = importlib.import_module(config_file.removesuffix(".py").replace("/", "."))
    config = module.get_config(f"seed={seed}")
    given = [flag.removeprefix("--config.").split("=", 1) for flag in flags if flag.startswith("--config.")]
    data = {key: value for key, value in given if key.startswith(("data.builtin.", "image.size_px"))}
    config.update_from_flattened_dict({key: int(value) for key, value in data.items()})
    train = get_task(config.task).open_split(config, "data", config.data.train)
    return open_unlabeled(config, train)


def write_truth(truth: Source, sent: pathlib.Path) -> None:
    """Write the true boxes of the images that went out, as a tool's COCO file would have them."""
    review: Review = read_review(sent / REVIEW_FILE)
    positions = {image_id: index for index, image_id in enumerate(truth.image_ids)}
    images, annotations = [], []
    for number, image in enumerate(review.images, start=1):
        height, width = image.size_px
        images.append({"id": number, "file_name": image.name, "height": height, "width": width})
        labels = truth.read_labels(positions[image.image_id])
        for (ymin, xmin, ymax, xmax), class_id in zip(
            labels["boxes"].tolist(), labels["classes"].tolist(), strict=True
        ):
            bbox = [xmin, ymin, xmax - xmin, ymax - ymin]
            annotations.append({"image_id": number, "category_id": class_id, "bbox": bbox})
    categories = [category._asdict() for category in review.categories]
    write_json(sent / TRUTH, {"images": images, "annotations": annotations, "categories": categories})


def read_scores(runs: pathlib.Path, seed: int) -> dict[str, dict[str, float]]:
    """Return the AP of teacher, control and student for each choice."""
    folder = runs / seed_folder(seed)
    base = json.loads((folder / NONE / "summary.json").read_text())
    found = {NONE: {arm: base[arm]["ap"] for arm in ("teacher", "control", "student")}}
    for way in CHOICES:
        summary = json.loads((folder / way / "variants" / VARIANT / "summary.json").read_text())
        found[way] = {arm: summary[arm]["ap"] for arm in ("teacher", "control", "student")}
    return found


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--runs", type=pathlib.Path, required=True)
    parser.add_argument("flags", nargs="*")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_seed(parse())
