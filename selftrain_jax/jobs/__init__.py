"""What the command's jobs do, from a config and a work folder; start at `run_job`.

Modules are imported by the job that needs them, so that a small job starts fast.
"""

import pathlib

from ml_collections import ConfigDict


def run_job(job: str, config: ConfigDict, workdir: pathlib.Path, *, stage: str = "teacher") -> None:
    """Run one job of `main.JOBS`.

    Raises:
      InputError: the user's data, config or work folder does not fit.
    """
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
    if job != "predict":  # which needs no data set
        from selftrain_jax.build_data import check_data_sets

        check_data_sets(config)  # before the folder holds a config that is about to change
    claim_workdir(workdir, config)
    if job == "predict":
        from selftrain_jax.jobs.predict import run_predict

        return run_predict(config, workdir)
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
    return selftrain.run_all(run)
