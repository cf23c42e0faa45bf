"""A round's teacher, other models' predictions or both label the unlabelled images; call `label_stage`."""

import functools
from collections.abc import Iterator, Sequence

from selftrain_jax import hosts
from selftrain_jax.data.named_sources import of_known_sources
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json
from selftrain_jax.jobs.claims import finish_labels
from selftrain_jax.jobs.run import Run
from selftrain_jax.jobs.stage_state import locate, result_of
from selftrain_jax.jobs.thresholds import label_thresholds
from selftrain_jax.jobs.training import begin_inputs, begin_on_host0, restore_labellers
from selftrain_jax.run_files.fields import JsonObject
from selftrain_jax.run_files.finished import describe_unfinished
from selftrain_jax.run_files.manifest import MANIFEST_FILE
from selftrain_jax.run_files.metrics import METRICS_FILE, merge_steps, read_metrics
from selftrain_jax.run_files.quality import QUALITY_FILE
from selftrain_jax.run_files.stage import StageRecord
from selftrain_jax.selftrain.foreign.labels import ForeignLabels, Teacher
from selftrain_jax.selftrain.label_job import pair_with_found, recount_labels, write_pseudo_labels
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.selftrain.manifest import IMAGE_IDS_FILE
from selftrain_jax.stages.graph import TEACHER, Stage
from selftrain_jax.tasks.config_values import LabelThresholds, source_thresholds
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Example, Variables
from selftrain_jax.unlabeled_sources import further_sources


def label_stage(run: Run, stage: Stage) -> None:
    """Let a round's teacher, all models so far or other models' predictions (config.pseudo.labels) label.

    The labels are measured where the truth is known.

    Finished labels are counted again where the thresholds have changed, without inference. Where shards and
    the manifest were deleted because they were damaged, these shards are made again.

    Raises:
        InputError: a teacher is not trained, or the folder holds other labels.
    """
    config, directory = run.config, run.workdir / stage.folder
    if run.sources.unlabeled is None:
        raise InputError("config.unlabeled.kind=none: this is a supervised run, there is nothing to label")
    begin_inputs(run, stage)
    if stage.round == 1 and run.labellers_of(stage):
        hosts.run_on_host0(lambda: _warn_of_unfinished(run))
    models = restore_labellers(run, stage)
    is_finished = hosts.run_on_host0(lambda: _is_finished(run, stage))
    foreign = None if is_finished else run.foreign
    record = begin_on_host0(run, stage)
    chosen = label_thresholds(run, stage, models)
    thresholds: JsonObject = {
        "threshold": config.pseudo.threshold,
        "per_class_thresholds": dict(chosen.per_class),
        "thresholds_by_source": source_thresholds(config, chosen),
    }
    if is_finished:
        manifest = recount_labels(
            directory, run.predictor.labeller(models, run.sources.unlabeled), **thresholds
        )
    else:
        source, labeller, provenance = _choose_labeller(run, stage, record, models, foreign)
        manifest = write_pseudo_labels(
            directory=directory,
            source=source,
            labeller=labeller,
            categories=run.sources.human.categories,
            provenance=provenance,
            data_sets=run.sources.data_sets,
            images_per_shard=config.pseudo.images_per_shard,
            max_bad_images=config.data.max_bad_images,
            **thresholds,
        )
        hosts.run_on_host0(lambda: finish_labels(run, stage, record).to_json())
    hosts.run_on_host0(lambda: _measure_labels(run, stage, chosen))
    hosts.log(f"{stage.folder.replace('_', ' ')}: {run.self_training.describe_labels(config, manifest)}")


def _is_finished(run: Run, stage: Stage) -> bool:
    return result_of(run, stage) is not None and (locate(run, stage) / MANIFEST_FILE).exists()


def _choose_labeller(
    run: Run, stage: Stage, record: StageRecord, models: Sequence[Variables], foreign: ForeignLabels | None
) -> tuple[Source, Labeller, JsonObject]:
    """Return the images to label, what labels them (models, other models' predictions, or both), and who."""
    unlabeled = run.sources.unlabeled
    assert unlabeled is not None  # else there is no such stage
    ours = run.predictor.labeller(models, unlabeled) if models else None
    if foreign is None:
        assert ours is not None  # without other models' predictions there is a teacher
        return unlabeled, ours, _provenance(run, stage, record)
    for line in foreign.lines:
        hosts.log(line)
    on_val = functools.partial(_label_val, run, models)
    labeller, described = foreign.label_with(Teacher(ours, on_val) if ours else None)
    for line in _describe_weights(described):
        hosts.log(line)
    labelled = _provenance(
        run, stage, record, {"labels": run.config.pseudo.labels, "foreign": list(described)}
    )
    return foreign.source, labeller, labelled


def _label_val(run: Run, models: Sequence[Variables]) -> Iterator[tuple[Example, Example]]:
    """Give the (truth, found) labels of val, for what our models count among others."""
    return pair_with_found(run.sources.val, run.predictor.labeller(models, run.sources.val))


def _describe_weights(described: Sequence[JsonObject]) -> list[str]:
    """Say what each of several models counts for, by class, where that is not the same for all."""
    weights = [model["weights"] for model in described]
    if len(weights) < 2 or all(value == 1 for own in weights for value in own.values()):
        return []
    listed = [[f"{name} {weight:.2f}" for name, weight in own.items()] for own in weights]
    return [
        f"weight of {model['model']}: {shorten_list(texts, 10)}"
        for model, texts in zip(described, listed, strict=True)
    ]


def _warn_of_unfinished(run: Run) -> None:
    """Say before the labels are made that their teacher would still gain by training on."""
    metric = run.task.metrics[0]
    rows = read_metrics(run.workdir / TEACHER.folder / METRICS_FILE, skip_damaged=True)
    if found := describe_unfinished(merge_steps(rows), f"eval/{metric.key}", metric.name):
        print(f"warning: {found}", flush=True)


def _provenance(run: Run, stage: Stage, record: StageRecord, foreign: JsonObject | None = None) -> JsonObject:
    models = [_identify(run, model) for model in run.labellers_of(stage)]
    teacher, earlier = (models[-1] if models else None), models[:-1]
    settings = dict(run.self_training.label_settings(run.config))
    if foreign is not None:  # what was merged does not have the teacher's settings any more
        settings = {"teacher_settings": settings} if teacher else {}
    return {
        **({"teacher": teacher} if teacher else {}),
        **({"earlier_models": earlier} if earlier else {}),
        **(foreign or {}),
        **settings,
        "config": run.config.to_dict(),
        "versions": dict(record.versions),
    }


def _identify(run: Run, model: Stage) -> JsonObject:
    result = hosts.run_on_host0(lambda: vars(result_of(run, model)))
    return {
        "checkpoint": f"{model.folder}/checkpoints/{result['step']}",
        "digest": result["digest"],
        "step": result["step"],
    }


def _measure_labels(run: Run, stage: Stage, thresholds: LabelThresholds) -> None:
    """Compare finished pseudo labels with the truth where it is known, once a threshold."""
    truth, directory = run.sources.unlabeled_truth, run.workdir / stage.folder
    if truth is None or (directory / QUALITY_FILE).exists():
        return
    labelled = read_json(directory / IMAGE_IDS_FILE, "it is written with manifest.json; label again")
    names = further_sources(run.config)
    if more := set(of_known_sources(labelled, truth.image_ids, names)) - set(truth.image_ids):
        print(f"the labels' quality is not measured: {len(more)} of their images are not this run's")
        return
    run.self_training.write_quality(run.config, directory, truth, thresholds)
