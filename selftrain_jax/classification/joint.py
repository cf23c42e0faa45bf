"""Joint training (Table 7): detection and classification with one backbone.

`make_joint_task` adds a weighted classification loss to a detection task, `attach` adds a second stream to
its batches. The classifier's other variables are under `image_classifier`.
"""

from contextlib import closing
from typing import Any

import jax
from jaxtyping import Array, PRNGKeyArray

from selftrain_jax.errors import InputError
from selftrain_jax.types import Batch, Batches, BatchStream, LossTerms, Task, Variables

HEAD = "image_classifier"
BACKBONE = "backbone"


def make_joint_task(detection: Task, classification: Task, *, weight: float) -> Task:
    """Add weight * classification loss on `batch.auxiliary`, outside the loss normalisation.

    Both tasks must have the same backbone. In a step the detector runs first; the classifier starts from the
    detector's running averages of BatchNorm. Without `auxiliary`, or with weight 0, the loss is that of
    detection only. `predict` and `features` are the detector's.

    Raises:
        InputError: the weight is negative; from init: the backbones differ.

    Paper: Table 7 and appendix H, weight 0.5, and 0.2 together with self-training.
    """
    if not 0 <= weight < float("inf"):
        raise InputError(f"joint training: weight is {weight}; expected 0 or more (0.5 and 0.2 in the paper)")

    def init(rng: PRNGKeyArray) -> Variables:
        detector, classifier = detection.init(rng), classification.init(jax.random.fold_in(rng, 1))
        _check_same_backbone(detector, classifier)
        return _replace(split_classifier(classifier), detector)  # the backbone is the detector's

    def loss(variables: Variables, batch: Batch, rng: PRNGKeyArray) -> tuple[LossTerms, Variables]:
        second = batch.auxiliary
        terms, changed = detection.loss(detector_part(variables), batch._replace(auxiliary=None), rng)
        variables = _replace(variables, changed)
        if second is None or weight == 0:
            return terms, {name: variables[name] for name in changed}
        class_rng = jax.random.fold_in(rng, 1)
        class_terms, class_changed = classification.loss(classifier_part(variables), second, class_rng)
        variables = _replace(variables, split_classifier(class_changed))
        metrics = {
            **terms.metrics,
            "train/loss_classification": class_terms.human,  # before the weight
            "train/top1_classification": class_terms.metrics["train/top1_human"],
        }
        joint = terms._replace(auxiliary=weight * class_terms.human, metrics=metrics)
        return joint, {name: variables[name] for name in changed}

    def predict(variables: Variables, images: Array) -> Any:
        return detection.predict(detector_part(variables), images)

    return Task(init=init, loss=loss, predict=predict, features=detection.features, dense=detection.dense)


def attach(batches: Batches, class_batches: Batches) -> Batches:
    """Add to each batch of a stream, as `auxiliary`, the other stream's batch of the same step.

    The image ids of the first stream come before those of the second.
    """

    def stream(start_step: int) -> BatchStream:
        with closing(batches(start_step)) as detection, closing(class_batches(start_step)) as classes:
            for (batch, image_ids), (second, second_ids) in zip(detection, classes, strict=False):
                yield batch._replace(auxiliary=second), [*image_ids, *second_ids]

    return stream


def detector_part(variables: Variables) -> Variables:
    """Return the detector's variables: all except those under `image_classifier`."""
    return {
        collection: {name: value for name, value in tree.items() if name != HEAD}
        for collection, tree in variables.items()
    }


def classifier_part(variables: Variables) -> Variables:
    """Return the classifier's variables: the backbone's, and those under `image_classifier`."""
    return {collection: {**_backbone(tree), **tree.get(HEAD, {})} for collection, tree in variables.items()}


def split_classifier(variables: Variables) -> Variables:
    """Move a classifier's variables, except the backbone's, under `image_classifier`."""
    split: Variables = {}
    for collection, tree in variables.items():
        head = {name: value for name, value in tree.items() if name != BACKBONE}
        split[collection] = {**_backbone(tree), **({HEAD: head} if head else {})}
    return split


def _backbone(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the backbone's part of a collection: nothing of `batch_stats` if it has no BatchNorm."""
    return {name: value for name, value in tree.items() if name == BACKBONE}


def _check_same_backbone(detector: Variables, classifier: Variables) -> None:
    """Check that two networks can share the backbone's variables."""
    shapes = []
    for variables in (detector, classifier):
        parts = {name: tree[BACKBONE] for name, tree in variables.items() if BACKBONE in tree}
        shapes.append(jax.tree.map(lambda leaf: leaf.shape, parts))
    if shapes[0] != shapes[1]:
        raise InputError(
            "joint training: the backbones of the detector and the classifier have different variables; make "
            "both from the same settings"
        )


def _replace(variables: Variables, changed: Variables) -> Variables:
    """Replace the changed modules in each collection."""
    replaced = {name: {**variables.get(name, {}), **tree} for name, tree in changed.items()}
    return {**variables, **replaced}
