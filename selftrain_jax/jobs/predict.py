"""`--job=predict`: what a trained network finds in a folder of images, as files and as drawn pictures."""

import pathlib

from ml_collections import ConfigDict

from selftrain_jax.build.data import log_notes
from selftrain_jax.build.image_checks import find_unreadable
from selftrain_jax.data.source import Source, subset
from selftrain_jax.data.sources.given_images import refuse_video
from selftrain_jax.data.sources.image_folder import read_image_folder
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.model import newest_stage, open_model


def run_predict(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Predict for the images of config.predict.input with the student, or with the stage that is there.

    Writes into config.predict.output, by default `<workdir>/predictions`: for detection `predictions.json`
    (categories, images, annotations with scores) and, where the images have integer ids, `results.json` for
    COCO's server; for segmentation `masks/*.png` and `classes.json`; for both pictures in `drawn/`.

    Images that cannot be read are left out, and listed when the others are done.

    Raises:
        InputError: no input folder, no trained stage, an image that config.predict.annotations does not list;
            or, at the end, images that cannot be read.
    """
    settings = config.predict
    if not settings.input:
        raise InputError("--job=predict needs images: --config.predict.input=FOLDER")
    refuse_video(pathlib.Path(settings.input))
    images = read_image_folder(pathlib.Path(settings.input))
    log_notes([images])
    source, unreadable = _readable_part(config, images)
    output = pathlib.Path(settings.output) if settings.output else workdir / "predictions"
    checkpoint = pathlib.Path(settings.checkpoint) if settings.checkpoint else newest_stage(workdir)
    model = open_model(config, workdir, checkpoint)
    found = model.write(source, output)
    print(f"{found}, by {checkpoint}; written to {output}")
    if unreadable:
        raise InputError(_describe(unreadable, "The others have their predictions."))


def _readable_part(config: ConfigDict, images: Source) -> tuple[Source, list[str]]:
    """Return the images that can be read, and why the others cannot. Raises: InputError, none can."""
    max_stall_secs = float(config.data.max_stall_secs)
    bad = find_unreadable(images, range(len(images)), max_stall_secs)
    reasons = [bad[index] for index in sorted(bad)]
    kept = [index for index in range(len(images)) if index not in bad]
    if not kept:
        raise InputError(_describe(reasons, "There is no other."))
    return subset(images, kept, images.name) if bad else images, reasons


def _describe(unreadable: list[str], others: str) -> str:
    listed = "".join(f"\n  {reason}" for reason in unreadable)
    return f"{len(unreadable):,} images cannot be read and have no prediction. {others}{listed}"
