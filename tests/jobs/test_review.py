"""Pseudo labels go out and come back by the command; the student of a variant uses what people said."""

import json
import pathlib
from collections import Counter

import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job
from selftrain_jax.jobs.options import Options
from selftrain_jax.run_files.corrections import read_layers
from selftrain_jax.run_files.review import read_review
from selftrain_jax.stages.folders import is_shared
from tests import tiny_masks
from tests.jobs.conftest import Run
from tests.tiny_run import config_with

pytestmark = pytest.mark.compiles

COCO = {"review__format": "coco"}


def export(run: Run, output: pathlib.Path, **changes: object) -> pathlib.Path:
    run("export_labels", **COCO, review__output=str(output), **changes)
    return output / "annotations.json"


def correct(path: pathlib.Path, *numbers: int) -> None:
    """Remove the first box of some images and give their second another class."""
    document = json.loads(path.read_text())
    for number in numbers:
        first, second = [entry for entry in document["annotations"] if entry["image_id"] == number][:2]
        document["annotations"].remove(first)
        second["category_id"] = 1 + second["category_id"] % 10
    path.write_text(json.dumps(document))


def files_of(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_loop_closes(run: Run, base: pathlib.Path, tmp_path: pathlib.Path) -> None:
    labels = base / "pseudo_labels"
    before = files_of(labels)
    path = export(run, tmp_path / "out", review__choose="least_sure", review__count=4)
    sent = read_review(tmp_path / "out" / "review.json")
    assert len(sent.images) == 4
    correct(path, 1, 3)
    said = run("import_corrections", review__file=str(path), review__by="anna")
    assert "corrections, layer 1: 2 of 4 images that went out were reviewed (coco)" in said
    assert "; wrong " in said
    (stored,) = read_layers(labels)
    outcomes = [box.outcome for image in stored.layer.images for box in image.boxes]
    assert Counter(outcomes) == {"kept": 12, "relabelled": 2, "removed": 2}
    assert {path: files_of(labels)[path] for path in before} == before  # the set is as it was
    assert [image.image_id for image in stored.layer.images] == [
        sent.images[0].image_id,
        sent.images[2].image_id,
    ]
    assert {image.by for image in stored.layer.images} == {"anna"}

    # A second import of the same file has nothing new, one of a changed file has what was changed.
    with pytest.raises(InputError, match="2 reviewed images have been imported before, as they are"):
        run("import_corrections", review__file=str(path))
    correct(path, 4)
    run("import_corrections", review__file=str(path), review__removed="background")
    lower, upper = read_layers(labels)
    assert upper.layer.below == lower.digest
    assert [image.image_id for image in upper.layer.images] == [sent.images[3].image_id]

    # A variant shares all but its student.
    reviewed = Options(variant="reviewed")
    printed = run("selftrain", reviewed, pseudo__corrections="last")
    assert "student: 3 corrected images count as human beside 8; 9 stay pseudo" in printed
    variant = base / "variants" / "reviewed"
    for stage, shared in (("teacher", True), ("pseudo_labels", True), ("control", True), ("student", False)):
        assert is_shared(variant / stage) == shared
    record = json.loads((variant / "student" / "stage.json").read_text())
    assert record["inputs"]["corrections"] == upper.digest
    assert "corrections" not in json.loads((base / "student" / "stage.json").read_text())["inputs"]
    summary = json.loads((base / "summary.json").read_text())
    counts = summary["pseudo_labels"]["corrections"]
    assert (counts["layers"], counts["images"], counts["removed"], counts["relabelled"]) == (2, 3, 3, 3)
    assert summary["variants"]["reviewed"]["differs"] == {"pseudo.corrections": ["", "last"]}
    page = (base / "report.html").read_text()
    assert "3 images were corrected by hand" in page
    assert "Student with corrections (reviewed)" in page

    # The student that used one layer is not the student of another.
    with pytest.raises(InputError, match=r"another student .*\n  corrections: .* then, .* now"):
        run("selftrain", reviewed, pseudo__corrections="1")
    with pytest.raises(InputError, match=r"no such layer, it has layers 1 to 2"):
        run("selftrain", Options(variant="third"), pseudo__corrections="3")
    # Layers of the variant are those of the labels that it shares.
    assert read_layers(variant / "pseudo_labels") == read_layers(labels)
    # What was reviewed does not go out again.
    again = export(run, tmp_path / "again")
    assert {image.image_id for image in read_review(again.parent / "review.json").images}.isdisjoint(
        image.image_id for stored in (lower, upper) for image in stored.layer.images
    )


def test_corrections_of_an_older_layer_are_refused(
    run: Run, base: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Two exports of one image: the second to come back does not know of the first."""
    first, second = export(run, tmp_path / "first"), export(run, tmp_path / "second", review__count=3)
    correct(first, 1)
    correct(second, 1, 2)
    run("import_corrections", review__file=str(first))
    with pytest.raises(InputError, match=r"1 of the 2 images were corrected in the meantime .*older layer"):
        run("import_corrections", review__file=str(second))
    assert len(read_layers(base / "pseudo_labels")) == 1


@pytest.mark.parametrize("way", ["disagreements", "rarest_class", "random", "all"])
def test_each_choice_is_repeatable(run: Run, tmp_path: pathlib.Path, way: str) -> None:
    chosen = [
        [image.image_id for image in read_review(path.parent / "review.json").images]
        for path in (export(run, tmp_path / name, review__choose=way, review__count=5) for name in "ab")
    ]
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 5


def test_a_selection_goes_out(run: Run, base: pathlib.Path, tmp_path: pathlib.Path) -> None:
    ids = json.loads((base / "pseudo_labels" / "image_ids.json").read_text())
    selection = tmp_path / "selection.json"
    choice = {"review__choose": "selection", "review__selection": str(selection)}
    selection.write_text(json.dumps({"chosen": [{"image_id": ids[7], "why": 1}, {"image_id": ids[2]}]}))
    path = export(run, tmp_path / "out", **choice)
    assert [image.image_id for image in read_review(path.parent / "review.json").images] == [ids[2], ids[7]]
    selection.write_text(json.dumps({"chosen": [{"image_id": "other"}]}))
    with pytest.raises(InputError, match="1 of its 1 images are not among the 12 that can go out: other"):
        export(run, tmp_path / "more", **choice)
    selection.write_text("[]")
    with pytest.raises(InputError, match="holds \\[\\]; expected"):
        export(run, tmp_path / "more", **choice)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"review__count": 13}, r"review.count=13: 12 of the 12 images can go out"),
        ({"review__choose": "best"}, r"review.choose='best' is not one of all, least_sure"),
        ({"review__choose": "selection"}, r"needs --config.review.selection=FILE"),
        ({"review__format": "pascal"}, r"review.format='pascal' is not one of label_studio, cvat"),
    ],
)
def test_an_export_that_does_not_fit_writes_nothing(
    run: Run, tmp_path: pathlib.Path, changes: dict, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        run("export_labels", **{"review__output": str(tmp_path / "out"), **COCO, **changes})
    assert not list(tmp_path.glob("out*"))


def test_corrections_that_do_not_fit_leave_no_layer(
    run: Run, base: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    path = export(run, tmp_path / "out")
    file = {"review__file": str(path)}
    with pytest.raises(InputError, match=r"none of its 12 images was changed .*review.confirmed=True"):
        run("import_corrections", **file)
    with pytest.raises(InputError, match=r"review.removed='gone' is not one of background, ignore"):
        run("import_corrections", **file, review__removed="gone")
    with pytest.raises(InputError, match=r"config.review.file is empty"):
        run("import_corrections")
    with pytest.raises(InputError, match=r"elsewhere/review.json does not exist"):
        run("import_corrections", **file, review__output=str(tmp_path / "elsewhere"))
    review = json.loads((path.parent / "review.json").read_text())
    (path.parent / "review.json").write_text(json.dumps({**review, "label_set": "12 images, other"}))
    with pytest.raises(InputError, match=r"went out with another set of pseudo labels \(12 images, other\)"):
        run("import_corrections", **file)
    (path.parent / "review.json").write_text(json.dumps({**review, "layer": "f" * 64}))
    with pytest.raises(InputError, match=r"went out after corrections \(ffffffffffff\) that are not among"):
        run("import_corrections", **file)
    (path.parent / "review.json").write_text("{}")
    with pytest.raises(InputError, match=r"review.json: .* is missing"):
        run("import_corrections", **file)
    assert read_layers(base / "pseudo_labels") == []
    with pytest.raises(InputError, match=r"pseudo_labels has no corrections; export"):
        run("selftrain", Options(variant="reviewed"), pseudo__corrections="last")


def test_a_layer_that_was_changed_is_refused(run: Run, base: pathlib.Path, tmp_path: pathlib.Path) -> None:
    path = export(run, tmp_path / "out")
    for number in (1, 2):
        correct(path, number)
        run("import_corrections", review__file=str(path))
    lower = base / "pseudo_labels" / "corrections" / "001.json"
    content = lower.read_text()
    lower.write_text(content + " ")
    with pytest.raises(InputError, match=r"002.json is a layer on .* but the one below it is"):
        read_layers(base / "pseudo_labels")
    lower.rename(tmp_path / "away.json")
    with pytest.raises(InputError, match=r"001.json is missing"):
        read_layers(base / "pseudo_labels")


def test_labels_that_are_not_finished_do_not_go_out(tmp_path: pathlib.Path) -> None:
    for job in ("export_labels", "import_corrections"):
        with pytest.raises(InputError, match="pseudo_labels is not finished; run --job=pseudo_label first"):
            run_job(job, config_with(review__file="x"), tmp_path / "new")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"selftrain__rounds": 2}, r"corrections is for one set of labels, but .*rounds=2"),
        ({"unlabeled__kind": "none"}, r"a run without pseudo labels"),
    ],
)
def test_corrections_where_there_cannot_be_any_are_refused(
    tmp_path: pathlib.Path, changes: dict, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        run_job("selftrain", config_with(pseudo__corrections="last", **changes), tmp_path / "new")


def test_masks_do_not_go_out(tmp_path: pathlib.Path) -> None:
    config = tiny_masks.get_config()
    config.pseudo.corrections = "last"
    with pytest.raises(InputError, match=r"config.task=segmentation: the pseudo labels of this task"):
        run_job("export_labels", config, tmp_path / "new")


def test_files_that_are_gone_are_refused(tmp_path: pathlib.Path) -> None:
    from selftrain_jax.data.sources.image_folder import read_image_folder
    from selftrain_jax.tasks.detection.review.send import find_files
    from tests.tasks.detection.review.sent import make_review

    make_review(tmp_path, "coco")
    source = read_image_folder(tmp_path / "images")
    (tmp_path / "images" / "a" / "two.png").unlink()
    with pytest.raises(InputError, match=r"1 of the 3 images that are to go out are gone: .*two.png"):
        find_files(source, [0, 1, 2], tmp_path / "out")
    np.testing.assert_equal(len(find_files(source, [0, 2], tmp_path / "out")), 2)
