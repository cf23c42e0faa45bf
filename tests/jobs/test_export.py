"""A trained network as files for other programs: what they compute is what the run computes."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from safetensors import safe_open

import selftrain_jax
from selftrain_jax.augment.policies import make_inference_resize
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job
from selftrain_jax.jobs.model import Model
from selftrain_jax.named_arrays import arrays_by_name
from tests.processes import environment
from tests.tiny_run import config_with

pytestmark = [pytest.mark.tf, pytest.mark.compiles]
SIZE_PX = 64
ALONE = """
import json, sys
import jax, numpy as np
path, images, out = sys.argv[1:]
given = np.load(images)
with open(path, "rb") as file:
    program = jax.export.deserialize(bytearray(file.read()))
found = program.call(given["images"], given["covered_px"])
np.savez(out, **{name: np.asarray(value) for name, value in found.items()})
assert not [name for name in sys.modules if name.startswith("selftrain_jax") or name == "tensorflow"]
"""


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Four photographs of two forms."""
    source = read_builtin("test", num_images=4, seed=3, image_size_px=96)
    forms = [(96, 96), (96, 60), (50, 96), (96, 96)]
    return [source.read_image(index)[:height, :width] for index, (height, width) in enumerate(forms)]


@pytest.fixture(scope="module")
def folder(pictures, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The photographs as files."""
    path = tmp_path_factory.mktemp("pictures")
    for index, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(path / f"{index}.png")
    return path


@pytest.fixture(scope="module")
def model(finished: pathlib.Path) -> Model:
    return selftrain_jax.load(finished, batch_size=4)


def fit(pictures: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    fitted = [make_inference_resize(SIZE_PX)(pixels) for pixels in pictures]
    return np.stack([image for image, _ in fitted]), np.stack([covered for _, covered in fitted]).astype(
        np.int32
    )


def in_image(boxes: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """What docs/export.md says to do with boxes: into the image's pixels, and cut to it."""
    height, width = pixels.shape[:2]
    scale = max(height, width) / SIZE_PX
    return np.clip(boxes * scale, 0, [height, width, height, width])


def export(base: pathlib.Path, output: pathlib.Path, **changes: object) -> dict:
    keys = {"export__" + key: value for key, value in changes.items()}
    run_job("export", config_with(export__output=str(output), **keys), base)
    return json.loads((output / "export.json").read_text())


def test_stablehlo_gives_the_runs_boxes_in_a_process_without_this_package(
    base: pathlib.Path, folder, pictures, model: Model, tmp_path: pathlib.Path
) -> None:
    card = export(base, tmp_path / "out", format="stablehlo", batch_size=4, images=str(folder))
    assert card["classes"] == {str(id): name for id, name in model.categories}
    assert card["differences"] == {"boxes": 0, "scores": 0, "classes": 0, "valid": 0}
    images, covered_px = fit(pictures)
    np.savez(tmp_path / "given.npz", images=images, covered_px=covered_px)
    files = [tmp_path / "out/model.stablehlo", tmp_path / "given.npz", tmp_path / "found.npz"]
    variables = environment(PYTHONPATH="")
    subprocess.run([sys.executable, "-c", ALONE, *files], cwd=tmp_path, env=variables, check=True)
    found = np.load(tmp_path / "found.npz")
    for row, boxes in enumerate(model.predict(pictures)):
        valid = found["valid"][row]
        np.testing.assert_allclose(in_image(found["boxes"][row][valid], pictures[row]), boxes.boxes, atol=0.5)
        np.testing.assert_allclose(found["scores"][row][valid], boxes.scores, atol=1e-5)
        np.testing.assert_array_equal(found["classes"][row][valid], boxes.class_ids)
        assert len(boxes.scores) > 0


def run_onnx(path: pathlib.Path, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))


