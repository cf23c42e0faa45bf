"""The paper's findings as claims about its tables: `FINDINGS`; `verdicts.py` judges them."""

from collections.abc import Sequence

from selftrain_jax.paper.compare.verdicts import Claim, Finding, Terms
from selftrain_jax.paper.row import Row
from selftrain_jax.paper.rows import rows

COMPARABLE = 1.0  # points within which two gains are called comparable; the paper gives no number
NOT_WORSE = 0.2  # points that students of fewer steps may be below on the mean; the paper gives no number


def find(table: str, **fields: object) -> Row:
    """Return the only row of a table with these values."""
    (row,) = (row for row in rows(table) if all(getattr(row, name) == own for name, own in fields.items()))
    return row


def minus(one: Row, other: Row) -> Terms:
    """Return the terms of a difference."""
    return ((1.0, one), (-1.0, other))


def fall(differences: Sequence[Terms]) -> Terms:
    """Return by how much evenly spaced values fall on the mean from one to the next.

    That is the slope of least squares with its sign turned, in terms of the rows behind the values.
    """
    middle = (len(differences) - 1) / 2
    scale = sum((place - middle) ** 2 for place in range(len(differences)))
    return tuple(
        (weight * (middle - place) / scale, row)
        for place, terms in enumerate(differences)
        for weight, row in terms
    )


def average(differences: Sequence[Terms]) -> Terms:
    """Return the terms of a mean."""
    return tuple((weight / len(differences), row) for terms in differences for weight, row in terms)


def _pretraining_falls_with_augmentation() -> Finding:
    gains = [
        minus(find("2", init="imagenet", augment=policy), _random("2", augment=policy))
        for policy in ("S1", "S2", "S3", "S4")
    ]
    claims = (Claim("fall of ImageNet Init - Rand Init from one policy to the next", fall(gains)),)
    statement = "pre-training is worth less the stronger the augmentation is"
    return Finding("pretraining_falls_with_augmentation", "Table 2", statement, claims)


def _pretraining_hurts() -> Finding:
    rand, imagenet = _random("2", augment="S4"), find("2", init="imagenet", augment="S4")
    r50 = _random("4")
    claims = (
        Claim("B7: Rand Init - ImageNet Init at S4", minus(rand, imagenet)),
        Claim("R50: Rand Init - ImageNet Init at S4", minus(r50, find("4", init="imagenet"))),
        Claim("R50: Rand Init - SimCLR Init at S4", minus(r50, find("4", init="simclr"))),
    )
    statement = "with strong augmentation and all labels pre-training hurts, supervised or not"
    return Finding("pretraining_hurts_with_strong_augmentation", "Tables 2 and 4", statement, claims)


def _pretraining_falls_with_labels() -> Finding:
    claims = []
    for init in ("imagenet", "imagenet_pp"):
        gains = [
            minus(find("3", init=init, labels=share, unlabeled=None), _random("3", labels=share))
            for share in ("20%", "50%", "100%")
        ]
        claims.append(Claim(f"fall of {init} - rand from 20 % to 50 % to 100 %", fall(gains)))
    statement = "pre-training is worth less the more labels there are"
    return Finding("pretraining_falls_with_labels", "Table 3", statement, tuple(claims))


def _self_training_helps() -> Finding:
    students = [row for table in ("2", "3", "4") for row in rows(table) if row.unlabeled]
    claims = [
        Claim(
            f"table {row.table}, {row.init} {row.augment} {row.labels}: gain of self-training",
            minus(
                row,
                find(row.table, init=row.init, augment=row.augment, labels=row.labels, unlabeled=None),
            ),
        )
        for row in students
    ]
    statement = "self-training helps with every augmentation, start and share of labels"
    return Finding("self_training_helps_in_every_cell", "Tables 2, 3 and 4", statement, tuple(claims))


def _joint(init: str, *, student: bool, joint: bool) -> Row:
    (row,) = (
        row
        for row in rows("7")
        if (row.init, bool(row.unlabeled), row.joint_weight is not None) == (init, student, joint)
    )
    return row


def _joint_training_is_comparable() -> Finding:
    joint = _joint("rand", student=False, joint=True)
    others = {
        "self-training": _joint("rand", student=True, joint=False),
        "pre-training": _joint("imagenet", student=False, joint=False),
    }
    claims = [
        Claim(f"joint training - {name}", minus(joint, row), -COMPARABLE, COMPARABLE)
        for name, row in others.items()
    ]
    gain = Claim("gain of joint training", minus(joint, _joint("rand", student=False, joint=False)))
    statement = f"joint training gains as much as the others, within {COMPARABLE:g} point (our bound)"
    return Finding("joint_training_is_comparable", "Table 7", statement, (gain, *claims))


