"""Several sources of unlabelled images from the config to batches: shares, ids, and what is refused."""

import json
import pathlib

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from configs.common import unlabeled_source
from selftrain_jax.build.data import build_batches, build_sources, stage_seed
from selftrain_jax.build.sampling import order_of_sources
from selftrain_jax.data.pipeline import take_steps
from selftrain_jax.data.sampling import raw_permutation
from selftrain_jax.data.source import subset
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.doctor import run_doctor
from selftrain_jax.jobs.run import digest_data
from tests import tiny, tiny_masks

pytestmark = pytest.mark.tf


def make_config(**rest: object) -> ConfigDict:
    """Two sources, both with truth: built-in images, and the part of train without labels."""
    config = tiny.get_config()
    config.data.builtin.train, config.data.label_percent = 12, 50.0
    config.student.batch_size = 8
    config.unlabeled.also.rest = unlabeled_source(kind="remainder", **rest)
    return config


def test_images_of_both_are_to_be_labelled_and_their_truth_is_known() -> None:
    sources = build_sources(make_config())
    assert sources.unlabeled is not None
    assert sources.unlabeled_truth is not None
    ids = sources.unlabeled.image_ids
    assert len(ids) == 12 + 6
    assert [id.startswith("rest/") for id in ids] == [False] * 12 + [True] * 6
    assert sources.unlabeled_truth.image_ids == ids
    assert set(sources.human.image_ids).isdisjoint(id.removeprefix("rest/") for id in ids[12:])
    assert set(sources.unlabeled.read_labels(13)) == {"image_id"}
    assert sources.data_sets == {"unlabeled": "builtin/unlabeled", "rest": "builtin/train, the remainder"}


def test_one_source_has_the_ids_digests_and_batches_that_it_has_without_the_keys() -> None:
    config = make_config()
    config.unlabeled.also.rest.kind = "none"
    config.unlabeled.weight = 3.0
    left_out = build_sources(config)
    del config.unlabeled.also["rest"]
    alone = build_sources(config)
    assert left_out.unlabeled is not None
    assert alone.unlabeled is not None
    assert left_out.unlabeled.image_ids == alone.unlabeled.image_ids
    assert digest_data(left_out, None) == digest_data(alone, None)
    assert order_of_sources(config, alone.unlabeled, 0, raw_permutation) is None


@pytest.mark.parametrize(("weight", "first", "in_batch"), [(1.0, 1.0, 2), (1.0, 3.0, 1), (3.0, 1.0, 3)])
def test_a_batch_has_the_shares_and_each_source_goes_through_its_own_images(
    weight: float, first: float, in_batch: int
) -> None:
    config = make_config(weight=weight)
    config.unlabeled.weight = first
    ids = draw(config, range(4 * 12))
    for step in range(12):
        assert sum(id.startswith("rest/") for id in ids[4 * step : 4 * step + 4]) == in_batch
    for is_rest, num in ((True, 6), (False, 12)):
        drawn = [id for id in ids if id.startswith("rest/") == is_rest]
        for start in range(0, len(drawn) - num + 1, num):
            assert len(set(drawn[start : start + num])) == num  # an epoch of its own


def draw(config: ConfigDict, positions: range) -> list[str]:
    """The pseudo-labelled images at positions of the student's stream."""
    pseudo = build_sources(config).unlabeled_truth
    assert pseudo is not None
    index_at = order_of_sources(config, pseudo, 7, raw_permutation)
    assert index_at is not None
    return [pseudo.image_ids[index_at(position)] for position in positions]


def test_what_is_at_a_position_depends_on_nothing_before_it() -> None:
    config = make_config(weight=0.3)
    whole = draw(config, range(40))
    assert draw(config, range(33, 40)) == whole[33:]
    config.unlabeled.also.rest.weight = 0.5
    assert draw(config, range(40)) != whole


