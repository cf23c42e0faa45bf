"""What each stage of a run would be by its config and inputs, what its folder holds, and whether they agree.

`check_stages` refuses a command that does not fit before anything is computed. All this reads files, on host
0; `claims.py` writes them.
"""

import json
import pathlib
from collections.abc import Sequence

from ml_collections import ConfigDict

from selftrain_jax.build.data import stage_settings
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json
from selftrain_jax.jobs.corrections import CORRECTIONS, corrections_in_use
from selftrain_jax.jobs.run import FOREIGN_INPUTS, Run, start_digest
from selftrain_jax.run_files.arms import COMPARED, ORACLE
from selftrain_jax.run_files.calibration import CALIBRATION_FILE, TeacherCalibration
from selftrain_jax.run_files.calibration import REMEDY as CALIBRATION_REMEDY
from selftrain_jax.run_files.evaluation import EVALUATION_FILE
from selftrain_jax.run_files.stage import EVALUATION_STAGE_FILE, StageRecord, StageResult
from selftrain_jax.run_files.variants import variant_folders
from selftrain_jax.stages import adoption
from selftrain_jax.stages.choices import compared_kinds, has_joint_training
from selftrain_jax.stages.folders import is_shared
from selftrain_jax.stages.graph import Stage, stages_after, stages_in_order, teacher_of
from selftrain_jax.stages.records import (
    IGNORED_CLASSES,
    VAL,
    Difference,
    differences,
    make_record,
    read_record,
    refuse,
)
from selftrain_jax.stages.settings import deciding_settings
from selftrain_jax.tasks.config_values import AUTO, LabelThresholds, reads_calibration, student_thresholds

LABELS = "labels"


def stages_of(run: Run) -> list[Stage]:
    """List the stages that the config asks for."""
    return stages_in_order(
        run.config.selftrain.rounds,
        compared=compared_kinds(run.config),
        has_students=run.sources.unlabeled is not None,
    )


def wanted_record(run: Run, stage: Stage) -> StageRecord:
    """Return the record that a stage would get now; an input that is not there yet is ""."""
    settings = deciding_settings(run.config, stage.kind, run.task.idle_keys)
    if stage.kind in COMPARED and stage.round > 1:
        settings["selftrain.rounds"] = stage.round
    inputs = _inputs(run, stage)
    if stage.kind == "student" and run.config.pseudo.thresholds == AUTO:
        for key in ("pseudo.per_class_thresholds", "pseudo.ignore_below"):
            settings.pop(key, None)
    if stage.kind == "student" and reads_calibration(run.config):
        inputs |= _calibrated_inputs(run.config, thresholds_in_use(run, stage))
    return make_record(stage.folder, settings, inputs, run.versions, run.code)


def _calibrated_inputs(config: ConfigDict, found: LabelThresholds | None) -> dict[str, str]:
    """Return what a student takes from its teacher's calibration; "" where that is not there yet."""
    inputs = {}
    if config.pseudo.thresholds == AUTO:
        inputs["advised thresholds"] = json.dumps(found[:2]) if found else ""
    if config.pseudo.min_class_recall and (found is None or found.ignored):
        inputs[IGNORED_CLASSES] = json.dumps(found.ignored) if found else ""
    return inputs


def thresholds_in_use(run: Run, stage: Stage) -> LabelThresholds | None:
    """Return the thresholds of a student's labels; None if its teacher has to be measured before."""
    if not reads_calibration(run.config):
        return student_thresholds(run.config)
    path = locate(run, teacher_of(stage)) / CALIBRATION_FILE
    if not path.exists():
        return None
    calibration = TeacherCalibration.from_json(read_json(path, CALIBRATION_REMEDY), path)
    return student_thresholds(run.config, calibration)


def _inputs(run: Run, stage: Stage) -> dict[str, str]:
    data = run.data_digests
    if stage.kind == "labels":
        return _label_inputs(run, stage)
    inputs = {"labelled images": data["human"], VAL: data["val"], "start": _start(run, stage)}
    if has_joint_training(run.config, stage.kind):
        inputs["images of joint training"] = data["joint"]
    if stage.kind == ORACLE:
        inputs["labels of unlabelled images"] = _truth_of(run)
    if stage.kind == "student":
        inputs["pseudo labels"] = _digest_of(run, Stage("labels", stage.round))
        inputs["pseudo-labelled images"] = data["unlabeled"]
        if run.config.pseudo.corrections:
            inputs[CORRECTIONS] = _corrections_of(run, Stage("labels", stage.round))
    return inputs


