"""`--job=select`: which unlabelled images a person should label next; call `run_select`."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from selftrain_jax import hosts
from selftrain_jax.augment.policies import make_inference_resize
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.html.galleries import Picture
from selftrain_jax.io import read_json
from selftrain_jax.jobs.human_counts import count_human
from selftrain_jax.jobs.model_labels import ModelLabels, open_model_labels
from selftrain_jax.jobs.run import Run, restore_stage
from selftrain_jax.jobs.selection_files import place_files, summarise, write_selection
from selftrain_jax.jobs.stage_state import locate, result_of
from selftrain_jax.jobs.training import require_finished
from selftrain_jax.run_files.arms import ORACLE
from selftrain_jax.run_files.selection import (
    REMEDY,
    SELECTION_FILE,
    SelectedImage,
    Selection,
    SelectionSettings,
)
from selftrain_jax.selection.choose import DIVERSITY, Chosen, choose, parse_criteria
from selftrain_jax.selection.criteria import class_weights
from selftrain_jax.selection.embedding import Embedder, Looked, look_at, only
from selftrain_jax.selection.page import MAX_PICTURES, SIDE_PX, caption_of, explain
from selftrain_jax.stages.graph import Stage
from selftrain_jax.text import shorten_list
from selftrain_jax.train.sharding import jit_predict, local_mesh, shard_state
from selftrain_jax.types import Variables

SCORED = ("uncertainty", "rarity")  # from the model's labels


class Scored(NamedTuple):
    """What a model's labels say of the candidates."""

    scores: Mapping[str, Float[np.ndarray, " N"]]  # by criterion
    rarest: tuple[str, ...]  # of each candidate the class that most of its rarity is from; "" without labels


def run_select(run: Run, stage: Stage) -> None:
    """Choose config.select.budget unlabelled images by a trained stage; write what to label, and a page.

    Raises:
        InputError: a setting does not fit, there are fewer unlabelled images, the stage is not trained, or
            config.select.output holds another selection.
    """
    source = _check_settings(run, stage)
    require_finished(run, stage)
    variables = restore_stage(run, locate(run, stage))
    hosts.log(hosts.run_on_host0(lambda: _select(run, stage, variables, source)))


def _check_settings(run: Run, stage: Stage) -> Source:
    """Return the unlabelled images. Raises: InputError where config.select does not fit them."""
    settings, source = run.config.select, run.sources.unlabeled
    parse_criteria(settings.by)
    if source is None:
        raise InputError(
            "config.unlabeled.kind=none: there are no unlabelled images to choose among; name them, as "
            "--config.unlabeled.kind=folder --config.unlabeled.dir=FOLDER"
        )
    if stage.kind == ORACLE:
        raise InputError(
            "--stage=oracle has learnt the labels of the unlabelled images; choose by the teacher or student"
        )
    if settings.budget < 1:
        raise InputError(
            f"config.select.budget={settings.budget}; expected how many images to label next, as "
            "--config.select.budget=50"
        )
    if settings.budget > len(source):
        raise InputError(
            f"config.select.budget={settings.budget}, but {source.name} has {len(source)} images; lower it, "
            "or name more unlabelled images"
        )
    least = {"pool_factor": 1, "max_distance": -1, "seed": 0}
    if wrong := [key for key, bound in least.items() if settings[key] < bound]:
        key = wrong[0]
        raise InputError(f"config.select.{key}={settings[key]}; expected {least[key]} or more")
    return source


def _select(run: Run, stage: Stage, variables: Variables, source: Source) -> str:
    """Do all on this host; return what to say."""
    settings = _describe(run, stage)
    output = Path(run.config.select.output) if run.config.select.output else run.workdir / "selection"
    _refuse_other(output / SELECTION_FILE, settings)
    labels = open_model_labels(run, stage, variables, source)
    embedder = _embedder(run, variables) if DIVERSITY in settings.by else None
    human, found = (_look(run, images, embedder) for images in (run.sources.human, source))
    kept = [
        position
        for position, index in enumerate(found.indices)
        if labels.known_ids is None or source.image_ids[index] in labels.known_ids
    ]
    indices = [found.indices[position] for position in kept]
    human_counts = count_human(run)
    scored = _score(run, settings.by, labels, indices, human_counts)
    chosen = choose(
        settings.by,
        settings.budget,
        scores=scored.scores,
        candidates=only(found.looks, kept),
        labelled=human.looks,
        seed=settings.seed,
        pool_factor=settings.pool_factor,
        max_distance=settings.max_distance,
    )
    ids = [indices[candidate] for candidate in chosen.indices]
    selection = Selection(
        settings=settings,
        source=source.name,
        num_labelled=len(run.sources.human),
        num_unlabelled=len(source),
        num_undecodable=len(source) - len(indices),
        like_labelled=chosen.like_labelled,
        like_chosen=chosen.like_chosen,
        radius_before=_finite(chosen.radius[0]) if chosen.radius else None,
        radius_after=_finite(chosen.radius[1]) if chosen.radius else None,
        chosen=_describe_images(place_files(source, ids, output), chosen, scored),
    )
    pictures = _draw(run, source, ids, labels, selection)
    write_selection(output, selection, pictures, human_counts)
    return summarise(selection, output)


