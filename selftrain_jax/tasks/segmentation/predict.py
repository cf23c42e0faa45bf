"""Class maps for `--job=predict`: PNGs with a palette, and overlays; call `predict_masks`."""

import pathlib
from collections import Counter

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from selftrain_jax.build.experiment import Experiment
from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.voc_masks import voc_palette
from selftrain_jax.errors import InputError
from selftrain_jax.io import write_json
from selftrain_jax.selftrain.inference import Inferred
from selftrain_jax.selftrain.manifest import class_thresholds
from selftrain_jax.tasks.segmentation.draw import mask_path, overlay, save_mask_png
from selftrain_jax.tasks.segmentation.inference import MASKS_FOLDER, bind_variables, build_segmenter
from selftrain_jax.tasks.segmentation.pseudo.confidence import confidence_levels, ignore_unsure
from selftrain_jax.tasks.segmentation.pseudo.inference import infer_masks
from selftrain_jax.tasks.spec import per_class_thresholds
from selftrain_jax.types import IGNORED, Category, Variables


def predict_masks(
    config: ConfigDict,
    experiment: Experiment,
    variables: Variables,
    source: Source,
    categories: tuple[Category, ...],
    output: pathlib.Path,
) -> str:
    """Label every pixel; write `masks/`, `drawn/` and `classes.json`; return what was done in a phrase.

    A mask is named as its image; its values are class ids, its palette their colours. In `drawn/` pixels
    less sure than config.pseudo's thresholds are hatched. Scales and mirror are config.predict's.

    Raises:
      InputError: an image does not decode, or two would have one mask.
    """
    settings = config.predict
    _check_names(source)
    network = bind_variables(
        build_segmenter(config, experiment), variables, scales=settings.scales, flip=settings.flip
    )
    thresholds = class_thresholds(categories, config.pseudo.threshold, per_class_thresholds(config))
    levels = confidence_levels(thresholds)
    output.mkdir(parents=True, exist_ok=True)
    _write_classes(output, categories)
    starts = range(0, len(source), network.batch_size)
    chunks = [(0, range(start, min(start + network.batch_size, len(source)))) for start in starts]
    names = {id: name for id, name in categories if name.lower() != "background"}
    found = (image for _, images in infer_masks(chunks, source=source, network=network) for image in images)
    sure = total = 0
    for place, image in enumerate(found):
        if isinstance(image, InputError):
            raise image
        kept = ignore_unsure(image.labels["mask"], image.labels["confidence"], levels)
        _write(output, source.read_image(place), image, kept, names)
        sure, total = sure + int((kept != IGNORED).sum()), total + kept.size
    threshold = config.pseudo.threshold
    return f"{len(source)} images, {sure / total:.1%} of their pixels sure to {threshold} or more"


def _check_names(source: Source) -> None:
    """Refuse images whose masks would have one name. Raises: InputError."""
    names = Counter(_name_of(image_id) for image_id in source.image_ids)
    doubled = [image_id for image_id in source.image_ids if names[_name_of(image_id)] > 1]
    if doubled:
        raise InputError(
            f"{len(doubled)} images of {source.name} differ in nothing but the suffix: "
            f"{', '.join(doubled[:5])}. A mask is named as its image without it: give them other names"
        )


def _name_of(image_id: str) -> str:
    return str(pathlib.PurePosixPath(image_id).with_suffix(""))


def _write_classes(output: pathlib.Path, categories: tuple[Category, ...]) -> None:
    palette = voc_palette().tolist()
    rows = [{"id": id, "name": name, "color": palette[id]} for id, name in categories]
    write_json(output / "classes.json", rows)


def _write(
    output: pathlib.Path, pixels: np.ndarray, image: Inferred, kept: np.ndarray, names: dict[int, str]
) -> None:
    name = _name_of(image.labels["image_id"])
    save_mask_png(mask_path(output / MASKS_FOLDER, name), image.labels["mask"])
    drawn = overlay(pixels, kept, names=names)
    path = mask_path(output / "drawn", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".png.unfinished")
    Image.fromarray(drawn).save(unfinished, format="PNG")
    unfinished.replace(path)
