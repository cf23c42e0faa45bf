"""What a run starts from: downloaded, recorded, or random without network; what plan and doctor say."""

import json
import pathlib
from collections.abc import Iterator

import pytest
from ml_collections import ConfigDict

from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job
from selftrain_jax.jobs.options import Options
from selftrain_jax.jobs.starts import find_downloads, plan_starts, settle_starts
from selftrain_jax.models.classifier import make_classifier
from selftrain_jax.pretrain import init_modes
from selftrain_jax.pretrain.import_variables import file_shapes
from selftrain_jax.pretrain.official_networks import variable_shapes
from selftrain_jax.pretrain.torch_names import timm_efficientnet_names
from selftrain_jax.run_files.stage import StageResult
from selftrain_jax.stages.records import finish, make_record, write_record
from tests.pretrain.loopback import Loopback, serving
from tests.pretrain.torch_golden import torch_golden_array
from tests.pretrain.weight_files import write_safetensors

REPO = "timm/tf_efficientnet_lite0.in1k"
LITE0 = "efficientnet_lite0-imagenet"
DOWNLOAD = "tf_efficientnet_lite0.in1k, about 19 MB, licence Apache-2.0"


@pytest.fixture(scope="session")
def lite0(tmp_path_factory) -> bytes:
    shapes = file_shapes(
        variable_shapes(make_classifier("efficientnet_lite0"), 32), timm_efficientnet_names("lite0")
    )
    arrays = {name: torch_golden_array(name, shape) for name, shape in shapes.items()}
    return write_safetensors(tmp_path_factory.mktemp("lite0") / "w.safetensors", arrays).read_bytes()


