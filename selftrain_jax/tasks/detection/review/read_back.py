"""A tool's file or folder, recognised and read, against what went out; call `read_corrections`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote

import numpy as np

from selftrain_jax.data.formats.label_studio import is_task_list
from selftrain_jax.data.formats.labelme import is_image_document
from selftrain_jax.data.image_files import read_file, unpack_command
from selftrain_jax.data.problems import nearest_names
from selftrain_jax.data.sources.xml_tree import parse_xml
from selftrain_jax.errors import InputError
from selftrain_jax.io import hash_file, parse_json
from selftrain_jax.run_files.corrections import Corrections, ReviewedImage
from selftrain_jax.run_files.review import REVIEW_FILE, Review, SentImage
from selftrain_jax.tasks.detection.review.compare import ReturnedBox, compare_image, is_changed
from selftrain_jax.tasks.detection.review.formats import coco, cvat, label_studio, labelme, yolo
from selftrain_jax.tasks.detection.review.formats.returned import RawBox, ReturnedImage
from selftrain_jax.text import shorten_list

FORMATS = ("label_studio", "cvat", "coco", "yolo", "labelme")
OUTSIDE_PX = 1.0  # tools round at the border; what is inside by as little is cut, not refused
MAX_PROBED = 5  # JSON files of a folder that are looked into


def read_corrections(
    path: Path,
    review: Review,
    review_digest: str,
    *,
    removed: Literal["background", "ignore"],
    confirmed: bool,
    by: str,
) -> Corrections:
    """Read a tool's export and say of each box what became of it.

    An image counts as reviewed where the tool says so (a submitted annotation of Label Studio), or where
    something was changed; `confirmed` says that all images in the file were looked at.

    Raises:
        InputError: an archive, no format that is known, an image that did not go out or is twice, an unknown
            class, or a box outside its image.
    """
    name, found = _read(path)
    sent = _find_images(found, review, path)
    ids = {category.name: category.id for category in review.categories}
    reviewed = {}
    for image, back in zip(sent, found, strict=True):
        boxes = compare_image(image.boxes, [_place(box, back, image, ids) for box in back.boxes])
        if back.is_confirmed or (back.is_confirmed is None and (confirmed or is_changed(boxes))):
            who = back.by or by
            reviewed[image.image_id] = ReviewedImage(
                image_id=image.image_id,
                review=review_digest,
                removed=removed,
                boxes=boxes,
                by=who,
                at=back.at,
            )
    order = [image.image_id for image in review.images if image.image_id in reviewed]
    return Corrections(name, _digest(path), len(found), tuple(reviewed[image_id] for image_id in order))


def _read(path: Path) -> tuple[str, list[ReturnedImage]]:
    """Recognise the format by what is in the file, whatever went out: tools convert."""
    if not path.exists():
        raise InputError(
            f"config.review.file={path} does not exist; name the file or folder of the corrections"
        )
    return _read_folder(path) if path.is_dir() else _read_one(path)


def _read_one(path: Path) -> tuple[str, list[ReturnedImage]]:
    _refuse_archive(path)
    start = read_file(path)[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<"):
        if cvat.is_cvat(parse_xml(path)):
            return "cvat", cvat.read_cvat(path)
    elif start.startswith((b"{", b"[")):
        document = parse_json(read_file(path), str(path))
        if coco.is_coco(document):
            return "coco", coco.read_coco(path)
        if is_task_list(document):
            return "label_studio", label_studio.read_label_studio(path)
        if is_image_document(document):
            return "labelme", [labelme.read_labelme(path)]
    raise _unknown(path)


def _read_folder(folder: Path) -> tuple[str, list[ReturnedImage]]:
    """Read a folder: LabelMe's or YOLO's, or one that holds a single file of another format."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != REVIEW_FILE)
    documents = [file for file in files if file.suffix == ".json"]
    if documents and all(is_image_document(_peek(file)) for file in documents[:MAX_PROBED]):
        return "labelme", [labelme.read_labelme(_require_labelme(file)) for file in documents]
    top = [file for file in files if file.parent == folder or file.parent.name == "annotations"]
    if any(file.suffix in (".yaml", ".yml") or file.name in (yolo.NAMES_FILE, "obj.names") for file in top):
        return "yolo", yolo.read_yolo(folder)
    whole = [file for file in top if file.suffix in (".json", ".xml")]
    if len(whole) == 1:
        return _read_one(whole[0])
    for file in files:
        _refuse_archive(file)
    raise _unknown(folder)


def _peek(path: Path) -> object:
    return parse_json(read_file(path), str(path))


def _require_labelme(path: Path) -> Path:
    if not is_image_document(_peek(path)):
        raise InputError(f"{path} is no file of LabelMe's, as the others of its folder are; move it away")
    return path


