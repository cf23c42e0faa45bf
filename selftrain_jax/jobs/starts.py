"""What the trainings of a run start from, settled before any of them: `settle_starts`.

Named weights that are missing are downloaded, by host 0. init=auto becomes imagenet, or rand where there is
no network; what a run has begun with is in its records, and stays. Not in the paper.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json
from selftrain_jax.jobs.named_weights import import_named
from selftrain_jax.jobs.options import Options
from selftrain_jax.jobs.run import RANDOM_START
from selftrain_jax.pretrain.catalogue import Weights, describe, find_by_name_alone, find_start
from selftrain_jax.pretrain.fetched import UnreachableError
from selftrain_jax.pretrain.init_modes import (
    AUTO_INIT,
    NAMED_MODES,
    explain_missing,
    find_named,
    named_folder,
)
from selftrain_jax.run_files.model_card import CARD_FILE, REMEDY, ModelCard
from selftrain_jax.run_files.variants import VARIANTS_FOLDER
from selftrain_jax.stages.records import read_record

AUTO_MODE = "imagenet"
STAGES = ("teacher", "student")
# --redo of these makes a training anew, with a start of its own.
REDONE = {"teacher": ("teacher",), "student": ("teacher", "labels", "student")}


class Download(NamedTuple):
    """Weights that a training starts from and that are not there yet."""

    stage: str
    weights: Weights
    folder: pathlib.Path  # where they will be


def settle_starts(config: ConfigDict, workdir: pathlib.Path, options: Options) -> ConfigDict:
    """Download what is missing, and return the config with init=auto replaced by what it comes to.

    Raises:
        InputError: weights that are asked for by name cannot be had.
    """
    return _with_starts(config, hosts.run_on_host0(lambda: _settle(config, workdir, options)))


def plan_starts(config: ConfigDict, workdir: pathlib.Path, options: Options) -> ConfigDict:
    """Return the config as `settle_starts` does where there is network; nothing is downloaded."""
    found = {stage: _recorded_start(config, workdir, options, stage) or AUTO_MODE for stage in _autos(config)}
    return _with_starts(config, found)


def find_downloads(config: ConfigDict, workdir: pathlib.Path, options: Options) -> list[Download]:
    """List what a run would download, of a config without init=auto."""
    found = []
    for stage in STAGES:
        init = config[stage].init
        if init not in NAMED_MODES or _is_finished(config, workdir, options, stage):
            continue
        backbone, folder = config.model.backbone, config.pretrained.dir
        weights = find_start(backbone, init, config.model.pool_padding)
        if weights is not None and find_named(init, backbone, folder) is None:
            found.append(Download(stage, weights, named_folder(init, backbone, folder)))
    return found


def check_starts(config: ConfigDict) -> None:
    """See that named weights are there or published. Raises: InputError: a run would refuse them."""
    for stage in STAGES:
        init, backbone, folder = config[stage].init, config.model.backbone, config.pretrained.dir
        if init in NAMED_MODES and not find_start(backbone, init) and not find_named(init, backbone, folder):
            raise explain_missing(init, backbone, folder)


def describe_downloads(downloads: Sequence[Download]) -> list[str]:
    """Say what will be downloaded, a line for each file."""
    return [f"to be downloaded into {folder}: {describe(weights)}" for _, weights, folder in downloads]


def _settle(config: ConfigDict, workdir: pathlib.Path, options: Options) -> dict[str, str]:
    """Return what each init=auto comes to, by stage."""
    found: dict[str, str] = {}
    for stage in _autos(config):
        found[stage] = _recorded_start(config, workdir, options, stage) or _try_auto(
            config, workdir, options, stage
        )
    settled = _with_starts(config, found)
    for download in find_downloads(settled, workdir, options):
        _download(settled, download)
    for stage in STAGES:
        _warn_of_padding(settled, settled[stage].init)
    return found


def _try_auto(config: ConfigDict, workdir: pathlib.Path, options: Options, stage: str) -> str:
    """Get ImageNet's weights, or say why the stage starts at random."""
    asked = _with_starts(config, {stage: AUTO_MODE})
    backbone = config.model.backbone
    try:
        for download in find_downloads(asked, workdir, options):
            if download.stage == stage:
                _download(asked, download)
    except UnreachableError as error:
        print(
            f"{stage}: starts at random, as ImageNet's weights cannot be had; a run that has begun so stays "
            f"so (init=imagenet insists on them).\n{error}",
            flush=True,
        )
        return "rand"
    if find_named(AUTO_MODE, backbone, config.pretrained.dir) is None:
        alone = find_by_name_alone(backbone)
        why = (
            f"weights of {backbone} are taken by name alone: {describe(alone[0])}"
            if alone
            else f"no weights of {backbone} are published that we know of"
        )
        print(f"{stage}: starts at random; {why}", flush=True)
        return "rand"
    return AUTO_MODE


def _download(config: ConfigDict, download: Download) -> None:
    if not download.folder.exists():
        by_name = config.copy_and_resolve_references()
        by_name.import_weights.source = ""
        import_named(download.weights, by_name, download.folder)


def _autos(config: ConfigDict) -> list[str]:
    return [stage for stage in STAGES if config[stage].init == AUTO_INIT]


def _with_starts(config: ConfigDict, starts: dict[str, str]) -> ConfigDict:
    """Set what stages start from; a random backbone has to learn as the rest does."""
    if not starts:
        return config
    settled = config.copy_and_resolve_references()
    for stage, init in starts.items():
        settled[stage].init = init
    if starts.get("teacher") == "rand":
        settled.optimizer.update(backbone_rate_factor=1.0, layer_decay=1.0, freeze_backbone=False)
    return settled


def _recorded_start(config: ConfigDict, workdir: pathlib.Path, options: Options, stage: str) -> str:
    """Return what a stage of this run, of its base or of the run that it takes over began with, or ""."""
    if options.redo in REDONE[stage]:
        return ""
    folders = [workdir / VARIANTS_FOLDER / options.variant] if options.variant else []
    folders += [workdir, *([pathlib.Path(options.from_run)] if options.from_run else [])]
    records = [read_record(folder / stage) for folder in folders]
    starts = [record.inputs.get("start", "") for record in records if record is not None]
    if not starts:
        return ""
    return "rand" if starts[0] == RANDOM_START else AUTO_MODE


def _is_finished(config: ConfigDict, workdir: pathlib.Path, options: Options, stage: str) -> bool:
    """Tell whether a stage needs no start any more: it is finished, or taken from another run."""
    if stage == "teacher" and options.from_run:
        return True
    if options.redo in REDONE[stage] or (stage == "student" and config.selftrain.rounds > 1):
        return False
    folder = workdir / VARIANTS_FOLDER / options.variant if options.variant else workdir
    record = read_record(folder / stage)
    return record is not None and bool(record.results)


def _warn_of_padding(config: ConfigDict, init: str) -> None:
    """Say where imported weights expect another max-pool than the config's."""
    if init not in NAMED_MODES:
        return
    path = named_folder(init, config.model.backbone, config.pretrained.dir) / CARD_FILE
    try:
        wanted = ModelCard.from_json(read_json(path, REMEDY), path).pool_padding_of_source
    except InputError:  # a checkpoint without a card, as of --job=pretrain
        return
    if "resnet" in config.model.backbone and wanted != config.model.pool_padding:
        print(f"{init}: these weights expect --config.model.pool_padding={wanted}", flush=True)
