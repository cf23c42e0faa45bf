"""A run's summary as a table for the terminal; `format_summary`."""

from collections.abc import Iterator, Mapping

from selftrain_jax.errors import printable
from selftrain_jax.run_files.arms import CONTROLS, ORACLE
from selftrain_jax.run_files.cost import CostSummary
from selftrain_jax.run_files.summary import StageSummary, Summary, VariantSummary
from selftrain_jax.run_files.variants import BASE
from selftrain_jax.tasks.spec import Metric
from selftrain_jax.text import format_points, format_setting, percent


def format_summary(summary: Summary, metrics: tuple[Metric, ...]) -> str:
    """Return the headline numbers as a small table, in percent; rounds and variants have one each below."""
    heads = " ".join(f"{metric.head:>7}" for metric in metrics)
    width = max(10, *(len(name) + 1 for name in summary.stages)) if summary.stages else 10
    lines = [f"{'':{width}}{heads} {'steps':>7} {'seconds':>8}"]
    for name, stage in summary.stages.items():
        values = " ".join(f"{format_points(stage.scores[metric.key]):>7}" for metric in metrics)
        stop = f"  {stage.stopped}" if stage.stopped else ""
        lines.append(f"{name:{width}}{values} {stage.steps:7d} {stage.seconds:8.0f}{stop}")
    lines += [*_format_gains(summary, metrics[0]), *_format_share(summary, metrics[0])]
    lines += _format_cost(summary.cost)
    return "\n".join(
        [
            *lines,
            *_format_rounds(summary, metrics[0]),
            *_format_variants(summary, metrics[0]),
            *_format_label_sources(summary, metrics[0]),
        ]
    )


def _format_gains(summary: Summary, metric: Metric) -> Iterator[str]:
    """Write what the student gained over the teacher and each control; of two the stronger is named."""
    scores = {name: stage.scores[metric.key] for name, stage in summary.stages.items()}
    for other in ("teacher", *CONTROLS):
        if min(scores.get("student", -1), scores.get(other, -1)) >= 0:
            gain = f"{100 * (scores['student'] - scores[other]):+.1f} {metric.head}"
            which = " (the stronger control)" if other == summary.stronger_control else ""
            yield f"student over {other}: {gain}{which}"


def _format_share(summary: Summary, metric: Metric) -> list[str]:
    """Write the student's share of what the oracle gains over the control that counts."""
    if not {"student", ORACLE} <= set(summary.stages):
        return []
    if summary.oracle_share_percent is not None:
        return [f"share of what the oracle gains: {summary.oracle_share_percent:.0f} %"]
    why = "there is no control"
    if set(CONTROLS) & set(summary.stages):
        why = f"the oracle does not beat the control in {metric.head}"
    return [f"share of what the oracle gains: undefined, {why}"]


def _format_cost(cost: CostSummary | None) -> list[str]:
    """Write the device-seconds of the run, and what else than training they went into."""
    if cost is None:
        return []
    seconds = ", ".join(f"{secs:,.0f} device-seconds ({kind})" for kind, secs in cost.device_seconds.items())
    shares = {
        "compiling": cost.compiling_share,
        "evaluating": cost.evaluating_share,
        "waiting for data": cost.waiting_share,
    }
    spent = [f"{percent(share, 0)} {part}" for part, share in shares.items() if share is not None]
    energy = [] if cost.energy_joules is None else [f"{cost.energy_joules / 1000:,.0f} kJ"]
    return [f"cost: {', '.join([printable(seconds), *spent, *energy])}"]


def _format_rounds(summary: Summary, metric: Metric) -> list[str]:
    if summary.rounds is None:
        return []
    lines = ["", f"{'':10}{'val ' + metric.head:>9} {metric.head:>7}"]
    for entry in summary.rounds:
        test = "-" if entry.student is None else format_points(entry.student.scores[metric.key])
        kept = "  kept" if entry.round == summary.kept_round else ""
        lines.append(f"{f'round {entry.round}':10}{format_points(entry.val):>9} {test:>7}{kept}")
    if summary.stopped_early:
        lines.append("stopped early: the last round was worse on val than the one before")
    return lines


def _format_variants(summary: Summary, metric: Metric) -> list[str]:
    """List the base and its variants: the student on val, where any is known, and on test; what differs."""
    if summary.variants is None:
        return []
    entries: list[tuple[str, Summary | VariantSummary]] = [(BASE, summary)]
    entries += [(printable(name), entry) for name, entry in summary.variants.items()]
    width = max(len("variant"), *(len(name) for name, _ in entries))
    has_val = any(entry.val is not None for _, entry in entries)
    val = f" {'val ' + metric.head:>9}" if has_val else ""
    lines = [""]
    lines.append(
        f"{'variant':{width}}{val} {metric.head:>7} {'over control':>13} {'over teacher':>13}  differs"
    )
    for name, entry in entries:
        gains = f"{_format_gain(entry.gain_over_control):>13} {_format_gain(entry.gain_over_teacher):>13}"
        student = _format_student(entry.stages, metric)
        val = f" {_format_val(entry.val):>9}" if has_val else ""
        lines.append(f"{name:{width}}{val} {student:>7} {gains}  {_format_differs(entry)}".rstrip())
    return lines


def _format_label_sources(summary: Summary, metric: Metric) -> list[str]:
    """List whose labels taught the base's student and each variant's, where other models' are among them."""
    entries: list[tuple[str, Summary | VariantSummary]] = [(BASE, summary)]
    entries += [(printable(name), entry) for name, entry in (summary.variants or {}).items()]
    labelled = [(name, entry, entry.pseudo_labels) for name, entry in entries if entry.pseudo_labels]
    if not any(labels.labelled_by for _, _, labels in labelled):
        return []
    width = max(len(name) for name, _, _ in labelled)
    lines = [
        "",
        f"{'':{width}} {'precision':>9} {'recall':>7} {metric.head:>7} {'over control':>13}  labels of",
    ]
    for name, entry, labels in labelled:
        quality = [_format_val(labels.quality.get(key)) for key in ("precision", "recall")]
        student, gain = _format_student(entry.stages, metric), _format_gain(entry.gain_over_control)
        whose = printable(", ".join(labels.labelled_by or ("teacher",)))
        lines.append(f"{name:{width}} {quality[0]:>9} {quality[1]:>7} {student:>7} {gain:>13}  {whose}")
    return lines


def _format_differs(entry: Summary | VariantSummary) -> str:
    """Write the keys in which a variant differs from the base, with its own values."""
    if isinstance(entry, Summary):
        return ""
    return printable(", ".join(f"{key}={format_setting(own)}" for key, (_, own) in entry.differs.items()))


def _format_student(stages: Mapping[str, StageSummary], metric: Metric) -> str:
    return format_points(stages["student"].scores[metric.key]) if "student" in stages else "-"


def _format_val(val: float | int | None) -> str:
    return "-" if val is None else format_points(val)


def _format_gain(gain: float | int | None) -> str:
    return "-" if gain is None else f"{100 * gain:+.1f}"
