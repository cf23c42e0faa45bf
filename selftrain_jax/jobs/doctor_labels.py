"""The doctor reads finished pseudo labels whole, which a run opens by size; call `judge_labels`."""

from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from selftrain_jax.errors import InputError
from selftrain_jax.html.blocks import Finding
from selftrain_jax.run_files.manifest import MANIFEST_FILE
from selftrain_jax.run_files.rounds import round_folder
from selftrain_jax.run_files.variants import variant_folders
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.selftrain.records import find_damage
from selftrain_jax.stages.graph import Stage
from selftrain_jax.tasks.lookup import get_self_training
from selftrain_jax.text import shorten_list

MAX_LISTED = 3


def judge_labels(config: ConfigDict, workdir: Path) -> list[Finding]:
    """Compare the shards of a run, its rounds and variants with their manifests, and check every record.

    As many records as config.data.max_bad_images may be damaged: a run leaves them out.
    """
    return [finding for folder in label_sets(workdir) for finding in _judge(config, folder)]


def label_sets(workdir: Path) -> Iterator[Path]:
    """Find the finished label sets of a run, round by round, and of its variants."""
    for run in (workdir, *variant_folders(workdir).values()):
        number = 1
        while (folder := round_folder(run, number) / Stage("labels").folder).exists():
            if (folder / MANIFEST_FILE).exists():
                yield folder
            number += 1


def _judge(config: ConfigDict, folder: Path) -> list[Finding]:
    try:
        manifest = read_manifest(folder, get_self_training(config.task).label_totals)
    except InputError as error:
        return [Finding("error", str(error), "")]
    damage = find_damage(folder, manifest.shards)
    if not damage:
        print(f"{folder}: {len(manifest.shards)} shards are as they were written", flush=True)
        return []
    listed = shorten_list(damage, MAX_LISTED)
    return [
        Finding(
            "error" if len(damage) > config.data.max_bad_images else "warning",
            f"{folder}: {len(damage)} of {manifest.num_images} records are damaged, allowed are "
            f"{config.data.max_bad_images}: {listed}",
            f"Delete these shards and {folder / MANIFEST_FILE}, and run --job=pseudo_label again; the other "
            "shards are kept.",
        )
    ]
