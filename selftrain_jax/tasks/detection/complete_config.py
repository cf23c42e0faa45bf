"""What a run finds out for its config before it begins: anchors, and what its input costs."""

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.data.source import Source
from selftrain_jax.models.input_padding import padded_size
from selftrain_jax.tasks.detection.anchor_fit import fit_anchors

WORTH_SAYING = 1.2  # times as many pixels


def complete_config(config: ConfigDict, human: Source) -> ConfigDict:
    """Return the config with anchors that fit the human boxes, where it leaves them open."""
    log_padding(config)
    return fit_anchors(config, human)


def log_padding(config: ConfigDict) -> None:
    """Say that the network sees many more pixels than the config asks for."""
    if line := describe_padding(config.image.size_px, config.model.max_level):
        hosts.log(line)


def describe_padding(size_px: int, max_level: int) -> str:
    """Return what to say of images of this size, "" where the padding costs little."""
    padded_px = padded_size(size_px, 2**max_level)
    ratio = (padded_px / size_px) ** 2
    if ratio <= WORTH_SAYING:
        return ""
    smaller_px = padded_px - 2**max_level
    less = f"; {smaller_px} px costs {(smaller_px / padded_px) ** 2:.2f} times as much" if smaller_px else ""
    return (
        f"config.image.size_px={size_px}: the network sees {padded_px} x {padded_px} px, {ratio:.1f} times "
        f"as many pixels, for the multiple of its coarsest stride. {padded_px} px costs the same{less}"
    )
