"""In which order a stage draws its images: config.data.sampling and config.pseudo.sampling; `epoch_of`.

Of several sources of unlabelled images each has its share of every batch: `order_of_sources`.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.data.named_sources import indices_by_source
from selftrain_jax.data.repeat_factors import Epoch, RepeatFactors, repeat_rare, repeated_epoch
from selftrain_jax.data.sampling import Permutation, example_index, interleave
from selftrain_jax.data.source import Source, subset
from selftrain_jax.errors import InputError
from selftrain_jax.stages.settings import BY_CLASS
from selftrain_jax.text import FIRST_SOURCE, shorten_list
from selftrain_jax.unlabeled_sources import GROUP, further_sources, source_weights

SEED_STEP = 2**32  # between the seeds of the sources of a stream
SAMPLINGS = ("uniform", BY_CLASS)


def check_sampling(config: ConfigDict) -> None:
    """Refuse an order that does not exist, and a threshold that is no share of images.

    Raises:
        InputError: naming the key.
    """
    for group in ("data", "pseudo"):
        if config[group].sampling not in SAMPLINGS:
            raise InputError(
                f"config.{group}.sampling={config[group].sampling!r} is not one of {', '.join(SAMPLINGS)}"
            )
    if not 0 < config.data.repeat_threshold <= 1:
        raise InputError(
            f"config.data.repeat_threshold={config.data.repeat_threshold:g} is the share of images below "
            "which a class is rare; expected above 0 and at most 1, such as 0.1"
        )


def epoch_of(config: ConfigDict, group: str, source: Source, permutation: Permutation) -> Epoch:
    """Return the order of a source's images: `permutation`, or by class, which reads all labels.

    `group` of the config is data for human, pseudo for pseudo labels. Logs which classes come more often.
    """
    if config[group].sampling != BY_CLASS:
        return Epoch(len(source), permutation)
    factors = repeat_rare(source, config.data.repeat_threshold)
    epoch = repeated_epoch(factors.of_images)
    hosts.log(f"config.{group}.sampling={BY_CLASS}: {_describe(config, source, factors, epoch)}")
    return epoch


def order_of_sources(
    config: ConfigDict, pseudo: Source, seed: int, permutation: Permutation
) -> Callable[[int], int] | None:
    """Return which pseudo-labelled image is at a position, where they are of several sources; else None.

    Sources alternate by their weights (`interleave`), and each goes through its own images as one alone does:
    each once an epoch of its own, or by class. Logs the shares.

    Raises:
        InputError: a source has no image with pseudo labels.
    """
    names = list(further_sources(config))
    if not names:
        return None
    parts = indices_by_source(pseudo.image_ids, names)
    if empty := [name for name, part in parts.items() if not len(part)]:
        key = "" if empty[0] == FIRST_SOURCE else f" (--config.{GROUP}.{empty[0]}.kind=none)"
        raise InputError(
            f"{pseudo.name} has no image of the unlabelled source {empty[0]!r}, which is to have a share of "
            "every batch: none of them could be read or was labelled, or people corrected all. Repair them "
            f"and label again by --redo=labels, or name other images in its place or none{key}"
        )
    weights = source_weights(config)
    epochs = [
        epoch_of(config, "pseudo", subset(pseudo, part, f"{pseudo.name}, {name}"), permutation)
        for name, part in parts.items()
    ]
    shares = [
        f"{name} {weights[name] / sum(weights.values()):.1%} ({len(part):,} images)"
        for name, part in parts.items()
    ]
    hosts.log(f"pseudo-labelled images by source: {', '.join(shares)}")
    slot_at, indices = interleave([weights[name] for name in parts]), list(parts.values())

    def index_at(position: int) -> int:
        source, own = slot_at(position)
        length, order = epochs[source]
        chosen = example_index(own, length, seed + source * SEED_STEP, permutation=order)
        return int(indices[source][chosen])

    return index_at


def _describe(config: ConfigDict, source: Source, factors: RepeatFactors, epoch: Epoch) -> str:
    names = {category.id: category.name for category in source.categories}
    rare = [class_id for class_id, factor in factors.of_classes.items() if factor > 1]
    if not rare:
        return (
            f"no class of {source.name} is in less than {config.data.repeat_threshold:g} of its "
            f"{len(source)} images, so that each is drawn once an epoch; raise config.data.repeat_threshold "
            "to change that"
        )
    listed = [
        f"{names[class_id]!r} (in {factors.num_images[class_id]}) {factors.of_classes[class_id]:.2g} times"
        for class_id in sorted(rare, key=factors.num_images.__getitem__)
    ]
    return f"{epoch.length} draws of {len(source)} images an epoch; at least {shorten_list(listed, 10)}"
