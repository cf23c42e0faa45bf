"""YOLO's txt files with confidences, one an image: `class x y width height confidence`, shares of the image.

Call `parse_yolo_folder`; `classes.txt` beside the files, a name a line, names the classes.
"""

from pathlib import Path

from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.foreign.boxes import ForeignBoxes, make_boxes, no_score
from selftrain_jax.selftrain.foreign.files import list_files

CLASSES_FILE = "classes.txt"
LARGEST_SHARE = 1.05  # of a centre or a side: above it they are no shares of the image
_Row = tuple[str, str, tuple[float, float, float, float], float]


def parse_yolo_folder(folder: Path) -> ForeignBoxes:
    """Read every txt file below a folder; an empty one is an image without a box.

    Raises:
        InputError: a line has no six columns, or a confidence or a share that is none.
    """
    files = [path for path in list_files(folder, (".txt",)) if path.name != CLASSES_FILE]
    rows: list[_Row] = []
    places: list[tuple[Path, int]] = []
    for path in files:
        image = path.relative_to(folder).as_posix()
        for line, text in _lines(path):
            rows.append(_read_line(image, text, f"{path}:{line}"))
            places.append((path, line))
    return make_boxes(
        "YOLO txt",
        rows,
        [path.relative_to(folder).as_posix() for path in files],
        is_frac=True,
        names=_read_names(folder),
        place=lambda index: f"{places[index][0]}:{places[index][1]}",
    )


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); expected a text file of YOLO's boxes") from None
    return [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _read_line(image: str, text: str, where: str) -> _Row:
    cells = text.split()
    if len(cells) == 5:
        what = "expected six columns, class x y width height confidence: predict with save_conf=True"
        raise no_score(f"{where}: {text.strip()[:60]!r}", what)
    try:
        x, y, width, height, score = map(float, cells[1:])
    except ValueError:
        raise InputError(
            f"{where}: {text.strip()[:60]!r}; expected six columns, class x y width height confidence "
            "(polygons have more: predict boxes)"
        ) from None
    if max(x, y, width, height) > LARGEST_SHARE:
        raise InputError(
            f"{where}: {text.strip()[:60]!r} is in pixels; expected the box's centre and size as shares of "
            "the image's width and height, of 0 to 1"
        )
    return image, cells[0], (y - height / 2, x - width / 2, y + height / 2, x + width / 2), score


def _read_names(folder: Path) -> dict[str, str]:
    path = folder / CLASSES_FILE
    if not path.is_file():
        return {}
    return {str(number - 1): name.strip() for number, name in _lines(path)}
