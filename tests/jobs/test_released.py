"""`--job=evaluate_released` on tiny networks whose weights are served as the released archives are."""

import io
import json
import pathlib
import tarfile
from collections.abc import Iterator
from dataclasses import replace

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import selftrain_jax
from configs import released as config_file
from selftrain_jax.data.sources.coco import COCO_CATEGORIES
from selftrain_jax.errors import InputError
from selftrain_jax.jobs import released_model, run_job
from selftrain_jax.models import efficientnet, spinenet
from selftrain_jax.named_arrays import arrays_by_name
from selftrain_jax.pretrain import catalogue, fetch_files
from selftrain_jax.pretrain.golden import golden_array
from selftrain_jax.pretrain.import_variables import file_shapes
from selftrain_jax.pretrain.official_networks import make_network, variable_shapes
from selftrain_jax.pretrain.tf_names import efficientnet_classifier_tf_names, tf_names
from selftrain_jax.train.checkpoint import restore_whole
from tests.pretrain.loopback import Loopback, serving
from tests.pretrain.weight_files import write_tf_checkpoint

pytestmark = [pytest.mark.tf, pytest.mark.compiles]

SIZE_PX = 128
NUM_IMAGES = 4
COCO_IDS = (1, 90)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setattr(fetch_files, "PAUSE_SECS", 0.0)
    with serving() as found:
        yield found


@pytest.fixture
def tiny_spinenet(monkeypatch: pytest.MonkeyPatch) -> None:
    """SpineNet-143 with a sixteenth of the filters: the official names, other shapes."""
    tiny = replace(
        spinenet.SIZES["143"],
        filter_scale=1 / 16,
        repeats=1,
        alpha=0.5,
        endpoint_channels=8,
        head_channels=8,
        head_convs=1,
    )
    monkeypatch.setitem(spinenet.SIZES, "143", tiny)


def official_arrays(network: str) -> dict[str, np.ndarray]:
    shapes = file_shapes(variable_shapes(make_network(network), SIZE_PX), tf_names(network))
    return {name: golden_array(name, shape) for name, shape in shapes.items()}


def publish(
    server: Loopback, monkeypatch: pytest.MonkeyPatch, folder: pathlib.Path, name: str, arrays: dict
) -> pathlib.Path:
    """Serve a checkpoint as the archive of a row of the catalogue; return the archive."""
    momenta = {f"{key}/Momentum": np.zeros(1, np.float32) for key in arrays}
    folder.mkdir()
    write_tf_checkpoint(folder / "model.ckpt-5", {**arrays, **momenta, "global_step": np.int64(5)})
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz", compresslevel=1) as archive:
        for path in folder.glob("model.ckpt*"):
            archive.add(path, f"{name}/{path.name}")
    path = folder / f"{name}.tar.gz"
    path.write_bytes(data.getvalue())
    server.files[f"/{name}.tar.gz"] = data.getvalue()
    rows = [
        row._replace(urls=(f"{server.address}/{name}.tar.gz",)) if row.name == name else row
        for row in catalogue.WEIGHTS
    ]
    monkeypatch.setattr(catalogue, "WEIGHTS", tuple(rows))
    return path


def write_coco(root: pathlib.Path, boxes: list[dict], ids: tuple[int, ...] = COCO_IDS) -> None:
    """Write COCO's val2017: pictures of noise, and boxes as COCO's results have them."""
    rng = np.random.RandomState(0)
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "val2017").mkdir(exist_ok=True)
    images = []
    for number in range(1, NUM_IMAGES + 1):
        pixels = rng.randint(0, 256, (SIZE_PX, SIZE_PX, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / "val2017" / f"{number:012d}.png")
        shape = {"height": SIZE_PX, "width": SIZE_PX}
        images.append({"id": number, "file_name": f"{number:012d}.png", **shape})
    annotations = [
        {"area": box["bbox"][2] * box["bbox"][3], "iscrowd": 0, **box, "id": number}
        for number, box in enumerate(boxes, 1)
    ]
    categories = [{"id": id, "name": f"class {id}"} for id in ids]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))


ONE_BOX = [{"image_id": 1, "category_id": 90, "bbox": [10.0, 10.0, 50.0, 60.0]}]


