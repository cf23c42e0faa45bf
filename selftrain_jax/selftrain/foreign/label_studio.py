"""Label Studio's tasks with `predictions`: rectanglelabels in percent of the image, each with a score.

Call `parse_label_studio`. Only predictions are read; annotations, which people made, are not.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from selftrain_jax.data.formats.label_studio import image_of
from selftrain_jax.errors import InputError
from selftrain_jax.io import show
from selftrain_jax.selftrain.foreign.boxes import ForeignBoxes, make_boxes, no_score
from selftrain_jax.selftrain.foreign.image_names import name_in_url
from selftrain_jax.text import shorten_list

RECTANGLES = "rectanglelabels"
_Row = tuple[str, str, tuple[float, float, float, float], float]


def parse_label_studio(document: list[Any], where: str) -> ForeignBoxes:
    """Read the predictions of all tasks; a task without a prediction is not named at all.

    Raises:
        InputError: a task names no image or has several predictions, a rectangle is malformed or turned, or
            has no score.
    """
    rows: list[_Row] = []
    places: list[str] = []
    images: list[str] = []
    models, others = dict[str, None](), Counter[str]()
    for number, task in enumerate(document):
        own = f"{where}[{number}]"
        prediction = _prediction_of(task, own)
        if prediction is None:
            continue
        image = _image_of(task, own)
        images.append(image)
        models[str(prediction.get("model_version") or "")] = None
        for region, result in enumerate(_results(prediction, own)):
            place = f"{own}, predictions[0].result[{region}]"
            if not isinstance(result, dict) or result.get("type") != RECTANGLES:
                others[str(result.get("type") if isinstance(result, dict) else show(result))] += 1
                continue
            rows.append((image, *_read_rectangle(result, prediction, place)))
            places.append(place)
    if len(models) > 1:
        raise InputError(
            f"{where}: predictions of {len(models)} model versions, {shorten_list([*map(repr, models)])}; "
            "export each one by itself and list the files in config.foreign.predictions"
        )
    notes = tuple(f"{count} regions of type {kind} are no boxes, left out" for kind, count in others.items())
    return make_boxes(
        "Label Studio predictions",
        rows,
        images,
        is_frac=True,
        names={row[1]: row[1] for row in rows},
        place=places.__getitem__,
        model=next(iter(models), ""),
        notes=notes,
    )


def _prediction_of(task: Any, where: str) -> Mapping[str, Any] | None:
    predictions = task.get("predictions") if isinstance(task, dict) else task
    match predictions:
        case None | []:
            return None
        case [dict() as prediction]:
            return prediction
        case [dict(), *_] as several:
            versions = [repr(entry.get("model_version")) for entry in several if isinstance(entry, dict)]
            raise InputError(
                f"{where}: {len(several)} predictions, of the model versions {shorten_list(versions)}; "
                "export one model at a time"
            )
    raise InputError(f"{where}: predictions is {show(predictions)}; expected a list of one object")


def _image_of(task: Mapping[str, Any], where: str) -> str:
    data = task.get("data")
    address = image_of(data) if isinstance(data, dict) else None
    if not address:
        raise InputError(f'{where}: data is {show(data)}; expected the image as "image": its path or URL')
    return name_in_url(address)


def _results(prediction: Mapping[str, Any], where: str) -> list[Any]:
    results = prediction.get("result")
    if not isinstance(results, list):
        raise InputError(f"{where}: predictions[0].result is {show(results)}; expected a list of regions")
    return results


def _read_rectangle(
    result: Mapping[str, Any], prediction: Mapping[str, Any], where: str
) -> tuple[str, tuple[float, float, float, float], float]:
    """Return label, yxyx as shares of the image, and score: the region's own or else the prediction's."""
    match result.get("value"):
        case {
            "x": int() | float() as x,
            "y": int() | float() as y,
            "width": int() | float() as width,
            "height": int() | float() as height,
            "rectanglelabels": [str(label)],
            **rest,
        }:
            if rest.get("rotation"):
                raise InputError(f"{where}: turned by {rest['rotation']} degrees; expected upright boxes")
        case value:
            raise InputError(
                f"{where}: {show(value)}; expected x, y, width and height in percent and one label in "
                "rectanglelabels"
            )
    if max(x, y, width, height) > 110:
        raise InputError(f"{where}: {show(result['value'])} is in pixels; expected percent of the image")
    score = result.get("score", prediction.get("score"))
    if not isinstance(score, int | float) or isinstance(score, bool):
        raise no_score(where, 'expected "score" in the region, or else in its prediction')
    return label, (y / 100, x / 100, (y + height) / 100, (x + width) / 100), float(score)