def run_savedmodel(path: pathlib.Path, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    module = tf.saved_model.load(str(path))
    found = module.signatures["serving_default"](
        **{name: tf.constant(array) for name, array in given.items()}
    )
    return {name: value.numpy() for name, value in found.items()}


def run_tflite(path: pathlib.Path, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return tf.lite.Interpreter(str(path)).get_signature_runner()(**given)


@pytest.mark.parametrize(
    ("name", "file", "run_file", "batch_size"),
    [
        ("onnx", "model.onnx", run_onnx, 1),
        ("savedmodel", "saved_model", run_savedmodel, 0),
        ("savedmodel", "saved_model", run_savedmodel, 4),
    ],
)
def test_a_runtime_with_its_own_nms_finds_the_same_boxes(
    base: pathlib.Path,
    folder,
    pictures,
    model: Model,
    tmp_path,
    name: str,
    file: str,
    run_file,
    batch_size: int,
) -> None:
    if name == "onnx":
        pytest.importorskip("jax2onnx", reason="the extra onnx is not installed")
    card = export(base, tmp_path / "out", format=name, batch_size=batch_size, images=str(folder))
    assert card["differences"]["boxes"] < 0.1
    assert card["differences"]["scores"] < 1e-5
    assert card["num_compared"] == 4
    images, covered_px = fit(pictures)
    rows = [slice(index, index + 1) for index in range(4)] if batch_size == 1 else [slice(0, 4)]
    parts = [
        run_file(tmp_path / "out" / file, {"images": images[row], "covered_px": covered_px[row]})
        for row in rows
    ]
    found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    for row, boxes in enumerate(model.predict(pictures)):
        valid = found["valid"][row]
        np.testing.assert_allclose(in_image(found["boxes"][row][valid], pictures[row]), boxes.boxes, atol=0.5)
        np.testing.assert_allclose(found["scores"][row][valid], boxes.scores, atol=1e-5)
        np.testing.assert_array_equal(found["classes"][row][valid], boxes.class_ids)


@pytest.mark.parametrize(
    ("name", "file", "run_file"),
    [
        ("onnx", "model.onnx", run_onnx),
        ("savedmodel", "saved_model", run_savedmodel),
        ("tflite", "model.tflite", run_tflite),
    ],
)
def test_without_nms_a_file_gives_every_anchor(
    base: pathlib.Path, folder, pictures, model: Model, tmp_path, name: str, file: str, run_file
) -> None:
    if name == "onnx":
        pytest.importorskip("jax2onnx", reason="the extra onnx is not installed")
    card = export(base, tmp_path / "out", format=name, batch_size=4, nms=False, images=str(folder))
    assert card["differences"]["boxes"] < 0.1
    images, covered_px = fit(pictures)
    found = run_file(tmp_path / "out" / file, {"images": images, "covered_px": covered_px})
    for row, boxes in enumerate(model.predict(pictures)):
        anchors = in_image(found["boxes"][row], pictures[row])
        # Every detection is an anchor's box, with that anchor's score of its class.
        for box, score, class_id in zip(boxes.boxes, boxes.scores, boxes.class_ids, strict=True):
            scores = found["scores"][row][:, class_id - 1]
            near = np.abs(anchors - box).max(axis=1) < 0.5
            assert np.abs(scores[near] - score).min() < 1e-5


@pytest.mark.parametrize("batch_size", [1, 4, 0])
def test_an_export_is_opened_as_a_run_is(base, folder, pictures, model: Model, tmp_path, batch_size) -> None:
    export(base, tmp_path / "out", format="stablehlo", batch_size=batch_size, images=str(folder))
    opened = selftrain_jax.load(tmp_path / "out", batch_size=3)
    for found, wanted in zip(opened.predict(pictures), model.predict(pictures), strict=True):
        np.testing.assert_allclose(found.boxes, wanted.boxes, atol=0.5)
        np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-5)
        assert found.class_names == wanted.class_names
    assert opened.draw(pictures[1]).size == (60, 96)


@pytest.mark.parametrize("changes", [{"format": "safetensors"}, {"format": "stablehlo", "nms": False}])
def test_an_export_that_says_no_boxes_is_not_opened(base, folder, changes: dict, tmp_path) -> None:
    export(base, tmp_path / "out", images=str(folder), **changes)
    with pytest.raises(InputError, match=r"says no boxes or classes; export with"):
        selftrain_jax.load(tmp_path / "out")


def test_bfloat16_is_near_float32(base: pathlib.Path, folder, tmp_path: pathlib.Path) -> None:
    card = export(
        base,
        tmp_path / "out",
        format="stablehlo",
        batch_size=4,
        nms=False,
        dtype="bfloat16",
        images=str(folder),
    )
    assert card["dtype"] == "bfloat16"
    assert 0 < card["differences"]["scores"] < 0.02


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "tflite"}, "TensorFlow Lite cannot convert this network: .*--config.export.nms=False"),
        ({"format": "tflite", "nms": False, "batch_size": 0}, "of a fixed batch"),
        ({"format": "onnx", "batch_size": 4}, "needs the package|one image at a time, not of .*batch_size=4"),
    ],
)
def test_what_a_format_cannot_hold_is_told(base, folder, changes: dict, words: str, tmp_path) -> None:
    with pytest.raises(InputError, match=words):
        export(base, tmp_path / "out", images=str(folder), **changes)
    assert not list(tmp_path.glob("*out*"))


def test_the_weights_are_those_of_the_stage(base, model: Model, tmp_path: pathlib.Path) -> None:
    card = export(base, tmp_path / "out", format="safetensors", checkpoint=str(base / "student"))
    assert card["files"] == ["weights.safetensors"]
    wanted = arrays_by_name(model.variables)
    with safe_open(tmp_path / "out/weights.safetensors", "numpy") as file:
        assert set(file.keys()) == set(wanted)
        for name, array in wanted.items():
            np.testing.assert_array_equal(file.get_tensor(name), array)
        assert file.metadata()["task"] == "detection"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "caffe"}, "export.format='caffe'; expected one of stablehlo"),
        ({"output": ""}, "needs a folder"),
        ({"dtype": "int8"}, "export.dtype='int8'"),
        ({"batch_size": -1}, "export.batch_size=-1"),
        ({"checkpoint": "nowhere"}, "nowhere"),
        ({"images": "nowhere"}, "nowhere"),
    ],
)
def test_bad_settings_leave_nothing_behind(base, changes: dict, words: str, tmp_path: pathlib.Path) -> None:
    settings = {"format": "stablehlo", "output": str(tmp_path / "out")} | changes
    with pytest.raises(InputError, match=words):
        run_job("export", config_with(**{f"export__{key}": value for key, value in settings.items()}), base)
    assert not list(tmp_path.glob("*out*"))


def test_an_unfinished_run_has_nothing_to_export(tmp_path: pathlib.Path) -> None:
    config = config_with(export__format="stablehlo", export__output=str(tmp_path / "out"))
    with pytest.raises(InputError, match=r"no stage in .* is finished"):
        run_job("export", config, tmp_path / "empty")


def test_a_folder_with_something_in_it_is_refused(base, tmp_path: pathlib.Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="is not empty; name a new folder"):
        export(base, tmp_path, format="stablehlo")
