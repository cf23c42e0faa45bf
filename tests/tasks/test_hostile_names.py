"""Class names, image ids, config values and paths that try to become a part of the page: they stay text."""

import dataclasses
import json
import pathlib
import re
from collections import Counter
from typing import Any

import pytest

from selftrain_jax.data.source import Source
from selftrain_jax.jobs.report import write_report
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.types import Category
from tests.html.html_page import Page

NAMES = (
    "</svg></style></title><script>alert(1)</script>",
    '" onload="alert(1)" x=\'><img src=x onerror=alert(1)>',
    "javascript:alert(1) \ud800\x00\x1b --><!-- ]]> &lt;script&gt; \u202e",
)
COMMAND, SPLIT = "<a href='javascript:alert(1)'>", "<iframe src=//elsewhere>"


def hostile(value: Any, names: dict[str, str]) -> Any:
    """Put hostile names into a document wherever a name stands, as key or as value."""
    if isinstance(value, dict):
        return {names.get(key, key): hostile(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [hostile(inner, names) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value


def spoil(workdir: pathlib.Path, categories: tuple[Category, ...], ids: dict[str, str]) -> None:
    """Rewrite every JSON file of a run."""
    names = dict(zip((category.name for category in categories), NAMES, strict=True))
    names |= {"test": SPLIT, "python -m selftrain_jax.main <script>alert('x')</script>": COMMAND, **ids}
    for path in workdir.rglob("*.json"):
        path.write_text(json.dumps(hostile(json.loads(path.read_text()), names)))


def spoiled(source: Source, ids: dict[str, str]) -> Source:
    categories = tuple(Category(known.id, name) for known, name in zip(source.categories, NAMES, strict=True))
    image_ids = tuple(ids.get(image_id, image_id) for image_id in source.image_ids)

    def read_labels(index: int) -> Any:
        return {**source.read_labels(index), "image_id": image_ids[index]}

    return dataclasses.replace(source, categories=categories, image_ids=image_ids, read_labels=read_labels)


def check_same_elements(found: str, expected: str) -> None:
    """Hold the elements and attributes of a page against those of the same page with ordinary names."""
    assert elements(found) == elements(expected)
    assert "script" not in {tag for tag, _ in Page(found).tags}
    for _, attributes in Page(found).tags:
        assert not {key for key in attributes if key.startswith("on") or key == "srcdoc"}
        for key in ("src", "href", "xlink:href", "action"):
            assert attributes.get(key, "#").startswith(("#", "data:image/"))
        assert not re.search(r"url\((?!#)|expression|import|javascript", attributes.get("style") or "")


def elements(page: str) -> dict[str, Any]:
    """Count the elements outside plots, whose ticks and lines depend on letters; list all kinds."""
    tags = Page(re.sub(r"(?s)<svg.*?</svg>", "<svg></svg>", page)).tags
    outside = Counter((tag, tuple(attributes)) for tag, attributes in tags if tag != "svg")
    return {"outside": outside, "known": {tag for tag, _ in Page(page).tags}}


def test_a_report_of_boxes_with_hostile_names_has_the_elements_of_any_other(workdir, images, page) -> None:
    ids = {"t0": NAMES[1], "p0": NAMES[0]}
    spoil(workdir, images.test_source.categories, ids)
    sources = {key: spoiled(getattr(images, key), ids) for key in ("test_source", "pseudo_source")}
    path = write_report(workdir, get_task("detection"), images._replace(**sources))
    check_same_elements(path.read_text(encoding="utf-8"), page)


def test_a_report_of_masks_with_hostile_names_has_the_elements_of_any_other(
    mask_workdir, mask_images, mask_page
) -> None:
    spoil(mask_workdir, mask_images.test_source.categories, {})
    sources = {key: spoiled(getattr(mask_images, key), {}) for key in ("test_source", "pseudo_raw")}
    path = write_report(mask_workdir, get_task("segmentation"), mask_images._replace(**sources))
    check_same_elements(path.read_text(encoding="utf-8"), mask_page)


def test_the_path_of_the_run_is_text_too(tmp_path: pathlib.Path) -> None:
    workdir = tmp_path / "<script>alert(1)<"
    workdir.mkdir()
    text = write_report(workdir, None, None).read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;" in text
    assert "script" not in {tag for tag, _ in Page(text).tags}


@pytest.mark.parametrize("name", NAMES, ids=["markup", "attribute", "odd letters"])
def test_names_survive_in_the_readers_eyes(workdir, name: str) -> None:
    summary = json.loads((workdir / "summary.json").read_text())
    (workdir / "summary.json").write_text(json.dumps({**summary, "config": {"name": name}}))
    for path in [*workdir.glob("*/*.json"), *workdir.glob("*/*.jsonl")]:
        path.unlink()  # draws no plot
    text = write_report(workdir, None, None).read_text(encoding="utf-8")
    shown = "".join(TextOf(text).pieces)
    assert json.dumps(name) in shown


class TextOf(Page):
    def __init__(self, text: str) -> None:
        self.pieces: list[str] = []
        super().__init__(text)

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)
        super().handle_data(data)
