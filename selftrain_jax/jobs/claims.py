"""A stage's record on disk: written when the stage begins, completed when it is finished.

All this runs on host 0.
"""

import pathlib

from selftrain_jax.io import write_json
from selftrain_jax.jobs.run import Run
from selftrain_jax.jobs.stage_state import (
    LABELS,
    disagreements,
    explain_ways_out,
    locate,
    wanted_evaluation,
    wanted_record,
)
from selftrain_jax.named_arrays import digest
from selftrain_jax.run_files.stage import EVALUATION_STAGE_FILE, StageRecord, StageResult
from selftrain_jax.run_files.variants import CONFIG_FILE
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.stages.folders import share
from selftrain_jax.stages.graph import Stage
from selftrain_jax.stages.inputs import label_set_digest
from selftrain_jax.stages.records import differences, finish, read_record, refuse, write_record
from selftrain_jax.train.checkpoint import find_score, find_step, restore_whole


def begin(run: Run, stage: Stage) -> StageRecord:
    """Claim a stage's folder: its record is written now, unless it is there or another run's is shared.

    Raises:
        InputError: the folder holds another stage.
    """
    folder = run.workdir / stage.folder
    found = read_record(folder)
    if found is None and (other := locate(run, stage)) != folder:
        share(other, folder, measured=_is_measured_alike(run, stage, other))
        found = read_record(folder)
    if found is not None:
        if differing := disagreements(run, stage, found):
            raise refuse(folder, differing, stage.kind, [], explain_ways_out(run, stage.kind, folder))
    else:
        found = wanted_record(run, stage)
        write_record(folder, found)
    write_run_files(run)
    return found


def _is_measured_alike(run: Run, stage: Stage, other: pathlib.Path) -> bool:
    found = read_record(other, EVALUATION_STAGE_FILE)
    return found is not None and not differences(found, wanted_evaluation(run, stage))


def write_run_files(run: Run) -> None:
    """Write what describes the run as a whole: its config, classes and the test split's truth."""
    run.workdir.mkdir(parents=True, exist_ok=True)
    write_json(run.workdir / CONFIG_FILE, run.config.to_dict())
    categories = [category._asdict() for category in run.sources.human.categories]
    write_json(run.workdir / "categories.json", categories)
    run.self_training.write_truth(run.sources.test, run.workdir)


def finish_training(run: Run, stage: Stage, record: StageRecord) -> StageRecord:
    """Add the digests of a trained stage's weights to its record, of the last and of the best checkpoint."""
    folder = run.workdir / stage.folder
    results = {}
    for which in ("last", "best"):
        score = find_score(folder, which)
        if which == "last" or score is not None:
            weights = digest(restore_whole(folder, which))
            results[which] = StageResult(digest=weights, step=find_step(folder, which), val=score)
    return finish(folder, record, results)


def finish_labels(run: Run, stage: Stage, record: StageRecord) -> StageRecord:
    """Add the digest of a finished set of pseudo labels to its record."""
    folder = run.workdir / stage.folder
    manifest = read_manifest(folder, run.self_training.label_totals)
    result = StageResult(digest=label_set_digest(manifest.shards, manifest.num_images))
    return finish(folder, record, {LABELS: result})
