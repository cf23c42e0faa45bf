"""COCO's box metrics in original pixels: AP, AR and precision-recall curves; call `evaluate_detections`.

`coco_ground_truth` and `coco_results` return the same data as COCO's JSON files. pycocotools is the
reference; faster-coco-eval is faster. Numbers are rounded to 12 decimals, in which both agree: one divides by
n + 2^-52, so that its 1 is slightly below 1.
"""

import collections
import contextlib
import importlib
import importlib.util
import io
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from selftrain_jax.errors import InputError
from selftrain_jax.types import Category, Example

Backend = Literal["pycocotools", "faster_coco_eval", "auto"]

STATS = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"),
)
"""The twelve numbers, in COCO's order."""
DECIMALS = 12


class ImageDetections(NamedTuple):
    """The detections in one image: boxes [N, 4] yxyx in original pixels, scores [N], classes [N]."""

    image_id: str
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


def evaluate_detections(
    ground_truth: Sequence[Example],
    detections: Iterable[ImageDetections],
    categories: Sequence[Category],
    *,
    backend: Backend = "auto",
) -> dict[str, Any]:
    """Return the twelve numbers, AP by class and the precision-recall curves of all areas.

    A number is -1 if it is undefined: no true object has that size or class. Images without objects or
    without detections count as in COCO. "auto" is faster-coco-eval if that is installed.

    Raises:
        InputError: an image occurs twice, or a detection is in an unknown image or of an unknown class.

    Differs: objects marked `is_ignore` (VOC's difficult) are treated like crowds, neither found nor missed.
    Without `areas` the box's area, not the mask's, decides between small, medium and large.
    """
    detections = list(detections)
    _check_ids(ground_truth, detections, categories)
    # Equal scores are ordered by image id: number the images in the order of their ids, as in COCO's files.
    in_order = sorted(ground_truth, key=lambda example: (example.get("coco_id", 0), example["image_id"]))
    number = {example["image_id"]: i for i, example in enumerate(in_order, 1)}
    truth_file = coco_ground_truth(ground_truth, categories)
    for entry in truth_file["images"]:
        entry["id"] = number[entry["id"]]
    results = coco_results(detections)
    for entry in truth_file["annotations"] + results:
        entry["image_id"] = number[entry["image_id"]]
    # The other keys that the evaluators need; their own loader fails on an empty list.
    for i, entry in enumerate(results, 1):
        entry |= {"id": i, "area": entry["bbox"][2] * entry["bbox"][3], "iscrowd": 0}
    results_file = {**truth_file, "annotations": results}
    evaluation = _run_evaluator(truth_file, results_file, backend)

    precision = evaluation.eval["precision"][:, :, :, 0, 2]  # [IoU, recall, class], all areas, 100 boxes
    index = {id: k for k, id in enumerate(evaluation.params.catIds)}
    num_boxes = {category.id: 0 for category in categories}
    for annotation in truth_file["annotations"]:
        num_boxes[annotation["category_id"]] += not annotation["iscrowd"]
    return {
        **{name: round(float(value), DECIMALS) for name, value in zip(STATS, evaluation.stats, strict=True)},
        "per_class": {
            name: {
                "ap": _mean(precision[:, :, index[id]]),
                "ap50": _mean(precision[0, :, index[id]]),
                "num_boxes": num_boxes[id],
            }
            for id, name in categories
        },
        "pr_curves": {
            "recall": evaluation.params.recThrs.round(2).tolist(),
            "precision_iou50": [_mean(at_recall) for at_recall in precision[0]],
            "precision_iou75": [_mean(at_recall) for at_recall in precision[5]],
            "per_class_iou50": {
                name: precision[0, :, index[id]].round(DECIMALS).tolist() for id, name in categories
            },
        },
        "num_images": len(ground_truth),
    }


