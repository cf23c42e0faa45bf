"""What a student is compared with beside its teacher: controls, of which the stronger counts, and an oracle.

All three continue from the teacher and see no pseudo label. Scores are an evaluation's: fractions of 1,
negative where undefined.
"""

from collections.abc import Mapping

from selftrain_jax.run_files.fields import Number

# Their batches: as many images as the student's; as many as the human half of the student's.
CONTROLS = ("control", "control_half")
ORACLE = "oracle"  # has human labels for the unlabelled images, too
COMPARED = (*CONTROLS, ORACLE)


def find_stronger_control(scores: Mapping[str, Number | None]) -> str | None:
    """Return the control with the highest score, of equals the first; None where no score is defined.

    `scores` are by stage; other stages than controls do not count.
    """
    known = {name: score for name in CONTROLS if (score := scores.get(name)) is not None and score >= 0}
    return max(known, key=lambda name: known[name]) if known else None


def share_of_oracle(student: Number | None, control: Number | None, oracle: Number | None) -> float | None:
    """Return (student - control) / (oracle - control): what the pseudo labels gave of what true labels give.

    Negative where the student is below the control, above 1 where it is above the oracle. None where a score
    is missing or undefined, or the oracle does not beat the control.
    """
    scores = [-1.0 if score is None else float(score) for score in (student, control, oracle)]
    if min(scores) < 0 or scores[2] <= scores[1]:
        return None
    return (scores[0] - scores[1]) / (scores[2] - scores[1])
