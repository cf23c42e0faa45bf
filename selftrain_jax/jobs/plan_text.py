"""The words and tables of `--job=plan`: the stages, and the command that follows."""

import shlex
from collections.abc import Sequence

from ml_collections import ConfigDict

from selftrain_jax.build.data import stage_batch_size
from selftrain_jax.build.student_batch import split_batch
from selftrain_jax.data.named_sources import indices_by_source
from selftrain_jax.jobs.plan_states import (
    REFUSED,
    RESUME,
    SHARED,
    STALE,
    TO_DO,
    UNMEASURED,
    PlannedStage,
    is_bound,
)
from selftrain_jax.jobs.run import Run
from selftrain_jax.jobs.training import stage_schedule
from selftrain_jax.stages.choices import has_joint_training
from selftrain_jax.stages.records import format_difference
from selftrain_jax.stages.settings import BEFORE, is_among
from selftrain_jax.train.rollback import read_rollbacks, scale_schedule
from selftrain_jax.unlabeled_sources import further_sources, source_weights

HEAD = ("stage", "state", "steps", "images seen", "peak rate")


def describe_stages(run: Run, planned: Sequence[PlannedStage]) -> list[str]:
    """Return a table of the stages, with what differs below the stage that it refuses."""
    begun = any(stage.folder is not None for stage in planned)
    head = f"plan of {run.workdir}" + ("" if begun else ": no stage has begun")
    rows = [HEAD, *(_cells(run, stage) for stage in planned)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines = [head, table[0]]
    for stage, line in zip(planned, table[1:], strict=True):
        lines.append(f"{line}")
        lines += [f"    {format_difference(pair)}" for pair in stage.differences]
        if stage.state == REFUSED and stage.note:
            lines += [f"    {text}" for text in stage.note.splitlines()]
    return lines


def _cells(run: Run, planned: PlannedStage) -> tuple[str, ...]:
    stage = planned.stage
    note = "" if planned.state == REFUSED else planned.note
    separator = " " if planned.state in (RESUME, SHARED) else ", "
    state = separator.join(filter(None, [planned.state, note]))
    if stage.kind == "labels":
        images = format_images_to_label(run.config, run.task.idle_keys, planned.total)
        if run.tiles_to_label is not None:
            images += f" in {run.tiles_to_label:,} tiles"
        return stage.folder, state, "-", images, "-"
    most = "at most " if is_bound(run, planned) else ""
    steps, images = f"{most}{planned.total:,}", f"{most}{_images(run, planned)}"
    return stage.folder, state, steps, images, f"{_peak_rate(run, planned):g}"


def format_images_to_label(config: ConfigDict, idle_keys: tuple[str, ...], num_images: int) -> str:
    """Count the images, and name the views of each where they are not the usual one."""
    views = config.pseudo.views
    is_usual = views == BEFORE["pseudo.views"] or is_among("pseudo.views", idle_keys)
    return f"{num_images:,} images" + ("" if is_usual else f" in views {views}")


def _images(run: Run, planned: PlannedStage) -> str:
    """Count the images, or tiles, of all steps, by source where there are pseudo labels."""
    stage = planned.stage
    total = planned.total * stage_batch_size(run.config, stage.kind)
    tiles = " tiles" if run.config.image.tile_px else ""
    text = f"{total:,} human{tiles}"
    if stage.kind == "student":
        split = split_batch(run.config)
        human, pseudo = (planned.total * number for number in split)
        text = f"{human:,} human + {pseudo:,} pseudo{tiles}"
    if has_joint_training(run.config, stage.kind):
        text += f" + {planned.total * run.config.joint.batch_size:,} classified"
    return text


def describe_sources(run: Run) -> list[str]:
    """Return a line for each source of unlabelled images, where there are several."""
    if run.sources.unlabeled is None or not further_sources(run.config):
        return []
    weights, num_pseudo = source_weights(run.config), split_batch(run.config).num_pseudo
    images = indices_by_source(run.sources.unlabeled.image_ids, [*further_sources(run.config)])
    lines = ["unlabelled images by source:"]
    for name, weight in weights.items():
        share = weight / sum(weights.values())
        lines.append(
            f"  {name}: {len(images[name]):,} images ({run.sources.data_sets[name]}), {share:.1%} of the "
            f"pseudo-labelled ones, {share * num_pseudo:.4g} of {num_pseudo} a step"
        )
    return lines


def _peak_rate(run: Run, planned: PlannedStage) -> float:
    """Return the optimizer's rate after the warm-up, lowered by the rollbacks of a stage that is resumed."""
    schedule, _ = stage_schedule(run, planned.stage)
    if planned.state == RESUME and planned.folder is not None:
        schedule = scale_schedule(schedule, read_rollbacks(planned.folder))
    return schedule(run.config.optimizer.warmup_steps)


def describe_command(planned: Sequence[PlannedStage], argv: Sequence[str]) -> list[str]:
    """Return the command that starts or resumes the run, or where it is refused the ways out."""
    command = make_command(argv)
    first = next((stage for stage in planned if stage.state == REFUSED), None)
    if first is None:
        is_new = all(stage.state == TO_DO for stage in planned)
        is_done = not any(stage.left or UNMEASURED in stage.note for stage in planned)
        return [
            "to start:" if is_new else "all stages are done; again:" if is_done else "to resume:",
            command,
        ]
    lines = [f"this command is refused at {first.stage.folder}; ways out, where they fit:"]
    if first.differences:
        variant = [word for word in argv if not word.lstrip("-").startswith("variant")]
        again = [stage.stage.folder for stage in planned if stage.state in (REFUSED, STALE)]
        kind = first.stage.kind if first.left else "evaluation"
        moved = ", ".join(again) if first.left else "the evaluations"
        lines += [
            f"  what differs beside what is there: {make_command([*variant, '--variant=NAME'])}",
            f"  {moved} moved aside and made again: {make_command([*argv, f'--redo={kind}'])}",
        ]
    return [*lines, "  another folder: the same command with another --workdir"]


def make_command(argv: Sequence[str]) -> str:
    """Return the command of the default job from that of the plan, quoted for a shell."""
    program, *words = argv
    kept, skips = [], False
    for word in words:
        name, equals, _ = word.lstrip("-").partition("=")
        if skips or name in ("job", "measure", "nomeasure"):
            skips = not skips and name == "job" and not equals
            continue
        kept.append(word)
    is_script = program.endswith("main.py")
    return shlex.join([*(["python", "-m", "selftrain_jax.main"] if is_script else ["selftrain"]), *kept])
