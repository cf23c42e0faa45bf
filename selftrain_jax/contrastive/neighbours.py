"""How well features tell classes apart, by the classes of an image's neighbours; call `knn_accuracy`."""

import numpy as np
from jaxtyping import Float, Int

NUM_NEIGHBOURS = 20
TEMPERATURE = 0.07
ROWS_AT_ONCE = 1024  # of similarities in memory


def knn_accuracy(
    bank: Float[np.ndarray, "N C"],
    bank_classes: Int[np.ndarray, " N"],
    features: Float[np.ndarray, "M C"],
    classes: Int[np.ndarray, " M"],
) -> float:
    """Return the share of images whose class is the one that their nearest neighbours in a bank vote for.

    Features have length 1. The 20 most similar vote, each with exp(similarity / 0.07).

    Source: Wu et al., "Unsupervised feature learning via non-parametric instance discrimination" (2018).
    Differs: they ask 200 neighbours of all 1.28 million images.
    """
    parts = range(0, len(features), ROWS_AT_ONCE)
    found = [vote(bank, bank_classes, features[start : start + ROWS_AT_ONCE]) for start in parts]
    return float(np.mean(np.concatenate(found) == classes))


def vote(
    bank: Float[np.ndarray, "N C"], bank_classes: Int[np.ndarray, " N"], features: Float[np.ndarray, "M C"]
) -> Int[np.ndarray, " M"]:
    """Return the class with most votes for each image; of equals the lowest."""
    similar = features @ bank.T
    count = min(NUM_NEIGHBOURS, len(bank))
    nearest = np.argpartition(-similar, count - 1, axis=1)[:, :count]
    weights = np.exp((np.take_along_axis(similar, nearest, axis=1) - 1) / TEMPERATURE)
    votes = np.zeros((len(features), bank_classes.max() + 1))
    np.add.at(votes, (np.arange(len(features))[:, None], bank_classes[nearest]), weights)
    return np.argmax(votes, axis=1)
