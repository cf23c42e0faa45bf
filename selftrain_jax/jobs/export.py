"""`--job=export`: a trained network as a file for other programs, compared with itself before it is there."""

import pathlib
import shutil
import tempfile
from functools import partial

import jax
import numpy as np
from ml_collections import ConfigDict

from selftrain_jax.augment.policies import make_inference_resize
from selftrain_jax.build.data import build_sources
from selftrain_jax.build.experiment import build_experiment
from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.image_folder import read_image_folder
from selftrain_jax.errors import InputError
from selftrain_jax.export import weights
from selftrain_jax.export.compare import compare, describe
from selftrain_jax.export.formats import FORMATS
from selftrain_jax.export.program import Program, make_program
from selftrain_jax.io import write_json
from selftrain_jax.jobs.model import Model, newest_stage, open_model
from selftrain_jax.models.layers import DTYPES
from selftrain_jax.named_arrays import digest
from selftrain_jax.run_files.export_card import EXPORT_FILE, ExportCard
from selftrain_jax.stages.versions import versions
from selftrain_jax.tasks.lookup import get_self_training

NUM_COMPARED = 4
INPUTS = {
    "images": "uint8 [B, S, S, 3], RGB: the image resized (bilinear, not antialiased, its ratio kept) until "
    "its longer side is S, in the upper left corner; the rest is not looked at. Normalised inside.",
    "covered_px": "int32 [B, 2]: height and width of the image in the input; S, S where it fills it",
}


def run_export(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Write a stage's network into config.export.output: the file, its weights and export.json.

    What was written is run on images and compared with the network. The folder appears whole or not at all.

    Raises:
        InputError: no format or folder, no finished stage, or an image that cannot be read.
    """
    settings = config.export
    check_settings(settings)
    output = pathlib.Path(settings.output)
    checkpoint = pathlib.Path(settings.checkpoint) if settings.checkpoint else newest_stage(workdir)
    model = open_model(config, workdir, checkpoint)
    compared = _fitted_images(config)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as name:
        folder = pathlib.Path(name) / "export"
        folder.mkdir()
        card = _write(model, config, workdir, folder, compared)
        shutil.move(folder, output)
    print(f"{output}: {', '.join([*card.files, EXPORT_FILE])} of {checkpoint}")
    if card.differences:
        print(f"on {card.num_compared} images, compared with the network: {describe(card.differences)}")


def check_settings(settings: ConfigDict) -> None:
    """Check config.export before anything is opened. Raises: InputError, naming the key."""
    if settings.format not in FORMATS:
        raise InputError(f"config.export.format={settings.format!r}; expected one of {', '.join(FORMATS)}")
    if not settings.output:
        raise InputError("--job=export needs a folder to write into: --config.export.output=FOLDER")
    output = pathlib.Path(settings.output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"config.export.output={output} is not empty; name a new folder")
    if settings.dtype not in DTYPES:
        raise InputError(f"config.export.dtype={settings.dtype!r}; expected one of {', '.join(DTYPES)}")
    if settings.batch_size < 0:
        raise InputError(f"config.export.batch_size={settings.batch_size}; expected 1 or more, or 0 for any")


def _write(
    model: Model,
    config: ConfigDict,
    workdir: pathlib.Path,
    folder: pathlib.Path,
    compared: tuple[np.ndarray, np.ndarray],
) -> ExportCard:
    settings, chosen = config.export, FORMATS[config.export.format]
    wanted = config.copy_and_resolve_references()
    wanted.model.dtype = settings.dtype
    program = make_export_program(wanted, model, has_nms=chosen is not None and chosen.has_nms)
    files, differences, batch_size = [weights.FILE], dict[str, float](), settings.batch_size or NUM_COMPARED
    if chosen is not None:
        path = chosen.write(program, folder)
        running = jax.jit(make_export_program(model.config, model, has_nms=False).run)
        differences = compare(chosen.open(path), running, *compared, batch_size)
        files.insert(0, path.name)
    card = ExportCard(
        format=settings.format,
        files=tuple(files),
        task=config.task,
        network=config.model.backbone,
        classes={str(id): name for id, name in model.categories},
        image_size_px=program.image_size_px,
        batch_size=settings.batch_size,
        dtype=settings.dtype,
        nms=settings.nms,
        inputs=INPUTS,
        outputs=dict(program.outputs),
        checkpoint=str(model.checkpoint),
        variables_sha256=digest(model.variables),
        versions=versions(),
        differences=differences,
        num_compared=len(compared[0]) if differences else 0,
    )
    _write_weights(model, folder, card)
    write_json(folder / EXPORT_FILE, card.to_json())
    return card


def make_export_program(config: ConfigDict, model: Model, *, has_nms: bool) -> Program:
    """Return a config's network with a model's weights; with `has_nms` the format selects boxes itself."""
    settings = config.export
    task = build_experiment(config, model.categories).task
    export = partial(get_self_training(config.task).export_network, config, task)
    dense = export(is_selected=False)
    if not settings.nms:
        network = dense._replace(selection=None)
    else:
        network = dense if has_nms and dense.selection else export(is_selected=True)
    return make_program(network, model.variables, config.image.size_px, settings.batch_size or None)


def _write_weights(model: Model, folder: pathlib.Path, card: ExportCard) -> None:
    path = weights.write_weights(model.variables, folder, {"network": card.network, "task": card.task})
    if differing := weights.count_differing(model.variables, path):
        raise InputError(
            f"{differing} arrays of {path} are not those that were written; is the disk damaged?"
        )


def _fitted_images(config: ConfigDict) -> tuple[np.ndarray, np.ndarray]:
    """Return the images to compare on, fitted into the network's input, and what they cover of it."""
    source = _source(config)
    fit = make_inference_resize(config.image.size_px)
    fitted = [fit(source.read_image(index)) for index in range(min(len(source), NUM_COMPARED))]
    images, covered_px = zip(*fitted, strict=True)
    return np.stack(images), np.stack(covered_px).astype(np.int32)


def _source(config: ConfigDict) -> Source:
    images = config.export.images
    return read_image_folder(pathlib.Path(images)) if images else build_sources(config).test
