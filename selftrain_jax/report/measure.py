"""What results are counted in: AP of boxes, or mIoU of pixels (paper section 3.1). Call `measure_of`."""

from typing import NamedTuple

from selftrain_jax.report.workdir import Run


class Measure(NamedTuple):
    """The number of an evaluation that counts, of all classes and of one, by key and by name."""

    key: str
    name: str
    class_key: str
    class_name: str
    unit: str  # what is found and counted; `num_<unit>` of a class is how many there are to find


BOXES = Measure("ap", "AP", "ap", "AP", "boxes")
PIXELS = Measure("miou", "mIoU", "iou", "IoU", "pixels")


def measure_of(run: Run) -> Measure:
    """Choose by the task of the run."""
    return PIXELS if run.task == "segmentation" else BOXES
