"""`--job=convert`: a data set with boxes, of any format, in the layout of kind=coco; call `run_convert`."""

import errno
import os
import pathlib
import shutil

from ml_collections import ConfigDict

from selftrain_jax.build.data import log_notes
from selftrain_jax.data.image_files import path_inside
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, write_json
from selftrain_jax.tasks.detection.coco_export import image_file_name, write_coco_json
from selftrain_jax.tasks.lookup import get_task

CHOICES = ("copy", "link")


def run_convert(config: ConfigDict) -> None:
    """Write annotations/{split}.json and images/ into config.convert.output, whole or not at all.

    Splits are those of config.data; one that stands in for another is written once. Class ids are the
    reader's. Image files keep their bytes and their names below images/.

    Raises:
        InputError: there is no output, it exists, the data cannot be read, or links are not possible.
    """
    settings, data = config.convert, config.data
    if not settings.output:
        raise InputError("--job=convert needs a new folder: --config.convert.output=FOLDER")
    if settings.images not in CHOICES:
        raise InputError(f"config.convert.images={settings.images!r} is not one of {', '.join(CHOICES)}")
    task = get_task(config.task)
    if "coco" not in task.data_kinds:
        raise InputError("--job=convert writes boxes; a run with masks reads its folder as it is")
    output = pathlib.Path(settings.output)
    if output.exists():
        raise InputError(f"{output} exists; --job=convert writes a new folder, name another one")
    opened = {split: task.open_split(config, "data", split) for split in (data.train, data.val, data.test)}
    log_notes(opened.values())
    parts = {source.name: (split, source) for split, source in reversed(opened.items())}
    unfinished = output.with_name(f"{output.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        (unfinished / "annotations").mkdir(parents=True)
        for split, source in reversed(parts.values()):
            _write_split(source, split, unfinished, settings.images)
        unfinished.rename(output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    listed = ", ".join(f"{split} {len(source):,}" for split, source in reversed(parts.values()))
    print(f"written to {output}: {listed} images; read it with --config.data.dir={output}", flush=True)


def _write_split(source: Source, split: str, folder: pathlib.Path, how: str) -> None:
    path = folder / "annotations" / f"{split}.json"
    write_coco_json(source, path)
    document = read_json(path, "write it again")
    (folder / "images").mkdir(exist_ok=True)
    for index, record in enumerate(document["images"]):
        record["file_name"] = name = image_file_name(source, index)
        target = path_inside((folder / "images").resolve(), name)
        assert target is not None  # the reader found the image inside its own folder
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():  # in two splits
            _place(source, index, target, how)
    write_json(path, document)


def _place(source: Source, index: int, target: pathlib.Path, how: str) -> None:
    if source.path is None:
        target.write_bytes(source.read_encoded(index))
        return
    if how == "copy":
        shutil.copyfile(source.path(index), target)
        return
    try:
        os.link(source.path(index).resolve(), target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP):
            raise
        raise InputError(
            f"{target}: cannot be a link to {source.path(index)} ({error.strerror}); choose a folder on its "
            "disk, or set --config.convert.images=copy"
        ) from error
