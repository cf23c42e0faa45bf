from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np
import pytest

from selftrain_jax.html.blocks import (
    Cell,
    Code,
    Details,
    Finding,
    Findings,
    Heading,
    Legend,
    LegendEntry,
    Note,
    Page,
    Section,
    Table,
)
from selftrain_jax.html.galleries import Gallery, Picture
from selftrain_jax.html.render import render_page, write_page
from tests.html.html_page import Page as Elements
from tests.html.html_page import render_blocks, render_section

EVIL = "</p><script>alert('x')</script>\" onload=\"x"


def every_text_block():
    """Make a block of every kind but plots, each with the same text wherever one can stand."""
    table = Table([EVIL, EVIL], [[EVIL, Cell(EVIL, share=0.5)], [Cell(EVIL, color="rgb(1,2,3)"), EVIL]])
    picture = Picture(np.zeros((2, 3, 3), np.uint8), EVIL, EVIL)
    return [
        *(Note(EVIL, "warning"), Heading(EVIL), Code(EVIL), table, Details(EVIL, table)),
        Legend([LegendEntry(EVIL, "red"), LegendEntry(EVIL, "red", "area")]),
        Gallery(EVIL, EVIL, "rows", [[picture, picture]]),
        Findings([Finding("error", EVIL, EVIL)]),
    ]


def test_every_block_nests_and_escapes_its_texts():
    text = render_blocks(every_text_block())
    tags = Elements(text).tags
    assert "script" not in {tag for tag, _ in tags}
    assert not [attributes for _, attributes in tags if "onload" in attributes]
    # note, heading, code; table; details and its table; legend; gallery and two pictures; finding and remedy
    assert text.count("&lt;script&gt;") == 3 + 6 + (1 + 6) + 2 + (2 + 2 * 2) + 2


def test_section_without_blocks_says_so_and_has_its_title():
    text = render_section(Section("key", "Title", "", []))
    assert "Not there yet." in text
    assert '<section id="key">' in text
    assert "<h2>Title</h2>" in text


def test_a_kind_of_block_without_a_template_is_an_error():
    class Video(NamedTuple):
        text: str

    with pytest.raises(jinja2.UndefinedError):
        render_section(Section("key", "Title", "", [Video("x")]))


def test_half_letters_are_written_as_their_escapes(tmp_path: Path):
    page = Page("origin", "half \ud800", [], [])
    assert "half \\ud800" in write_page(tmp_path / "page.html", page).read_text(encoding="utf-8")


def test_style_sheet_is_in_the_page_and_loads_nothing():
    text = render_page(Page("origin", "headline", [], []))
    assert "prefers-color-scheme: dark" in text
    assert "--teacher: #0072b2" in text
    assert "url(" not in text
    assert "@import" not in text
