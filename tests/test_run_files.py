"""Files of a run's folder: what is read is written back unchanged, and every wrong value is named."""

import contextlib
import copy
import json
import math
import pathlib

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.calibration import TeacherCalibration
from selftrain_jax.run_files.evaluation import Evaluation
from selftrain_jax.run_files.manifest import Manifest
from selftrain_jax.run_files.metrics import merge_steps, read_metrics
from selftrain_jax.run_files.model_card import ModelCard
from selftrain_jax.run_files.quality import Quality
from selftrain_jax.run_files.rounds import Rounds
from selftrain_jax.run_files.search import Search
from selftrain_jax.run_files.summary import Summary
from selftrain_jax.tasks.classification.run_files import ClassDetails
from selftrain_jax.tasks.detection.run_files import BoxDetails, BoxTotals
from selftrain_jax.tasks.lookup import TASKS
from selftrain_jax.tasks.segmentation.run_files import MaskDetails, MaskTotals
from tests import run_files as examples

PATH = pathlib.Path("run/teacher/evaluation.json")
FILES = {
    "boxes' manifest": (examples.BOX_MANIFEST, lambda value: Manifest.from_json(value, PATH, BoxTotals)),
    "masks' manifest": (examples.MASK_MANIFEST, lambda value: Manifest.from_json(value, PATH, MaskTotals)),
    "boxes' quality": (examples.BOX_QUALITY, lambda value: Quality.from_json(value, PATH)),
    "masks' quality": (examples.MASK_QUALITY, lambda value: Quality.from_json(value, PATH)),
    "calibration": (examples.CALIBRATION_OF_TEACHER, lambda value: TeacherCalibration.from_json(value, PATH)),
    "boxes": (examples.BOX_EVALUATION, lambda value: Evaluation.from_json(value, PATH, BoxDetails)),
    "masks": (examples.MASK_EVALUATION, lambda value: Evaluation.from_json(value, PATH, MaskDetails)),
    "scales": (examples.SCALES_EVALUATION, lambda value: Evaluation.from_json(value, PATH, MaskDetails)),
    "classes": (examples.CLASS_EVALUATION, lambda value: Evaluation.from_json(value, PATH, ClassDetails)),
    "boxes' summary": (examples.SUMMARY, lambda value: Summary.from_json(value, PATH)),
    "masks' summary": (examples.MASK_SUMMARY, lambda value: Summary.from_json(value, PATH)),
    "summary of rounds": (examples.ROUNDS_SUMMARY, lambda value: Summary.from_json(value, PATH)),
    "rounds": (examples.ROUNDS, lambda value: Rounds.from_json(value, PATH)),
    "search": (examples.SEARCH, lambda value: Search.from_json(value, PATH)),
    "card": (examples.CARD, lambda value: ModelCard.from_json(value, PATH)),
}


@pytest.fixture(params=FILES)
def file(request):
    value, read = FILES[request.param]
    return copy.deepcopy(value), read


def test_what_is_read_is_written_back_with_the_same_keys_in_the_same_order(file):
    value, read = file
    assert json.dumps(read(value).to_json()) == json.dumps(value)


def test_a_key_that_is_missing_is_named(file):
    value, read = file
    required = {"threshold", "thresholds", "split", "device", "kept", "seeds", "kind"} & set(value)
    key = min(required - {"kind"}, default="kind")
    del value[key]
    with pytest.raises(InputError, match=rf"evaluation\.json: {key} is missing; expected .*\. \w.*"):
        read(value)


