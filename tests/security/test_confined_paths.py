"""Names that stand in data lead nowhere outside the folder that the user named; proved by what is opened."""

import contextlib
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from selftrain_jax.data.image_files import require_folder
from selftrain_jax.data.shards import write_shard
from selftrain_jax.data.sources.coco import find_problems, read_coco_json
from selftrain_jax.data.sources.image_folder import read_class_folder, read_image_folder
from selftrain_jax.data.sources.paired_folders import read_mask_folder
from selftrain_jax.data.sources.voc_boxes import read_voc
from selftrain_jax.data.sources.voc_masks import find_sbd_masks
from selftrain_jax.errors import InputError
from selftrain_jax.pretrain.tf_checkpoint import find_prefix
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.selftrain.records import locate_records
from selftrain_jax.tasks.detection.run_files import BoxTotals
from selftrain_jax.tasks.segmentation.draw import mask_path

OPENED: list[str] = []


def shown(name: Any) -> str:
    return ascii(name)[:40]


NAMES = [
    "../secret.png", "a/../../secret.png", "{outside}/secret.png", "link/secret.png", "link.png", "..", ".",
    "", "/", "//", "a.png\0", "\0", "x" * 300, "y/" * 3000 + "a.png", "\ud800.png", "\udcff.png",
    "~/secret.png", "file:///etc/passwd", "C:\\secret.png", "..\\secret.png", "/dev/zero",
    "/proc/self/environ", "pipe.png",
]  # fmt: skip


def note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        OPENED.append(os.fsdecode(arguments[0]))


sys.addaudithook(note)  # hooks stay for the life of the process; this one costs an append a file


@contextlib.contextmanager
def nothing_opened_in(outside: pathlib.Path) -> Iterator[None]:
    """Fail when a file outside was opened, under whatever name; or a device."""
    OPENED.clear()
    yield
    real = [os.path.realpath(path) for path in OPENED if "\0" not in path]
    assert not [
        path for path in real if path.startswith((str(outside), "/etc/passwd", "/dev/zero", "/proc/self/env"))
    ]


