"""Pages from plain data, by the templates beside this file. Call `render_page`.

Every text is escaped; the one thing that is taken as it is, is what matplotlib drew.
"""

import base64
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from selftrain_jax.html.blocks import Block, Page, Section
from selftrain_jax.html.galleries import Picture, encode_jpeg
from selftrain_jax.html.plots import DARK_COLORS, ROLE_COLORS, Drawing, Plot, draw_svg, figure_png
from selftrain_jax.io import atomic_write

MAX_SVG_BYTES = 60_000  # above this a PNG is smaller


def write_page(path: Path, page: Page) -> Path:
    """Write a page, whole or not at all, and return its path."""
    with atomic_write(path, "wb") as file:  # JSON can hold half characters
        file.write(render_page(page).encode("utf-8", errors="backslashreplace"))
    return path


def render_page(page: Page) -> str:
    """Make a whole page: one HTML file that loads nothing."""
    template = environment().get_template("page.html.j2")
    colors = {"light": ROLE_COLORS, "dark": DARK_COLORS}
    return template.render(page=page, colors=colors, style=Markup(_read("style.css")))


def render_section(section: Section) -> str:
    """Make one section of a page."""
    return environment().get_template("blocks.html.j2").module.section(section)  # type: ignore[attr-defined]


def render_blocks(blocks: Sequence[Block]) -> str:
    """Make some blocks of a page."""
    template = environment().get_template("blocks.html.j2")
    return "".join(map(template.module.block, blocks))  # type: ignore[attr-defined]


@lru_cache
def environment() -> Environment:
    """Set the template engine up: all is escaped, and a name that does not exist is an error."""
    made = Environment(
        loader=FunctionLoader(lambda name: _read(f"templates/{name}")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["kind"] = lambda block: type(block).__name__
    made.filters["jpeg"] = jpeg_uri
    made.filters["drawing"] = _drawing
    made.filters["png"] = png_uri
    return made


def jpeg_uri(picture: Picture) -> str:
    """Put a picture into a URI of its own."""
    return f"data:image/jpeg;base64,{base64.b64encode(encode_jpeg(picture.image)).decode()}"


def png_uri(plot: Plot) -> str:
    """Put a plot into a URI of its own, in pixels."""
    return f"data:image/png;base64,{base64.b64encode(figure_png(plot.figure)).decode()}"


def _drawing(plot: Plot, key: str) -> Drawing | None:
    """Draw a plot in the page's colours; None if that is large."""
    drawing = draw_svg(plot.figure, key)
    size = len(drawing.body.encode(errors="backslashreplace"))
    return drawing if size <= MAX_SVG_BYTES else None


def _read(name: str) -> str:
    return files("selftrain_jax.html").joinpath(name).read_text(encoding="utf-8")
