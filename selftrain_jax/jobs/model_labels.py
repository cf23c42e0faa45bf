"""What a trained stage finds in unlabelled images: its pseudo labels, or else new inference.

Call `open_model_labels`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from selftrain_jax.data.source import Source, subset
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.run import Run
from selftrain_jax.jobs.stage_state import locate, result_of
from selftrain_jax.selftrain.inference import chunks_in_order
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.selftrain.records import open_records
from selftrain_jax.stages.graph import TEACHER, Stage
from selftrain_jax.types import Example, Variables


class ModelLabels(NamedTuple):
    """Labels down to the floor of the scores, thresholds not applied."""

    read: Callable[[Sequence[int]], Iterator[Example]]  # by index in the unlabelled source, in order
    known_ids: frozenset[str] | None  # of the images that have labels; None: all can be labelled
    origin: str  # for messages


def open_model_labels(run: Run, stage: Stage, variables: Variables, source: Source) -> ModelLabels:
    """Open the labels that a stage has made of `source`, or make them when they are read.

    Raises:
        InputError: the records are damaged; from `read`: an image does not decode.
    """
    records = _find_records(run, stage)
    if records is None:
        return ModelLabels(lambda indices: _infer(run, variables, source, indices), None, "new inference")
    positions = {image_id: position for position, image_id in enumerate(records.image_ids)}

    def read(indices: Sequence[int]) -> Iterator[Example]:
        return (records.read_labels(positions[source.image_ids[index]]) for index in indices)

    return ModelLabels(read, frozenset(positions), records.name)


def _find_records(run: Run, stage: Stage) -> Source | None:
    """Return the finished labels by the weights of a stage, if there are any."""
    if stage != TEACHER and stage.kind != "student":
        return None
    labels = Stage("labels", 1 if stage == TEACHER else stage.round + 1)
    made, model = result_of(run, labels), result_of(run, stage)
    if made is None or model is None:
        return None
    directory = locate(run, labels)
    manifest = read_manifest(directory, run.self_training.label_totals)
    match manifest.provenance.get("teacher"):
        case {"digest": model.digest}:
            return open_records(directory, manifest, max_damaged=run.config.data.max_bad_images)
    return None


def _infer(run: Run, variables: Variables, source: Source, indices: Sequence[int]) -> Iterator[Example]:
    labeller = run.predictor.labeller([variables], subset(source, indices))
    with closing(labeller.infer(chunks_in_order(len(indices), labeller.batch_size))) as inferred:
        for image in (image for _, images in inferred for image in images):
            if isinstance(image, InputError):
                raise image
            yield image.labels
