"""A user's own COCO files and image folder; the finished run of tiny.py, and copies of it to go on with."""

import json
import pathlib
import shutil
from collections.abc import Callable

import pytest

from configs import own_data
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.jobs import run_job
from selftrain_jax.jobs.options import Options
from selftrain_jax.tasks.detection.coco_export import write_coco_json
from tests.tiny_run import config_with

Run = Callable[..., str]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """tiny.py, run by the default job. Not to be changed."""
    workdir = tmp_path_factory.mktemp("finished") / "base"
    run_job("selftrain", config_with(), workdir)
    return workdir


@pytest.fixture
def base(finished: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the finished run, for one test."""
    return pathlib.Path(shutil.copytree(finished, tmp_path / "base", symlinks=True))


@pytest.fixture
def run(base: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the default job, or another, on the copy; return what was printed."""

    def call(job: str = "selftrain", options: Options | None = None, **changes: object) -> str:
        capsys.readouterr()
        run_job(job, config_with(**changes), base, options)
        return capsys.readouterr().out

    return call


@pytest.fixture
def config(tmp_path: pathlib.Path):
    """Own data in COCO's layout, drawn from the built-in scenes."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "more").mkdir()
    for split, count in (("train", 3), ("val", 2), ("test", 2)):
        source = read_builtin(split, num_images=count, image_size_px=64)
        write_coco_json(source, tmp_path / "annotations" / f"{split}.json")
        truth = json.loads((tmp_path / "annotations" / f"{split}.json").read_text())
        for index, image in enumerate(truth["images"]):
            (tmp_path / "images" / image["file_name"]).write_bytes(source.read_encoded(index))
    unlabeled = read_builtin("unlabeled", num_images=2, image_size_px=64)
    for index in range(2):
        (tmp_path / "more" / f"{index}.png").write_bytes(unlabeled.read_encoded(index))
    config = own_data.get_config("kind=coco,size=128")
    config.model.anchor_size = 4.0  # parts of a run are built without its boxes
    config.data.dir, config.unlabeled.dir = str(tmp_path), str(tmp_path / "more")
    return config
