"""config.pseudo.max_class_frac is read by both tasks; 0 stands for the task's own limit."""

from typing import Any

import pytest

from selftrain_jax.tasks.detection import spec as detection
from selftrain_jax.tasks.segmentation import spec as segmentation
from selftrain_jax.tasks.spec import HumanLabels
from tests import tiny, tiny_masks


class CheckedError(Exception):
    """Ends the opening of labels after the check."""


@pytest.mark.parametrize(("value", "boxes", "masks"), [(0.0, 0.95, 0.99), (0.97, 0.97, 0.97)])
def test_key_reaches_the_check_of_either_task(
    value: float, boxes: float, masks: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    found = []
    monkeypatch.setattr(detection, "check_places", lambda *_: None)  # there is no manifest
    for spec in (detection, segmentation):
        monkeypatch.setattr(spec, "check_every_source", lambda *_: None)

    def check(*_: Any, **limits: Any) -> None:
        found.append(limits["max_class_frac"])
        raise CheckedError

    for spec, config, name in (
        (detection, tiny.get_config(), "check_pseudo_boxes"),
        (segmentation, tiny_masks.get_config(), "check_pseudo_masks"),
    ):
        monkeypatch.setattr(spec, "read_manifest", lambda *_: None)
        monkeypatch.setattr(spec, name, check)
        config.pseudo.max_class_frac = value
        task = detection.DETECTION if spec is detection else segmentation.SEGMENTATION
        human = HumanLabels(task.open_split(config, "data", "train").categories, {})
        with pytest.raises(CheckedError):
            task.self_training.open_labels(config, tmp_path, human)
    assert found == [boxes, masks]
