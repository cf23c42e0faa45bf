"""What the command's jobs do, from a config and a work folder; start at `run_job`.

Modules are imported by the job that needs them, so that a small job starts fast.
"""

import contextlib
import pathlib

from ml_collections import ConfigDict

from selftrain_jax import hosts

HOST0_JOBS = ("doctor", "report", "import_weights", "predict")  # one host does them, the others wait


def run_job(job: str, config: ConfigDict, workdir: pathlib.Path, *, stage: str = "teacher") -> None:
    """Run one job of `main.JOBS`.

    Raises:
        InputError: the user's data, config or work folder does not fit, or another run writes into it.
    """
    if job in HOST0_JOBS:
        return hosts.run_on_host0(lambda: _run_alone(job, config, workdir))
    from selftrain_jax.build.data import check_data_sets
    from selftrain_jax.jobs.workdir import claim_workdir, hold_workdir
    from selftrain_jax.tasks.lookup import get_self_training

    # Before the folder holds a config that is about to change.
    check_data_sets(config)
    if job != "pretrain":
        get_self_training(config.task)
    with hold_workdir(workdir) if hosts.host_index() == 0 else contextlib.nullcontext():
        hosts.wait_for_all()  # the folder is there
        hosts.check_shared(workdir)
        hosts.run_on_host0(lambda: claim_workdir(workdir, config))
        return _run_together(job, config, workdir, stage)


def _run_alone(job: str, config: ConfigDict, workdir: pathlib.Path) -> None:
    from selftrain_jax.jobs.workdir import claim_workdir

    if job == "doctor":
        from selftrain_jax.jobs.doctor import run_doctor

        return run_doctor(config, workdir)
    if job == "report":
        from selftrain_jax.jobs.report import run_report

        return run_report(config, workdir)
    if job == "import_weights":
        from selftrain_jax.jobs.import_weights import run_import_weights

        return run_import_weights(config, workdir)
    from selftrain_jax.jobs.predict import run_predict

    claim_workdir(workdir, config)
    return run_predict(config, workdir)


def _run_together(job: str, config: ConfigDict, workdir: pathlib.Path, stage: str) -> None:
    if job == "pretrain":
        from selftrain_jax.jobs.pretrain import run_pretrain

        return run_pretrain(config, workdir)
    from selftrain_jax.jobs import selftrain

    run = selftrain.open_run(config, workdir)
    if job == "train":
        return selftrain.train_stage(run, stage)
    if job == "pseudo_label":
        return selftrain.label_stage(run)
    if job == "evaluate":
        selftrain.evaluate_stage(run, stage)
        return selftrain.evaluate_scales(run, stage)
    if job == "thresholds":
        from selftrain_jax.jobs.thresholds import run_thresholds

        return run_thresholds(run)
    return selftrain.run_all(run)
