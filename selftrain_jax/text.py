"""Lists and numbers as people read them, in messages, tables and pages."""

import math
from collections.abc import Sequence

NO_VALUE = "\u2013"  # en dash
MINUS = "\u2212"
FIRST_SOURCE = "unlabeled"  # what the first of several sources of unlabelled images is called


def shorten_list(items: Sequence[object], limit: int = 5) -> str:
    """Name the first `limit` items and count the others: "a, b and 3 more"."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(map(str, items[:limit])) + more


def format_points(score: float | int) -> str:
    """Write a score in points of 100, for a terminal; a dash where it is undefined (-1: no object at all)."""
    return f"{100 * score:.1f}" if score >= 0 else "-"


def number(value: float | int | None, digits: int = 1, signed: bool = False) -> str:
    """Write a number with a true minus sign; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NO_VALUE
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    return ("±" + text[1:] if signed and not float(text.replace(",", "")) else text).replace("-", MINUS)


def percent(share: float | None, digits: int | None = None) -> str:
    """Write a share in percent, with `digits` after the point or to about two in all."""
    if share is None or not math.isfinite(share):
        return NO_VALUE
    if digits is None and 0 < share < 0.01:
        return f"{100 * share:.2g} %"
    digits = int(0 < share < 0.1) if digits is None else digits
    return f"{100 * share:.{digits}f} %"


def duration(seconds: float | int | None) -> str:
    """Write seconds as hours, minutes and seconds, the two largest units."""
    if seconds is None or not math.isfinite(seconds):
        return NO_VALUE
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours:,} h {minutes:02d} min"
    return f"{minutes} min {whole % 60:02d} s" if minutes else f"{seconds:.1f} s"


def format_value(value: float | int | None) -> str:
    """Write a share for a sentence."""
    return "undefined" if value is None else f"{value:.3f}"


def format_setting(value: object) -> str:
    """Write a value of a config in short: 3 for 3.0, "absent" for None."""
    return "absent" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
