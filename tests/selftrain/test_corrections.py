"""Error rates by hand, the layers that count, and which layer a key names."""

import dataclasses
import json
import pathlib

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.corrections import (
    Layer,
    ReviewedBox,
    ReviewedImage,
    StoredLayer,
    count_outcomes,
    layer_path,
    layers_up_to,
    read_layers,
    reviewed_images,
)
from selftrain_jax.selftrain.corrections import error_rate, format_rate, summarize_corrections

SIDES = (0.0, 1.0, 2.0, 3.5)


def image(image_id: str, *outcomes: str) -> ReviewedImage:
    boxes = []
    for number, outcome in enumerate(outcomes):
        teacher = {} if outcome == "added" else {"index": number, "teacher_class": 1, "score": 0.5}
        class_id = 2 if outcome in ("relabelled", "added") else 1
        boxes.append(ReviewedBox(outcome=outcome, box=SIDES, class_id=class_id, **teacher))
    return ReviewedImage(image_id=image_id, review="r", removed="background", boxes=tuple(boxes), by="anna")


def layer(*images: ReviewedImage, below: str = "", label_set: str = "set") -> Layer:
    return Layer(
        label_set=label_set,
        below=below,
        review="r",
        file="f",
        file_digest="d",
        format="coco",
        imported="2026-11-27T09:00:00+00:00",
        settings={"removed": "background"},
        images=images,
    )


def store(labels: pathlib.Path, *layers: Layer) -> list[StoredLayer]:
    """Write layers on top of one another."""
    folder = labels / "corrections"
    folder.mkdir(parents=True, exist_ok=True)
    for number, own in enumerate(layers, start=1):
        found = read_layers(labels)
        stacked = dataclasses.replace(own, below=found[-1].digest if found else "")
        layer_path(folder, number).write_text(json.dumps(stacked.to_json()))
    return read_layers(labels)


FIRST = layer(image("a", "kept", "moved", "removed"), image("b", "relabelled", "added", "kept", "kept"))
SECOND = layer(image("a", "kept", "kept", "kept"), image("c", "kept"))


def test_error_rate_with_wilsons_interval_by_hand() -> None:
    """3 of 6: n = 6, z² = 2.7055; (0.5 + z²/12 ± z sqrt(1/24 + z²/144)) / (1 + z²/6)."""
    counts = count_outcomes(reviewed_images([FIRST]))
    assert counts == {
        1: {"kept": 3, "moved": 1, "relabelled": 1, "removed": 1, "added": 0},
        2: {"kept": 0, "moved": 0, "relabelled": 0, "removed": 0, "added": 1},
    }
    rate = error_rate(counts[1])
    assert rate is not None
    assert (rate.wrong, rate.boxes) == (3, 6)
    assert rate.interval == pytest.approx((0.2213, 0.7787), abs=1e-4)
    assert format_rate(rate) == "50 % (22 % to 78 %)"
    assert error_rate(counts[2]) is None  # nothing of the teacher's was of this class


def test_the_highest_layer_of_an_image_counts(tmp_path: pathlib.Path) -> None:
    layers = store(tmp_path, FIRST, SECOND)
    images = reviewed_images([stored.layer for stored in layers])
    assert sorted(images) == ["a", "b", "c"]
    assert images["a"] == SECOND.images[0]
    summary = summarize_corrections(layers, {1: "cat"})
    assert (summary["layers"], summary["images"], summary["kept"], summary["added"]) == (2, 3, 6, 1)
    assert summary["per_class"]["cat"]["error_rate"] == 1 / 7
    assert summary["per_class"]["2"]["error_rate"] is None


def test_a_layer_is_read_as_it_was_written(tmp_path: pathlib.Path) -> None:
    assert [stored.layer.images for stored in store(tmp_path, FIRST, SECOND)] == [FIRST.images, SECOND.images]


def test_a_key_names_the_last_layer_a_number_or_a_file(tmp_path: pathlib.Path) -> None:
    layers = store(tmp_path, FIRST, SECOND)
    assert layers_up_to(tmp_path, "last", "set") == layers
    assert layers_up_to(tmp_path, "1", "set") == layers[:1]
    assert layers_up_to(tmp_path / "elsewhere", str(layers[1].path), "set") == layers
    assert layers_up_to(tmp_path / "elsewhere", "last", "set") == []


@pytest.mark.parametrize("which", ["0", "3", "9.json"])
def test_a_layer_that_is_not_there_is_refused(tmp_path: pathlib.Path, which: str) -> None:
    store(tmp_path, FIRST, SECOND)
    name = str(tmp_path / "corrections" / which) if which.endswith("json") else which
    with pytest.raises(InputError, match="no such layer, it has layers 1 to 2"):
        layers_up_to(tmp_path, name, "set")


def test_corrections_of_another_set_are_refused(tmp_path: pathlib.Path) -> None:
    store(tmp_path, FIRST)
    with pytest.raises(
        InputError, match=r"corrects another set of pseudo labels \(set\) than this run's \(new\)"
    ):
        layers_up_to(tmp_path, "last", "new")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("outcome", "lost", "expected one of kept, moved, relabelled, removed, added"),
        ("box", [1, 2, 3], "expected four numbers"),
        ("class_id", -1, "expected a whole number"),
    ],
)
def test_a_damaged_layer_names_the_key(tmp_path: pathlib.Path, key: str, value: object, words: str) -> None:
    store(tmp_path, FIRST)
    path = tmp_path / "corrections" / "001.json"
    document = json.loads(path.read_text())
    document["images"][1]["boxes"][0][key] = value
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=rf"images\[1\]\.boxes\[0\]\.{key} is .*{words}"):
        read_layers(tmp_path)
