"""An exported network in Python, run by its own runtime; call `open_export`."""

import pathlib
from collections.abc import Callable, Generator
from functools import partial

import numpy as np

from configs.common import get_config
from selftrain_jax.augment.policies import make_inference_resize
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.export.formats import FORMATS
from selftrain_jax.export.program import Results
from selftrain_jax.io import read_json
from selftrain_jax.jobs.found import Model
from selftrain_jax.run_files.export_card import EXPORT_FILE, REMEDY, ExportCard
from selftrain_jax.tasks.lookup import get_self_training
from selftrain_jax.types import Category, Example


def open_export(folder: pathlib.Path, batch_size: int) -> Model:
    """Open what --job=export wrote; `batch_size` counts where the file takes any.

    Raises:
        InputError: the file selects no boxes or classes, or its runtime is not installed.
    """
    card = ExportCard.from_json(read_json(folder / EXPORT_FILE, REMEDY), folder / EXPORT_FILE)
    chosen = FORMATS.get(card.format)
    if chosen is None or not card.nms:
        raise InputError(
            f"{folder} is {card.format}{'' if card.nms else ' without NMS'}, which says no boxes or classes; "
            "export with --config.export.nms=True, in a format other than safetensors"
        )
    config = get_config()
    config.task, config.image.size_px = card.task, card.image_size_px
    categories = tuple(Category(int(id), name) for id, name in card.classes.items())
    read = get_self_training(card.task).read_exported
    find = partial(
        _find, chosen.open(folder / card.files[0]), read, card.image_size_px, card.batch_size or batch_size
    )
    return Model(config, categories, folder, {}, find)


def _find(
    run: Results, read: Callable[..., Example], image_size_px: int, batch_size: int, source: Source
) -> Generator[Example, None, None]:
    fit = make_inference_resize(image_size_px)
    for start in range(0, len(source), batch_size):
        indices = range(start, min(start + batch_size, len(source)))
        pixels = [source.read_image(index) for index in indices]
        fitted = [fit(image) for image in pixels]
        fitted += [fitted[-1]] * (batch_size - len(fitted))
        images, covered_px = (np.stack(column) for column in zip(*fitted, strict=True))
        results = run(images, covered_px.astype(np.int32))
        for row, index in enumerate(indices):
            own = {name: np.asarray(value)[row] for name, value in results.items()}
            height, width = pixels[row].shape[:2]
            covered = tuple(int(side) for side in covered_px[row])
            yield read(source.image_ids[index], (height, width), covered, own)
