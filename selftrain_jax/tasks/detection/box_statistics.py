"""The boxes of a split in numbers, boxes that are rarely meant, and what to say of both."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from selftrain_jax.data.source import Problem
from selftrain_jax.doctor.duplicates import TRAIN
from selftrain_jax.doctor.examine import SplitScan
from selftrain_jax.geometry import box_areas
from selftrain_jax.html.blocks import Finding
from selftrain_jax.text import shorten_list

RARE_BOXES = 10  # a class with fewer in training is hardly learned
MAX_DETECTIONS = 100  # that COCO's evaluation keeps of an image
COCO_AREAS_PX = (32**2, 96**2)  # where medium and large begin
TINY_PX = 2
_UNCROWD = "Set iscrowd to 0 where one object is meant; CVAT writes 1 for every mask"


@dataclass(frozen=True)
class BoxStatistics:
    """A split's boxes in numbers, all but crowds; a split without labels has none."""

    class_counts: Mapping[str, int] = field(default_factory=dict)  # boxes, in the order of the categories
    num_crowd: int = 0
    num_images_without_boxes: int = 0
    boxes_per_image: Mapping[int, int] = field(default_factory=dict)  # boxes -> images
    object_areas: Mapping[str, int] = field(default_factory=dict)  # COCO's small, medium, large -> objects
    box_side_px: tuple[float, ...] = ()  # square root of a box's area: least, quartiles, greatest

    @property
    def num_boxes(self) -> int:
        """Boxes that are no crowd."""
        return sum(self.class_counts.values())


def suspect_boxes(scan: SplitScan) -> Iterator[Problem]:
    """Find boxes that a reader lets pass and that are rarely meant: tiny ones, and the same one twice."""
    for image in scan.images:
        labels, seen = image.labels, set[tuple[float, ...]]()
        for index, box in enumerate(labels.get("boxes", np.zeros((0, 4))).tolist()):
            where, class_id = f"{scan.source.name}, box {index}", int(labels["classes"][index])
            if min(box[2] - box[0], box[3] - box[1]) < TINY_PX:
                fault = f"is under {TINY_PX} px high or wide"
                yield Problem("tiny", where, describe_box(image.image_id, box, fault))
            if (*box, class_id) in seen:
                fault = f"is there twice with class id {class_id}"
                yield Problem("repeated", where, describe_box(image.image_id, box, fault))
            seen.add((*box, class_id))


def summarise_boxes(scan: SplitScan) -> BoxStatistics:
    """Count boxes; crowds are counted apart, as neither training nor AP counts them."""
    if not scan.source.categories:
        return BoxStatistics()
    labels = [image.labels for image in scan.images]
    is_box = [~of_image["is_crowd"] for of_image in labels]

    def gather(key: str, empty: np.ndarray) -> np.ndarray:
        kept = [of_image[key][keep] for of_image, keep in zip(labels, is_box, strict=True)]  # type: ignore[literal-required]
        return np.concatenate([empty, *kept])

    boxes, classes = gather("boxes", np.zeros((0, 4))), gather("classes", np.zeros(0, int))
    # COCO sorts objects into sizes by the annotation's area; where there is none, by the box's.
    object_areas = [of_image.get("areas", box_areas(of_image["boxes"])) for of_image in labels]
    areas = [of_image[keep] for of_image, keep in zip(object_areas, is_box, strict=True)]
    by_area = np.bincount(np.digitize(np.concatenate([[], *areas]), COCO_AREAS_PX), minlength=3).tolist()
    counts, per_image = Counter(classes.tolist()), Counter(int(keep.sum()) for keep in is_box)
    sides = np.sqrt(box_areas(boxes))
    quartiles = np.quantile(sides, (0, 0.25, 0.5, 0.75, 1)).round(1).tolist() if len(sides) else ()
    return BoxStatistics(
        class_counts={category.name: counts[category.id] for category in scan.source.categories},
        num_crowd=sum(int((~keep).sum()) for keep in is_box),
        num_images_without_boxes=per_image[0],
        boxes_per_image=dict(sorted(per_image.items())),
        object_areas=dict(zip(("small", "medium", "large"), by_area, strict=True)),
        box_side_px=tuple(quartiles),
    )


def judge_boxes(name: str, num_examined: int, boxes: BoxStatistics) -> Iterator[Finding]:
    """Say which classes are absent or rare, and which images have no box or too many."""
    absent = [class_name for class_name, count in boxes.class_counts.items() if not count]
    rare = [class_name for class_name, count in boxes.class_counts.items() if 0 < count < RARE_BOXES]
    is_train = name == TRAIN
    if not boxes.num_boxes and boxes.num_crowd:
        finding = (
            f"{name}: all {boxes.num_crowd:,} objects are crowds (iscrowd=1, difficult=1): nothing is trained"
        )
        yield Finding("error", f"{finding} or measured", f"{_UNCROWD}.")
        return
    if not boxes.num_boxes:
        yield Finding("error", f"{name}: no box at all", "Check that the labels belong to the split.")
        return
    if boxes.num_crowd > boxes.num_boxes:
        finding = f"{name}: {boxes.num_crowd:,} of {boxes.num_crowd + boxes.num_boxes:,} objects are crowds"
        yield Finding("warning", f"{finding} (iscrowd=1, difficult=1), which are left out", f"{_UNCROWD}.")
    if boxes.box_side_px and boxes.box_side_px[-1] <= 1:
        finding = (
            f"{name}: no box is larger than 1 px: coordinates seem to be shares of the image, from 0 to 1"
        )
        yield Finding(
            "error", finding, "Multiply them by the image's width and height, or export the labels anew."
        )
    if absent:
        remedy = "AP leaves them out; move some images here."
        remedy = "The detector cannot learn them; label some." if is_train else remedy
        yield Finding("warning", f"{name}: no box of {_classes(absent)}", remedy)
    if rare and is_train:
        remedy = "Expect low AP for them; label more, and look at their pseudo labels."
        yield Finding("warning", f"{name}: under {RARE_BOXES} boxes of {_classes(rare)}", remedy)
    if boxes.num_images_without_boxes > num_examined / 2:
        finding = f"{name}: {boxes.num_images_without_boxes:,} of {num_examined:,} images have no box"
        yield Finding("warning", finding, "Check that they are truly empty: a missing label teaches a miss.")
    crowded = max(boxes.boxes_per_image, default=0)
    if crowded > MAX_DETECTIONS:
        remedy = f"COCO's AP keeps {MAX_DETECTIONS} detections an image; tile the images."
        yield Finding("warning", f"{name}: up to {crowded} boxes in an image", remedy)
    if not absent and not (rare and is_train):
        yield Finding("ok", f"{name}: {boxes.num_boxes:,} boxes, every class present", "")


def describe_box(image_id: str, box: Sequence[float], fault: str) -> str:
    """Put a fault of a box in the words that `doctor_page.box_of` reads."""
    values = ", ".join(f"{value:g}" for value in box)
    return f"image {image_id}: the box (ymin, xmin, ymax, xmax) = ({values}) {fault}"


def _classes(names: Sequence[str]) -> str:
    return shorten_list(names) + (" classes" if len(names) > 5 else "")
