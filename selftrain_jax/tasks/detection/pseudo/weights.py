"""How much each pseudo box counts in the student's losses, config.pseudo; call `read_weights`.

Human boxes count 1, with a target of 1.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import Manifest
from selftrain_jax.tasks.detection.pseudo.views import ADVISED_VIEWS, read_views
from selftrain_jax.tasks.detection.run_files import BoxTotals
from selftrain_jax.types import Example

WEIGHTS = ("box_weight", "class_weight", "class_target")  # of `BoxTargets`
BY_SCORE = ("one", "score")
MAX_WEIGHT = 100.0


class PseudoWeights(NamedTuple):
    """What pseudo boxes count in the losses; the defaults are the paper's: as much as human ones."""

    box_weight: float = 1.0  # of the box loss
    max_place_std: float = 0.0  # >0: boxes that move more between the views have no box loss
    class_weight: str = "one"  # or "score": of the class loss of the anchors that a box matches
    class_target: str = "one"  # or "score": what the network is to say of them

    @property
    def names(self) -> tuple[str, ...]:
        """Which of `BoxTargets`' weights are there; one that is 1 everywhere is left out."""
        has_box_weight = self.box_weight != 1 or self.max_place_std > 0
        is_there = (has_box_weight, self.class_weight == "score", self.class_target == "score")
        return tuple(name for name, there in zip(WEIGHTS, is_there, strict=True) if there)


EQUAL = PseudoWeights()


def read_weights(config: ConfigDict) -> PseudoWeights:
    """Read config.pseudo's box_weight, max_place_std, class_weight and class_target.

    Raises:
        InputError: a value out of its range, or boxes are to be told apart by their place with one view.
    """
    pseudo = config.pseudo
    weights = PseudoWeights(*(pseudo[name] for name in PseudoWeights._fields))
    if not 0 <= weights.box_weight <= MAX_WEIGHT:
        raise InputError(
            f"config.pseudo.box_weight={weights.box_weight} is what the box loss of pseudo boxes is "
            f"multiplied by; expected 0 (no box loss) to {MAX_WEIGHT:g}; 1 is the paper's."
        )
    if not 0 <= weights.max_place_std < 1:
        raise InputError(
            f"config.pseudo.max_place_std={weights.max_place_std} is a share of a box's size; expected above "
            "0 and below 1, such as 0.05; 0 is off."
        )
    for name in ("class_weight", "class_target"):
        if pseudo[name] not in BY_SCORE:
            raise InputError(f"config.pseudo.{name}={pseudo[name]!r} is not one of {', '.join(BY_SCORE)}.")
    if weights.max_place_std and len(read_views(pseudo.views, config.image.size_px)) == 1:
        raise _no_places(weights, f"config.pseudo.views={pseudo.views!r} is one view")
    return weights


def check_places(manifest: Manifest[BoxTotals], weights: PseudoWeights) -> None:
    """See that labels say how far a box moves, where that is asked.

    Raises:
        InputError: they were made from one view of each image.
    """
    settings = manifest.labels.settings
    if weights.max_place_std and not settings.has_places:
        found = f"the labels were made with config.pseudo.views={settings.views!r}, one view"
        raise _no_places(weights, found)


def _no_places(weights: PseudoWeights, found: str) -> InputError:
    return InputError(
        f"config.pseudo.max_place_std={weights.max_place_std} leaves out boxes that move between the views "
        f"of an image, but {found}. Label with several, such as --config.pseudo.views={ADVISED_VIEWS} "
        "(labels that are there are made again by --redo=labels, or kept beside new ones by --variant=NAME), "
        "or set --config.pseudo.max_place_std=0."
    )


def weigh_boxes(example: Example, weights: PseudoWeights) -> Mapping[str, np.ndarray]:
    """Return the weights in `names` of an example's boxes."""
    ones = np.ones(len(example["boxes"]), np.float32)
    if not example.get("is_pseudo", False):
        return dict.fromkeys(weights.names, ones)
    box_weight = ones * np.float32(weights.box_weight)
    if weights.max_place_std:
        box_weight[example["place_std"] > np.float32(weights.max_place_std)] = 0
    found = {"box_weight": box_weight, "class_weight": example["scores"], "class_target": example["scores"]}
    return {name: found[name] for name in weights.names}