def _gains_are_additive() -> Finding:
    claims = []
    for init in ("rand", "imagenet"):
        both = _joint(init, student=True, joint=True)
        student, joint = (_joint(init, student=own, joint=not own) for own in (True, False))
        claims.append(Claim(f"{init}: joint training on top of self-training", minus(both, student)))
        claims.append(Claim(f"{init}: self-training on top of joint training", minus(both, joint)))
    rand, imagenet = (_joint(init, student=True, joint=True) for init in ("rand", "imagenet"))
    claims.append(Claim("pre-training on top of both", minus(imagenet, rand)))
    statement = "pre-training, joint training and self-training each add to the others"
    return Finding("gains_are_additive", "Table 7", statement, tuple(claims))


def _student_from_teacher_converges_sooner() -> Finding:
    policies = ("S1", "S2", "S3", "S4")
    pairs = [
        tuple(find("10", augment=policy, student_init=init) for init in ("teacher", "rand"))
        for policy in policies
    ]
    ratio = sum((rand.steps or 0) / (teacher.steps or 1) for teacher, rand in pairs) / len(pairs)
    differences = average([minus(teacher, rand) for teacher, rand in pairs])
    claim = Claim("mean over the policies: from teacher - from random", differences, -NOT_WORSE)
    statement = (
        f"a student that starts from its teacher is not worse with {ratio:g} times fewer steps than one that "
        f"starts at random, within {NOT_WORSE:g} points (our bound)"
    )
    return Finding("student_from_teacher_converges_sooner", "Table 10", statement, (claim,))


def _loss_normalization_steadies_large_alpha() -> Finding:
    panels: dict[str, list[Row]] = {}
    for row in rows("figure2"):
        panels.setdefault(row.setup.partition(": ")[0], []).append(row)
    claims = []
    for name, panel in panels.items():
        largest = max(row.alpha or 0.0 for row in panel)
        plain, normalized = (
            next(row for row in panel if (row.loss_norm, row.alpha) == (form, largest))
            for form in ("plain", "ema")
        )
        title = f"{name}, alpha {largest:g}: diverged plain - with normalization"
        claims.append(Claim(title, minus(plain, normalized), is_divergence=True))
    statement = "with a large alpha the plain loss diverges and the normalized one does not"
    return Finding("loss_normalization_steadies_large_alpha", "Figure 2", statement, tuple(claims))


def _best_alpha_falls_with_augmentation() -> Finding:
    claims = [
        Claim(
            f"{steps:,} steps: best alpha at S1 - at S3",
            minus(find("9", steps=steps, augment="S1"), find("9", steps=steps, augment="S3")),
        )
        for steps in (90_000, 180_000)
    ]
    statement = "the best alpha falls with the strength of augmentation"
    return Finding("best_alpha_falls_with_augmentation", "Table 9", statement, tuple(claims))


def _best_alpha_rises_with_steps() -> Finding:
    claims = [
        Claim(
            f"{policy}: best alpha at 180,000 steps - at 90,000",
            minus(find("9", steps=180_000, augment=policy), find("9", steps=90_000, augment=policy)),
        )
        for policy in ("S1", "S2", "S3")
    ]
    statement = "the best alpha rises with the steps"
    return Finding("best_alpha_rises_with_steps", "Table 9", statement, tuple(claims))


def _pseudo_labels_beat_noisy_human_labels() -> Finding:
    claims = [
        Claim(
            f"{policy}: pseudo labels of aug - human labels of aug",
            minus(
                find("8", augment=policy, unlabeled="pascal_aug"),
                find("8", augment=policy, labels="train+aug (human)"),
            ),
        )
        for policy in ("S1", "S4")
    ]
    statement = "noisy human labels are worse than pseudo labels of the same images"
    return Finding("pseudo_labels_beat_noisy_human_labels", "Table 8", statement, tuple(claims))


def _source_matters(table: str, better: Sequence[str], policies: Sequence[str]) -> Finding:
    claims = [
        Claim(
            f"mean over the policies: {source} - ImageNet",
            average(
                [
                    minus(
                        find(table, augment=policy, unlabeled=source),
                        find(table, augment=policy, unlabeled="imagenet"),
                    )
                    for policy in policies
                ]
            ),
        )
        for source in better
    ]
    statement = f"unlabelled images of {' and '.join(better)} are better than ImageNet's"
    return Finding(f"source_matters_{table}", f"Table {table}", statement, tuple(claims))


def _random(table: str, **fields: object) -> Row:
    return find(table, init="rand", unlabeled=None, **fields)


FINDINGS = (
    _pretraining_falls_with_augmentation(),
    _pretraining_hurts(),
    _pretraining_falls_with_labels(),
    _self_training_helps(),
    _joint_training_is_comparable(),
    _gains_are_additive(),
    _student_from_teacher_converges_sooner(),
    _loss_normalization_steadies_large_alpha(),
    _best_alpha_falls_with_augmentation(),
    _best_alpha_rises_with_steps(),
    _pseudo_labels_beat_noisy_human_labels(),
    _source_matters("12", ["openimages"], ["S1", "S2", "S3", "S4"]),
    _source_matters("13", ["openimages"], ["S1", "S2", "S3", "S4"]),
    _source_matters("14", ["coco_240k", "pascal_aug"], ["S1", "S4"]),
)
