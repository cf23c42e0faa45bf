"""Human labels are counted once a run, and again when they are others."""

import dataclasses
import json

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.jobs.human_counts import count_human
from selftrain_jax.jobs.run import open_run
from selftrain_jax.tasks.detection.data import class_counts
from tests.tiny_run import config_with

pytestmark = pytest.mark.tf


def test_labels_are_read_once_for_as_long_as_they_stay(tmp_path) -> None:
    run = open_run(config_with(), tmp_path)
    expected = class_counts(run.sources.human)
    assert sum(expected.values()) > 0
    assert dict(count_human(run)) == expected

    def unread(index: int) -> dict:
        raise AssertionError("labels were read again")

    human = dataclasses.replace(run.sources.human, read_labels=unread)
    again = dataclasses.replace(run, sources=dataclasses.replace(run.sources, human=human))
    assert dict(count_human(again)) == expected
    others = dataclasses.replace(again, data_digests={**run.data_digests, "human": "other labels"})
    with pytest.raises(AssertionError, match="read again"):
        count_human(others)


def test_a_damaged_file_says_what_to_do(tmp_path) -> None:
    run = open_run(config_with(), tmp_path)
    expected = count_human(run)
    path = tmp_path / "human_counts.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "counts": {"cat": -1}}))
    with pytest.raises(InputError, match=r"human_counts\.json: counts\.cat is -1; .* Delete it and run"):
        count_human(run)
    path.unlink()
    assert count_human(run) == expected
