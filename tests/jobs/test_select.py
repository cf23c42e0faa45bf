"""`--job=select` on a tiny trained run: what it writes, from labels or new inference, and what it refuses."""

import json
import logging
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job
from selftrain_jax.jobs.options import Options
from selftrain_jax.run_files.selection import Selection, read_chosen_ids, read_selection
from tests import tiny, tiny_masks

pytestmark = [pytest.mark.tf, pytest.mark.compiles]


def make_config(folder=None, masks=False, unlabeled=None, **select):
    config = tiny_masks.get_config() if masks else tiny.get_config()
    config.select.update(output="" if folder is None else str(folder), **select)
    config.unlabeled.update(unlabeled or {})
    return config


@pytest.fixture(scope="module")
def trained(finished, tmp_path_factory):
    """The teacher of the finished run, without labels."""
    workdir = tmp_path_factory.mktemp("select") / "run"
    others = shutil.ignore_patterns("pseudo_labels", "control", "student")
    shutil.copytree(finished, workdir, symlinks=True, ignore=others)
    yield workdir
    shutil.rmtree(workdir)


def select(workdir, folder, stage="teacher", **settings) -> Selection:
    run_job("select", make_config(folder, **settings), workdir, Options(stage=stage))
    return read_selection(folder / "selection.json")


def test_chosen_images_are_listed_written_shown_and_explained(trained, tmp_path, capsys):
    found = select(trained, tmp_path / "out", budget=5)
    assert len(found.image_ids) == 5 == len(set(found.image_ids))
    assert read_chosen_ids(tmp_path / "out" / "selection.json") == found.image_ids
    paths = (tmp_path / "out" / "selection.txt").read_text().splitlines()
    assert paths == [image.path for image in found.chosen]
    source = read_builtin("unlabeled", num_images=12, image_size_px=64)
    for path, image_id in zip(paths, found.image_ids, strict=True):
        np.testing.assert_array_equal(
            np.asarray(Image.open(path)), source.read_image(source.image_ids.index(image_id))
        )
    page = (tmp_path / "out" / "selection.html").read_text()
    assert page.count("data:image/jpeg") == 5
    assert all(image.reason in page for image in found.chosen)
    assert [image.rank for image in found.chosen] == [1, 2, 3, 4, 5]
    assert (
        found.settings.digest
        == json.loads((trained / "teacher" / "stage.json").read_text())["results"]["last"]["digest"]
    )
    assert 0 < found.radius_after < found.radius_before
    printed = capsys.readouterr().out
    assert "what the model finds in 12 images, from new inference" in printed
    assert "select: 5 of 12 images by uncertainty, rarity, diversity, of teacher/checkpoints/6" in printed
    # Distances fall from one to the next: k-center greedy; all 12 are the pool.
    distances = [image.diversity for image in found.chosen]
    assert distances == sorted(distances, reverse=True)


def test_finished_labels_are_used_and_choose_the_same(trained, tmp_path, capsys):
    by = {"by": "uncertainty,rarity", "budget": 4}
    inferred = select(trained, tmp_path / "inferred", **by)
    run_job("pseudo_label", tiny.get_config(), trained)
    capsys.readouterr()
    read = select(trained, tmp_path / "read", **by)
    assert "from pseudo:" in capsys.readouterr().out
    assert [image.uncertainty for image in read.chosen] == [image.uncertainty for image in inferred.chosen]
    assert read.image_ids == inferred.image_ids
    assert {image.diversity for image in read.chosen} == {None}
    shutil.rmtree(trained / "pseudo_labels")


def test_backbone_is_compiled_once(trained, tmp_path, caplog):
    with caplog.at_level(logging.WARNING), jax.log_compiles():
        select(trained, tmp_path / "out", by="diversity", budget=2)
    compiled = [line for line in caplog.messages if "Finished XLA compilation of jit(features)" in line]
    assert len(compiled) == 1


def test_copies_in_a_folder_are_chosen_once_and_what_is_labelled_not_at_all(trained, tmp_path, capsys):
    folder = tmp_path / "more"
    folder.mkdir()
    unlabeled = read_builtin("unlabeled", num_images=3, image_size_px=64)
    for name, (source, index) in {
        "a": (unlabeled, 0),
        "copy of a": (unlabeled, 0),
        "b": (unlabeled, 1),
        "labelled": (read_builtin("train", num_images=8, image_size_px=64), 2),
    }.items():
        (folder / f"{name}.png").write_bytes(source.read_encoded(index))
    where = {"unlabeled": {"kind": "folder", "dir": str(folder)}}
    found = select(trained, tmp_path / "out", budget=4, **where)
    chosen = set(found.image_ids)
    assert len(chosen) == 2
    assert "b.png" in chosen
    assert len(chosen & {"a.png", "copy of a.png"}) == 1
    assert (found.like_labelled, found.like_chosen) == (1, 1)
    assert found.chosen[0].path == str(folder.resolve() / found.image_ids[0])
    assert not (tmp_path / "out" / "images").exists()
    assert "warning: 2 fewer than asked for" in capsys.readouterr().out
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match=r"1 images of .* do not decode, allowed are 0: .*broken\.png"):
        select(trained, tmp_path / "other", budget=2, **where)
    config = make_config(tmp_path / "other", budget=2, **where)
    config.data.max_bad_images = 1
    run_job("select", config, trained)
    assert read_selection(tmp_path / "other" / "selection.json").num_undecodable == 1


def test_random_is_drawn_by_its_seed_alone(trained, tmp_path):
    first, again, other = (
        select(trained, tmp_path / name, by="random", budget=6, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.image_ids == again.image_ids != other.image_ids
    assert {image.reason for image in first.chosen} == {"drawn at random"}


def test_another_selection_is_not_overwritten_and_the_same_may_be_repeated(trained, tmp_path):
    first = select(trained, tmp_path, by="random", budget=3)
    assert select(trained, tmp_path, by="random", budget=3) == first
    with pytest.raises(InputError, match=r"budget: 3 then, 4 now.*--config.select.output"):
        select(trained, tmp_path, by="random", budget=4)
    assert read_selection(tmp_path / "selection.json") == first


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"budget": 0}, r"config.select.budget=0; expected how many images"),
        ({"budget": 13}, r"config.select.budget=13, but builtin/unlabeled.* has 12 images"),
        ({"budget": 3, "by": "entropy"}, "config.select.by='entropy'"),
        ({"budget": 3, "pool_factor": 0}, "config.select.pool_factor=0; expected 1 or more"),
        ({"budget": 3, "seed": -1}, "config.select.seed=-1; expected 0 or more"),
        ({"budget": 3, "stage": "oracle"}, "--stage=oracle has learnt the labels"),
        ({"budget": 3, "stage": "student"}, "run --job=train --stage=student first"),
        ({"budget": 3, "unlabeled": {"kind": "none"}}, "config.unlabeled.kind=none: there are no"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(trained, tmp_path, settings, words):
    with pytest.raises(InputError, match=words):
        select(trained, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_run_without_a_teacher_is_refused(tmp_path):
    with pytest.raises(InputError, match="teacher is not finished; run --job=train --stage=teacher first"):
        select(tmp_path / "run", tmp_path / "out", budget=3)


def test_masks_are_chosen_too(tmp_path):
    run_job("train", tiny_masks.get_config(), tmp_path / "run")
    found = select(tmp_path / "run", tmp_path / "out", masks=True, budget=3)
    assert all(0 < image.uncertainty < 1 and image.rarity > 0 for image in found.chosen)
    assert (tmp_path / "out" / "selection.html").read_text().count("data:image/jpeg") == 3
