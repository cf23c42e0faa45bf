"""A round's teacher labels the unlabelled images; call `label_stage`."""

from selftrain_jax import hosts
from selftrain_jax.data.named_sources import of_known_sources
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json
from selftrain_jax.jobs.claims import finish_labels
from selftrain_jax.jobs.run import Run
from selftrain_jax.jobs.stage_state import result_of
from selftrain_jax.jobs.thresholds import label_thresholds
from selftrain_jax.jobs.training import begin_inputs, begin_on_host0, restore_labellers
from selftrain_jax.run_files.fields import JsonObject
from selftrain_jax.run_files.finished import describe_unfinished
from selftrain_jax.run_files.metrics import METRICS_FILE, merge_steps, read_metrics
from selftrain_jax.run_files.quality import QUALITY_FILE
from selftrain_jax.run_files.stage import StageRecord
from selftrain_jax.selftrain.label_job import recount_labels, write_pseudo_labels
from selftrain_jax.selftrain.manifest import IMAGE_IDS_FILE
from selftrain_jax.stages.graph import TEACHER, Stage
from selftrain_jax.tasks.config_values import LabelThresholds, source_thresholds
from selftrain_jax.unlabeled_sources import further_sources


def label_stage(run: Run, stage: Stage) -> None:
    """Let a round's teacher, or all models so far, label; measure the labels where the truth is known.

    Finished labels are counted again where the thresholds have changed, without inference.

    Raises:
        InputError: a teacher is not trained, or the folder holds other labels.
    """
    config, directory = run.config, run.workdir / stage.folder
    if run.sources.unlabeled is None:
        raise InputError("config.unlabeled.kind=none: this is a supervised run, there is nothing to label")
    begin_inputs(run, stage)
    if stage.round == 1:
        hosts.run_on_host0(lambda: _warn_of_unfinished(run))
    models = restore_labellers(run, stage)
    record = begin_on_host0(run, stage)
    labeller = run.predictor.labeller(models, run.sources.unlabeled)
    chosen = label_thresholds(run, stage, models)
    thresholds: JsonObject = {
        "threshold": config.pseudo.threshold,
        "per_class_thresholds": dict(chosen.per_class),
        "thresholds_by_source": source_thresholds(config, chosen),
    }
    if record.results:
        manifest = recount_labels(directory, labeller, **thresholds)
    else:
        manifest = write_pseudo_labels(
            directory=directory,
            source=run.sources.unlabeled,
            labeller=labeller,
            categories=run.sources.human.categories,
            provenance=_provenance(run, stage, record),
            data_sets=run.sources.data_sets,
            images_per_shard=config.pseudo.images_per_shard,
            max_bad_images=config.data.max_bad_images,
            **thresholds,
        )
        hosts.run_on_host0(lambda: finish_labels(run, stage, record).to_json())
    hosts.run_on_host0(lambda: _measure_labels(run, stage, chosen))
    hosts.log(f"{stage.folder.replace('_', ' ')}: {run.self_training.describe_labels(config, manifest)}")


def _warn_of_unfinished(run: Run) -> None:
    """Say before the labels are made that their teacher would still gain by training on."""
    metric = run.task.metrics[0]
    rows = read_metrics(run.workdir / TEACHER.folder / METRICS_FILE, skip_damaged=True)
    if found := describe_unfinished(merge_steps(rows), f"eval/{metric.key}", metric.name):
        print(f"warning: {found}", flush=True)


def _provenance(run: Run, stage: Stage, record: StageRecord) -> JsonObject:
    *earlier, teacher = (_identify(run, model) for model in run.labellers_of(stage))
    return {
        "teacher": teacher,
        **({"earlier_models": earlier} if earlier else {}),
        **run.self_training.label_settings(run.config),
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
