"""What each stage of a run cost: the table of `cost_blocks`."""

from selftrain_jax.html.blocks import Block, Heading, Note, Table
from selftrain_jax.report.workdir import RunFiles
from selftrain_jax.run_files.cost import CostSummary
from selftrain_jax.run_files.summary import summary_parts
from selftrain_jax.text import NO_VALUE, number, percent

HEADER = ("", "device-seconds", "images/s and device", "waiting", "compiling", "evaluating", "energy, kJ")
EXPLANATION = (
    "A device-second is one device held for one second, over all sessions. Images a second are those of "
    "training or labelling alone. The shares are of the device-seconds: waiting for data, compiling wherever "
    "it happens, evaluating on val and saving. Not in it: the test split, and what was lost when a session "
    "was killed."
)


def cost_blocks(run: RunFiles) -> list[Block]:
    """List what the stages cost, then the run; nothing without a summary that knows any cost."""
    if run.summary is None:
        return []
    parts = summary_parts(run.summary.stages, run.summary.pseudo_labels, run.summary.rounds or ())
    rows = [_row(name, part.cost) for name, part in parts.items() if part.cost is not None]
    if not rows:
        return []
    total = [] if run.summary.cost is None else [_row("all", run.summary.cost)]
    strong_rows = range(len(rows), len(rows) + len(total))
    return [Heading("Cost"), Table(HEADER, [*rows, *total], strong_rows), Note(EXPLANATION)]


def _row(name: str, cost: CostSummary) -> list[str]:
    kinds = [f"{number(seconds, 0)} ({kind})" for kind, seconds in cost.device_seconds.items()]
    joules = cost.energy_joules
    return [
        name,
        ", ".join(kinds) or NO_VALUE,
        number(cost.images_per_device_second),
        percent(cost.waiting_share),
        percent(cost.compiling_share),
        percent(cost.evaluating_share),
        number(None if joules is None else joules / 1000),
    ]
