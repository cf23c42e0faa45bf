"""Words for messages and reports: lists that stay short, scores in percent."""

from collections.abc import Sequence


def shorten_list(items: Sequence[object], limit: int = 5) -> str:
    """Name the first `limit` items and count the others: "a, b and 3 more"."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(map(str, items[:limit])) + more


def format_percent(score: float) -> str:
    """Write a score in percent; a dash where it is undefined (-1: no object of any class)."""
    return f"{100 * score:.1f}" if score >= 0 else "-"