def paths_of(value, path=()):
    """Give the path of every value in a document."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield (*path, key)
        yield from paths_of(child, (*path, key))


def with_value(document, path, value):
    changed = copy.deepcopy(document)
    owner = changed
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    "wrong", [None, True, -7, 1.5, math.nan, 10**400, "", "x", [], {}, [{}], {"": []}], ids="{!r:.9}".format
)
def test_no_value_of_any_other_type_ends_in_a_traceback(file, wrong):
    value, read = file
    for path in list(paths_of(value)):
        with contextlib.suppress(InputError):
            read(with_value(value, path, wrong)).to_json()


@pytest.mark.parametrize("value", [None, 5, "text", []])
def test_what_is_no_object_is_refused(file, value):
    _, read = file
    with pytest.raises(InputError, match=r"evaluation\.json: it holds .*; expected an object"):
        read(value)


def test_keys_that_a_newer_version_adds_are_ignored(file):
    value, read = file
    found = read({**value, "added": {"deep": [None]}}).to_json()
    assert {key: found[key] for key in value} == value


def test_a_newer_form_says_what_wrote_it(file):
    value, read = file
    newer = {**value, "format_version": 2, "versions": {"python": "3.15", "jax": "1.0"}, "kind": ["new"]}
    message = r"evaluation\.json: its format_version is 2; .* reads forms up to 1\. It was written with "
    with pytest.raises(
        InputError, match=message + r"python 3\.15, jax 1\.0\. Use the selftrain_jax that wrote"
    ):
        read(newer)
    with pytest.raises(InputError, match=r"format_version is '2'; expected a whole number"):
        read({**value, "format_version": "2"})


def test_hostile_versions_are_cut_short(file):
    value, read = file
    with pytest.raises(InputError) as error:
        read({**value, "format_version": 2, "versions": {f"{n}" * 10**4: ["x" * 10**5] for n in range(99)}})
    assert len(str(error.value)) < 2000


def test_manifests_of_the_first_form_do_not_say_their_kind_and_count_boxes():
    first = {key: value for key, value in examples.BOX_MANIFEST.items() if key != "kind"}
    for later in ("image_size_px", "nms"):
        del first[later]
    manifest = Manifest.from_json(first, PATH, BoxTotals)
    assert manifest.labels.num_kept == 3
    assert manifest.to_json() == {**first, "kind": "boxes"}
    with pytest.raises(
        InputError, match=r"run/teacher holds pseudo boxes, expected pseudo masks\. config\.task"
    ):
        Manifest.from_json(first, PATH, MaskTotals)


def test_summaries_of_the_first_form_name_neither_metric_nor_command():
    first = {key: value for key, value in examples.SUMMARY.items() if key not in ("metric", "command")}
    assert Summary.from_json(first, PATH).metric is None
    assert Summary.from_json(first, PATH).to_json() == first


def test_names_that_are_not_unicode_are_kept():
    """Names of files on Linux may hold any bytes; Python reads them as lone surrogates."""
    odd = {**examples.BOX_MANIFEST, "bad_images": ["\udcff"], "per_class_thresholds": {"\udcff": 0.5}}
    assert Manifest.from_json(odd, PATH, BoxTotals).to_json() == odd


def test_a_supervised_run_has_no_pseudo_labels():
    summary = Summary.from_json({**examples.SUMMARY, "pseudo_labels": {}}, PATH)
    assert summary.pseudo_labels is None
    assert summary.to_json()["pseudo_labels"] == {}


@pytest.mark.parametrize(
    ("name", "path", "value", "message"),
    [
        ("boxes' manifest", ["per_class", "cat"], 1, r"per_class\.cat is 1; expected an object"),
        ("boxes' manifest", ["shards", 0, "bytes"], -1, r"shards\[0\]\.bytes is -1; expected a whole"),
        ("boxes' manifest", ["shards", 0, "file"], "../a", r"shards\[0\]\.file is '\.\./a'; expected a name"),
        ("boxes' manifest", ["score_floor"], True, "score_floor is True; expected a number of 0 to 1"),
        ("boxes' manifest", ["seconds"], "1", "seconds is '1'; expected a number from 0"),
        ("boxes' manifest", ["num_images"], 2.0, "num_images is 2.0; expected a whole number from 0 to 9"),
        ("boxes' manifest", ["shards", 0], {}, r"shards\[0\]\.file is missing; expected a name without"),
        (
            "boxes' manifest",
            ["per_class"],
            {"a b": {}},
            r"per_class\['a b'\]\.boxes_at_floor is missing; expected a whole number",
        ),
        ("masks' manifest", ["coverage"], 2, "coverage is 2; expected a number of 0 to 1"),
        (
            "masks' manifest",
            ["categories", 0, "id"],
            10**5,
            r"categories\[0\]\.id is 100000; expected",
        ),
        (
            "boxes' quality",
            ["calibration", "count"],
            [0.5],
            r"calibration\.count\[0\] is 0\.5; expected a whole number",
        ),
        ("boxes' quality", ["thresholds"], [0.5], "the curves in overall and per_class differ in length"),
        ("boxes' quality", ["overall"], {"recall": [0.5, 0.5]}, "need precision and recall"),
        ("calibration", ["cuts"], [0.5, 0.5], "cuts must be at least one score, in ascending order"),
        ("calibration", ["cuts"], [0.5], "the curves and cuts differ in length"),
        ("calibration", ["curves"], {}, "the same classes under every key, and at least one key"),
        ("calibration", ["curves", "IoU 0.75"], {}, "the same classes under every key"),
        (
            "calibration",
            ["curves", "IoU 0.5", "cat", "num_labels"],
            [4, 9],
            "num_labels, num_right and num_trials must fall from cut to cut",
        ),
        ("calibration", ["curves", "IoU 0.5", "cat", "num_right"], [7, 2], "num_trials are above num_labels"),
        ("calibration", ["curves", "IoU 0.5", "cat", "num_truth"], 1, "num_right is above num_truth"),
        ("calibration", ["teacher", "step"], "9", r"teacher\.step is '9'; expected a whole number"),
        ("boxes", ["ap"], None, "ap is None; expected a finite number"),
        ("boxes", ["pr_curves", "recall"], 5, r"pr_curves\.recall is 5; expected a list"),
        ("masks", ["confusion"], [[-1]], r"confusion\[0\]\[0\] is -1; expected a whole number"),
        ("boxes' summary", ["teacher", "steps"], "9", r"teacher\.steps is '9'; expected a whole number"),
        (
            "boxes' summary",
            ["pseudo_labels", "seconds"],
            -1,
            r"pseudo_labels\.seconds is -1; expected",
        ),
        ("summary of rounds", ["rounds", 1], 5, r"rounds\[1\] is 5; expected an object"),
        ("summary of rounds", ["variants"], [], r"variants is \[\]; expected an object"),
        ("summary of rounds", ["variants", "begun"], 5, r"variants\.begun is 5; expected an object"),
        (
            "summary of rounds",
            ["variants", "begun", "differs"],
            {"selftrain.alpha": [1]},
            r"differs\['selftrain\.alpha'\] is \[1\]; expected a list of two",
        ),
        ("rounds", ["kept"], 3, "kept is 3; expected a round from 1 to 2"),
        (
            "rounds",
            ["rounds", 1, "round"],
            3,
            r"rounds is \[1, 3\]; expected the rounds 1, 2, \.\.\. in order",
        ),
        ("rounds", ["rounds"], [], r"rounds is \[\]; expected the rounds 1, 2"),
        ("search", ["format"], 2, "format is 2; expected 1, the form that this version reads"),
        ("search", ["grid"], {}, "grid is {}; expected at least one key"),
        ("search", ["grid", "selftrain.alpha"], [1, 1.0], "expected values, none of them twice"),
        ("search", ["grid", "selftrain.alpha"], [None], r"\[0\] is None; expected a number, a text, true"),
        ("search", ["points", 1, "values", "selftrain.alpha"], 3, r"points\[1\]\.values is .*a point of the"),
        ("search", ["points", 0, "seed"], 7, r"points\[0\]\.seed is 7; expected one of \[0, 1\]"),
        ("search", ["chosen"], {"selftrain.alpha": 0.5}, "chosen is .*; expected a point of the grid"),
        ("card", ["preprocessing", "stem_folded"], 1, "stem_folded is 1; expected true or false"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_was_expected(name, path, value, message):
    example, read = FILES[name]
    with pytest.raises(InputError, match=rf"run/teacher/evaluation\.json: .*{message}.*\. \w"):
        read(with_value(example, path, value))


def test_the_rows_of_a_log_and_the_steps_of_a_resumed_one(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    path.write_text(
        '{"step": 3, "a": 1}\n\n{"step": 2, "a": 9}\n{"step": 2, "b": null, "a": 8}\n{"step": 4, "a'
    )
    rows = [{"step": 3, "a": 1}, {"step": 2, "a": 9}, {"step": 2, "b": None, "a": 8}]
    assert read_metrics(path) == rows
    assert merge_steps(rows) == ({"step": 2, "a": 8, "b": None}, {"step": 3, "a": 1})


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"step": "1"}', '{"step": 1.5}', "[" * 10**5])
def test_a_line_that_is_no_row_is_named(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n')
    with pytest.raises(
        InputError, match=r'metrics\.jsonl, line 2: expected a JSON object with a whole "step"'
    ):
        read_metrics(path)


def test_the_metrics_of_every_task_are_in_its_evaluations():
    for task in TASKS:
        keys = tuple(metric.key for metric in task.metrics)
        assert keys == task.evaluation_details.score_names, task.name
