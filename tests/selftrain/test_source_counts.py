"""Labels of several sources: counts, thresholds and quality of each are those of it alone."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from selftrain_jax.data.named_sources import join_sources
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import Manifest
from selftrain_jax.selftrain.checks import SourceThresholds, check_every_source
from selftrain_jax.selftrain.label_job import recount_labels, write_pseudo_labels
from selftrain_jax.tasks.detection.pseudo.labeller import Network, box_labeller
from selftrain_jax.tasks.detection.pseudo.quality import write_quality
from selftrain_jax.tasks.detection.pseudo.source import read_pseudo_boxes
from selftrain_jax.tasks.segmentation.pseudo.quality import write_mask_quality
from selftrain_jax.tasks.segmentation.pseudo.source import read_pseudo_masks
from selftrain_jax.types import Example
from tests.tasks.detection.pseudo import pseudo_toy
from tests.tasks.segmentation.pseudo import mask_toy

pytestmark = pytest.mark.tf

MORE = SourceThresholds(0.75, {"cat": 0.25})
DATA_SETS = {"unlabeled": "toy", "more": "other toy"}
PROVENANCE = {"teacher": {"checkpoint": "t/100", "digest": "abc", "step": 100}, "versions": {}}


def label_masks(directory: pathlib.Path, source: Source, labeller=None, **kwargs) -> Manifest:
    labeller = labeller or mask_toy.make_labeller(source)
    return write_pseudo_labels(
        directory=directory,
        source=source,
        labeller=labeller,
        categories=mask_toy.CATEGORIES,
        provenance=PROVENANCE,
        images_per_shard=4,
        max_bad_images=5,
        **kwargs,
    )


def both() -> Source:
    return join_sources({"unlabeled": mask_toy.make_source(6), "more": mask_toy.make_source(5, bad=[1])})


def label_both(directory: pathlib.Path, **kwargs) -> Manifest:
    return label_masks(directory, both(), thresholds_by_source={"more": MORE}, data_sets=DATA_SETS, **kwargs)


def test_counts_of_each_source_are_those_of_it_alone(tmp_path: pathlib.Path) -> None:
    manifest = label_both(tmp_path / "both")
    first = label_masks(tmp_path / "first", mask_toy.make_source(6))
    more = label_masks(
        tmp_path / "more",
        mask_toy.make_source(5, bad=[1]),
        threshold=MORE.threshold,
        per_class_thresholds=MORE.per_class,
    )
    assert [source.name for source in manifest.sources] == ["unlabeled", "more"]
    for entry, alone in zip(manifest.sources, (first, more), strict=True):
        assert entry.data_set == DATA_SETS[entry.name]
        assert (entry.num_images, entry.num_bad_images) == (alone.num_images, alone.num_bad_images)
        assert (entry.num_labels, entry.num_labels_at_threshold) == (
            *(alone.labels.num_labels, alone.labels.num_kept),
        )
        assert entry.per_class == alone.labels.kept_per_class
        assert (entry.threshold, entry.per_class_thresholds) == (alone.threshold, alone.per_class_thresholds)
    assert manifest.labels.num_kept == first.labels.num_kept + more.labels.num_kept
    assert manifest.num_bad_images == more.num_bad_images == 1
    assert manifest.bad_images == ("more/image-1",)
    assert first.sources == ()
    assert "sources" not in json.loads((tmp_path / "first" / "manifest.json").read_text())


def test_other_thresholds_of_a_source_are_counted_without_inference(tmp_path: pathlib.Path) -> None:
    before, source = label_both(tmp_path), both()
    (tmp_path / "quality.json").write_text("{}")
    dead = mask_toy.make_labeller(source, fail_at_chunk=0)
    counted = recount_labels(
        tmp_path, dead, threshold=0.5, per_class_thresholds={}, thresholds_by_source={"more": MORE}
    )
    assert counted == before
    assert (tmp_path / "quality.json").exists()
    lower = SourceThresholds(0.1, {})
    counted = recount_labels(
        tmp_path, dead, threshold=0.5, per_class_thresholds={}, thresholds_by_source={"more": lower}
    )
    assert counted.sources[0] == before.sources[0]
    assert counted.sources[1].num_labels_at_threshold > before.sources[1].num_labels_at_threshold
    assert counted.sources[1].num_bad_images == 1
    assert not (tmp_path / "quality.json").exists()
    again = label_masks(tmp_path, source, dead, thresholds_by_source={"more": lower}, data_sets=DATA_SETS)
    assert again == counted
    kept = recount_labels(tmp_path, dead, threshold=0.5, per_class_thresholds={})
    assert kept.sources[1].threshold == 0.1  # a set may have more sources than a run


def test_labels_that_were_killed_go_on_with_both_sources(tmp_path: pathlib.Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        label_masks(
            tmp_path / "killed",
            both(),
            mask_toy.make_labeller(both(), fail_at_chunk=3),
            thresholds_by_source={"more": MORE},
            data_sets=DATA_SETS,
        )
    resumed, whole = label_both(tmp_path / "killed"), label_both(tmp_path / "whole")
    undated = [dataclasses.replace(manifest, seconds=0.0, cost=None) for manifest in (resumed, whole)]
    assert undated[0] == undated[1]


def test_masks_are_read_at_the_thresholds_of_their_source(tmp_path: pathlib.Path) -> None:
    label_both(tmp_path)
    found = read_pseudo_masks(tmp_path, thresholds_by_source={"more": MORE})
    for index, image_id in enumerate(found.image_ids):
        mask, confidence = mask_toy.make_maps(int(image_id.rpartition("-")[2]))
        of_more = np.where(mask == 1, 64, 192)  # of 256: 0.25 for cats, else 0.75
        levels = of_more if image_id.startswith("more/") else np.full_like(of_more, 128)
        expected = np.where(confidence >= levels, mask, 255)
        np.testing.assert_array_equal(found.read_labels(index)["mask"], expected)


def test_quality_of_masks_is_that_of_each_source_and_of_known_ones_alone(tmp_path: pathlib.Path) -> None:
    def shifted(index: int) -> Example:
        mask, _ = mask_toy.make_maps(index)
        return {"image_id": f"image-{index}", "mask": np.roll(mask, 1, axis=1)}

    def truth(num: int) -> Source:
        return mask_toy.make_source(num, read_labels=shifted, categories=mask_toy.CATEGORIES)

    label_both(tmp_path / "both")
    label_masks(tmp_path / "more", mask_toy.make_source(5, bad=[1]))
    first = write_mask_quality(
        tmp_path / "more", truth(5), threshold=0.75, per_class_thresholds=MORE.per_class
    )
    sources = {"unlabeled": truth(6), "more": truth(5)}
    by_source = {"more": MORE}
    quality = write_mask_quality(tmp_path / "both", join_sources(sources), thresholds_by_source=by_source)
    assert quality.sources is not None
    assert list(quality.sources) == ["unlabeled", "more"]
    at = {name: value for name, value in first.at_threshold.items() if name != "threshold"}
    assert quality.sources["more"] == at
    known = write_mask_quality(
        tmp_path / "both", join_sources({"more": truth(5)}), thresholds_by_source=by_source
    )
    assert known.sources == {"more": at}
    assert known.at_threshold == {"threshold": 0.5, **at}


def label_boxes(directory: pathlib.Path, source: Source, **kwargs) -> Manifest:
    network = Network(pseudo_toy.load, (pseudo_toy.Teacher(),), 2, pseudo_toy.SIZE_PX, score_floor=0.05)
    return write_pseudo_labels(
        directory=directory,
        source=source,
        labeller=box_labeller(source, network, num_threads=2),
        categories=pseudo_toy.CATEGORIES,
        provenance=PROVENANCE,
        images_per_shard=4,
        **kwargs,
    )


@pytest.mark.compiles
def test_boxes_have_the_thresholds_and_the_quality_of_their_source(tmp_path: pathlib.Path) -> None:
    """In image i there is a cat of score i/100 and a dog of 0.3."""
    toy = pseudo_toy.make_source(12)
    own = SourceThresholds(0.2, {"cat": 0.08})
    kwargs = {"thresholds_by_source": {"more": own}, "threshold": 0.1}
    manifest = label_boxes(tmp_path, join_sources({"unlabeled": toy, "more": toy}), **kwargs)
    assert [entry.per_class for entry in manifest.sources] == [{"cat": 2, "dog": 12}, {"cat": 4, "dog": 12}]
    found = read_pseudo_boxes(tmp_path, **kwargs)
    kept = {id: found.read_labels(i)["classes"].tolist() for i, id in enumerate(found.image_ids)}
    assert (kept["image-9"], kept["image-10"]) == ([7], [1, 7])
    assert (kept["more/image-7"], kept["more/image-8"]) == ([7], [1, 7])

    def read_cat(index: int) -> Example:
        boxes = np.array([[2, 4, 10, 24]], np.float32)
        return {"image_id": f"image-{index}", "boxes": boxes, "classes": np.array([1], np.int32)}

    truth = dataclasses.replace(toy, categories=pseudo_toy.CATEGORIES, read_labels=read_cat)
    quality = write_quality(tmp_path, join_sources({"unlabeled": truth, "more": truth}), **kwargs)
    assert quality.sources is not None
    cats_found = {name: found["recall"] for name, found in quality.sources.items()}
    precision = {name: found["precision"] for name, found in quality.sources.items()}
    assert cats_found == {"unlabeled": 2 / 12, "more": 4 / 12}
    assert precision == {"unlabeled": 2 / 14, "more": 4 / 16}
    assert (quality.at_threshold["recall"], quality.at_threshold["precision"]) == (6 / 24, 6 / 30)


def test_a_source_without_labels_at_its_threshold_is_refused(tmp_path: pathlib.Path) -> None:
    manifest = label_masks(
        tmp_path, both(), thresholds_by_source={"more": SourceThresholds(1.0, {})}, data_sets=DATA_SETS
    )
    check_every_source(manifest, ["unlabeled"])
    with pytest.raises(
        InputError, match=r"source 'more': none of the \d+ pixels in its 4 images .* 1\. Lower"
    ):
        check_every_source(manifest, ["unlabeled", "more"])
