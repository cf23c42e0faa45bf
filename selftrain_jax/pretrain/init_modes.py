"""What a detector starts from: `rand | imagenet | imagenet_pp | simclr | FOLDER`; call `init_variables`.

Paper: section 3.2 and Tables 2, 3 compare these initialisations; the backbone alone is pre-trained.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from selftrain_jax.errors import InputError
from selftrain_jax.pretrain.import_variables import leaves_by_name, listing
from selftrain_jax.pretrain.importers import import_lite
from selftrain_jax.pretrain.lite_names import find_lite_package
from selftrain_jax.pretrain.weight_card import PUBLISHED
from selftrain_jax.types import Variables

NAMED_MODES = ("imagenet", "imagenet_pp", "simclr")
LITE = "efficientnet_lite"


class InitReport(NamedTuple):
    """Numbers of arrays by top-level module: taken from `source`, and left random."""

    source: str
    loaded: dict[str, int]
    random: dict[str, int]


def init_variables(
    mode: str, template: Variables, random_variables: Variables, load: Callable[[str], Variables]
) -> tuple[Variables, InitReport]:
    """Put the weights of a mode over random ones.

    Of a classifier, or of a backbone alone, the backbone is taken. Of a detector also every other
    module that is the same in both; one of another shape (the class head of other classes) stays random.

    Args:
        mode: "rand", or anything that `load` takes.
        template: the network's variables or their shapes.
        random_variables: what stays where nothing is loaded.
        load: see `load_mode`.

    Raises:
        InputError: there are no such weights, or they are of another backbone.
    """
    if mode == "rand":
        return random_variables, InitReport("", {}, count_arrays(template))
    loaded = _with_backbone(load(mode), template)
    _check_backbone(loaded, template, mode)
    taken = {module for module in template["params"] if _shapes(loaded, module) == _shapes(template, module)}
    merged = {
        collection: {
            module: (loaded if module in taken else random_variables)[collection][module]
            for module in modules
        }
        for collection, modules in template.items()
    }
    counts = count_arrays(template)
    by_origin = ({m: n for m, n in counts.items() if (m in taken) == wanted} for wanted in (True, False))
    return merged, InitReport(mode, *by_origin)


def load_mode(
    mode: str, *, backbone: str, pretrained_dir: str, restore: Callable[[Path], Variables]
) -> Variables:
    """Load a named mode's weights from `<pretrained_dir>/<backbone>-<mode>`, or a checkpoint from its folder.

    EfficientNet-Lite's "imagenet" is read from its package where there is no such folder.

    Args:
        mode: one of `NAMED_MODES`, or a folder.
        backbone: as in config.model.backbone.
        pretrained_dir: config.pretrained.dir.
        restore: loads all variables of a checkpoint's folder.

    Raises:
        InputError: there are none; says which folder was looked for and what makes it.
    """
    if mode not in NAMED_MODES:
        if not Path(mode).is_dir():
            raise InputError(f"init={mode!r} is none of rand, {', '.join(NAMED_MODES)}, and no folder either")
        return restore(Path(mode))
    folder = Path(pretrained_dir) / f"{backbone}-{mode}"
    if folder.is_dir():
        return restore(folder)
    variant = backbone.removeprefix("efficientnet_")
    if mode == "imagenet" and backbone.startswith(LITE) and (file := find_lite_package(variant)):
        return import_lite(file, variant).variables
    raise InputError(
        f"init={mode} of {backbone}: there is no folder {folder}. {how_to_make(mode, backbone, folder)}"
    )


def how_to_make(mode: str, backbone: str, folder: Path) -> str:
    """Return the command that imports the weights of a mode, and where the file can be had."""
    kind = "lite" if backbone.startswith(LITE) else "simclr" if mode == "simclr" else "tf"
    urls = [p.url for p in PUBLISHED if (p.network, p.mode) == (backbone, mode)]
    where = f"Published at {' and '.join(urls)}. " if urls else "None is published under a name known here. "
    return (
        f"{where}Make it by: python -m selftrain_jax.main --config=configs/coco_retinanet.py "
        f"--job=import_weights --workdir={folder} --config.import_weights.network={backbone} "
        f"--config.import_weights.kind={kind} --config.import_weights.source=FILE"
    )


def format_init(report: InitReport) -> str:
    """Say in a line what was loaded and what stays random."""
    random = f"random: {_format_counts(report.random)}" if report.random else "nothing is random"
    return (
        f"init {report.source}: loaded {_format_counts(report.loaded)}; {random}" if report.loaded else random
    )


def count_arrays(variables: Variables) -> dict[str, int]:
    """Count the arrays of each top-level module over all collections."""
    names = [name.split("/")[1] for name in leaves_by_name(variables)]
    return {module: names.count(module) for module in dict.fromkeys(names)}


def _format_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{module} {count} array{'s' * (count != 1)}" for module, count in counts.items())


def _with_backbone(loaded: Variables, template: Variables) -> Variables:
    """Give a backbone on its own the place it has in a detector or classifier."""
    if "backbone" in loaded["params"] or "backbone" not in template["params"]:
        return loaded
    return {collection: {"backbone": tree} for collection, tree in loaded.items()}


def _shapes(variables: Variables, module: str) -> dict[str, Any]:
    trees = {collection: modules.get(module, {}) for collection, modules in variables.items()}
    return {name: tuple(leaf.shape) for name, leaf in leaves_by_name(trees).items()}


def _check_backbone(loaded: Variables, template: Variables, mode: str) -> None:
    """Refuse another backbone. Raises: InputError listing what differs."""
    found, wanted = _shapes(loaded, "backbone"), _shapes(template, "backbone")
    missing, unexpected = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    common = sorted(wanted.keys() & found.keys())
    mis_shaped = [f"{n} is {found[n]}, expected {wanted[n]}" for n in common if found[n] != wanted[n]]
    if missing or unexpected or mis_shaped:
        raise InputError(
            f"init={mode}: these weights are of another backbone than the config's: "
            f"{len(missing)} missing{listing(missing)}; {len(unexpected)} unexpected{listing(unexpected)}; "
            f"{len(mis_shaped)} of another shape{listing(mis_shaped)}. Choose the model.backbone that they "
            "were made for, or other weights"
        )
