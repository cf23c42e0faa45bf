"""One number of the paper (Tables 2 to 14, Figures 1 to 3) with its settings (appendix H as well).

`line` expands a line of a table to rows; `selftrain_jax.paper.rows` collects them.
"""

from typing import Any, Literal, NamedTuple


class Row(NamedTuple):
    """A published number. None means that the paper gives no value, or that the field does not apply.

    `unlabeled` is None for supervised training. `loss_norm` and `larger_rate` differ only in Figure 2, where
    "plain" is self-training without loss normalisation.
    """

    table: str  # "2" to "14", "figure1" to "figure3"
    row: int  # from 1, within the table
    task: Literal["detection", "segmentation"]
    setup: str
    backbone: str
    augment: str | None  # S1 to S4; None: SpineNet's own baseline
    init: str  # rand | imagenet | imagenet_pp | simclr
    labels: str  # share of COCO's train, "20%"; split of VOC 2012
    unlabeled: str | None
    student_init: str | None  # teacher | rand
    image_size_px: int
    steps: int | None
    alpha: float | None
    joint_weight: float | None
    metric: str
    value: float | None  # None: the training diverged
    note: str | None
    loss_norm: Literal["ema", "plain"] = "ema"
    larger_rate: bool = False

    @property
    def labels_percent(self) -> float:
        """Share of train that is labelled; for detection."""
        return float(self.labels.removesuffix("%"))


def line(table: str, setup: str, **fields: Any) -> list[Row]:
    """Expand a line of a table to rows: a list has one value per row, anything else is the value of all rows.

    `row` is 0 until `selftrain_jax.paper.rows` numbers the rows.
    """
    columns = {name: value for name, value in fields.items() if isinstance(value, list)}
    constants = {name: value for name, value in fields.items() if name not in columns}
    blank: dict[str, Any] = dict.fromkeys(Row._fields[:-2])
    common = blank | {"table": table, "row": 0, "setup": setup} | constants
    entries = zip(*columns.values(), strict=True) if columns else [()]
    return [Row(**common | dict(zip(columns, entry, strict=True))) for entry in entries]
