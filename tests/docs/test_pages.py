"""The README and docs/: short enough to read, and what they point at is there."""

import ast
import pathlib
import re

import pytest

from .markdown import PAGES, ROOT, anchors, cells, links, prose, read_tables

PATH = re.compile(r"(?<![\w./-])(?:selftrain_jax|configs|launch|tests|docs)(?:/[\w.-]+)+/?")
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]


def test_the_readme_has_at_most_150_lines_of_120_characters() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 120] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_prose_has_lines_of_at_most_120_characters(page: pathlib.Path) -> None:
    long = [line for line in page.read_text().splitlines() if len(line) > 120 and not line.startswith("|")]
    assert long == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    for link in links(page.read_text()):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), f"{link} leaves the repository"
        assert target.exists(), f"{link}: there is no {target.relative_to(ROOT)}"
        assert not anchor or anchor in anchors(target.read_text()), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_paths_that_are_named_exist(page: pathlib.Path) -> None:
    named = {path.rstrip(".") for path in PATH.findall(page.read_text())}
    named = {path for path in named if "keypoints" not in path}  # a made-up task
    assert {path for path in named if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_modules_that_commands_run_exist(page: pathlib.Path) -> None:
    for module in re.findall(r"python -m ((?:selftrain_jax|launch|tests)[\w.]*)", page.read_text()):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


@pytest.mark.parametrize("page", [*PAGES, ROOT / "selftrain_jax/train/loop.py"], ids=lambda page: page.name)
def test_what_resumes_bit_for_bit_is_said_with_its_platform(page: pathlib.Path) -> None:
    claims = [part for part in re.split(r"\n\s*\n|\n(?=\|)", page.read_text()) if "bit for bit" in part]
    assert [claim for claim in claims if not re.search(r"\b[CT]PU\b", claim)] == []


def test_every_page_of_docs_is_linked_from_the_readme() -> None:
    linked = set(links((ROOT / "README.md").read_text()))
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= linked


def test_the_tree_of_the_architecture_has_every_folder() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    tree = text[text.index("\nselftrain_jax/\n") :].partition("\nconfigs/")[0]
    entries = set(re.findall(r"^  (\S+)", tree, flags=re.MULTILINE))
    assert {entry for entry in entries if not (ROOT / "selftrain_jax" / entry).exists()} == set()
    folders = {path.parent.name + "/" for path in (ROOT / "selftrain_jax").glob("*/__init__.py")}
    assert folders <= entries


@pytest.mark.parametrize(
    ("picture", "page"),
    [("docs/images/report.png", "README.md"), ("docs/images/doctor.png", "docs/own_data.md")],
)
def test_each_picture_is_small_and_shown(picture: str, page: str) -> None:
    assert (ROOT / picture).stat().st_size < 200_000
    assert (ROOT / picture).read_bytes().startswith(b"\x89PNG")
    shown = [(ROOT / page).parent / link for link in links((ROOT / page).read_text())]
    assert ROOT / picture in shown


def test_the_readme_names_every_job() -> None:
    tree = ast.parse((ROOT / "selftrain_jax/main.py").read_text())
    (jobs,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "JOBS"
    ]
    (table,) = [table for table in read_tables((ROOT / "README.md").read_text()) if table.header[0] == "job"]
    assert {re.findall(r"\w+", row["job"])[0] for row in table.rows} == set(jobs)


@pytest.mark.parametrize("name", ["coco_spinenet", "voc_nasfpn"])
def test_settings_of_paper_and_release_are_those_of_the_docstring(name: str) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / f"configs/{name}.py").read_text())) or ""
    told: dict[str, list[str]] = {}
    for line in docstring.splitlines():
        if line.startswith("|") and not line.startswith("|--"):
            setting, *values = cells(line)
            if setting or not told:
                told[setting] = values
            else:  # a cell that goes on
                last = list(told)[-1]
                told[last] = [f"{a} {b}".strip() for a, b in zip(told[last], values, strict=True)]
    tables = [
        t for t in read_tables((ROOT / "docs/paper.md").read_text()) if t.header == ["", "paper", "released"]
    ]
    written = [
        {"": t.header[1:]} | {row[""]: [row["paper"], row["released"]] for row in t.rows} for t in tables
    ]
    assert len(told) > 9
    assert told in written


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_no_page_has_an_open_code_block(page: pathlib.Path) -> None:
    assert "```" not in prose(page.read_text())
