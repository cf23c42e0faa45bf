"""Pseudo labels go out to people and come back: `export_labels` and `import_corrections`.

What comes back is a layer over the labels (`run_files.corrections`); `corrections_in_use` tells which one a
student uses. The labels themselves never change.
"""

import dataclasses
import datetime
import pathlib
from collections.abc import Mapping, Sequence
from contextlib import closing

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.data.source import subset
from selftrain_jax.errors import InputError
from selftrain_jax.io import hash_file, write_json
from selftrain_jax.jobs.corrections import require_review
from selftrain_jax.jobs.run import Run, restore_stage
from selftrain_jax.jobs.stage_state import locate, result_of, thresholds_in_use
from selftrain_jax.jobs.training import require_finished
from selftrain_jax.run_files.corrections import (
    Corrections,
    Layer,
    ReviewedImage,
    StoredLayer,
    corrections_folder,
    count_outcomes,
    layer_path,
    read_layers,
    reviewed_images,
)
from selftrain_jax.run_files.review import REVIEW_FILE, Review, read_review
from selftrain_jax.selftrain.corrections import error_rate, format_rate
from selftrain_jax.selftrain.inference import Inferred, chunks_in_order
from selftrain_jax.stages.graph import Stage
from selftrain_jax.tasks.config_values import LabelThresholds
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Example

REVIEW_FOLDER = "review"  # in the work folder, where config.review.output names no other
REMOVED = ("background", "ignore")


def export_labels(run: Run, labels: Stage) -> None:
    """Write a round's pseudo labels, or a chosen part, for an annotation tool.

    Raises:
        InputError: the labels are not finished, or as the task's `HumanReview.export`.
    """
    review = require_review(run.self_training, run.config.task)
    assert run.sources.unlabeled is not None  # else there are no labels
    require_finished(run, labels)
    result = result_of(run, labels)
    assert result is not None
    folder = locate(run, labels)
    layers = read_layers(folder)
    chosen = thresholds_in_use(run, Stage("student", labels.round))
    if chosen is None:
        raise InputError(
            "the labels' thresholds come from the teacher's calibration, which is not there; run "
            "--job=pseudo_label first"
        )
    said = review.export(
        run.config,
        labels=folder,
        source=run.sources.unlabeled,
        thresholds=LabelThresholds(*chosen),
        output=_output(run),
        label_set=result.digest,
        layer=layers[-1].digest if layers else "",
        reviewed=reviewed_images([stored.layer for stored in layers]),
        detect=lambda image_ids: _detect(run, Stage("student", labels.round), image_ids),
    )
    hosts.log(said)


def _output(run: Run) -> pathlib.Path:
    named = run.config.review.output
    return pathlib.Path(named).absolute() if named else run.workdir.absolute() / REVIEW_FOLDER


def _detect(run: Run, student: Stage, image_ids: Sequence[str]) -> Mapping[str, Example]:
    """Run a trained student on unlabelled images; those that do not decode are left out."""
    require_finished(run, student)
    assert run.sources.unlabeled is not None
    positions = {image_id: index for index, image_id in enumerate(run.sources.unlabeled.image_ids)}
    source = subset(run.sources.unlabeled, [positions[image_id] for image_id in image_ids])
    labeller = run.predictor.labeller([restore_stage(run, locate(run, student))], source)
    found: dict[str, Example] = {}
    with closing(labeller.infer(chunks_in_order(len(source), labeller.batch_size))) as chunks:
        for _, images in chunks:
            found |= {
                image.labels["image_id"]: image.labels for image in images if isinstance(image, Inferred)
            }
    if missing := [image_id for image_id in image_ids if image_id not in found]:
        raise InputError(
            f"{len(missing)} images do not decode any more: {shorten_list(missing)}. Restore them."
        )
    return found


