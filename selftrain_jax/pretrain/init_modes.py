"""The initialisations of a network: `rand | imagenet | imagenet_pp | simclr | FOLDER`; `init_variables`.

Paper: section 3.2, Tables 2 and 3 compare them; only the backbone is pre-trained.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from selftrain_jax.errors import InputError
from selftrain_jax.named_arrays import arrays_by_name
from selftrain_jax.pretrain.catalogue import describe, explain_by_hand, find_by_name_alone, find_start
from selftrain_jax.pretrain.import_variables import listing
from selftrain_jax.pretrain.importers import import_lite
from selftrain_jax.pretrain.torch_names import find_lite_package
from selftrain_jax.types import Variables

NAMED_MODES = ("imagenet", "imagenet_pp", "simclr")
AUTO_INIT = "auto"  # settled before a run: imagenet where its weights can be had, else rand
LITE = "efficientnet_lite"


class InitReport(NamedTuple):
    """Numbers of arrays by top-level module: loaded from `source`, and random."""

    source: str
    loaded: dict[str, int]
    random: dict[str, int]


def init_variables(
    mode: str, template: Variables, random_variables: Variables, load: Callable[[str], Variables]
) -> tuple[Variables, InitReport]:
    """Replace random weights by those of a mode.

    The backbone is loaded, and every other module with the same shapes in both networks (of a detector's
    weights). A module of another shape, as the class head for other classes, stays random. `mode` is "rand"
    or anything that `load` (`load_mode`) takes, `template` has the network's variables or their shapes.

    Raises:
        InputError: there are no such weights, or they are of another backbone.
    """
    if mode == "rand":
        return random_variables, InitReport("", {}, count_arrays(template))
    loaded = _with_backbone(load(mode), template)
    _check_backbone(loaded, template, mode)
    same = {module for module in template["params"] if _shapes(loaded, module) == _shapes(template, module)}
    merged = {
        collection: {
            module: (loaded if module in same else random_variables)[collection][module] for module in modules
        }
        for collection, modules in template.items()
    }
    by_origin: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for module, count in count_arrays(template).items():
        by_origin[module not in same][module] = count
    return merged, InitReport(mode, *by_origin)


def load_mode(
    mode: str, *, backbone: str, pretrained_dir: str, restore: Callable[[Path], Variables]
) -> Variables:
    """Load a named mode's weights from `<pretrained_dir>/<backbone>-<mode>`, or a checkpoint from its folder.

    `mode` is one of `NAMED_MODES` or a folder; `restore` loads all variables of a folder. Without a folder
    of the mode EfficientNet-Lite's "imagenet" is read from its package.

    Raises:
        InputError: there are none; the message names the folder and the command that makes it.
    """
    if mode not in NAMED_MODES:
        if Path(mode).is_dir():
            return restore(Path(mode))
        raise InputError(f"init={mode!r} is none of rand, {', '.join(NAMED_MODES)}, and not a folder")
    found = find_named(mode, backbone, pretrained_dir)
    if found is None:
        raise explain_missing(mode, backbone, pretrained_dir)
    return restore(found) if found.is_dir() else import_lite(found, _variant(backbone)).variables


def named_folder(mode: str, backbone: str, pretrained_dir: str) -> Path:
    """Return where a named mode's weights of a backbone belong."""
    return Path(pretrained_dir) / f"{backbone}-{mode}"


def find_named(mode: str, backbone: str, pretrained_dir: str) -> Path | None:
    """Return the folder of a named mode's weights, or EfficientNet-Lite's file in its package, or None."""
    folder = named_folder(mode, backbone, pretrained_dir)
    if folder.is_dir():
        return folder
    is_packaged = mode == "imagenet" and backbone.startswith(LITE)
    return find_lite_package(_variant(backbone)) if is_packaged else None


def explain_missing(mode: str, backbone: str, pretrained_dir: str) -> InputError:
    """Return the error for weights that are not there, with how they are got."""
    folder = named_folder(mode, backbone, pretrained_dir)
    how = _how_to_make(mode, backbone, folder)
    return InputError(f"init={mode} of {backbone}: there is no folder {folder}. {how}")


def _variant(backbone: str) -> str:
    return backbone.removeprefix("efficientnet_")


def _how_to_make(mode: str, backbone: str, folder: Path) -> str:
    """Say how the weights of a mode are got: from the catalogue, or by a file of the user's own."""
    if weights := find_start(backbone, mode):
        return (
            f"A run on one host, or on several that share the folder, downloads {weights.name} there. "
            f"{explain_by_hand(weights, folder)}\nOr start at random: init=rand after the config, "
            "--config.teacher.init=rand"
        )
    if alone := find_by_name_alone(backbone):
        return (
            f"Its weights are taken by name alone: {describe(alone[0])}. If you agree to the licence: "
            "python -m selftrain_jax.main --config=configs/coco_retinanet.py --job=import_weights "
            f"--workdir={folder} --config.import_weights.name={alone[0].name}"
        )
    kind = "lite" if backbone.startswith(LITE) else "simclr" if mode == "simclr" else "tf"
    return (
        "We know of no published file. Make it by: "
        f"python -m selftrain_jax.main --config=configs/coco_retinanet.py "
        f"--job=import_weights --workdir={folder} --config.import_weights.network={backbone} "
        f"--config.import_weights.kind={kind} --config.import_weights.source=FILE"
    )


def format_init(report: InitReport) -> str:
    """Format in one line what is loaded and what is random."""
    random = f"random: {_format_counts(report.random)}" if report.random else "nothing is random"
    loaded = f"init {report.source}: loaded {_format_counts(report.loaded)}; " if report.loaded else ""
    return loaded + random


def count_arrays(variables: Variables) -> dict[str, int]:
    """Count the arrays of each top-level module over all collections."""
    names = [name.split("/")[1] for name in arrays_by_name(variables)]
    return {module: names.count(module) for module in dict.fromkeys(names)}


def _format_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{module} {count} array{'s' * (count != 1)}" for module, count in counts.items())


def _with_backbone(loaded: Variables, template: Variables) -> Variables:
    """Put a backbone without a network where a detector or classifier has it."""
    if "backbone" in loaded["params"] or "backbone" not in template["params"]:
        return loaded
    return {collection: {"backbone": tree} for collection, tree in loaded.items()}


def _shapes(variables: Variables, module: str) -> dict[str, Any]:
    trees = {collection: modules.get(module, {}) for collection, modules in variables.items()}
    return {name: tuple(leaf.shape) for name, leaf in arrays_by_name(trees).items()}


def _check_backbone(loaded: Variables, template: Variables, mode: str) -> None:
    """Check that weights are of the network's backbone."""
    shapes, expected = _shapes(loaded, "backbone"), _shapes(template, "backbone")
    missing, unexpected = sorted(expected.keys() - shapes.keys()), sorted(shapes.keys() - expected.keys())
    common = sorted(expected.keys() & shapes.keys())
    mis_shaped = [f"{n} is {shapes[n]}, expected {expected[n]}" for n in common if shapes[n] != expected[n]]
    if missing or unexpected or mis_shaped:
        raise InputError(
            f"init={mode}: these weights are not of the config's backbone: "
            f"{len(missing)} missing{listing(missing)}; {len(unexpected)} unexpected{listing(unexpected)}; "
            f"{len(mis_shaped)} of another shape{listing(mis_shaped)}. Choose the model.backbone that they "
            "were made for, or other weights"
        )