def coco_ground_truth(ground_truth: Sequence[Example], categories: Sequence[Category]) -> dict[str, Any]:
    """Return COCO's annotation file as a dict, with our image ids; ids of boxes start at 1."""
    annotations: list[dict[str, Any]] = []
    for example in ground_truth:
        none = np.zeros(len(example["boxes"]), bool)
        is_crowd = example.get("is_crowd", none) | example.get("is_ignore", none)
        boxes = _xywh(example["boxes"])
        areas = example.get("areas", boxes[:, 2] * boxes[:, 3])
        for box, id, area, crowd in zip(boxes, example["classes"], areas, is_crowd, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,  # 0 would mean unmatched
                    "image_id": example["image_id"],
                    "category_id": int(id),
                    "bbox": box.tolist(),
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
            )
    return {
        "images": [{"id": example["image_id"]} for example in ground_truth],
        "categories": [category._asdict() for category in categories],
        "annotations": annotations,
    }


def coco_results(detections: Iterable[ImageDetections]) -> list[dict[str, Any]]:
    """Return COCO's results file as a list; boxes [x, y, w, h] with w = xmax - xmin."""
    return [
        {"image_id": image_id, "category_id": int(id), "bbox": box.tolist(), "score": float(score)}
        for image_id, boxes, scores, classes in detections
        for box, score, id in zip(_xywh(boxes), scores, classes, strict=True)
    ]


def _xywh(boxes: np.ndarray) -> np.ndarray:
    ymin, xmin, ymax, xmax = np.asarray(boxes, np.float64).reshape(-1, 4).T
    return np.stack([xmin, ymin, xmax - xmin, ymax - ymin], axis=1)


def _run_evaluator(truth: dict[str, Any], results: dict[str, Any], backend: Backend) -> Any:
    """Evaluate with one of the two libraries, which have the same interface, without their printing."""
    if backend == "auto":
        backend = "faster_coco_eval" if importlib.util.find_spec("faster_coco_eval") else "pycocotools"
    with contextlib.redirect_stdout(io.StringIO()):
        if backend == "faster_coco_eval":
            library = importlib.import_module("faster_coco_eval")
            make_dataset, make_evaluation = library.COCO, library.COCOeval_faster
        else:
            make_dataset = importlib.import_module("pycocotools.coco").COCO
            make_evaluation = importlib.import_module("pycocotools.cocoeval").COCOeval
        datasets = []
        for content in (truth, results):
            dataset = make_dataset()
            dataset.dataset = content
            dataset.createIndex()
            datasets.append(dataset)
        evaluation = make_evaluation(*datasets, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _mean(values: np.ndarray) -> float:
    """Average the values that are defined; -1 if none is."""
    defined = values[values > -1]
    return round(float(np.mean(defined)), DECIMALS) if defined.size else -1.0


def _check_ids(
    ground_truth: Sequence[Example], detections: Sequence[ImageDetections], categories: Sequence[Category]
) -> None:
    truth_ids = [example["image_id"] for example in ground_truth]
    result_ids = [image.image_id for image in detections]
    for ids, what in ((truth_ids, "ground truth"), (result_ids, "detections")):
        if len(set(ids)) != len(ids):
            twice = [id for id, count in collections.Counter(ids).items() if count > 1]
            raise InputError(f"{len(twice)} images are twice in the {what}: {twice[:5]}; give each once")
    unknown = sorted(set(result_ids) - set(truth_ids))
    if unknown:
        raise InputError(
            f"detections in {len(unknown)} images that are not in the ground truth: {unknown[:5]}; "
            "evaluate on the split that was predicted"
        )
    known = {category.id for category in categories}
    used = {int(id) for example in ground_truth for id in example["classes"]}
    used |= {int(id) for image in detections for id in image.classes}
    if used - known:
        raise InputError(
            f"classes {sorted(used - known)[:5]} are not among the category ids {sorted(known)[:20]}; "
            "use a model and a ground truth with the same categories"
        )
