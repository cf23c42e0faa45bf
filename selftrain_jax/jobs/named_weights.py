"""Weights of the catalogue, downloaded and converted once into a folder; call `import_named`.

`run_import_named` is `--job=import_weights --config.import_weights.name=NAME`.
"""

import dataclasses
import pathlib

from ml_collections import ConfigDict

from selftrain_jax.jobs.import_weights import card_of, check_empty, import_as, tell, write_checkpoint
from selftrain_jax.pretrain.catalogue import Weights, describe_licence, find_weights
from selftrain_jax.pretrain.fetch import fetch, take
from selftrain_jax.pretrain.fetched import Fetched


def run_import_named(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Download, or take config.import_weights.source, what the name stands for; fill `workdir` or nothing.

    Raises:
        InputError: no such name, the folder is not empty, or as `import_named`.
    """
    weights = find_weights(config.import_weights.name)
    check_empty(workdir)
    import_named(weights, config, workdir)


def import_named(weights: Weights, config: ConfigDict, workdir: pathlib.Path) -> None:
    """Fill `workdir` with checkpoint and card.json of a row of the catalogue, or with nothing.

    Raises:
        InputError: the file cannot be had, is damaged or does not fit the network.
    """
    settings = config.import_weights.copy_and_resolve_references()
    rule = weights.input_rule if settings.input_rule == "auto" else settings.input_rule
    settings.update(kind=weights.kind, network=weights.network, input_rule=rule)
    folder = pathlib.Path(config.pretrained.dir)
    if source := settings.source:
        print(f"{weights.name}: {describe_licence(weights)}", flush=True)
    found = take(weights, pathlib.Path(source), folder) if source else fetch(weights, folder, workdir)
    with found as files:
        _convert(weights, files, settings, workdir)


def _convert(weights: Weights, files: Fetched, settings: ConfigDict, workdir: pathlib.Path) -> None:
    imported = import_as(weights.kind, files.path, settings)
    card = card_of(imported, files.path, settings)
    card = dataclasses.replace(
        card,
        source=files.address,
        sha256=files.sha256 or card.sha256,
        published_accuracy=weights.accuracy or None,
        name=weights.name,
        licence=weights.licence,
        revision=files.revision,
    )
    write_checkpoint(workdir, imported.variables, card)
    tell(workdir, imported, weights.name, weights.kind)
