import re
import shutil

import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.html.galleries import MAX_JPEG_BYTES, encode_jpeg
from selftrain_jax.jobs.report import write_report
from selftrain_jax.run_files.metrics import merge_steps, read_metrics
from selftrain_jax.tasks.detection.report.galleries import read_spread
from selftrain_jax.tasks.detection.report.label_quality import human_statistics, pseudo_statistics
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.text import duration, number
from tests.html.html_page import Page
from tests.tasks.conftest import read_box_run


def test_page_nests_and_says_the_headline(page):
    assert Page(page).headings == ["Student 31.2 AP, +3.1 over control, +4.0 over teacher"]


def test_text_from_data_is_escaped(page):
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page


def test_nothing_is_loaded_from_elsewhere(page):
    for _, attributes in Page(page).tags:
        for key in ("src", "href", "xlink:href", "srcset", "data", "action"):
            assert attributes.get(key, "#").startswith(("#", "data:image/"))
    assert not re.search(r"@import|url\((?!#)", page)


def test_ids_are_unique_and_references_resolve(page):
    tags = Page(page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"][1:] for _, attributes in tags if "href" in attributes}
    assert targets | set(re.findall(r"url\(#([^)]*)\)", page)) <= set(ids)


def test_every_picture_has_an_alternative_text(page):
    pictures = [attributes for tag, attributes in Page(page).tags if tag == "img"]
    drawings = [attributes for tag, attributes in Page(page).tags if tag == "svg"]
    assert len(pictures) >= 10
    assert len(drawings) >= 15
    assert all(attributes["alt"] for attributes in pictures)
    assert all(attributes["aria-label"] for attributes in drawings)


def test_report_is_one_small_file(workdir, page):
    before = set(workdir.rglob("*"))
    path = write_report(workdir, None, None)
    assert set(workdir.rglob("*")) - before == {path}
    assert len(page.encode()) < 8e6


@pytest.mark.parametrize(
    ("missing", "headline"),
    [
        (["teacher", "summary.json"], "Student 31.2 AP, +3.1 over control"),
        (
            ["control", "pseudo_labels/quality.json", "teacher/detections.json"],
            "Student 31.2 AP, +4.0 over teacher",
        ),
        (["student", "ground_truth.json"], "Teacher 27.2 AP; the student is not evaluated yet"),
        (["pseudo_labels", "student/evaluation.json"], "Teacher 27.2 AP; the student is not evaluated yet"),
        (["student/metrics.jsonl", "teacher/evaluation.json"], "Student 31.2 AP, +3.1 over control"),
    ],
)
def test_missing_parts_are_tolerated(workdir, images, missing, headline):
    for path in (workdir / name for name in missing):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    text = write_report(workdir, get_task("detection"), images).read_text(encoding="utf-8")
    assert Page(text).headings == [headline]


def test_empty_workdir_says_that_nothing_is_there_yet(tmp_path):
    text = write_report(tmp_path, None, None).read_text(encoding="utf-8")
    assert Page(text).headings == ["No stage is evaluated yet"]
    assert text.count("Not there yet.") == 8


def test_missing_folder_and_broken_file_are_named(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        write_report(tmp_path / "nowhere", None, None)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(InputError, match=r"summary\.json"):
        write_report(tmp_path, None, None)


def test_unequal_steps_are_pointed_out(workdir, page):
    assert "part of the gain" not in page
    path = workdir / "control" / "evaluation.json"
    path.write_text(path.read_text().replace('"checkpoint_step": 30', '"checkpoint_step": 29'))
    assert "for 30 steps and the control for 29" in write_report(workdir, None, None).read_text(
        encoding="utf-8"
    )


def test_metrics_of_a_resumed_and_running_stage(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 2, "a": 1}\n{"step": 3, "a": 2}\n{"step": 2, "a": 9, "b": null}\n{"step": 4, "a"'
    )
    assert merge_steps(read_metrics(path)) == ({"step": 2, "a": 9, "b": None}, {"step": 3, "a": 2})
    path.write_text('{"step": 2}\nnonsense\n{"step": 3}\n')
    with pytest.raises(InputError, match="line 2"):
        read_metrics(path)


def test_statistics_count_and_measure_boxes(workdir, images):
    human = human_statistics(read_box_run(workdir))
    np.testing.assert_allclose(human.boxes_per_image, [1, 0])
    np.testing.assert_allclose(human.sizes_px, [4])
    source = images.pseudo_source
    pseudo = pseudo_statistics(read_spread(source.read_labels, len(source)), 0.5)
    np.testing.assert_allclose(pseudo.boxes_per_image, [1, 0])
    np.testing.assert_allclose(pseudo.sizes_px, [24**0.5])


def test_numbers_are_written_for_people():
    assert number(1234.56) == "1,234.6"
    assert number(-3.14, signed=True) == "\u22123.1"
    assert number(3.14, signed=True) == "+3.1"
    assert number(float("nan")) == number(None) == "\u2013"
    assert number(-0.01, signed=True) == "\u00b10.0"
    assert duration(7325) == "2 h 02 min"
    assert duration(61) == "1 min 01 s"


def test_jpeg_of_noise_stays_below_the_limit():
    noise = np.random.default_rng(0).integers(0, 256, (420, 420, 3), np.uint8)
    assert len(encode_jpeg(noise)) <= MAX_JPEG_BYTES
