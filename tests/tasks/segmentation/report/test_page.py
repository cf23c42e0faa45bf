import json
import re
import shutil

import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.jobs.report import task_of, write_report
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.tasks.segmentation.draw import save_mask_png
from selftrain_jax.tasks.segmentation.report import sections as mask_sections
from selftrain_jax.tasks.segmentation.report.galleries import MaskStyle, draw_mask
from selftrain_jax.tasks.segmentation.report.sections import read_predicted
from selftrain_jax.text import NO_VALUE
from tests.html.html_page import Page, render_section
from tests.tasks.segmentation.report.mask_run import make_mask_source, read_mask_run, stripes

SECTIONS = [
    *("results", "curves", "training", "confusion", "labels", "label-images"),
    *("augmentation", "test-images", "reproduce"),
]


def render(workdir, images):
    spec = None if images is None else get_task("segmentation")
    return write_report(workdir, spec, images).read_text(encoding="utf-8")


def test_page_nests_and_says_the_headline(mask_page):
    assert Page(mask_page).headings == ["Student 53.1 mIoU, +4.9 over control, +8.1 over teacher"]


def test_page_names_both_ways_of_measuring(mask_page):
    assert "mIoU, resized" in mask_page
    assert "fitted into 64 x 64 px" in mask_page


def test_scores_over_several_scales_are_rows_of_their_own_and_undefined_ones_a_dash(mask_workdir):
    path = mask_workdir / "student" / "evaluation.json"
    evaluation = json.loads(path.read_text()) | {"miou": 0.567, "miou_resized": -1, "pixel_accuracy": 0.789}
    several = evaluation | {"sizes_px": [64, 128], "flip": True, "checkpoint_step": 30}
    path.with_name("evaluation_scales.json").write_text(json.dumps(several))
    plain = several | {"sizes_px": [128], "flip": False, "miou": -1}
    (mask_workdir / "teacher" / "evaluation_scales.json").write_text(json.dumps(plain))
    table = table_of_results(render_section(mask_sections.results_section(read_mask_run(mask_workdir))))
    assert table["student"][0] == "53.1"
    assert table["student, inputs of 64, 128 px, mirrored too"] == ["56.7", NO_VALUE, "78.9", "30", ""]
    assert table["teacher, inputs of 128 px"] == [NO_VALUE, NO_VALUE, "78.9", "30", ""]
    assert len(table) == 3 + 2 + 2  # stages, gains, scales


