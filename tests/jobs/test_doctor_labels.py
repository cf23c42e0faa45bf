"""Damage that leaves a shard's size as it was is found by the doctor."""

import json
import pathlib

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.jobs.doctor_labels import judge_labels, label_sets
from tests.tiny_run import config_with

pytestmark = pytest.mark.tf


def flip(path: pathlib.Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_the_doctor_reads_the_labels_of_a_run_whole(run, base) -> None:
    shards = sorted((base / "pseudo_labels").glob("*.tfrecord"))
    assert f"{base / 'pseudo_labels'}: {len(shards)} shards are as they were written" in run("doctor")
    flip(shards[1], shards[1].stat().st_size // 2)
    with pytest.raises(InputError, match="errors"):
        run("doctor")
    verdicts = json.loads((base / "doctor.json").read_text())["verdicts"]
    (error,) = [verdict["finding"] for verdict in verdicts if verdict["level"] == "error"]
    assert f"1 of 12 records are damaged, allowed are 0: {shards[1]}: the data of the record" in error
    shards[1].unlink()  # what the remedy advises
    (base / "pseudo_labels" / "manifest.json").unlink()
    run("pseudo_label")
    assert "shards are as they were written" in run("doctor")


def test_as_many_damaged_records_as_a_run_may_leave_out_are_a_warning(base) -> None:
    config = config_with(**{"data.max_bad_images": 1})
    shard = next((base / "pseudo_labels").glob("*.tfrecord"))
    flip(shard, shard.stat().st_size // 2)
    (finding,) = judge_labels(config, base)
    assert finding.level == "warning"
    assert "1 of 12 records are damaged, allowed are 1" in finding.finding
    shard.write_bytes(shard.read_bytes() + b"more")
    (finding,) = judge_labels(config, base)
    assert finding.level == "warning"


def test_sets_of_rounds_and_variants_are_found(tmp_path: pathlib.Path) -> None:
    wanted = [
        tmp_path / part / "pseudo_labels"
        for part in ("", "round_2", "variants/a", "variants/a/round_2", "variants/b")
    ]
    for folder in [*wanted, tmp_path / "variants/c/pseudo_labels"]:
        folder.mkdir(parents=True)
    for folder in wanted:
        (folder / "manifest.json").write_text("{}")
    assert list(label_sets(tmp_path)) == wanted