def _describe(run: Run, stage: Stage) -> SelectionSettings:
    settings, result = run.config.select, result_of(run, stage)
    assert result is not None  # `require_finished` has seen to it
    return SelectionSettings(
        budget=settings.budget,
        by=parse_criteria(settings.by),
        pool_factor=settings.pool_factor,
        max_distance=settings.max_distance,
        seed=settings.seed,
        model=f"{stage.folder}/checkpoints/{result.step}",
        digest=result.digest,
        labelled_images=run.data_digests["human"],
        unlabelled_images=run.data_digests["unlabeled"],
    )


def _refuse_other(path: Path, settings: SelectionSettings) -> None:
    """See that no other selection is overwritten, which somebody may be labelling. Raises: InputError."""
    if not path.exists():
        return
    found = Selection.from_json(read_json(path, REMEDY), path).settings
    changed = [
        f"{field.name}: {getattr(found, field.name)} then, {getattr(settings, field.name)} now"
        for field in dataclasses.fields(settings)
        if getattr(found, field.name) != getattr(settings, field.name)
    ]
    if changed:
        raise InputError(
            f"{path} is another selection ({'; '.join(changed)}). Name another folder by "
            "--config.select.output=FOLDER, or delete it."
        )


def _embedder(run: Run, variables: Variables) -> Embedder:
    """Compile the backbone for this host's devices and part of the batch."""
    mesh, features = local_mesh(run.experiment.mesh), run.experiment.task.features
    assert features is not None  # of a task with pseudo labels
    placed, embed = shard_state(mesh, variables), jit_predict(mesh, features)
    return Embedder(
        load=make_inference_resize(run.config.image.size_px),
        embed=lambda inputs: embed(placed, inputs),
        batch_size=run.config.eval.batch_size // hosts.count(),
        image_size_px=run.config.image.size_px,
    )


def _look(run: Run, source: Source, embedder: Embedder | None) -> Looked:
    """Look at a source's images. Raises: InputError where too many do not decode."""
    what = "read" if embedder is None else "read and embedded by the backbone"
    print(f"select: {len(source):,} images of {source.name} are {what}", flush=True)
    looked, most = look_at(source, embedder), run.config.data.max_bad_images
    if len(looked.errors) > most:
        raise InputError(
            f"{len(looked.errors)} images of {source.name} do not decode, allowed are {most}: "
            f"{shorten_list([str(error) for error in looked.errors])}. Repair or remove them, or raise "
            "config.data.max_bad_images."
        )
    return looked


def _score(
    run: Run, by: Sequence[str], labels: ModelLabels, indices: Sequence[int], human_counts: Mapping[str, int]
) -> Scored:
    """Score the candidates by the criteria that are about labels, where one is asked for."""
    if not set(by) & set(SCORED):
        return Scored({}, ("",) * len(indices))
    print(f"select: what the model finds in {len(indices):,} images, from {labels.origin}", flush=True)
    categories = run.sources.human.categories
    num_classes = max(category.id for category in categories) + 1
    found = [run.self_training.score_labels(example, num_classes) for example in labels.read(indices)]
    counts, names = np.zeros(num_classes), [""] * num_classes
    for class_id, name in categories:
        counts[class_id], names[class_id] = human_counts[name], name
    shares = np.array([image.presence for image in found]).reshape(-1, num_classes) * class_weights(counts)
    scores = {"uncertainty": np.array([image.uncertainty for image in found]), "rarity": shares.sum(1)}
    rarest = tuple(names[share.argmax()] if share.any() else "" for share in shares)
    return Scored({criterion: scores[criterion] for criterion in by if criterion in scores}, rarest)


def _describe_images(files: Mapping[str, Path], chosen: Chosen, scored: Scored) -> tuple[SelectedImage, ...]:
    """Return the chosen images, whose files are in their order, with their scores and why each was chosen."""
    images = []
    for number, ((image_id, path), candidate) in enumerate(zip(files.items(), chosen.indices, strict=True)):
        scores = {name: float(values[candidate]) for name, values in scored.scores.items()}
        places = {name: 1 + int((values > values[candidate]).sum()) for name, values in scored.scores.items()}
        distance = _finite(chosen.distances[number]) if chosen.distances else None
        scores |= {} if distance is None else {DIVERSITY: distance}
        rarest = scored.rarest[candidate]
        images.append(
            SelectedImage(
                rank=number + 1,
                image_id=image_id,
                path=str(path),
                reason=explain(scores, places, len(scored.rarest), rarest),
                rarest_class=rarest or None,
                **scores,
            )
        )
    return tuple(images)


def _draw(
    run: Run, source: Source, ids: Sequence[int], labels: ModelLabels, selection: Selection
) -> list[Picture]:
    """Draw what the model finds in the first chosen images."""
    shown, categories = ids[:MAX_PICTURES], run.sources.human.categories
    draw, pictures = run.self_training.draw_labels, []
    for image, index, found in zip(selection.chosen, shown, labels.read(shown), strict=False):
        drawn = draw(run.config, source.read_image(index), found, categories, SIDE_PX)
        pictures.append(Picture(drawn, caption_of(image), image.image_id))
    return pictures


def _finite(distance: float) -> float | None:
    return distance if np.isfinite(distance) else None
