"""Whether a stage was trained to its end, by its scores on val; call `rise_at_the_end`."""

from collections.abc import Sequence

from selftrain_jax.run_files.metrics import Row

UNFINISHED_RISE = 0.01  # a point of AP or mIoU
LAST_PART = 0.25


def rise_at_the_end(rows: Sequence[Row], key: str) -> float | None:
    """Return by how much the metric `key` rose in the last quarter of the steps that were measured.

    That is the last score less the best of those up to three quarters of its step; None where there are not
    both. A score that is undefined, -1 or None, is left out.
    """
    scores = [(row["step"], row[key]) for row in rows if row.get(key) is not None and row[key] >= 0]
    if not scores:
        return None
    last_step, last = scores[-1]
    earlier = [score for step, score in scores if step <= (1 - LAST_PART) * last_step]
    return last - max(earlier) if earlier else None


def describe_unfinished(rows: Sequence[Row], key: str, name: str) -> str:
    """Say that a teacher's val score still rose at its end; "" where it did not, or that is not known."""
    rise = rise_at_the_end(rows, key)
    if rise is None or rise <= UNFINISHED_RISE:
        return ""
    return (
        f"the teacher is not finished: on val its {name} rose by {100 * rise:.1f} in its last quarter. A "
        "control that trains on gains as well, and labels of a finished teacher are better: give it more "
        "steps (config.teacher.steps), or let it end by itself (config.teacher.patience)"
    )