def test_by_class_each_source_is_drawn_by_its_own_labels() -> None:
    config = make_config()
    config.pseudo.sampling, config.data.repeat_threshold = "class", 1.0
    ids = draw(config, range(400))
    assert sum(id.startswith("rest/") for id in ids) == 200
    assert len({ids.count(id) for id in set(ids)}) > 2  # some come more often than others of their source


def test_batches_are_drawn_so() -> None:
    config = make_config()
    sources = build_sources(config)
    assert sources.unlabeled_truth is not None
    batches = build_batches(config, "student", sources.human, sources.unlabeled_truth)
    index_at = order_of_sources(
        config, sources.unlabeled_truth, stage_seed(config, "student") + 500, raw_permutation
    )
    assert index_at is not None
    expected = [sources.unlabeled_truth.image_ids[index_at(position)] for position in range(8)]
    found = [id for _, ids in take_steps(batches, 0, 2) for id in ids[1::2]]
    assert found == expected


def test_a_source_without_labelled_images_has_no_share_to_give() -> None:
    config = make_config()
    truth = build_sources(config).unlabeled_truth
    assert truth is not None
    with pytest.raises(InputError, match="has no image of the unlabelled source 'rest'"):
        order_of_sources(config, subset(truth, range(12)), 0, raw_permutation)


def test_an_oracle_needs_the_truth_of_all_sources(tmp_path: pathlib.Path) -> None:
    config = make_config()
    config.student.oracle = True
    build_sources(config)
    write_image(tmp_path / "a.png")
    config.unlabeled.also.web = unlabeled_source(dir=str(tmp_path))
    with pytest.raises(InputError, match=r"only 18 of the 19 unlabelled images, of .* have such labels"):
        build_sources(config)


def write_image(path: pathlib.Path) -> None:
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(path)


def test_truth_is_of_the_sources_that_have_it(tmp_path: pathlib.Path) -> None:
    write_image(tmp_path / "a.png")
    config = make_config()
    config.unlabeled.also.web = unlabeled_source(dir=str(tmp_path))
    sources = build_sources(config)
    assert sources.unlabeled is not None
    assert sources.unlabeled_truth is not None
    assert sources.unlabeled.image_ids[-1] == "web/a.png"
    assert "web/a.png" not in sources.unlabeled_truth.image_ids
    assert len(sources.unlabeled_truth) == 18


@pytest.mark.parametrize("make", [tiny.get_config, tiny_masks.get_config])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "builtin"}, "config.unlabeled.also.more and config.unlabeled are the same images"),
        ({"kind": "remainder"}, r"also\.more\.kind=remainder, but config\.data\.label_percent=100"),
        ({"kind": "folder"}, r"config\.unlabeled\.also\.more\.dir is empty"),
        ({"kind": "remainder", "per_class_thresholds": "zebra=0.4"}, "unknown classes 'zebra'"),
        ({"per_class_thresholds": "0.4"}, r"also\.more\.per_class_thresholds='0\.4'; expected name=score"),
        ({"per_class_thresholds": "person=2"}, "between 0 and 1|unknown classes"),
    ],
)
def test_sources_that_cannot_be_used_are_refused_by_key(make, values, message: str, tmp_path) -> None:
    config = make()
    if "per_class_thresholds" in values:
        write_image(tmp_path / "a.png")
        values = {**values, "kind": "folder", "dir": str(tmp_path)}
    config.unlabeled.also.more = unlabeled_source(**values)
    with pytest.raises(InputError, match=message):
        build_sources(config)


def test_a_folder_without_images_and_one_that_is_given_twice_are_refused(tmp_path: pathlib.Path) -> None:
    config = make_config()
    config.unlabeled.also.web = unlabeled_source(dir=str(tmp_path))
    with pytest.raises(InputError, match=str(tmp_path)):
        build_sources(config)
    write_image(tmp_path / "a.png")
    build_sources(config)
    config.unlabeled.also.copy = unlabeled_source(dir=f"{tmp_path}/../{tmp_path.name}")
    with pytest.raises(
        InputError, match=r"config\.unlabeled\.also\.web and config\.unlabeled\.also\.copy are"
    ):
        build_sources(config)