def _refuse_archive(path: Path) -> None:
    command = unpack_command(path)
    if not command:
        return
    raise InputError(
        f"{path} is an archive; unpack it ({command}) and name what is inside by --config.review.file"
    )


def _unknown(path: Path) -> InputError:
    return InputError(
        f"{path} is of no format that corrections are read in; expected Label Studio's JSON (not JSON-MIN or "
        "CSV), CVAT for images 1.1 (annotations.xml), COCO's JSON, a folder of YOLO (data.yaml and labels/) "
        "or of LabelMe (a JSON for each image)"
    )


def _find_images(found: Sequence[ReturnedImage], review: Review, path: Path) -> list[SentImage]:
    """Find what went out for each image that came back."""
    tables = _name_tables(review.images)
    sent = [_find(image.names, tables) for image in found]
    strange = [image.names[0] for image, own in zip(found, sent, strict=True) if own is None]
    if strange:
        raise InputError(
            f"{path}: {len(strange)} of its {len(found)} images did not go out for this review: "
            f"{shorten_list(strange)}. Name the folder of the export that they belong to by "
            "--config.review.output, or take them out of the file."
        )
    known = [own for own in sent if own is not None]
    first: dict[str, str] = {}
    for image, own in zip(found, known, strict=True):
        if own.image_id in first:
            raise InputError(
                f"image {own.image_id} is twice: in {first[own.image_id]} and {image.where}; keep one of them"
            )
        first[own.image_id] = image.where
        if image.size_px not in (None, own.size_px):
            there, here = (f"{width} x {height}" for height, width in (image.size_px or (0, 0), own.size_px))
            raise InputError(
                f"{image.where}: the image has {there} pixels there and {here} here; its boxes do not fit. "
                "Export without resizing the images."
            )
    return known


def _name_tables(images: Sequence[SentImage]) -> list[Mapping[str, SentImage | None]]:
    """Return what an image may be called in a tool, the surest first; None where several are called so."""
    ways = [
        lambda image: (image.image_id, image.name, image.path),
        lambda image: (image.name.rpartition("/")[2],),
        lambda image: (str(PurePosixPath(image.name).with_suffix("")), PurePosixPath(image.name).stem),
    ]
    tables: list[Mapping[str, SentImage | None]] = []
    for names_of in ways:
        table: dict[str, SentImage | None] = {}
        for image in images:
            for name in set(names_of(image)):
                table[name] = image if table.get(name, image) is image else None
        tables.append(table)
    return tables


def _find(names: Sequence[str], tables: Sequence[Mapping[str, SentImage | None]]) -> SentImage | None:
    plain = [unquote(name).replace("\\", "/") for name in names]
    ends = [name.rpartition("/")[2] for name in plain]
    ends += [
        end.partition("-")[2] for end in ends if "-" in end
    ]  # Label Studio puts "a1b2c3d4-" before uploads
    stems = [str(PurePosixPath(name).with_suffix("")) for name in (*plain, *ends) if name]
    for table, tried in zip(tables, ([*names, *plain], ends, [*plain, *stems]), strict=True):
        found = next((table[name] for name in tried if table.get(name)), None)
        if found is not None:
            return found
    return None


def _place(box: RawBox, back: ReturnedImage, image: SentImage, ids: Mapping[str, int]) -> ReturnedBox:
    """Put a box into pixels and its class into ids. Raises: InputError."""
    if box.class_name not in ids:
        raise InputError(
            f"{box.where}: class {box.class_name!r} is not one of this run's "
            f"({nearest_names(box.class_name, list(ids))}); give the box one of the classes that went out"
        )
    height, width = image.size_px
    limits = np.array([height, width, height, width], np.float64)
    pixels = box.box * limits if back.is_relative else box.box
    inside = np.clip(pixels, 0, limits)
    is_empty = (inside[2:] <= inside[:2]).any()
    if is_empty or np.abs(inside - pixels).max() > OUTSIDE_PX:
        ymin, xmin, ymax, xmax = (round(float(side), 1) for side in pixels)
        raise InputError(
            f"{box.where}: the box from ({xmin}, {ymin}) to ({xmax}, {ymax}) is "
            f"{'empty' if (pixels[2:] <= pixels[:2]).any() else 'outside the image'}: {image.name} has "
            f"{width} x {height} pixels; correct or delete it in the tool"
        )
    return ReturnedBox(inside, ids[box.class_name], box.record_index)


def _digest(path: Path) -> str:
    """Identify a file, or a folder by its texts' names and contents."""
    if path.is_file():
        return hash_file(path)
    texts = sorted(
        file for file in path.rglob("*") if file.suffix in (".txt", ".json", ".xml", ".yaml", ".yml")
    )
    listed = [(file.relative_to(path).as_posix(), hash_file(file)) for file in texts if file.is_file()]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()
