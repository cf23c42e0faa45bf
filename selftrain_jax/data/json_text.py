"""JSON that others wrote: whatever is wrong with it becomes one clear error.

Call `parse_json`; for small files, which are walked through afterwards, `parse_shallow_json`.
"""

import json
import reprlib
from typing import Any

from selftrain_jax.errors import InputError

MAX_DEPTH = 64  # of nested lists and objects; Python's own functions fail some hundreds deep


def parse_json(text: bytes | str, where: str, remedy: str = "The file may be cut off; make it again.") -> Any:
    """Parse a document. NaN and Infinity are numbers; of a key that is twice in an object the last counts.

    Raises: InputError, naming `where`, for what is no JSON or no text, for nesting and for integers beyond
    what Python takes.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}:{error.lineno}:{error.colno}: not JSON ({error.msg}). {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({str(error)[:200]}). {remedy}") from error


def parse_shallow_json(text: bytes | str, where: str, remedy: str) -> Any:
    """Parse a document of at most `MAX_DEPTH` lists and objects in each other. Raises: as `parse_json`."""
    document = parse_json(text, where, remedy)
    level, depth = [document], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(
                f"{where}: nested more than {MAX_DEPTH} deep, which no file of ours is. {remedy}"
            )
        children = (child for node in level if isinstance(node, dict | list) for child in _inside(node))
        level = [child for child in children if isinstance(child, dict | list)]
    return document


def show(value: Any) -> str:
    """Write a value of a document for messages, in short however large and deep it is."""
    return reprlib.repr(value)


def _inside(node: dict | list) -> Any:
    return node.values() if isinstance(node, dict) else node