def detector_config(tmp_path: pathlib.Path, name: str = "spinenet143") -> ConfigDict:
    config = config_file.get_config(f"name={name}")
    config.image.size_px = SIZE_PX
    config.data.dir = str(tmp_path / "coco")
    config.pretrained.dir = str(tmp_path / "pre")
    config.eval.update(batch_size=4, backend="pycocotools")
    return config


def evaluate(config: ConfigDict, workdir: pathlib.Path) -> dict:
    run_job("evaluate_released", config, workdir)
    return json.loads((workdir / "comparison.json").read_text())


def test_a_detector_is_fetched_imported_and_compared_in_hard_and_soft_nms(
    server: Loopback, tiny_spinenet, tmp_path, monkeypatch, capsys
) -> None:
    arrays = official_arrays("retinanet_spinenet143")
    publish(server, monkeypatch, tmp_path / "released", "spinenet-143-best", arrays)
    write_coco(tmp_path / "coco", ONE_BOX, tuple(range(1, 91)))
    found = evaluate(detector_config(tmp_path), tmp_path / "run")
    imported = arrays_by_name(restore_whole(tmp_path / "pre" / "spinenet-143-best", "last"))
    slots = tf_names("retinanet_spinenet143")
    assert imported.keys() == {str(slot) for slot in slots.values()}
    assert all((imported[str(slots[name])] == array).all() for name, array in arrays.items())

    printed = capsys.readouterr().out
    assert "spinenet-143-best on COCO val2017, in points of 100, tolerance 0.2" in printed
    assert "the wrong val set: 4 images were measured, COCO val2017 has 5,000" in printed
    assert [row["published"] for row in found["numbers"]] == [50.6, 50.9, 50.9]
    assert not any(row["within_tolerance"] for row in found["numbers"])
    scores = {}
    for row in found["numbers"]:
        folder = tmp_path / "run" / row["setting"]
        stored = json.loads((folder / "evaluation.json").read_text())
        assert row["ours"] == pytest.approx(100 * stored["ap"])
        boxes = json.loads((folder / "detections.json").read_text())
        assert {box["category_id"] for box in boxes} - {1}
        scores[row["setting"]] = sorted(box["score"] for box in boxes)
    # The best box of all is kept as it is; what overlaps it is dropped, lowered, or lowered more.
    assert len({values[-1] for values in scores.values()}) == 1
    assert len({tuple(values) for values in scores.values()}) == 3
    assert sum(scores["soft_nms_tensorflow"]) > sum(scores["soft_nms_bodla"])

    def small_config(arguments: str) -> ConfigDict:
        config = config_file.get_config(arguments)
        config.image.size_px, config.pretrained.dir = SIZE_PX, str(tmp_path / "pre")
        return config

    monkeypatch.setattr(released_model, "get_config", small_config)
    downloads = len(server.requests)
    model = selftrain_jax.load("spinenet143", batch_size=4)
    found = model.predict(tmp_path / "coco" / "val2017")
    assert len(server.requests) == downloads
    of_python = sorted(score for boxes in found for score in boxes.scores)
    np.testing.assert_allclose(of_python, scores["hard_nms"], atol=1e-5)
    names = dict(COCO_CATEGORIES)
    pairs = [pair for boxes in found for pair in zip(boxes.class_ids, boxes.class_names, strict=True)]
    named = {int(id): name for id, name in pairs}
    assert named == {id: names.get(id, f"id {id}") for id in named}
    assert named.keys() & names.keys()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda arrays: arrays.pop("spinenet/conv2d_8/kernel"), r"missing: .*spinenet/conv2d_8/kernel"),
        (
            lambda arrays: arrays.update({"retinanet/class_net/class-predict/bias": np.zeros(7, np.float32)}),
            r"mis-shaped: retinanet/class_net/class-predict/bias \[7\] instead of \[819\]",
        ),
    ],
    ids=["lacks an array", "another shape"],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(
    server: Loopback, tiny_spinenet, tmp_path, monkeypatch, change, complaint
) -> None:
    arrays = official_arrays("retinanet_spinenet143")
    change(arrays)
    publish(server, monkeypatch, tmp_path / "released", "spinenet-143-best", arrays)
    write_coco(tmp_path / "coco", ONE_BOX)
    with pytest.raises(InputError, match=f"(?s)spinenet-143-best.*{complaint}"):
        evaluate(detector_config(tmp_path), tmp_path / "run")
    assert not (tmp_path / "pre" / "spinenet-143-best").exists()
    assert not (tmp_path / "run" / "comparison.json").exists()


