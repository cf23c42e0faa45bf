"""XML with the line of each element, from files that are not trusted.

Call `parse_xml`. Python's ElementTree forgets the lines and expands entities.
"""

import pathlib
from dataclasses import dataclass, field
from xml.parsers import expat

from selftrain_jax.data.image_files import read_file
from selftrain_jax.errors import InputError


@dataclass
class Element:
    """An element; `text` is what stands in it outside its children."""

    tag: str
    line: int
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def find(self, path: str) -> "Element | None":
        """Find the first element at a path such as "bndbox/xmin"."""
        first, _, rest = path.partition("/")
        child = next((child for child in self.children if child.tag == first), None)
        return child.find(rest) if child and rest else child

    def find_text(self, path: str) -> str | None:
        """Give the text at a path, stripped; None when it is absent or empty."""
        child = self.find(path)
        return child.text.strip() or None if child else None


def parse_xml(path: pathlib.Path) -> Element:
    """Parse a whole file to its root element.

    Raises: InputError with the line for XML that is not well formed, and for entity declarations,
    with which a few lines can expand to gigabytes.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    top = Element("", 0)
    open_elements = [top]

    def start(tag: str, _attributes: dict[str, str]) -> None:
        element = Element(tag, parser.CurrentLineNumber)
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def add_text(text: str) -> None:
        open_elements[-1].text += text

    def refuse_entity(name: str, *_rest: object) -> None:
        raise InputError(
            f"{path}:{parser.CurrentLineNumber}: declares the entity {name!r}; annotation files need none. "
            "Remove the declaration."
        )

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _tag: open_elements.pop()
    parser.CharacterDataHandler = add_text
    parser.EntityDeclHandler = refuse_entity
    try:
        parser.Parse(read_file(path), True)
    except expat.ExpatError as error:
        raise InputError(
            f"{path}:{error.lineno}: not XML ({expat.ErrorString(error.code)}). The file may be cut off; "
            "make it again."
        ) from error
    return top.children[0]
