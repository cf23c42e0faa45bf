"""Class maps for `--job=predict`: PNGs with a palette, and overlays; call `predict_masks`."""

import pathlib

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from selftrain_jax.build import Experiment
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.mask_inference import MASKS_FOLDER, bind_variables, build_segmenter
from selftrain_jax.report.draw_masks import class_palette, mask_path, overlay, save_mask_png
from selftrain_jax.selftrain.manifest import write_json
from selftrain_jax.selftrain.mask_inference import infer_masks
from selftrain_jax.selftrain.pseudo_inference import Inferred
from selftrain_jax.types import Category, Variables


def predict_masks(
    config: ConfigDict,
    experiment: Experiment,
    variables: Variables,
    source: Source,
    categories: tuple[Category, ...],
    output: pathlib.Path,
) -> str:
    """Label every pixel; write `masks/`, `drawn/` and `classes.json`; return what was done in a phrase.

    A mask's values are class ids, its palette their colours. In `drawn/` pixels less sure than
    config.pseudo.threshold are hatched. Scales and mirror are config.predict's.

    Raises:
      InputError: an image does not decode.
    """
    settings = config.predict
    network = bind_variables(
        build_segmenter(config, experiment), variables, scales=settings.scales, flip=settings.flip
    )
    for folder in (MASKS_FOLDER, "drawn"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    _write_classes(output, categories)
    starts = range(0, len(source), network.batch_size)
    chunks = [(0, range(start, min(start + network.batch_size, len(source)))) for start in starts]
    names = {id: name for id, name in categories if name.lower() != "background"}
    place = sure = total = 0
    for _, images in infer_masks(chunks, source=source, network=network):
        for image in images:
            if isinstance(image, InputError):
                raise image
            is_sure = image.labels["confidence"] >= np.ceil(256 * config.pseudo.threshold)
            _write(output, source.read_image(place), image, is_sure, names)
            place, sure, total = place + 1, sure + int(is_sure.sum()), total + is_sure.size
    return f"{place} images, {sure / total:.1%} of their pixels sure to {config.pseudo.threshold} or more"


def _write_classes(output: pathlib.Path, categories: tuple[Category, ...]) -> None:
    palette = class_palette(256).tolist()
    rows = [{"id": id, "name": name, "color": palette[id]} for id, name in categories]
    write_json(output / "classes.json", rows)


def _write(
    output: pathlib.Path, pixels: np.ndarray, image: Inferred, is_sure: np.ndarray, names: dict[int, str]
) -> None:
    image_id, mask = image.labels["image_id"], image.labels["mask"]
    save_mask_png(mask_path(output / MASKS_FOLDER, image_id), mask)
    drawn = overlay(pixels, np.where(is_sure, mask, np.uint8(255)), names=names)
    Image.fromarray(drawn).save(mask_path(output / "drawn", image_id))
