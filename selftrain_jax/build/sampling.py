"""In which order a stage draws its images: config.data.sampling and config.pseudo.sampling; `epoch_of`."""

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.data.repeat_factors import Epoch, RepeatFactors, repeat_rare, repeated_epoch
from selftrain_jax.data.sampling import Permutation
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.stages.settings import BY_CLASS
from selftrain_jax.text import shorten_list

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
