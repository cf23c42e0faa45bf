"""What a page consists of, as plain data; `render.render_page` makes it HTML.

A page has sections, a section has blocks: `Note`, `Table`, `Plots`, `Legend`, `Gallery`, `Findings`, `Code`,
`Heading` and `Details`. Their texts are text, never HTML: the templates escape them.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from selftrain_jax.html.galleries import Gallery
from selftrain_jax.html.plots import Plot


class Note(NamedTuple):
    """A paragraph."""

    text: str
    kind: Literal["hint", "missing", "warning"] = "hint"


class Cell(NamedTuple):
    """A cell of a table that is more than its text."""

    text: str
    share: float | None = None  # 0 to 1: a bar of this length lies behind the text
    is_empty: bool = False  # nothing is there, and that is worth a look
    color: str = ""  # a CSS colour beside the text
    wraps: bool = False  # words among numbers: at the left, on several lines where they are long


class Table(NamedTuple):
    """A table whose first column names the row."""

    header: Sequence[str | Cell]
    rows: Sequence[Sequence[str | Cell]]
    strong_rows: Sequence[int] = ()
    style: Literal["numbers", "words"] = "numbers"  # at the right of their column; words at the left


class Plots(NamedTuple):
    """Plots side by side where there is room."""

    plots: Sequence[Plot]
    key: str  # unique in the page: ids inside the drawings begin with it
    layout: Literal["", "small", "single", "wide"] = ""


class LegendEntry(NamedTuple):
    """A line or an area of plots or pictures, and what it stands for."""

    name: str
    color: str  # CSS: a colour, or the background of an area
    style: Literal["solid", "dashed", "dotted", "area"] = "solid"


class Legend(NamedTuple):
    """What colours mean, for several plots or pictures at once."""

    entries: Sequence[LegendEntry]


Level = Literal["ok", "warning", "error"]


class Finding(NamedTuple):
    """Something that was found, and what to do about it (perhaps nothing)."""

    level: Level
    finding: str
    remedy: str


class Findings(NamedTuple):
    """Findings below each other."""

    findings: Sequence[Finding]


class Heading(NamedTuple):
    """The title of what follows in a section."""

    text: str


class Code(NamedTuple):
    """Text as it is, in letters of one width."""

    text: str


class Details(NamedTuple):
    """A block that opens on demand."""

    title: str
    block: "Table | Code"


Block: TypeAlias = Note | Table | Plots | Legend | Gallery | Findings | Heading | Code | Details


class Section(NamedTuple):
    """A part of the page that the contents point to. Without blocks it says that it is not there yet."""

    key: str
    title: str
    lead: str
    blocks: Sequence[Block]


class Badge(NamedTuple):
    """A fact at the top of the page."""

    name: str
    value: str
    role: str  # the colour: a role of `plots.ROLE_COLORS`
    is_missing: bool = False


class Page(NamedTuple):
    """A whole page."""

    origin: str  # what it is about and when it was written
    headline: str
    badges: Sequence[Badge]
    sections: Sequence[Section]


def plots(
    drawn: Sequence[Plot], key: str, layout: Literal["", "small", "single", "wide"] = ""
) -> list[Plots]:
    """Make a block of plots, none where there is nothing to show."""
    return [Plots(drawn, key, layout)] if drawn else []