def import_corrections(run: Run, labels: Stage) -> None:
    """Read corrections back and store them as a layer over a round's labels.

    Raises:
        InputError: the file is of other labels, of an older state of them, or says nothing new; or as the
            task's `HumanReview.read_corrections`.
    """
    review = require_review(run.self_training, run.config.task)
    settings = run.config.review
    _check(settings)
    require_finished(run, labels)
    result = result_of(run, labels)
    assert result is not None
    file, folder = pathlib.Path(settings.file).absolute(), locate(run, labels)
    sent_path = _find_review(run, file)
    sent, sent_digest = read_review(sent_path), hash_file(sent_path)
    layers = read_layers(folder)
    _check_set(sent, sent_path, result.digest, layers)
    found = review.read_corrections(
        file, sent, sent_digest, removed=settings.removed, confirmed=settings.confirmed, by=settings.by
    )
    new = _new_images(found, sent_digest, reviewed_images([stored.layer for stored in layers]))
    if not new:
        raise InputError(_explain_nothing(found, file))
    layer = Layer(
        label_set=result.digest,
        below=layers[-1].digest if layers else "",
        review=sent_digest,
        file=str(file),
        file_digest=found.file_digest,
        format=found.format,
        imported=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        settings={"removed": settings.removed, "confirmed": settings.confirmed},
        images=tuple(new),
    )
    path = layer_path(corrections_folder(folder), len(layers) + 1)
    path.parent.mkdir(exist_ok=True)
    write_json(path, layer.to_json())
    hosts.log(_describe(layer, found, len(layers) + 1, path, sent))


def _check(settings: ConfigDict) -> None:
    if not settings.file:
        raise InputError(
            "config.review.file is empty; name what the tool exported, --config.review.file=PATH"
        )
    if settings.removed not in REMOVED:
        raise InputError(f"config.review.removed={settings.removed!r} is not one of {', '.join(REMOVED)}")


def _find_review(run: Run, file: pathlib.Path) -> pathlib.Path:
    """Find what went out: in config.review.output, with the file, else in the work folder."""
    if run.config.review.output:
        return _output(run) / REVIEW_FILE
    places = [file if file.is_dir() else file.parent, _output(run)]
    found = next((place / REVIEW_FILE for place in places if (place / REVIEW_FILE).is_file()), None)
    if found is None:
        raise InputError(
            f"no {REVIEW_FILE} is in {' or '.join(map(str, places))}: what went out must be known to tell "
            "what was changed. Name the folder of the export by --config.review.output=DIR"
        )
    return found


def _check_set(sent: Review, path: pathlib.Path, label_set: str, layers: Sequence[StoredLayer]) -> None:
    if sent.label_set != label_set:
        raise InputError(
            f"{path} went out with another set of pseudo labels ({sent.label_set}) than this run's "
            f"({label_set}); import it where that set is, or export these labels and correct them"
        )
    if sent.layer and sent.layer not in [stored.digest for stored in layers]:
        raise InputError(
            f"{path} went out after corrections ({sent.layer[:12]}) that are not among the {len(layers)} "
            "layers of these labels; restore that layer, or export again"
        )


def _new_images(found: Corrections, review: str, known: Mapping[str, ReviewedImage]) -> list[ReviewedImage]:
    """Leave out what an import of the same review has stored. Raises: InputError where another one has."""
    conflicts = [
        image.image_id
        for image in found.reviewed
        if image.image_id in known and known[image.image_id].review != review
    ]
    if conflicts:
        raise InputError(
            f"{len(conflicts)} of the {len(found.reviewed)} images were corrected in the meantime by another "
            f"review: {shorten_list(conflicts)}. These corrections are of an older layer; leave the images "
            "out of the file, or export again and correct what is there now."
        )
    return [image for image in found.reviewed if not _is_known(image, known.get(image.image_id))]


def _is_known(image: ReviewedImage, known: ReviewedImage | None) -> bool:
    """Tell whether an image's boxes are stored as they are; who said so, and when, may be another."""
    return known is not None and dataclasses.replace(image, by=known.by, at=known.at) == known


def _explain_nothing(found: Corrections, file: pathlib.Path) -> str:
    if found.reviewed:
        return f"{file}: its {len(found.reviewed)} reviewed images have been imported before, as they are"
    return (
        f"{file}: none of its {found.num_images} images was changed or submitted. If all of them were looked "
        "at and are right, say so by --config.review.confirmed=True"
    )


def _describe(layer: Layer, found: Corrections, number: int, path: pathlib.Path, sent: Review) -> str:
    """Say what was imported, and how often the teacher was wrong in it."""
    names = dict(sent.categories)
    images = {image.image_id: image for image in layer.images}
    lines = [
        f"corrections, layer {number}: {len(images)} of {len(sent.images)} images that went out were "
        f"reviewed ({found.format}); they count as human, the others stay pseudo"
    ]
    for class_id, counts in count_outcomes(images).items():
        listed = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        rate = error_rate(counts)
        wrong = "" if rate is None else f"; wrong {format_rate(rate)}"
        lines.append(f"  {names[class_id]}: {listed}{wrong}")
    lines.append(f"written: {path}; a student uses it by --variant=reviewed --config.pseudo.corrections=last")
    return "\n".join(lines)