@pytest.fixture
def outside(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    save(folder / "secret.png")
    return folder


@pytest.fixture
def images(tmp_path: pathlib.Path, outside: pathlib.Path) -> pathlib.Path:
    """A folder with an image, a pipe, and links that lead out of it."""
    folder = tmp_path / "data" / "JPEGImages"
    save(folder / "a.png")
    (folder / "link").symlink_to(outside)
    (folder / "link.png").symlink_to(outside / "secret.png")
    os.mkfifo(folder / "pipe.png")
    return folder


def save(path: pathlib.Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (30, 20)).save(path)


def name_of(name: str, outside: pathlib.Path) -> str:
    return name.replace("{outside}", str(outside))


@pytest.mark.parametrize("name", NAMES, ids=shown)
def test_coco_file_names(images: pathlib.Path, outside: pathlib.Path, name: str) -> None:
    document = {
        "images": [{"id": 1, "file_name": name_of(name, outside)}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [],
    }
    path = images.parent / "labels.json"
    path.write_text(json.dumps(document))
    with nothing_opened_in(outside):
        assert [problem.kind for problem in find_problems(path, images)] in (["malformed"], ["missing_image"])
        with pytest.raises(InputError):
            read_coco_json(path, images)


@pytest.mark.parametrize("name", [name for name in NAMES if name.isprintable()], ids=shown)
def test_voc_file_names_and_folders(images: pathlib.Path, outside: pathlib.Path, name: str) -> None:
    root = images.parent
    write_list(root, "a\n")
    places = f"<folder>{outside}</folder><path>{outside}/secret.png</path>"
    text = f"<annotation>{places}<filename>{{}}</filename></annotation>"
    (root / "Annotations/a.xml").write_text(text.format(name_of(name, outside)))
    with nothing_opened_in(outside), pytest.raises(InputError):
        read_voc(root, "train", ["cat"])
    (root / "Annotations/a.xml").write_text(text.format("a.png"))
    with nothing_opened_in(outside):
        assert read_voc(root, "train", ["cat"]).read(0)["image"].shape == (20, 30, 3)


@pytest.mark.parametrize("name", [name for name in NAMES if len(name.split()) == 1], ids=shown)
def test_voc_image_ids(images: pathlib.Path, outside: pathlib.Path, name: str) -> None:
    (outside / "secret.png.xml").write_text("<annotation><filename>a.png</filename></annotation>")
    write_list(images.parent, name_of(name, outside))
    with nothing_opened_in(outside), pytest.raises(InputError):
        read_voc(images.parent, "train", ["cat"])


def write_list(root: pathlib.Path, text: str) -> None:
    for folder in ("ImageSets/Main", "Annotations"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "ImageSets/Main/train.txt").write_bytes(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("make", [read_image_folder, lambda folder: read_class_folder(folder.parent)])
def test_folders_of_images_refuse_links_that_lead_out(
    images: pathlib.Path, outside: pathlib.Path, make: Callable[[pathlib.Path], Any]
) -> None:
    (images / "pipe.png").unlink()
    with nothing_opened_in(outside), pytest.raises(InputError, match=r"links out of this folder.*link\.png"):
        make(images)


def test_folders_of_masks_refuse_links_that_lead_out(tmp_path: pathlib.Path, outside: pathlib.Path) -> None:
    save(tmp_path / "data/train/images/a.png")
    (tmp_path / "data/train/masks").mkdir()
    (tmp_path / "data/train/masks/a.png").symlink_to(outside / "secret.png")
    with nothing_opened_in(outside), pytest.raises(InputError, match="links out of this folder"):
        read_mask_folder(tmp_path / "data", "train", class_names=["a", "b"])


def test_a_pipe_among_images_is_refused_not_waited_for(images: pathlib.Path) -> None:
    for name in ("link", "link.png"):
        (images / name).unlink()
    source = read_image_folder(images)
    with pytest.raises(InputError, match=r"pipe\.png: cannot be read \(it is a folder, a pipe or a device\)"):
        source.read_image(source.image_ids.index("pipe.png"))


def test_folders_that_are_links_to_another_disk_are_read(
    tmp_path: pathlib.Path, outside: pathlib.Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/images").symlink_to(outside)
    assert read_image_folder(tmp_path / "data/images").image_ids == ("secret.png",)
    save(outside / "masks" / "secret.png", "L")
    assert set(find_sbd_masks(outside / "masks")) == {"secret"}


def test_names_that_are_not_utf8_are_refused_before_anything_is_written(tmp_path: pathlib.Path) -> None:
    save(tmp_path / "cats/a.png")
    os.rename(tmp_path / "cats/a.png", os.fsencode(tmp_path / "cats") + b"/k\xf6ln.png")
    for make in (read_image_folder, read_class_folder):
        with pytest.raises(InputError, match=r"1 images have names that are not UTF-8: 'cats/k\\udcf6ln"):
            make(tmp_path)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "\ud800"], ids=shown)
def test_folders_under_impossible_names_do_not_exist(name: str) -> None:
    with pytest.raises(InputError, match=r"the image folder .*Check the path"):
        require_folder(pathlib.Path(name), "the image folder")


def manifest(**changes: Any) -> dict[str, Any]:
    shard = {"file": "a.tfrecord", "records": 1, "bytes": 17, "sha256": "0" * 64}
    counts = {"boxes_at_floor": 1, "boxes_at_threshold": 1}
    return {
        **{
            "threshold": 0.5,
            "score_floor": 0.05,
            "seconds": 1,
            "num_images": 1,
            "num_bad_images": 0,
            "bad_images": [],
        },
        **{"num_boxes": 1, "num_boxes_at_threshold": 1, "images_without_boxes_at_threshold": 0},
        "per_class": {"cat": counts},
        "score_histogram": {"edges": [0, 1], "counts": [1]},
        "categories": [{"id": 1, "name": "cat"}],
        "shards": [shard | changes],
    }


@pytest.mark.parametrize("name", [*NAMES, "a/b.tfrecord", "./a.tfrecord", 5, None, ["a"]], ids=shown)
def test_shards_that_a_manifest_names_lie_beside_it(
    tmp_path: pathlib.Path, outside: pathlib.Path, name: Any
) -> None:
    folder = tmp_path / "pseudo_labels"
    folder.mkdir()
    write_shard(outside / "secret.png", [b"x"])
    wanted = name_of(name, outside) if isinstance(name, str) else name
    (folder / "manifest.json").write_text(json.dumps(manifest(file=wanted)))
    with nothing_opened_in(outside), pytest.raises(InputError):
        locate_records(folder, read_manifest(folder, BoxTotals).shards, 0)


def test_a_sound_manifest_is_taken(tmp_path: pathlib.Path) -> None:
    write_shard(tmp_path / "a.tfrecord", [b"x"])
    (tmp_path / "manifest.json").write_text(json.dumps(manifest()))
    table = locate_records(tmp_path, read_manifest(tmp_path, BoxTotals).shards, 0)
    assert table.where(0) == (tmp_path / "a.tfrecord", 0)


@pytest.mark.parametrize(
    "image_id",
    [
        "../a",
        "a/../../b",
        "/etc/passwd",
        "//a",
        "a//b",
        "a/",
        "",
        ".",
        "a/.",
        "..",
        "a\0",
        "x" * 250,
        "y" * 99 + "é" * 80,
    ],
    ids=shown,
)
def test_masks_are_written_inside_their_folder_or_not_at_all(tmp_path: pathlib.Path, image_id: str) -> None:
    with pytest.raises(InputError, match="cannot name a file there"):
        mask_path(tmp_path, image_id)


@pytest.mark.parametrize("image_id", ["a", "a/b", "a..b/c", "a b/köln", "<script>", "x" * 230])
def test_other_ids_name_a_mask_each(tmp_path: pathlib.Path, image_id: str) -> None:
    path = mask_path(tmp_path, image_id)
    assert path.relative_to(tmp_path).as_posix() == f"{image_id}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(path)


@pytest.mark.parametrize(
    "named", ["/", "..", ".", "../outside/model", "{outside}/model", "sub", "x" * 300, "a\0b"]
)
def test_a_checkpoint_pointer_stays_in_its_folder(
    tmp_path: pathlib.Path, outside: pathlib.Path, named: str
) -> None:
    folder = tmp_path / "checkpoints"
    (folder / "sub").mkdir(parents=True)
    for place in (outside, tmp_path):
        (place / "model.index").touch()
        (place / "checkpoint").write_text('model_checkpoint_path: "checkpoints"')
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{name_of(named, outside)}"')
    with nothing_opened_in(outside), pytest.raises(InputError, match="which is not there"):
        find_prefix(folder)