def _label_inputs(run: Run, stage: Stage) -> dict[str, str]:
    """Return what a set of labels is made of: models' weights, other models' predictions, or both."""
    data = run.data_digests
    models = [_digest_of(run, model) for model in run.labellers_of(stage)]
    inputs = {"teacher": models[-1]} if models else {}
    inputs["unlabelled images"] = data["unlabeled"]
    if earlier := models[:-1]:
        inputs["earlier models"] = ",".join(earlier) if all(earlier) else ""
    inputs |= {name: data[name] for name in FOREIGN_INPUTS if name in data}
    return inputs | ({VAL: data["val"]} if "foreign val predictions" in inputs else {})


def check_foreign(run: Run, stage: Stage) -> None:
    """See that other models' predictions fit, where labels are yet to be made of them. Raises: InputError."""
    if stage.kind == LABELS and result_of(run, stage) is None:
        _ = run.foreign


def _corrections_of(run: Run, labels: Stage) -> str:
    """Identify the corrections that a student uses by their highest layer; "" while there are none."""
    label_set = _digest_of(run, labels)
    layers = corrections_in_use(run.config, locate(run, labels), label_set) if label_set else []
    return layers[-1].digest if layers else ""


def _truth_of(run: Run) -> str:
    """Identify the labels of unlabelled images. Raises: InputError where no oracle is asked for."""
    if "truth" not in run.data_digests:
        raise InputError("this run has no oracle; ask for one by --config.student.oracle=True")
    return run.data_digests["truth"]


def _start(run: Run, stage: Stage) -> str:
    """Identify what a training starts from; "" where that is not there, or not any more but was used."""
    if stage.kind in COMPARED or stage_settings(run.config, stage.kind).init == "teacher":
        return "" if stage.kind == "teacher" else _digest_of(run, teacher_of(stage))
    found = read_record(run.workdir / stage.folder)
    try:
        return start_digest(run.config, stage)
    except InputError:
        if found is None or not found.results:
            raise
        return ""


def _digest_of(run: Run, stage: Stage) -> str:
    result = result_of(run, stage)
    return result.digest if result else ""


def result_of(run: Run, stage: Stage) -> StageResult | None:
    """Return what a stage hands on, of the checkpoint that config.eval.checkpoint names; None: unfinished."""
    folder = locate(run, stage)
    record = read_record(folder)
    if record is None or not record.results:
        return None
    which = _which(run, stage)
    if which not in record.results:
        raise InputError(
            f"{folder}: config.eval.checkpoint={which}, but no checkpoint of this stage was evaluated on val "
            f"while it trained; take the last one, or train it again by --redo={stage.kind} with "
            "config.eval.every_steps set"
        )
    return record.results[which]


def _which(run: Run, stage: Stage) -> str:
    return LABELS if stage.kind == "labels" else run.config.eval.checkpoint


def locate(run: Run, stage: Stage) -> pathlib.Path:
    """Return a stage's own folder, or for a variant the folder of the run that has the same stage."""
    own = run.workdir / stage.folder
    if run.workdir == run.base or read_record(own) is not None:
        return own
    wanted = wanted_record(run, stage)
    if not all(wanted.inputs.values()):
        return own  # of what is not made yet: whose it could be is not known
    others = [run.base, *(folder for folder in variant_folders(run.base).values() if folder != run.workdir)]
    for other in others:
        found = read_record(other / stage.folder)
        if found is not None and found.results and not disagreements(run, stage, found, other, wanted):
            return other / stage.folder
    return own


