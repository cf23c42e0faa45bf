"""Pieces of HTML. All text that comes in is escaped; only parameters called `*_html` are taken as is."""

import base64
import html
import io
import math
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from selftrain_jax.html.galleries import Gallery, Picture
from selftrain_jax.html.plots import Plot, figure_html

NO_VALUE = "\u2013"  # en dash
MINUS = "\u2212"
MAX_JPEG_BYTES = 45_000  # about a hundred pictures must stay below 8 MB
JPEG_QUALITIES = (88, 78, 64, 48, 32, 15)


def paragraph(text: str, css_class: str = "") -> str:
    """Wrap text."""
    return f'<p class="{css_class}">{html.escape(text)}</p>' if css_class else f"<p>{html.escape(text)}</p>"


def number(value: float | int | None, digits: int = 1, signed: bool = False) -> str:
    """Write a number with a true minus sign; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NO_VALUE
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    return ("±" + text[1:] if signed and not float(text.replace(",", "")) else text).replace("-", MINUS)


def duration(seconds: float | int | None) -> str:
    """Write seconds as hours, minutes and seconds, the two largest units."""
    if seconds is None or not math.isfinite(seconds):
        return NO_VALUE
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours:,} h {minutes:02d} min"
    return f"{minutes} min {whole % 60:02d} s" if minutes else f"{seconds:.1f} s"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], strong_rows: Sequence[int] = ()) -> str:
    """Make a table whose first column names the row and whose other columns are numbers."""
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in header)
    body = "".join(
        f"<tr{' class=strong' if place in strong_rows else ''}>"
        f'<th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for place, row in enumerate(rows)
    )
    inner = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll" tabindex="0"><table>{inner}</table></div>'


def plots(drawn: Sequence[Plot], key: str, css_class: str = "plots") -> str:
    """Lay plots out side by side where there is room; `key` is unique in the page."""
    figures = "".join(
        f"<figure><h4>{html.escape(plot.title)}</h4>{figure_html(plot, f'{key}{place}')}"
        f"<figcaption>{html.escape(plot.caption)}</figcaption></figure>"
        for place, plot in enumerate(drawn)
    )
    return f'<div class="{css_class}">{figures}</div>' if drawn else ""


def legend(entries: Iterable[tuple[str, str, str]]) -> str:
    """List (name, CSS colour, line style) so that small plots need no legends of their own."""
    items = "".join(
        f'<li><span style="border-top:3px {style} {color}"></span>{html.escape(name)}</li>'
        for name, color, style in entries
    )
    return f'<ul class="legend">{items}</ul>'


def swatches(entries: Iterable[tuple[str, str]]) -> str:
    """List (name, CSS background): the colours of areas."""
    items = "".join(
        f'<li><span style="background:{background}"></span>{html.escape(name)}</li>'
        for name, background in entries
    )
    return f'<ul class="legend swatches">{items}</ul>'


def gallery_html(gallery: Gallery) -> str:
    """Lay out the rows of a gallery; a row of several pictures stays together."""
    rows = "".join(
        f'<div class="row of{len(row)}">{"".join(map(_picture_html, row))}</div>' for row in gallery.rows
    )
    return (
        f"<h3>{html.escape(gallery.title)}</h3>{paragraph(gallery.caption, 'hint')}"
        f'<div class="gallery {gallery.layout}">{rows}</div>'
    )


def section(key: str, title: str, lead: str, *bodies_html: str) -> str:
    """Make a section that the table of contents can point to."""
    body = "".join(bodies_html) or paragraph("Not there yet.", "missing")
    head = f"<h2>{html.escape(title)}</h2>{paragraph(lead, 'lead')}"
    return f'<section id="{html.escape(key)}">{head}{body}</section>'


def details(title: str, body_html: str) -> str:
    """Make a block that opens on demand."""
    return f"<details><summary>{html.escape(title)}</summary>{body_html}</details>"


def code(text: str) -> str:
    """Show text as it is, in a fixed-width font."""
    return f'<pre tabindex="0"><code>{html.escape(text)}</code></pre>'


def encode_jpeg(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """Compress an image as well as MAX_JPEG_BYTES allows."""
    encoded = b""
    for quality in JPEG_QUALITIES:
        buffer = io.BytesIO()
        Image.fromarray(image).save(
            buffer, format="JPEG", quality=quality, subsampling=0 if quality > 80 else 2
        )
        encoded = buffer.getvalue()
        if len(encoded) <= MAX_JPEG_BYTES:
            break
    return encoded


def _picture_html(picture: Picture) -> str:
    height, width = picture.image.shape[:2]
    data = base64.b64encode(encode_jpeg(picture.image)).decode()
    return (
        f'<figure><img alt="{html.escape(picture.alt)}" width="{width}" height="{height}" loading="lazy"'
        f' src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{html.escape(picture.caption)}</figcaption></figure>"
    )