def test_without_network_it_says_what_to_bring_and_how(server: Loopback, tmp_path, monkeypatch) -> None:
    row = catalogue.find_weights("spinenet-49S")
    here = row._replace(urls=(f"{server.address}/spinenet-49S.tar.gz",))
    monkeypatch.setattr(catalogue, "WEIGHTS", (here,))
    write_coco(tmp_path / "coco", ONE_BOX)
    with pytest.raises(InputError) as caught:
        evaluate(detector_config(tmp_path, "spinenet49s"), tmp_path / "run")
    message = str(caught.value)
    assert f"{server.address}/spinenet-49S.tar.gz\n" in message
    assert f"--job=import_weights --workdir={tmp_path / 'pre' / 'spinenet-49S'}" in message
    assert "--config.import_weights.name=spinenet-49S --config.import_weights.source=FILE" in message


def test_class_ids_that_are_not_cocos_are_refused_before_the_download(server: Loopback, tmp_path) -> None:
    write_coco(tmp_path / "coco", [{**ONE_BOX[0], "category_id": 80}], (1, 80))
    with pytest.raises(InputError, match=r"class ids up to 80; the released network predicts.* up to 90"):
        evaluate(detector_config(tmp_path, "spinenet49s"), tmp_path / "run")
    assert not server.requests


def test_weights_without_a_published_number_are_refused(tmp_path) -> None:
    config = detector_config(tmp_path)
    config.import_weights.name = "tpu-resnet50"
    with pytest.raises(InputError, match=r"no published number.*spinenet49s, "):
        evaluate(config, tmp_path / "run")


def test_a_segmenter_brought_by_hand_is_compared_at_both_resolutions(
    server: Loopback, tmp_path, monkeypatch, capsys
) -> None:
    tiny = efficientnet.Variant(0.1, 0.1, 64, 0.0)
    monkeypatch.setitem(efficientnet.VARIANTS, "b7", tiny)
    arrays = official_arrays("seg_b7_nasfpn")
    arrays |= {name: np.zeros(1, np.float32) for name in efficientnet_classifier_tf_names("efficientnet-b7")}
    name = "efficientnet-b7-nasfpn-teacher"
    path = publish(server, monkeypatch, tmp_path / "released", name, arrays)
    write_masks(tmp_path / "masks")
    config = config_file.get_config("name=b7_nasfpn_teacher")
    config.image.size_px = 64
    config.data.update(kind="folder", dir=str(tmp_path / "masks"), images="{split}/images")
    config.data.update(masks="{split}/masks", classes=",".join(f"class {id}" for id in range(21)))
    config.pretrained.dir = str(tmp_path / "pre")
    config.eval.batch_size = 2
    config.import_weights.source = str(path)
    found = evaluate(config, tmp_path / "run")
    assert not server.requests
    stored = json.loads((tmp_path / "run" / "masks" / "evaluation.json").read_text())
    resized, original = found["numbers"]
    assert (resized["published"], original["published"]) == (85.2, None)
    assert resized["ours"] == pytest.approx(100 * stored["miou_resized"])
    assert original["ours"] == pytest.approx(100 * stored["miou"])
    assert resized["difference"] == pytest.approx(resized["ours"] - 85.2)
    assert resized["ours"] > original["ours"] - 100
    assert "VOC 2012 val has 1,449" in capsys.readouterr().out
    assert jax.tree.leaves(stored["confusion"])


def write_masks(root: pathlib.Path) -> None:
    """Write two pictures of another size than the network's input, with masks of ids 0 and 20."""
    rng = np.random.RandomState(1)
    for kind in ("images", "masks"):
        (root / "val" / kind).mkdir(parents=True)
    for number in range(2):
        pixels = rng.randint(0, 256, (40, 80, 3)).astype(np.uint8)
        mask = np.zeros((40, 80), np.uint8)
        mask[:, 30 + number :] = 20
        Image.fromarray(pixels).save(root / "val" / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "val" / "masks" / f"{number}.png")
