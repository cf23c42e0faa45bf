"""What of the teacher's calibration is in a student's record."""

from selftrain_jax.jobs.stage_state import _calibrated_inputs
from selftrain_jax.tasks.config_values import LabelThresholds
from tests import tiny

FOUND = LabelThresholds({"cat": 0.4}, 0.2)


def inputs(found: LabelThresholds | None, **pseudo: object) -> dict[str, str]:
    config = tiny.get_config()
    config.pseudo.update(pseudo)
    return _calibrated_inputs(config, found)


def test_advised_thresholds_are_recorded_as_before_there_were_ignored_classes() -> None:
    assert inputs(FOUND, thresholds="auto") == {"advised thresholds": '[{"cat": 0.4}, 0.2]'}
    assert inputs(None, thresholds="auto") == {"advised thresholds": ""}


def test_a_bound_counts_by_the_classes_that_it_ignores() -> None:
    found = FOUND._replace(ignored=("dog", "owl"))
    assert inputs(found, min_class_recall=0.1) == {"ignored classes": '["dog", "owl"]'}
    assert inputs(found, min_class_recall=0.2) == inputs(found, min_class_recall=0.1)
    assert inputs(FOUND, min_class_recall=0.1) == {}  # none is ignored: as without a bound
    assert inputs(None, min_class_recall=0.1) == {"ignored classes": ""}
