"""Pages from plain data, by the templates beside this file. Call `render_page`.

Every text is escaped; the one thing that is taken as it is, is what matplotlib drew.
"""

import base64
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from selftrain_jax.html.blocks import Page
from selftrain_jax.html.galleries import encode_jpeg
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
    style = files("selftrain_jax.html").joinpath("style.css").read_text(encoding="utf-8")
    return template.render(page=page, colors=colors, style=Markup(style))


@lru_cache
def environment() -> Environment:
    """Set the template engine up: all is escaped, and a name that does not exist is an error."""
    made = Environment(
        loader=PackageLoader("selftrain_jax.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["kind"] = lambda block: type(block).__name__
    made.filters["jpeg"] = lambda picture: _uri("jpeg", encode_jpeg(picture.image))
    made.filters["drawing"] = _drawing
    made.filters["png"] = lambda plot: _uri("png", figure_png(plot.figure))
    return made


def _uri(kind: str, image: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def _drawing(plot: Plot, key: str) -> Drawing | None:
    """Draw a plot in the page's colours; None if that is large."""
    drawing = draw_svg(plot.figure, key)
    size = len(drawing.body.encode(errors="backslashreplace"))
    return drawing if size <= MAX_SVG_BYTES else None