def disagreements(
    run: Run,
    stage: Stage,
    found: StageRecord,
    workdir: pathlib.Path | None = None,
    wanted: StageRecord | None = None,
) -> list[Difference]:
    """List how a record of `workdir` (the run's own) differs from `wanted`: what the command would write.

    A stage that was taken from another run is what it is; only its network counts.
    """
    wanted = wanted or wanted_record(run, stage)
    adopted = adoption.read_adopted(workdir or run.workdir)
    if adopted is not None and stage.round == 1 and stage.kind in adopted.digests:
        return adoption.differences(adopted, stage, found, wanted, _which(run, stage))
    return differences(found, wanted, run.config.eval.checkpoint)


def wanted_evaluation(run: Run, stage: Stage) -> StageRecord:
    """Return the record that the evaluation of a stage on the test split would get now."""
    settings = deciding_settings(run.config, "evaluation", run.task.idle_keys)
    inputs = {"weights": _digest_of(run, stage), "test images": run.data_digests["test"]}
    return make_record(f"{stage.folder}, evaluation", settings, inputs, run.versions, run.code)


def is_evaluated(run: Run, stage: Stage) -> bool:
    """Tell whether a stage has been measured on the test split.

    Raises:
        InputError: it was measured otherwise than this command would.
    """
    folder = run.workdir / stage.folder
    differing = evaluation_disagreements(run, stage)
    if differing:
        raise refuse(folder, differing, "evaluation", [], explain_ways_out(run, "evaluation", folder))
    return differing is not None


def evaluation_disagreements(run: Run, stage: Stage) -> list[Difference] | None:
    """List how the evaluation of a stage differs from what the command would write; None: there is none."""
    folder = run.workdir / stage.folder
    found = read_record(folder, EVALUATION_STAGE_FILE)
    if found is None or not (folder / EVALUATION_FILE).exists():
        return None
    return differences(found, wanted_evaluation(run, stage))


def check_stages(run: Run, moved: Sequence[Stage] = (), *, has_evaluations: bool = True) -> None:
    """Compare all stages that are there, but for those that are about to be moved aside.

    `has_evaluations` is off where the evaluations are about to be moved aside.

    Raises:
        InputError: a stage or an evaluation is not what this command would make, the first one in order; or
            a stage that is to come starts from weights that are not there.
    """
    stages = [stage for stage in stages_of(run) if stage not in moved]
    for stage in stages:
        folder = run.workdir / stage.folder
        found = read_record(folder)
        if found is None:
            wanted_record(run, stage)  # opens what the stage starts from, which may not be there
            check_foreign(run, stage)
            _check_base(run, stage)
            continue
        if differing := disagreements(run, stage, found):
            after = [later.folder for later in stages_after(stage, stages_of(run)) if _is_there(run, later)]
            raise refuse(folder, differing, stage.kind, after, explain_ways_out(run, stage.kind, folder))
        if stage.kind != "labels" and has_evaluations:
            is_evaluated(run, stage)


def is_unfinished_in_base(run: Run, stage: Stage) -> bool:
    """Tell whether a variant's base has begun the same stage and not finished it."""
    if run.workdir == run.base:
        return False
    found = read_record(run.base / stage.folder)
    if found is None or found.results:
        return False
    wanted = wanted_record(run, stage)
    return all(wanted.inputs.values()) and not disagreements(run, stage, found, run.base, wanted)


def _check_base(run: Run, stage: Stage) -> None:
    """See that a variant does not begin what its base has begun and not finished."""
    if is_unfinished_in_base(run, stage):
        raise InputError(
            f"this variant shares {run.base / stage.folder}, which is not finished; finish it first by the "
            "base's command, the one without --variant"
        )


def _is_there(run: Run, stage: Stage) -> bool:
    return (run.workdir / stage.folder).exists()


def explain_ways_out(run: Run, kind: str, folder: pathlib.Path) -> str:
    """Say what can be done about a stage, or its evaluation, that is not what the command would make."""
    if run.workdir != run.base and is_shared(folder):
        return "Ways out: another name for --variant, or another --workdir."
    name = "NAME" if run.workdir == run.base else "ANOTHER_NAME"
    moved = "all evaluations" if kind == "evaluation" else f"{folder.name} and what comes after it"
    return (
        f"Ways out: --variant={name} keeps what is there and makes what differs beside it; --redo={kind} "
        f"moves {moved} aside and makes it again; or another --workdir."
    )
