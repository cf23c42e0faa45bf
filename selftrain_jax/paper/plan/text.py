"""The plan as the command prints it: every stage, device-hours by slice, disk, downloads, sums."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from selftrain_jax.paper.plan.costs import Cost, count_costs, count_money
from selftrain_jax.paper.plan.data_sets import SOURCES, Download, find_downloads
from selftrain_jax.paper.plan.graph import (
    Graph,
    Labels,
    Search,
    Stage,
    Start,
    Student,
    Teacher,
    network_of,
    seed_of,
    stage_id,
    with_inputs,
)
from selftrain_jax.paper.plan.networks import CHECKPOINTS, FACTS
from selftrain_jax.paper.plan.speeds import Speeds
from selftrain_jax.paper.recipe import find_recipe
from selftrain_jax.text import shorten_list

SHOWN_ROWS = 4
NOTES = (
    "Not counted: validation, compiling, waiting for data; the paper's own search for the alphas of other "
    "tables than 9 (appendix H), whose results are taken as given.",
    "A teacher's step counts with the images a second of its student's. Joint training's 256 images a step "
    "count by their pixels, pseudo masks by the pixels of their six scales.",
)
FLOAT32_NOTE = (
    "ResNet-101 is in float32 in the paper (Table 12) and was compiled in bfloat16, which is faster: its "
    "device-hours are too few (ResNet-50 takes 1.7 times as long in float32)."
)


class _Group(NamedTuple):
    """The costs on one slice with one network."""

    where: str
    name: str
    num_devices: int
    costs: list[Cost]


def format_plan(graph: Graph, speeds: Speeds, prices: Mapping[str, float] | None) -> str:
    """Return the whole plan. Raises: InputError: a speed or a price is missing."""
    costs = count_costs(graph.stages, speeds)
    sections = [
        _format_stages(graph, costs),
        [f"device-hours, {speeds.source}:", *_format_groups(costs)],
        _format_disk(costs),
        _format_downloads(find_downloads(graph.stages)),
        _format_sums(graph, costs, prices),
        [*NOTES, *_format_float32(costs), *_format_assumed(graph)],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def describe(stage: Stage) -> str:
    """Return a stage in words, without its inputs of the same network."""
    match stage:
        case Start(backbone=backbone, init=init):
            return f"weights {init} of {backbone}"
        case Teacher():
            start = stage.start.init if stage.start else "random"
            return ", ".join([*_common(stage), stage.labels, f"from {start}", f"{stage.steps:,} steps"])
        case Labels(source=source, teacher=teacher):
            return f"of {SOURCES[source].num:,} images of {source} by {stage_id(teacher)}"
        case Student():
            return ", ".join([*_common(stage), *_student_parts(stage)])
        case Search(students=students):
            alphas = ", ".join(f"{student.alpha:g}" for student in students)
            return (
                f"over alpha {alphas} of {students[0].steps:,} steps, labels {stage_id(students[0].labels)}"
            )


def _common(stage: Teacher | Student) -> list[str]:
    network = network_of(stage)
    name = FACTS[network].name if network else ""
    return [f"{name} {stage.augment or 'own augmentation'}"]


def _student_parts(stage: Student) -> list[str]:
    start = stage_id(stage.labels.teacher) if stage.starts_from_teacher else "random"
    parts = [
        f"on {stage_id(stage.labels)}",
        f"from {start}",
        f"{stage.steps:,} steps",
        f"alpha {stage.alpha:g}",
    ]
    parts += ["plain loss"] if stage.loss_norm == "plain" else []
    return parts + ([f"learning rate x {stage.rate_factor:g}"] if stage.rate_factor != 1 else [])


def _format_stages(graph: Graph, costs: Sequence[Cost]) -> list[str]:
    """Return a line for each stage: what it is, what it takes, whose rows need it."""
    by_stage = {cost.stage: cost for cost in costs}
    needed = _rows_by_stage(graph)
    lines = []
    for stage in graph.stages:
        seed = "" if seed_of(stage) is None else f", seed {seed_of(stage)}"
        joint = getattr(stage, "joint_weight", 0)
        parts = [f"{stage_id(stage)}  {describe(stage)}{f', joint {joint:g}' if joint else ''}{seed}"]
        if stage in by_stage:
            cost = by_stage[stage]
            parts.append(f"{cost.images / 1e6:,.1f}M images, {cost.device_hours:,.1f} device-hours")
        parts.append(f"for {shorten_list(needed[stage], SHOWN_ROWS)}")
        lines.append("; ".join(parts))
    return lines


def _rows_by_stage(graph: Graph) -> dict[Stage, list[str]]:
    """Return the rows that need each stage, as TABLE:ROW."""
    needed: dict[Stage, dict[str, None]] = {stage: {} for stage in graph.stages}
    for run in graph.runs:
        for stage in with_inputs(run.result):
            needed[stage][f"{run.row.table}:{run.row.row}"] = None
    return {stage: list(rows) for stage, rows in needed.items()}


def _format_groups(costs: Sequence[Cost]) -> list[str]:
    head = ("slice", "network", "stages", "steps", "images", "device-hours", "hours on the slice")
    cells = [_group_cells(group) for group in _group(costs)]
    return align([head, *cells])


def _group(costs: Sequence[Cost]) -> list[_Group]:
    """Group costs by slice and network, trainings apart from labelling."""
    groups: dict[tuple[str, str, bool], _Group] = {}
    for cost in costs:
        is_label = isinstance(cost.stage, Labels)
        network = network_of(cost.stage)
        name = (FACTS[network].name if network else "") + (" label" if is_label else "")
        where, num_devices = cost.speed.where, cost.speed.num_devices
        groups.setdefault((where, name, is_label), _Group(where, name, num_devices, [])).costs.append(cost)
    return [groups[key] for key in sorted(groups, key=lambda key: (key[2], key[1]))]


def _group_cells(group: _Group) -> tuple[str, ...]:
    hours = sum(cost.device_hours for cost in group.costs)
    images = sum(cost.images for cost in group.costs)
    steps = sum(cost.steps for cost in group.costs)
    return (
        group.where,
        group.name,
        f"{len(group.costs)}",
        f"{steps:,}" if steps else "",
        f"{images / 1e6:,.1f}M",
        f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}",
        f"{hours / group.num_devices:,.1f}",
    )


def align(table: Sequence[Sequence[str]], num_left: int = 2) -> list[str]:
    """Return lines of a table, the first columns to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for cells in table:
        padded = [
            cell.ljust(width) if index < num_left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        lines.append("  ".join(["", *padded]).rstrip())
    return lines


def _format_disk(costs: Sequence[Cost]) -> list[str]:
    labels = [cost for cost in costs if isinstance(cost.stage, Labels)]
    models = [cost for cost in costs if not isinstance(cost.stage, Labels)]
    lines = [f"disk: checkpoints {_gigabytes(models)}, at most {CHECKPOINTS} of each training"]
    if labels:
        lines.append(
            f"  pseudo labels {_gigabytes(labels)}: each set copies its images as they are encoded; the "
            "masks or boxes beside them are not known before"
        )
    return lines


def _gigabytes(costs: Iterable[Cost]) -> str:
    bounded = any(isinstance(c.stage, Labels) and SOURCES[c.stage.source].is_bound for c in costs)
    return f"{'at most ' * bounded}{sum(cost.disk_bytes for cost in costs) / 1e9:,.0f} GB"


def _format_downloads(downloads: Sequence[Download]) -> list[str]:
    known = sum(own.num_bytes or 0 for own in downloads)
    unknown = [own for own in downloads if own.num_bytes is None]
    rest = f", and {len(unknown)} of unknown size" if unknown else ""
    lines = [f"downloads: {known / 1e9:,.1f} GB{rest}"]
    for own in downloads:
        size = "unknown size" if own.num_bytes is None else f"{own.num_bytes / 1e9:,.1f} GB ({own.source})"
        lines.append(f"  {own.name}: {size}")
    return lines


def _format_sums(graph: Graph, costs: Sequence[Cost], prices: Mapping[str, float] | None) -> list[str]:
    results = {run.result for run in graph.runs}
    num_seeds = len({run.seed for run in graph.runs})
    rows = {(run.row.table, run.row.row) for run in graph.runs}
    kinds = ((Start, "starts"), (Teacher, "teachers"), (Labels, "label sets"), (Student, "students"))
    numbers = [f"{len(graph.of_kind(kind))} {name}" for kind, name in (*kinds, (Search, "searches"))]
    trained = sum(not isinstance(cost.stage, Labels) for cost in costs)
    hours = sum(cost.device_hours for cost in costs)
    steps, images = (sum(getattr(cost, name) for cost in costs) for name in ("steps", "images"))
    lines = [
        f"{_count(len(rows), 'row')}, {_count(num_seeds, 'seed')}: {_count(len(results), 'distinct run')}, "
        f"{_count(len(graph.shared), 'shared stage')}",
        f"  {', '.join(numbers)}",
        f"  {trained} trainings, {steps:,} steps, {images / 1e6:,.1f}M images, {hours:,.0f} device-hours",
    ]
    return lines if prices is None else [*lines, f"  {count_money(costs, prices):,.2f} in the prices' money"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _format_float32(costs: Sequence[Cost]) -> list[str]:
    """Say of the networks that the paper trained in float32 that they were compiled in bfloat16."""
    is_faster = any(_computes_in_float32(cost.stage) and "bfloat16" in cost.speed.where for cost in costs)
    return [FLOAT32_NOTE] if is_faster else []


def _computes_in_float32(stage: Stage) -> bool:
    network = network_of(stage)
    return network is not None and network.backbone == "resnet101"


def _format_assumed(graph: Graph) -> list[str]:
    assumed = {(run.row.table, run.row.row) for run in graph.runs if find_recipe(run.row).assumed}
    if not assumed:
        return []
    return [
        f"{len(assumed)} rows have settings that the paper does not give; docs/paper.md says what is taken."
    ]
