"""What a preset says before anything is trained: values, memory and time; a machine too small is refused."""

import pathlib

import jax
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.jobs.preset import announce_preset, check_memory
from selftrain_jax.jobs.run import open_run
from selftrain_jax.plan import memory
from tests import tiny

GIB = 2**30


def test_a_step_that_does_not_fit_even_by_the_lowest_estimate_is_refused() -> None:
    check_memory(3 * GIB, 2 * GIB, "student")
    check_memory(100 * GIB, None, "student")
    with pytest.raises(
        InputError, match=r"student's step needs about 5.37 GB .* 2.15 GB are free; .*size=96"
    ):
        check_memory(5 * GIB, 2 * GIB, "student")


def test_free_memory_of_this_machine_is_between_nothing_and_all() -> None:
    free = memory.free_memory(jax.devices("cpu")[0])
    assert free is None or 0 < free < 2**50


def test_free_memory_of_an_accelerator_is_its_limit_less_what_is_in_use() -> None:
    assert memory.memory_left({"bytes_limit": 10, "bytes_in_use": 4, "num_allocs": 1}) == 6
    assert memory.memory_left({"num_allocs": 1}) is None


@pytest.mark.compiles
def test_preset_memory_and_time_are_printed_before_the_first_step(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.get_config()
    announce_preset(open_run(config, tmp_path, base=tmp_path, is_plan=True))
    assert "preset" not in capfd.readouterr().out
    config.preset.update(name="cpu", train_images_per_second=10.0)
    config.preset.update(backbone=config.model.backbone, size_px=config.image.size_px)
    run = open_run(config, tmp_path, base=tmp_path, is_plan=True)
    announce_preset(run)
    told = capfd.readouterr().out
    images = config.teacher.steps * config.teacher.batch_size
    assert f"preset cpu: {config.image.size_px} px, {config.model.backbone}" in told
    assert "for the student's step; " in told
    assert f"teacher: {images / 10:.1f} s, {images:,} images at 10.0 images/s" in told
    assert "pseudo_labels: unknown" in told
    config.preset.size_px += 32  # the speed is of another size
    announce_preset(run)
    assert "10.0 images/s" not in capfd.readouterr().out
    monkeypatch.setattr("selftrain_jax.jobs.preset.free_memory", lambda device: 1000)
    with pytest.raises(InputError, match="1 kB are free"):
        announce_preset(run)
