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
    """An element; `text` is what it holds outside its children."""

    tag: str
    line: int
    text: str = ""
    children: list["Element"] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)

    def find(self, path: str) -> "Element | None":
        """Find the first element at a path such as "bndbox/xmin"."""
        first, _, rest = path.partition("/")
        child = next((child for child in self.children if child.tag == first), None)
        return child.find(rest) if child and rest else child

    def find_text(self, path: str) -> str | None:
        """Return the text at a path, stripped; None when it is absent or empty."""
        child = self.find(path)
        return child.text.strip() or None if child else None


def parse_xml(path: pathlib.Path) -> Element:
    """Parse a whole file to its root element.

    Raises:
        InputError: XML that is not well formed (with its line), or entities, which can expand to gigabytes.
    """
    builder = _TreeBuilder(path)
    content = read_file(path)
    try:
        builder.parser.Parse(content, True)
    except InputError:
        raise
    except expat.ExpatError as error:
        raise InputError(
            f"{path}:{error.lineno}: not XML ({expat.ErrorString(error.code)}). The file may be cut off; "
            "make it again."
        ) from error
    except (ValueError, LookupError) as error:  # from Python's codecs
        raise InputError(f"{path}: its encoding cannot be read ({error}). Save it as UTF-8.") from error
    return builder.top.children[0]


class _TreeBuilder:
    """Builds elements from the events of expat."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.top = Element("", 0)
        self.open_elements = [self.top]
        self.texts: list[list[str]] = [[]]  # of the open elements, in pieces: adding up strings is slow
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.add_text
        self.parser.EntityDeclHandler = self.refuse_entity

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, self.parser.CurrentLineNumber, attributes=attributes)
        self.open_elements[-1].children.append(element)
        self.open_elements.append(element)
        self.texts.append([])

    def end(self, _tag: str) -> None:
        self.open_elements.pop().text = "".join(self.texts.pop())

    def add_text(self, text: str) -> None:
        self.texts[-1].append(text)

    def refuse_entity(self, name: str, *_rest: object) -> None:
        raise InputError(
            f"{self.path}:{self.parser.CurrentLineNumber}: declares the entity {name!r}; annotation files "
            "need none. Remove the declaration."
        )
