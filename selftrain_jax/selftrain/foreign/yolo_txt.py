"""YOLO's txt files with confidences, one an image: `class x y width height confidence`, shares of the image.

Call `parse_yolo_folder`; `classes.txt` beside the files, a name a line, names the classes.
"""

from pathlib import Path

from selftrain_jax.data.formats.shapes import Yxyx
from selftrain_jax.data.formats.yolo import parse_lines
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.foreign.boxes import ForeignBoxes, make_boxes, no_score
from selftrain_jax.selftrain.foreign.files import list_files

CLASSES_FILE = "classes.txt"
SIX_COLUMNS = "expected six columns, class x y width height confidence: predict boxes with save_conf=True"
_Row = tuple[str, str, Yxyx, float]


def parse_yolo_folder(folder: Path) -> ForeignBoxes:
    """Read every txt file below a folder; an empty one is an image without a box.

    Raises:
        InputError: a line is not of YOLO's form, or has no confidence.
    """
    files = [path for path in list_files(folder, (".txt",)) if path.name != CLASSES_FILE]
    names = {path: path.relative_to(folder).as_posix() for path in files}
    placed = [row for path in files for row in _read_file(path, names[path])]
    return make_boxes(
        "YOLO txt",
        [row for _, row in placed],
        [*names.values()],
        is_frac=True,
        names=_read_names(folder),
        place=lambda index: placed[index][0],
    )


def _read_file(path: Path, image: str) -> list[tuple[str, _Row]]:
    """Return where each line's box stands, and the box."""
    shapes, problems = parse_lines(_read_text(path), None, (1, 1), str(path))
    if problems:
        raise InputError(f"{problems[0].where}: {problems[0].message}")
    found: list[tuple[str, _Row]] = []
    for shape in shapes:
        where = f"{path}:{shape.number}"
        if shape.score is None:
            raise no_score(where, SIX_COLUMNS)
        found.append((where, (image, shape.name, shape.yxyx, shape.score)))
    return found


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); expected a text file of YOLO's boxes") from None


def _read_names(folder: Path) -> dict[str, str]:
    path = folder / CLASSES_FILE
    lines = _read_text(path).splitlines() if path.is_file() else []
    return {str(number): name.strip() for number, name in enumerate(lines) if name.strip()}
