"""What the command's jobs do, from a config and a work folder; start at `run_job`.

Modules are imported by the job that needs them, so that a small job starts fast.
"""

import contextlib
import pathlib
import sys

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.jobs.options import Options

REVIEW_JOBS = ("export_labels", "import_corrections")
# One host does them, the others wait.
HOST0_JOBS = ("doctor", "convert", "gold", "report", "import_weights", "predict", "export")


def run_job(job: str, config: ConfigDict, workdir: pathlib.Path, options: Options | None = None) -> None:
    """Run one job of `main.JOBS`.

    Raises:
        InputError: the user's data, config or work folder does not fit, or another run writes into it.
    """
    options = options or Options()
    if job in HOST0_JOBS:
        return hosts.run_on_host0(lambda: _run_alone(job, config, workdir, options))
    if job == "plan":
        from selftrain_jax.jobs.plan import run_plan

        return run_plan(config, workdir, options, sys.argv)
    from selftrain_jax.build.data import check_data_sets
    from selftrain_jax.jobs.workdir import hold_workdir
    from selftrain_jax.tasks.lookup import get_self_training

    # Before there is a folder at all.
    check_data_sets(config)
    if job != "pretrain":
        get_self_training(config.task)
    with hold_workdir(workdir) if hosts.host_index() == 0 else contextlib.nullcontext():
        hosts.wait_for_all()  # the folder is there
        hosts.check_shared(workdir)
        return _run_together(job, config, workdir, options)


def _run_alone(job: str, config: ConfigDict, workdir: pathlib.Path, options: Options) -> None:
    if job == "doctor":
        from selftrain_jax.jobs.doctor import run_doctor

        return run_doctor(config, workdir)
    if job == "gold":
        from selftrain_jax.jobs.gold import run_gold

        return run_gold(config)
    if job == "convert":
        from selftrain_jax.jobs.convert_data import run_convert

        return run_convert(config)
    if job == "import_weights" and config.import_weights.name:
        from selftrain_jax.jobs.named_weights import run_import_named

        return run_import_named(config, workdir)
    if job == "import_weights":
        from selftrain_jax.jobs.import_weights import run_import_weights

        return run_import_weights(config, workdir)
    from selftrain_jax.jobs.steering import variant_folder

    folder = variant_folder(workdir, options.variant)
    if job == "report":
        from selftrain_jax.jobs.report import run_report

        return run_report(config, folder)
    if job == "export":
        from selftrain_jax.jobs.export import run_export

        return run_export(config, folder)
    from selftrain_jax.jobs.predict import run_predict

    return run_predict(config, folder)


def _run_together(job: str, config: ConfigDict, workdir: pathlib.Path, options: Options) -> None:
    if job == "pretrain":
        from selftrain_jax.jobs.pretrain import run_pretrain

        return run_pretrain(config, workdir)
    if job == "evaluate_released":
        from selftrain_jax.jobs.released import run_evaluate_released

        return run_evaluate_released(config, workdir)
    from selftrain_jax.jobs import evaluation, labels, preset, selftrain, starts, steering, training
    from selftrain_jax.stages.graph import Stage

    config = starts.settle_starts(config, workdir, options)
    if job == "search":
        from selftrain_jax.jobs.search import run_search

        return run_search(config, workdir, options)
    if job == "import_predictions":
        from selftrain_jax.jobs.import_predictions import run_import_predictions

        return run_import_predictions(config, workdir, options)
    run = steering.open_prepared(config, workdir, options)
    stage = Stage(options.stage, options.round)
    if job == "train":
        if stage.kind == "student":  # its labels, counted at the thresholds in use
            training.require_finished(run, Stage("labels", stage.round))
            labels.label_stage(run, Stage("labels", stage.round))
        return training.train_stage(run, stage)
    if job == "pseudo_label":
        return labels.label_stage(run, Stage("labels", options.round))
    if job == "evaluate":
        training.require_finished(run, stage)
        training.begin_on_host0(run, stage)
        return evaluation.evaluate_stage(run, stage, again=True)
    if job == "thresholds":
        from selftrain_jax.jobs.thresholds import run_thresholds

        return run_thresholds(run, Stage("labels", options.round))
    if job == "views":
        from selftrain_jax.jobs.views import run_views

        return run_views(run, Stage("labels", options.round))
    if job == "select":
        from selftrain_jax.jobs.select import run_select

        return run_select(run, stage)
    if job in REVIEW_JOBS:
        from selftrain_jax.jobs import review

        do = review.export_labels if job == "export_labels" else review.import_corrections
        return hosts.run_on_host0(lambda: do(run, Stage("labels", options.round)))
    preset.announce_preset(run)
    return selftrain.run_all(run)