def test_thresholds_below_the_floor_of_the_records_are_refused_by_the_source() -> None:
    with pytest.raises(InputError, match=r"config\.unlabeled\.also\.rest: score thresholds down to 0\.0001"):
        build_sources(make_config(threshold=0.0001))


def write_noise(path: pathlib.Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folders(tmp_path: pathlib.Path) -> ConfigDict:
    """Two folders beside built-in data; each has a copy of the first image of val, under another name."""
    config = tiny.get_config()
    val = build_sources(config).val
    for name, count, seed in (("first", 2, 10), ("web", 3, 20)):
        for number in range(count):
            write_noise(tmp_path / name / f"{number}.png", seed + number)
        (tmp_path / name / "leak.png").write_bytes(val.read_encoded(0))
    config.unlabeled.update(kind="folder", dir=str(tmp_path / "first"))
    config.unlabeled.also.web = unlabeled_source(dir=str(tmp_path / "web"))
    return config


def test_copies_of_what_is_measured_are_left_out_of_every_source(folders: ConfigDict, capsys) -> None:
    whole = build_sources(folders).unlabeled
    assert whole is not None
    assert {"leak.png", "web/leak.png"} < set(whole.image_ids)
    folders.data.drop_leaks = True
    kept = build_sources(folders)
    assert kept.unlabeled is not None
    assert kept.unlabeled.image_ids == ("0.png", "1.png", "web/0.png", "web/1.png", "web/2.png")
    assert "0 of train, 2 unlabelled (unlabeled 1, web 1)" in capsys.readouterr().out
    assert kept.unlabeled.path is not None
    assert kept.unlabeled.path(4) == pathlib.Path(folders.unlabeled.also.web.dir) / "2.png"
    assert kept.unlabeled.read_size is not None
    assert kept.unlabeled.read_size(4) == (16, 16)
    np.testing.assert_array_equal(
        kept.unlabeled.read_image(4), np.asarray(Image.open(kept.unlabeled.path(4)).convert("RGB"))
    )


def test_a_source_of_which_nothing_is_left_is_refused(folders: ConfigDict) -> None:
    for number in range(3):
        (pathlib.Path(folders.unlabeled.also.web.dir) / f"{number}.png").unlink()
    folders.data.drop_leaks = True
    with pytest.raises(InputError, match=r"all 1 images of .*web.* are images that are measured on"):
        build_sources(folders)


def test_the_doctor_lists_every_source_as_the_run_reads_it(folders: ConfigDict, tmp_path, capsys) -> None:
    with pytest.raises(InputError, match="has errors"):
        run_doctor(folders, tmp_path)
    out = capsys.readouterr().out
    for name in ("unlabelled", "unlabelled/web"):
        assert f"val: 1 of {len(build_sources(folders).val)} images equal an image of {name}" in out
    assert "--config.data.drop_leaks=True" in out
    folders.data.drop_leaks = True
    run_doctor(folders, tmp_path)
    splits = {split["split"]: split for split in json.loads((tmp_path / "doctor.json").read_text())["splits"]}
    assert [splits[name]["num_images"] for name in ("unlabelled", "unlabelled/web")] == [2, 3]


def test_the_doctor_refuses_ids_that_two_sources_share(folders: ConfigDict, tmp_path, capsys) -> None:
    write_noise(pathlib.Path(folders.unlabeled.dir) / "web" / "0.png", 7)
    with pytest.raises(InputError, match="has errors"):
        run_doctor(folders, tmp_path)
    assert "whose ids begin with the name of a further source" in capsys.readouterr().out
    with pytest.raises(InputError, match="whose ids begin with the name of a further source"):
        build_sources(folders)
