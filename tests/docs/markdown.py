"""Reading Markdown: its tables under their commands, its links, its headings' anchors."""

import pathlib
import re
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "launch").glob("*/README.md"))

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


class Table(NamedTuple):
    config: str  # the config file that the nearest command above it names; "" for none under this heading
    header: list[str]
    rows: list[dict[str, str]]


def read_tables(text: str) -> list[Table]:
    """Return the tables; a heading of level 2 forgets the command above it."""
    tables: list[Table] = []
    config, lines = "", text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("## "):
            config = ""
        elif found := re.search(r"configs/(\w+\.py)", line):
            config = found[1]
        if re.fullmatch(r"\|[-:| ]+\|", line):
            header = cells(lines[number - 1])
            body = []
            for row in lines[number + 1 :]:
                if not row.startswith("|"):
                    break
                body.append(dict(zip(header, cells(row), strict=True)))
            tables.append(Table(config, header, body))
    return tables


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def prose(text: str) -> str:
    """Return the text without its code blocks."""
    return _FENCE.sub("", text)


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def links(text: str) -> list[str]:
    """Return what the text links to and the pictures that it shows."""
    found = re.finditer(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", prose(text))
    return [match[1] or match[2] for match in found]


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings, as the hosting services make them."""
    titles = re.findall(r"^#+ (.+)$", prose(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