def test_undefined_scores_are_dashes_wherever_they_stand(mask_workdir):
    for stage in ("teacher", "control", "student"):
        path = mask_workdir / stage / "evaluation.json"
        evaluation = json.loads(path.read_text())
        evaluation |= {"miou": -1, "miou_resized": -1, "pixel_accuracy": -1, "confusion": [[0] * 3] * 3}
        evaluation["per_class"] = {
            name: {"iou": -1, "iou_resized": -1, "num_pixels": 0} for name in evaluation["per_class"]
        }
        evaluation["per_image"] = dict.fromkeys(evaluation["per_image"])
        path.write_text(json.dumps(evaluation))
        rows = [{"step": step, "eval/miou": -1, "eval/pixel_accuracy": -1} for step in (15, 30)]
        path.with_name("metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = render(mask_workdir, None)
    assert Page(text).headings == [
        f"Student {NO_VALUE} mIoU, {NO_VALUE} over control, {NO_VALUE} over teacher"
    ]
    visible = re.sub(r"<style.*?</style>|<svg.*?</svg>", "", text, flags=re.DOTALL)
    assert not re.search(r"[-\u2212]100", visible)
    assert not re.search(r"\bnan\b", text)  # in the plots' words neither
    assert table_of_results(text)["student"][:3] == [NO_VALUE] * 3


def table_of_results(text):
    """Give the cells of the first table's rows by their names."""
    rows = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', text[: text.index("</table>")])
    return {name: re.findall(r"<td>(.*?)</td>", cells) for name, cells in rows}


def test_sections_are_those_of_masks_in_their_order(mask_page):
    assert re.findall(r'<section id="([^"]*)"', mask_page) == SECTIONS
    assert "Not there yet." not in mask_page


def test_text_from_data_is_escaped_and_nothing_is_loaded_from_elsewhere(mask_page):
    assert "<script" not in mask_page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in mask_page
    for _, attributes in Page(mask_page).tags:
        for key in ("src", "href", "xlink:href", "srcset", "data", "action"):
            assert attributes.get(key, "#").startswith(("#", "data:image/"))


def test_ids_are_unique_and_references_resolve(mask_page):
    tags = Page(mask_page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"][1:] for _, attributes in tags if "href" in attributes}
    assert targets | set(re.findall(r"url\(#([^)]*)\)", mask_page)) <= set(ids)


def test_every_picture_has_an_alternative_text_that_names_the_classes(mask_page):
    pictures = [attributes["alt"] for tag, attributes in Page(mask_page).tags if tag == "img"]
    assert all(pictures)
    assert (
        "truth: background 32 %, <script>alert('x')</script> 32 %, $a_b$ & co 32 %, ignored 5.0 %" in pictures
    )
    assert "pseudo mask, 35 % of pixels kept, 50 % of them right" in mask_page


def test_test_images_stand_beside_teacher_student_and_change(mask_page):
    section = mask_page[mask_page.index('<section id="test-images"') :]
    rows = re.findall(r'<div class="row of5">(.*?)</div>', section, re.DOTALL)
    captions = [re.findall(r"<figcaption>(.*?)</figcaption>", row) for row in rows]
    assert captions[0][:4] == ["t/1", "truth", "teacher, mIoU 50.0", "student, mIoU 55.0"]  # the median gain
    assert [row[0] for row in captions] == ["t/1", "t/2", "t/0", "t/0", "t/1", "t/2"]
    assert "wrong in both" in captions[0][4]


@pytest.mark.parametrize(
    ("missing", "headline"),
    [
        (["teacher", "summary.json"], "Student 53.1 mIoU, +4.9 over control"),
        (
            ["control", "pseudo_labels/quality.json", "student/masks"],
            "Student 53.1 mIoU, +8.1 over teacher",
        ),
        (
            ["student", "control", "categories.json"],
            "Teacher 45.0 mIoU; the student is not evaluated yet",
        ),
        (["pseudo_labels", "student/evaluation.json"], "Teacher 45.0 mIoU; the student is not evaluated yet"),
        (["config.json", "summary.json"], "Student 53.1 mIoU, +4.9 over control, +8.1 over teacher"),
    ],
)
def test_missing_parts_are_tolerated(mask_workdir, mask_images, missing, headline):
    for path in (mask_workdir / name for name in missing):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert Page(render(mask_workdir, mask_images)).headings == [headline]


def test_without_pictures_the_runs_files_say_that_it_is_one_of_masks(mask_workdir):
    assert task_of(mask_workdir) == "segmentation"
    (mask_workdir / "config.json").unlink()
    assert task_of(mask_workdir) == "segmentation"  # evaluations have mIoU
    for name in ("teacher", "control", "student"):
        shutil.rmtree(mask_workdir / name)
    assert task_of(mask_workdir) == "segmentation"  # the labels are masks
    shutil.rmtree(mask_workdir / "pseudo_labels")
    assert task_of(mask_workdir) == "detection"


def test_empty_workdir_says_that_nothing_is_there_yet(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"task": "segmentation"}))
    text = render(tmp_path, None)
    assert Page(text).headings == ["No stage is evaluated yet"]
    assert text.count("Not there yet.") == 8


def test_unknown_truth_gives_pseudo_masks_alone(tmp_path, mask_images):
    text = render(empty(tmp_path), mask_images._replace(pseudo_truth=None))
    assert "Most at odds" not in text
    assert "of them right" not in text
    assert "pseudo mask, 35 % of pixels kept" in text


def test_class_thresholds_replace_the_threshold_of_their_class(tmp_path, mask_images):
    text = render(empty(tmp_path), mask_images._replace(class_thresholds={"background": 0.999}))
    assert "pseudo mask, 25 % of pixels kept" in text  # 60 of 210 pixels in 600 less


def test_background_is_described_and_listed_but_not_written_into_pictures(mask_page):
    style = MaskStyle({0: "background", 1: "cat"}, np.zeros(256, np.int64))
    image, mask = np.full((20, 30, 3), 90, np.uint8), np.zeros((20, 30), np.uint8)
    picture = draw_mask(image, mask, style, "truth")
    assert picture.alt == "truth: background 100 %"
    assert (picture.image == 45).all()
    assert "rgb(0,0,0)" in mask_page


def test_prediction_of_another_size_is_named(mask_workdir, mask_images):
    save_mask_png(mask_workdir / "student" / "masks" / "t" / "1.png", np.zeros((5, 5), np.uint8))
    with pytest.raises(InputError, match=r"student/masks: .*t/1 has 5 x 5 .*20 x 30"):
        write_report(mask_workdir, get_task("segmentation"), mask_images)


def test_predictions_are_looked_up_by_stage_and_image(mask_workdir):
    predicted = read_predicted(mask_workdir)
    assert predicted("student", "t/0").shape == (20, 30)
    assert predicted("student", "t/9") is None


def test_masks_without_confidence_are_kept_whole_and_what_is_missing_is_said(tmp_path, mask_images):
    source = make_mask_source("p", 1, {"mask": stripes(5)})
    text = render(empty(tmp_path), mask_images._replace(test_source=None, pseudo_raw=source))
    assert "pseudo mask, 100 % of pixels kept" in text
    assert "Least sure" not in text
    test_images = text[text.index('<section id="test-images"') : text.index('<section id="reproduce"')]
    assert "Not there yet." in test_images


def empty(tmp_path):
    """Give a workdir without any file: its report has no plots and is quick to render."""
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"
