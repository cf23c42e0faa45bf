"""What a stage cost: `Cost`, the counters that a checkpoint carries, and `CostSummary`, what people read.

A device-second is one device held for one second. Time counts from the moment training begins (or labelling),
as the stage's `seconds` do; what a session that was killed did after its last checkpoint is lost, and so is
what a rollback threw away. The measurement on the test split is not part of it. Pseudo labels know only the
session that finished them.
"""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from selftrain_jax.run_files.fields import (
    Count,
    Duration,
    Fraction,
    JsonObject,
    Number,
    Text,
    open_document,
    to_json,
)

REMEDY = "Delete this checkpoint; the same command then continues from the one before."


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Counters that add up over sessions, whatever devices each ran on."""

    device_seconds: Mapping[Text, Duration]  # by kind of device, as JAX names it
    images: Count
    waiting_device_seconds: Annotated[Duration | None, Field(default=None)]  # None: not measured
    compiling_device_seconds: Duration
    evaluating_device_seconds: Duration
    energy_joules: Annotated[Duration | None, Field(default=None)]  # None: a device did not report it

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "Cost | None":
        """Check what a checkpoint says; None is left as it is: an older version wrote none.

        Raises:
            InputError: as `Document.read`.
        """
        return None if value is None else open_document(value, path, REMEDY).read(cls)

    def to_json(self) -> JsonObject:
        """Return the object for the file."""
        return to_json(self)

    def add(self, other: "Cost") -> "Cost":
        """Add another session; what either does not know is unknown."""
        return Cost(
            device_seconds=_add_kinds(self.device_seconds, other.device_seconds),
            images=self.images + other.images,
            waiting_device_seconds=_add(self.waiting_device_seconds, other.waiting_device_seconds),
            compiling_device_seconds=self.compiling_device_seconds + other.compiling_device_seconds,
            evaluating_device_seconds=self.evaluating_device_seconds + other.evaluating_device_seconds,
            energy_joules=_add(self.energy_joules, other.energy_joules),
        )

    def summarize(self) -> "CostSummary":
        """Turn counters into shares of all device-seconds and a speed."""
        total = float(sum(self.device_seconds.values()))
        paused = self.compiling_device_seconds + self.evaluating_device_seconds
        return CostSummary(
            device_seconds=_round_kinds(self.device_seconds),
            images_per_device_second=round(self.images / (total - paused), 3) if total > paused else None,
            waiting_share=_share(self.waiting_device_seconds, total),
            compiling_share=_share(self.compiling_device_seconds, total),
            evaluating_share=_share(self.evaluating_device_seconds, total),
            energy_joules=_round(self.energy_joules),
        )


NO_COST = Cost(
    device_seconds={},
    images=0,
    waiting_device_seconds=0.0,
    compiling_device_seconds=0.0,
    evaluating_device_seconds=0.0,
    energy_joules=0.0,
)
"""That of a stage which has not begun."""


@dataclass(frozen=True, kw_only=True)
class CostSummary:
    """What a stage or a run cost. Shares are of its device-seconds and exclude each other."""

    device_seconds: Mapping[Text, Duration]  # by kind of device
    images_per_device_second: Duration | None = None  # without compiling and evaluating; of a stage
    waiting_share: Annotated[Fraction | None, Field(default=None)]  # for data; None: not measured
    compiling_share: Annotated[Fraction | None, Field(default=None)]  # wherever, evaluations included
    evaluating_share: Annotated[Fraction | None, Field(default=None)]  # on val, and saving checkpoints
    energy_joules: Annotated[Duration | None, Field(default=None)]  # None: a device did not report it

    @property
    def total_device_seconds(self) -> float:
        """Device-seconds of all kinds together."""
        return float(sum(self.device_seconds.values()))


def sum_costs(parts: Iterable[CostSummary | None]) -> CostSummary | None:
    """Add up the stages of a run; None where there is none, or where the cost of one is not known.

    Time that a stage does not measure (labels are not asked how long they wait for data) counts as none.
    """
    costs = list(parts)
    known = [cost for cost in costs if cost is not None]
    if not known or len(known) < len(costs):
        return None
    seconds = functools.reduce(_add_kinds, [cost.device_seconds for cost in known])
    energy = functools.reduce(_add, [cost.energy_joules for cost in known])

    def share(name: str) -> Number | None:
        spent = sum((getattr(cost, name) or 0) * cost.total_device_seconds for cost in known)
        return _share(spent, sum(seconds.values()))

    return CostSummary(
        device_seconds=_round_kinds(seconds),
        waiting_share=share("waiting_share"),
        compiling_share=share("compiling_share"),
        evaluating_share=share("evaluating_share"),
        energy_joules=_round(energy),
    )


def _add(first: Number | None, second: Number | None) -> Number | None:
    return None if first is None or second is None else first + second


def _add_kinds(first: Mapping[str, Number], second: Mapping[str, Number]) -> dict[str, Number]:
    return {kind: first.get(kind, 0) + second.get(kind, 0) for kind in {**first, **second}}


def _share(part: Number | None, total: Number) -> Number | None:
    return None if part is None or total <= 0 else round(part / total, 4)


def _round(value: Number | None) -> Number | None:
    return None if value is None else round(value, 3)


def _round_kinds(seconds: Mapping[str, Number]) -> dict[str, Number]:
    return {kind: round(value, 3) for kind, value in seconds.items()}
