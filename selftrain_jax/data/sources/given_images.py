"""Images that a Python program has, as arrays, PIL images or paths, as a source; call `read_given_images`."""

import io
import os
import pathlib
import shlex
from collections.abc import Sequence

import numpy as np
from PIL import Image

from selftrain_jax.data.image_files import read_encoded_file
from selftrain_jax.data.source import Source, decode_image
from selftrain_jax.data.sources.image_folder import read_image_folder
from selftrain_jax.errors import InputError
from selftrain_jax.types import Example

GivenImage = str | os.PathLike | np.ndarray | Image.Image
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")


def read_given_images(images: GivenImage | Sequence[GivenImage]) -> Source:
    """Return a source of images in their order; one folder stands for the images below it.

    Raises:
        InputError: there is none, a file is missing or a video, or an array is no RGB image of uint8.
    """
    if isinstance(images, str | os.PathLike) and pathlib.Path(images).is_dir():
        return read_image_folder(images)
    given = [images] if isinstance(images, str | os.PathLike | np.ndarray | Image.Image) else list(images)
    if not given:
        raise InputError("there is no image to predict for; expected one or more")
    ids = tuple(str(number) for number in range(len(given)))
    encoded = [_open(image, f"images[{number}]") for number, image in enumerate(given)]

    def read_encoded(index: int) -> bytes:
        image = encoded[index]
        return read_encoded_file(image) if isinstance(image, pathlib.Path) else image

    def read_labels(index: int) -> Example:
        return {"image_id": ids[index]}

    return Source(
        name="the images given",
        categories=(),
        image_ids=ids,
        read_labels=read_labels,
        read_encoded=read_encoded,
        read_image=lambda index: decode_image(read_encoded(index), f"images[{index}]"),
    )


def refuse_video(path: pathlib.Path) -> None:
    """Raise InputError where a path is a video's, with the command that makes images of it."""
    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise InputError(
            f"{path} is a video; expected images: make them with `mkdir frames` and "
            f"`ffmpeg -i {shlex.quote(str(path))} frames/%06d.jpg`"
        )


def _open(image: GivenImage, name: str) -> pathlib.Path | bytes:
    """Return a file's path, or an image as a BMP, which keeps every value and takes next to no time."""
    if isinstance(image, str | os.PathLike):
        path = pathlib.Path(image)
        refuse_video(path)
        if not path.is_file():
            raise InputError(f"{name}: {path} is no file; check the path")
        return path
    pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise InputError(
            f"{name} is an array of {pixels.dtype} and shape {pixels.shape}; expected uint8 of "
            "[height, width, 3] in RGB, with at least one pixel"
        )
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="BMP")
    return file.getvalue()