@pytest.fixture
def hub(lite0: bytes, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        server.publish(REPO, lite0)
        yield server


@pytest.fixture
def mine(config: ConfigDict, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> ConfigDict:
    """A user's own data, on a machine without weights and without their package."""
    monkeypatch.setattr(init_modes, "find_lite_package", lambda variant: None)
    config.pretrained.dir = str(tmp_path / "pre")
    assert config.teacher.init == "auto"
    return config


def settle(config: ConfigDict, workdir: pathlib.Path, **options: str) -> tuple[str, float]:
    settled = settle_starts(config, workdir, Options(**options))
    return settled.teacher.init, settled.optimizer.backbone_rate_factor


def begin(workdir: pathlib.Path, start: str, *, is_finished: bool = False) -> None:
    """Write the record of a teacher that began with a start."""
    record = make_record("teacher", {}, {"start": start}, {}, "")
    write_record(workdir / "teacher", record)
    if is_finished:
        finish(workdir / "teacher", record, {"last": StageResult(digest="ab")})


@pytest.mark.compiles
def test_missing_weights_are_downloaded_once_and_then_need_no_network(
    hub: Loopback, mine, tmp_path, monkeypatch
) -> None:
    assert settle(mine, tmp_path / "run") == ("imagenet", 0.1)
    assert (tmp_path / "pre" / LITE0 / "card.json").exists()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    hub.requests.clear()
    assert settle(mine, tmp_path / "run") == ("imagenet", 0.1)
    mine.teacher.init = "imagenet"
    assert settle(mine, tmp_path / "other") == ("imagenet", 0.1)
    assert not hub.requests


def test_without_network_the_default_starts_at_random_and_says_so(mine, tmp_path, capsys) -> None:
    assert settle(mine, tmp_path / "run") == ("rand", 1.0)
    said = capsys.readouterr().out
    assert "teacher: starts at random, as ImageNet's weights cannot be had" in said
    assert f"{REPO}/resolve/main/model.safetensors" in said
    assert not (tmp_path / "pre").exists()


def test_asked_for_by_name_missing_weights_are_an_error(mine, tmp_path) -> None:
    mine.teacher.init = "imagenet"
    with pytest.raises(InputError, match=r"cannot be had from .*\n.*by hand"):
        settle(mine, tmp_path / "run")
    with pytest.raises(InputError, match="cannot be had"):
        run_job("train", mine, tmp_path / "run")
    assert not (tmp_path / "run" / "teacher").exists()


def test_a_damaged_download_is_no_reason_to_start_at_random(hub: Loopback, mine, tmp_path) -> None:
    hub.faults.etag = "0" * 64
    with pytest.raises(InputError, match="the hub announced"):
        settle(mine, tmp_path / "run")


@pytest.mark.parametrize("is_finished", [True, False])
def test_a_run_that_began_at_random_stays_so_when_the_network_is_back(
    hub: Loopback, mine, tmp_path, is_finished: bool
) -> None:
    begin(tmp_path / "run", "random", is_finished=is_finished)
    assert settle(mine, tmp_path / "run") == ("rand", 1.0)
    assert settle(mine, tmp_path / "run", variant="v") == ("rand", 1.0)
    assert settle(mine, tmp_path / "next", from_run=str(tmp_path / "run")) == ("rand", 1.0)
    assert not hub.requests


def test_a_finished_run_from_imagenet_needs_neither_weights_nor_network(mine, tmp_path) -> None:
    begin(tmp_path / "run", "0a1b", is_finished=True)
    assert settle(mine, tmp_path / "run") == ("imagenet", 0.1)


def test_an_unfinished_run_from_imagenet_does_not_go_on_at_random(mine, tmp_path) -> None:
    begin(tmp_path / "run", "0a1b")
    with pytest.raises(InputError, match="cannot be had"):
        settle(mine, tmp_path / "run")


def test_a_teacher_made_anew_starts_anew(mine, tmp_path) -> None:
    begin(tmp_path / "run", "random", is_finished=True)
    asked = plan_starts(mine, tmp_path / "run", Options(redo="teacher"))
    assert asked.teacher.init == "imagenet"
    assert find_downloads(asked, tmp_path / "run", Options(redo="teacher"))


def test_a_network_without_published_weights_starts_at_random(mine, tmp_path, capsys) -> None:
    mine.model.backbone = "spinenet49"
    assert settle(mine, tmp_path / "run") == ("rand", 1.0)
    assert "no weights of spinenet49 are published" in capsys.readouterr().out


def test_a_network_whose_weights_have_terms_to_agree_to_starts_at_random_and_says_so(
    mine, tmp_path, capsys
) -> None:
    mine.model.backbone = "vit_small_dinov3"
    assert settle(mine, tmp_path / "run") == ("rand", 1.0)
    said = capsys.readouterr().out
    assert "taken by name alone: vit_small_patch16_dinov3.lvd1689m" in said
    assert "DINOv3 License" in said


def test_only_the_students_own_start_is_settled_for_it(mine, tmp_path) -> None:
    mine.teacher.init, mine.student.init = "rand", "auto"
    settled = settle_starts(mine, tmp_path / "run", Options())
    assert (settled.teacher.init, settled.student.init) == ("rand", "rand")
    assert mine.student.init == "auto"


@pytest.mark.tf
@pytest.mark.compiles
def test_plan_and_doctor_say_what_will_be_downloaded_and_download_nothing(
    hub: Loopback, mine, tmp_path, capsys
) -> None:
    run_job("plan", mine, tmp_path / "run")
    planned = capsys.readouterr().out
    assert f"to be downloaded into {tmp_path}/pre/{LITE0}: {DOWNLOAD}" in planned
    assert "refused" not in planned
    run_job("doctor", mine, tmp_path / "doctor")
    assert f"to be downloaded into {tmp_path}/pre/{LITE0}: {DOWNLOAD}" in capsys.readouterr().out
    assert not hub.requests
    assert not (tmp_path / "pre").exists()


@pytest.mark.tf
def test_doctor_refuses_named_weights_that_a_run_would_refuse(mine, tmp_path) -> None:
    mine.teacher.init, mine.model.backbone = "imagenet_pp", "efficientnet_lite0"
    with pytest.raises(InputError, match="errors"):
        run_job("doctor", mine, tmp_path / "doctor")
    found = json.loads((tmp_path / "doctor" / "doctor.json").read_text())
    assert "no folder" in json.dumps(found)
    with pytest.raises(InputError, match="no folder"):
        run_job("train", mine, tmp_path / "run")


@pytest.mark.compiles
def test_weights_that_want_another_max_pool_say_so(hub: Loopback, mine, tmp_path, capsys) -> None:
    from tests.run_files import CARD

    folder = tmp_path / "pre" / "resnet18-imagenet"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps({**CARD, "pool_padding_of_source": "fixed"}))
    mine.model.backbone, mine.teacher.init = "resnet18", "imagenet"
    settle(mine, tmp_path / "run")
    assert "these weights expect --config.model.pool_padding=fixed" in capsys.readouterr().out
