"""config.student.pseudo_frac: which shares are taken, and what is advised where one is not."""

import re

import pytest
from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.build.data import build_batches, stage_batch_size
from selftrain_jax.build.experiment import step_kind
from selftrain_jax.build.student_batch import split_batch
from selftrain_jax.data.pipeline import take_steps
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.lookup import get_task
from tests import tiny_masks


def configured(batch_size: int, frac: float, accumulation: int = 1) -> ConfigDict:
    config = tiny_masks.get_config()
    config.student.update(batch_size=batch_size, pseudo_frac=frac)
    config.optimizer.accumulation = accumulation
    return config


@pytest.mark.parametrize(
    ("batch_size", "frac", "split"),
    [
        (16, 0.5, (8, 8)),
        (16, 0.25, (12, 4)),
        (16, 0.9375, (1, 15)),
        (12, 1 / 3, (8, 4)),
        (12, 0.333, (8, 4)),
    ],
)
def test_the_share_is_of_images(batch_size: int, frac: float, split: tuple[int, int]) -> None:
    assert split_batch(configured(batch_size, frac)) == split


@pytest.mark.parametrize(
    ("batch_size", "frac", "accumulation", "num_hosts", "advised"),
    [
        (16, 0.3, 1, 1, [3, 4, 5, 6]),
        (16, 0.0, 1, 1, [1, 2, 3, 4]),
        (16, 1.0, 1, 1, [12, 13, 14, 15]),
        (5, 0.5, 1, 1, [1, 2, 3, 4]),
        (16, 0.25, 8, 1, [8]),
        (16, 0.3125, 2, 1, [2, 4, 6, 8]),
        (16, 0.375, 1, 4, [4, 8, 12]),
        (16, 0.125, 2, 4, [4, 8, 12]),
        (16, float("nan"), 1, 1, [1, 2, 3, 4]),
    ],
)
def test_a_share_that_is_no_number_of_images_is_refused_and_the_advice_works(
    batch_size: int,
    frac: float,
    accumulation: int,
    num_hosts: int,
    advised: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hosts, "count", lambda: num_hosts)
    with pytest.raises(InputError, match=rf"pseudo_frac={frac:g} of .*batch_size={batch_size} is") as error:
        split_batch(configured(batch_size, frac, accumulation))
    text = str(error.value)
    found = re.findall(r"([0-9.]+) \((\d+) of \d+\)", text)
    assert [int(number) for _, number in found] == advised
    for value, number in found:
        assert split_batch(configured(batch_size, float(value), accumulation)).num_pseudo == int(number)
    assert ("4 hosts" in text) == (num_hosts == 4)
    assert ("slices" in text) == (accumulation > 1)


def test_a_batch_of_which_no_share_fits_is_told() -> None:
    with pytest.raises(InputError, match=r"use a larger or even config\.student\.batch_size"):
        split_batch(configured(1, 0.5))


def test_only_the_students_step_has_another_pattern_and_no_share_is_asked_of_a_supervised_run() -> None:
    config = configured(16, 0.25)
    assert [step_kind(config, stage).period for stage in ("teacher", "control", "student")] == [2, 2, 4]
    config.student.pseudo_frac = 0.3
    with pytest.raises(InputError, match="pseudo_frac"):
        step_kind(config, "teacher")  # before hours are spent on it
    config.unlabeled.kind = "none"
    assert step_kind(config, "teacher").period == 2


def test_the_half_control_has_as_many_human_images_as_the_student() -> None:
    config = configured(16, 0.25)
    config.student.control = "both"
    sizes = {stage: stage_batch_size(config, stage) for stage in ("control", "control_half", "student")}
    assert sizes == {"control": 16, "control_half": 12, "student": 16}


@pytest.mark.tf
def test_batches_have_the_share_and_the_parts_go_on_from_step_to_step() -> None:
    config = configured(4, 0.25)
    train = get_task(config.task).open_split(config, "data", "train")
    batches = build_batches(config, "student", train, train)
    (first, first_ids), (second, second_ids) = take_steps(batches, 0, 2)
    assert first.is_pseudo.tolist() == second.is_pseudo.tolist() == [False, False, False, True]
    human = [*first_ids[:3], *second_ids[:3]]
    assert len(set(human)) == 6  # of 8 images, none twice in an epoch
    assert len({first_ids[3], second_ids[3]}) == 2
    (_, again), *_ = take_steps(batches, 1, 1)
    assert again == second_ids
