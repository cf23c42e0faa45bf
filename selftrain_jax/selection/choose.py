"""Which images to label next, from scores, features and hashes; call `choose`."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from selftrain_jax.doctor.duplicates import count_bits, near_duplicates
from selftrain_jax.errors import InputError
from selftrain_jax.selection.criteria import CRITERIA, RANDOM, to_ranks

DIVERSITY = "diversity"
BLOCK_ROWS = 1024


class Looks(NamedTuple):
    """What images look like: to a network (C = 0 where none looked at them), and by their hash."""

    features: Float[np.ndarray, "N C"]
    hashes: UInt64[np.ndarray, " N"]


class Chosen(NamedTuple):
    """The images to label, the first one first, and what was left out."""

    indices: tuple[int, ...]  # among the candidates
    distances: tuple[float, ...]  # to the nearest labelled or chosen image at that time; without features ()
    like_labelled: int  # candidates left out as near-duplicates of labelled images
    like_chosen: int  # and of chosen ones
    radius: (
        tuple[float, float] | None
    )  # largest distance of a candidate to a labelled image; then or a chosen


def parse_criteria(text: str) -> tuple[str, ...]:
    """Read config.select.by: criteria, comma separated, or random alone.

    Raises:
        InputError: an unknown criterion, one twice, none, or random among others.
    """
    by = tuple(word.strip() for word in text.split(",") if word.strip())
    known = ", ".join((*CRITERIA, RANDOM))
    wrong = [word for word in by if word not in (*CRITERIA, RANDOM)]
    if wrong or not by:
        found = f"{wrong[0]!r} in " if wrong else ""
        raise InputError(
            f"config.select.by={text!r}: {found}it is none of {known}; separate several by commas"
        )
    if len(set(by)) < len(by) or (RANDOM in by and len(by) > 1):
        raise InputError(
            f"config.select.by={text!r}; expected each criterion once, and {RANDOM} without others"
        )
    return by


def choose(
    by: Sequence[str],
    budget: int,
    *,
    scores: Mapping[str, Float[np.ndarray, " N"]],
    candidates: Looks,
    labelled: Looks,
    seed: int = 0,
    pool_factor: int = 4,
    max_distance: int = 6,
) -> Chosen:
    """Choose `budget` candidates, or as many as are no near-duplicates.

    Uncertainty and rarity put the candidates in order, by the mean of their ranks. Without diversity the
    first ones are chosen. With it the first pool_factor * budget are the pool (of diversity alone it is all),
    and k-center greedy picks from it: each time the candidate that is farthest from its nearest image among
    the labelled and the chosen ones. Where the pool is used up it goes on with the rest. Equal candidates are
    in an order drawn by `seed`, which is all that `random` has. An image within `max_distance` bits of the
    perceptual hash of a labelled or chosen one is never chosen; below 0 hashes are not compared.

    Reference: k-center greedy from the labelled images: Sener and Savarese, "Active learning for
    convolutional neural networks: a core-set approach", ICLR 2018; its covering radius is at most twice the
    best one (Gonzalez 1985). A pool of uncertain images in which diverse ones are sought, for detection:
    Yang et al., "Plug and play active learning for object detection", CVPR 2024, with other measures of
    both; Agarwal et al., "Contextual diversity for active learning", ECCV 2020, argue for diversity over
    uncertainty alone, which picks near copies of one hard case.
    """
    order = _order(by, scores, len(candidates.hashes), seed)
    is_diverse = DIVERSITY in by
    pools = [order]
    if is_diverse and set(by) & set(scores):
        pools = [order[: pool_factor * budget], order[pool_factor * budget :]]
    nearest = nearest_distances(candidates.features, labelled.features) if is_diverse else None
    before = nearest.max(initial=0.0) if nearest is not None else 0.0
    is_out = _like(candidates.hashes, labelled.hashes, max_distance)
    like_labelled = int(is_out.sum())
    indices: list[int] = []
    distances: list[float] = []
    for pool in pools:
        while len(indices) < budget and len(left := pool[~is_out[pool]]):
            if nearest is None:
                index = int(left[0])
            else:
                index = int(left[nearest[left].argmax()])
                distances.append(float(nearest[index]))
                own = candidates.features[index : index + 1]
                nearest = np.minimum(nearest, nearest_distances(candidates.features, own))
            indices.append(index)
            is_out[index] = True
            is_out |= _like(candidates.hashes, candidates.hashes[index : index + 1], max_distance)
    radius = None if nearest is None else (float(before), float(nearest.max(initial=0.0)))
    like_chosen = int(is_out.sum()) - like_labelled - len(indices)
    return Chosen(tuple(indices), tuple(distances), like_labelled, like_chosen, radius)


def nearest_distances(
    points: Float[np.ndarray, "N C"], centers: Float[np.ndarray, "L C"]
) -> Float[np.ndarray, " N"]:
    """Return each point's Euclidean distance to its nearest centre; infinite without centres."""
    nearest = np.full(len(points), np.inf)
    squares = (centers.astype(np.float64) ** 2).sum(1)
    for start in range(0, len(points), BLOCK_ROWS) if len(centers) else ():
        block = points[start : start + BLOCK_ROWS].astype(np.float64)
        squared = (block**2).sum(1)[:, None] + squares - 2 * block @ centers.T.astype(np.float64)
        nearest[start : start + BLOCK_ROWS] = np.sqrt(np.maximum(squared.min(1), 0))
    return nearest


def _order(
    by: Sequence[str], scores: Mapping[str, Float[np.ndarray, " N"]], num_images: int, seed: int
) -> Int[np.ndarray, " N"]:
    """Sort by the mean rank of the criteria that have scores, the highest first, equals as `seed` draws."""
    bits = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(num_images)
    drawn = np.argsort(np.argsort(bits, kind="stable"), kind="stable")  # as `label_fraction`
    ranks = [to_ranks(scores[criterion]) for criterion in by if criterion in scores]
    mean = np.mean(ranks, axis=0) if ranks else np.zeros(num_images)
    return np.lexsort((drawn, -mean))


def _like(
    hashes: UInt64[np.ndarray, " N"], others: UInt64[np.ndarray, " L"], max_distance: int
) -> Bool[np.ndarray, " N"]:
    """Mark the images that look like one of the others."""
    is_like = np.zeros(len(hashes), bool)
    if max_distance < 0:
        return is_like
    if len(others) == 1:
        return count_bits((hashes ^ others[0])[:, None])[:, 0] <= max_distance
    is_like[near_duplicates(others, hashes, max_distance)[:, 1]] = True
    return is_like
