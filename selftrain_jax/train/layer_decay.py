"""Learning rates that fall towards a backbone's input; call `scale_layers(0.8)`.

Not in the paper. Source: Clark et al., "ELECTRA" (2020), and for backbones of images the code of BEiT and of
ConvNeXt, whose layers these are.
"""

import re
from collections.abc import Iterable

import jax
import optax

from selftrain_jax.errors import InputError

BLOCKS_PER_LAYER = 3  # of a stage, as in ConvNeXt's code: so its T has 6 layers, its S and B have 12
BACKBONE = "backbone"
INPUT = re.compile(r"stem.*|patches|positions|class_token|registers")
STAGE = re.compile(r"c(?P<level>\d+)_(block(?P<block>\d+)|norm|downsample)")
BLOCK = re.compile(r"block(?P<block>\d+)")


def scale_layers(decay: float) -> optax.GradientTransformation:
    """Multiply the updates of the backbone's layer i of n by decay^(n + 1 - i), those of its input by i = 0.

    What follows the last block (a final norm), the neck and the heads stay as they are.

    Raises:
        InputError: the decay is not above 0 and at most 1; from init: the backbone's blocks have no order.
    """
    if not 0 < decay <= 1:
        raise InputError(
            f"config.optimizer.layer_decay={decay:g} is the learning rate of a backbone's layer as a share "
            "of the next one's; expected above 0 and at most 1, which turns it off"
        )

    def init(params: optax.Params) -> optax.EmptyState:
        layer_depths(params[BACKBONE])
        return optax.EmptyState()

    def update(
        updates: optax.Updates, state: optax.EmptyState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.EmptyState]:
        factors = layer_factors(updates[BACKBONE], decay)
        scaled = {name: scale(part, factors[name]) for name, part in updates[BACKBONE].items()}
        return {**updates, BACKBONE: scaled}, state

    return optax.GradientTransformation(init, update)


def scale(updates: optax.Updates, factor: float) -> optax.Updates:
    """Multiply all updates of a tree."""
    return jax.tree.map(lambda update: factor * update, updates)


def layer_factors(modules: Iterable[str], decay: float) -> dict[str, float]:
    """Return the factor of each module of a backbone."""
    depths, num_layers = layer_depths(modules)
    return {name: decay ** (num_layers + 1 - depth) for name, depth in depths.items()}


def layer_depths(modules: Iterable[str]) -> tuple[dict[str, int], int]:
    """Return the layer of each module of a backbone, and the number n of layers of blocks.

    The layer is 0 of the backbone's input, 1 to n of its blocks, n + 1 behind them.

    Blocks in a row (`block7`) are a layer each. Of blocks in stages (`c4_block7`) three in a row are one, and
    what leads to a stage (`c4_downsample`) is in its first.

    Raises:
        InputError: there are no such blocks, as in SpineNet, whose blocks are not in a row.
    """
    places = {name: find_place(name) for name in modules}
    blocks = sorted({place for place in places.values() if place is not None and place != (0, 0)})
    if not blocks:
        raise InputError(
            "config.optimizer.layer_decay is for a backbone whose blocks are in a row, of which this one has "
            "none; use 1"
        )
    order = {(0, 0): 0, None: len(blocks) + 1} | {place: i for i, place in enumerate(blocks, start=1)}
    return {name: order[place] for name, place in places.items()}, len(blocks)


def find_place(module: str) -> tuple[int, int] | None:
    """Return a module's stage and layer in it, by which layers are in order; None behind all blocks."""
    if INPUT.fullmatch(module):
        return (0, 0)
    if found := STAGE.fullmatch(module):
        return int(found["level"]), int(found["block"] or 0) // BLOCKS_PER_LAYER
    if found := BLOCK.fullmatch(module):
        return 1, int(found["block"])
    return None
