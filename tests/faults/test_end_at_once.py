"""A mistake in the data ends the process at once with its exit code, and a disk that is dead with 75.

`NUM_RUNS=200 bash launch/test.sh -m slow tests/faults/test_end_at_once.py` repeats the first that often:
what hung did so in one of six runs.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.errors import INTERRUPTED, RUN_AGAIN, USER_MISTAKE
from selftrain_jax.tasks.detection.coco_export import write_coco_json
from tests.tiny_run import start

pytestmark = pytest.mark.compiles

NUM_RUNS = int(os.environ.get("NUM_RUNS", "20"))
LIMIT_SECS = 240.0  # 8 on an idle machine; this is for a busy one
HANGING = "hangs"
UNCHECKED = "tests.faults.unchecked"  # the command without its look at image files


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Labelled images in COCO's layout, and a folder `more` of unlabelled ones."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("annotations", "images", "more"):
        (folder / name).mkdir()
    for split, count in (("train", 4), ("val", 2), ("test", 2), ("unlabeled", 4)):
        source = read_builtin(split, num_images=count, image_size_px=64)
        truth = folder / "annotations" / f"{split}.json"
        write_coco_json(source, truth)
        images = folder / ("more" if split == "unlabeled" else "images")
        for index, image in enumerate(json.loads(truth.read_text())["images"]):
            (images / image["file_name"]).write_bytes(source.read_encoded(index))
    return folder


def arguments(data: pathlib.Path, *more: str) -> list[str]:
    own = ["--config.data.kind=coco", f"--config.data.dir={data}", "--config.data.images=images"]
    unlabelled = ["--config.unlabeled.kind=folder", f"--config.unlabeled.dir={data / 'more'}"]
    return [*own, "--config.data.annotations=annotations/{split}.json", *unlabelled, *more]


def first_training_image(data: pathlib.Path) -> pathlib.Path:
    truth = json.loads((data / "annotations" / "train.json").read_text())
    return data / "images" / truth["images"][0]["file_name"]


def cut_off(data: pathlib.Path, copy: pathlib.Path) -> list[str]:
    """Copy the data with a training image that is cut off."""
    shutil.copytree(data, copy)
    path = first_training_image(copy)
    path.write_bytes(path.read_bytes()[:300])
    return arguments(copy)


def run_for(
    secs: float, workdir: pathlib.Path, options: list[str], module: str = "selftrain_jax.main"
) -> tuple[int | str, str]:
    """Run the command for so long at most; return its exit code, or that it hangs, and its output."""
    log = workdir.parent / f"{workdir.name}.log"
    process = start(workdir, log, *options, module=module)
    try:
        return process.wait(timeout=secs), log.read_text()
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return HANGING, log.read_text()


def test_a_training_image_that_is_cut_off_ends_the_run_with_2(
    data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Found by the look at image files, and, without it, by the input pipeline of the teacher."""
    options = cut_off(data, tmp_path / "data")
    code, output = run_for(LIMIT_SECS, tmp_path / "run", options)
    assert code == USER_MISTAKE, output
    assert "1 of 4 images do not decode" in output
    assert not (tmp_path / "run/teacher").exists()
    code, output = run_for(LIMIT_SECS, tmp_path / "blind", options, UNCHECKED)
    assert code == USER_MISTAKE, output
    assert "1 images of coco:train" in output


@pytest.mark.slow
def test_no_run_of_many_is_left_hanging(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    options = cut_off(data, tmp_path / "data")
    folders = [tmp_path / f"run{number}" for number in range(NUM_RUNS)]
    codes = [run_for(LIMIT_SECS, folder, options, UNCHECKED)[0] for folder in folders]
    print(f"{NUM_RUNS} runs, left hanging: {codes.count(HANGING)}")
    assert codes == [USER_MISTAKE] * NUM_RUNS


@pytest.mark.slow
def test_a_read_that_never_returns_ends_the_run_with_75(
    data: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = first_training_image(data).name
    monkeypatch.setenv("DEAD_FILE", dead)
    options = arguments(data, "--config.data.max_stall_secs=20")
    code, output = run_for(LIMIT_SECS, tmp_path / "run", options, "tests.faults.dead_disk")
    assert code == RUN_AGAIN, output
    assert f"being read: {pathlib.Path(dead).stem}" in output
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, RUN_AGAIN), (signal.SIGINT, INTERRUPTED)])
def test_a_signal_ends_labelling_though_a_read_never_returns(
    number: signal.Signals,
    code: int,
    data: pathlib.Path,
    tmp_path: pathlib.Path,
    default_sigint: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEAD_FILE", sorted((data / "more").iterdir())[2].name)
    log, begun = tmp_path / "log", tmp_path / "run" / "pseudo_labels" / "job.json"
    process = start(tmp_path / "run", log, *arguments(data), module="tests.faults.dead_disk")
    deadline = time.monotonic() + LIMIT_SECS
    while not begun.exists():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    time.sleep(5)
    assert process.poll() is None  # it would wait forever
    process.send_signal(number)
    assert process.wait(timeout=60) == code, log.read_text()
    assert "Traceback" not in log.read_text()
