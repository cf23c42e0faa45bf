import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.common import get_config
from selftrain_jax.detection.task import make_detection_task
from selftrain_jax.errors import InputError
from selftrain_jax.models.retinanet import make_retinanet
from selftrain_jax.models.settings import BACKBONES, NetworkSettings, make_backbone
from selftrain_jax.types import Batch, BoxTargets
from tests.models.random_variables import random_variables

pytestmark = pytest.mark.compiles

# Weights and biases by hand, for 91 classes (background included), 9 anchors, 256 channels:
CONV = 3 * 3 * 256 * 256 + 256
FPN = (512 + 1024 + 2048) * 256 + 3 * 256 + 5 * CONV + 5 * 2 * 256  # lateral, output 3..7, bn 3..7
TOWER = 4 * CONV + 4 * 5 * 2 * 256  # convolutions shared by the 5 levels, a bn for each
CLASS_NET = TOWER + 3 * 3 * 256 * 819 + 819
BOX_NET = TOWER + 3 * 3 * 256 * 36 + 36
HEADS = {"class_net": CLASS_NET, "box_net": BOX_NET}


@functools.cache
def shapes_of(backbone, **settings):
    model = make_retinanet(backbone=backbone, num_classes=91, **settings)
    images = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    return jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False, method="per_level"), images
    )


def count(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


@pytest.mark.parametrize(("name", "backbone"), [("resnet50", 23_508_032), ("resnet101", 42_500_160)])
def test_parts_of_resnet_fpn_have_the_papers_parameters(name, backbone):
    """Both sums are over the authors' trainable variables: 34,091,159 and 53,083,287."""
    _, variables = shapes_of(name)
    found = {part: count(tree) for part, tree in variables["params"].items()}
    assert found == {"backbone": backbone, "fpn": FPN, **HEADS}


def test_the_efficientnet_detector_has_the_papers_parameters():
    """The authors' graph without the classifier that theirs carries along."""
    assert count(shapes_of("efficientnet_b7")[1]["params"]) == 76_255_247 - 4_204_520


@pytest.mark.parametrize(
    ("name", "backbone", "total"),
    [
        ("spinenet49s", 9_089_215, 11_265_942),
        ("spinenet49", 21_831_488, 28_543_383),
        ("spinenet96", 36_262_976, 42_974_871),
        ("spinenet143", 60_247_616, 66_959_511),
        ("spinenet190", 126_587_664, 163_637_351),
    ],
)
def test_spinenet_detectors_have_the_papers_parameters(name, backbone, total):
    """Of the authors' trainable variables: those that begin with "spinenet/", and all of the detector."""
    params = shapes_of(name)[1]["params"]
    assert (count(params["backbone"]), count(params)) == (backbone, total)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_has_a_detector_of_five_levels(name):
    (logits, boxes), variables = shapes_of(name)
    expected = {level: (1, 256 // 2**level, 256 // 2**level) for level in range(3, 8)}
    assert {level: x.shape for level, x in logits.items()} == {k: (*n, 9 * 91) for k, n in expected.items()}
    assert {level: x.shape for level, x in boxes.items()} == {k: (*n, 9 * 4) for k, n in expected.items()}
    own_neck = name.startswith("spinenet")
    assert set(variables["params"]) == {"backbone", "class_net", "box_net"} | (set() if own_neck else {"fpn"})


def test_nas_fpn_repeats_its_cell():
    """ResNet-50's three lateral convolutions with a norm, and 7 nodes in each of 5 cells."""
    _, variables = shapes_of("resnet50", neck="nas_fpn")
    lateral = (512 + 1024 + 2048 + 3) * 256 + 3 * 512
    assert count(variables["params"]["fpn"]) == lateral + 5 * 7 * (CONV + 512)
    _, fewer = shapes_of("resnet50", neck="nas_fpn", nas_fpn_repeats=2)
    assert count(fewer["params"]["fpn"]) == lateral + 2 * 7 * (CONV + 512)


def test_nas_fpn_of_separable_convolutions():
    _, variables = shapes_of("resnet50", neck="nas_fpn", nas_fpn_repeats=2, separable=True)
    lateral = (512 + 1024 + 2048) * (1 + 256) + 3 * (256 + 512)  # a weight per channel, then the product
    cell = 7 * (3 * 3 * 256 + 256 * 256 + 256 + 512)
    assert count(variables["params"]["fpn"]) == lateral + 2 * cell


def test_settings_are_the_keys_of_config_model():
    assert {field.name for field in dataclasses.fields(NetworkSettings)} == set(get_config().model)


def test_each_part_has_the_settings_of_its_own():
    """EfficientNet stays swish with its norm under a relu FPN and heads; SpineNet and ResNet follow them."""
    model = make_retinanet(backbone="efficientnet_b0", num_classes=3, dtype="bfloat16")
    backbone = model.backbone.style
    assert (backbone.activation, backbone.bn_momentum, backbone.bn_epsilon) == ("swish", 0.99, 1e-3)
    assert backbone.dtype == model.style.dtype == "bfloat16"
    assert model.backbone.drop_connect_rate == 0.2
    assert (model.style.activation, model.style.bn_momentum, model.style.bn_epsilon) == ("relu", 0.997, 1e-4)
    assert model.fpn.style == model.style
    assert make_backbone(NetworkSettings(backbone="efficientnet_lite1")).style.activation == "relu6"
    spinenet = make_retinanet(backbone="spinenet190", num_classes=3, activation="swish", bn_epsilon=1e-3)
    assert spinenet.backbone.style == spinenet.style
    assert (spinenet.head_channels, spinenet.head_convs) == (512, 7)
    small = make_retinanet(backbone="spinenet49s", num_classes=3, head_convs=2)
    assert (small.head_channels, small.head_convs) == (128, 2)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "spinenet49s"])
def test_backbones_momentum_can_be_set_apart(name):
    model = make_retinanet(backbone=name, num_classes=3, backbone_bn_momentum=0.9)
    assert model.backbone.style.bn_momentum == 0.9
    assert model.style.bn_momentum == 0.997


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backbone": "resnet51"}, "resnet50.*efficientnet_l2.*efficientnet_lite0.*spinenet49s"),
        ({"neck": "bifpn"}, "neck='bifpn' is not one of fpn, nas_fpn"),
        ({"backbone": "spinenet49", "neck": "fpn"}, "its own neck"),
        ({"backbone": "spinenet49", "max_level": 6}, "3 to 7"),
        ({"backbone": "efficientnet_b0", "width_factor": 0.5}, "width_factor=0.5 is for ResNets"),
        ({"drop_connect_rate": 0.2}, "resnet18 has no drop-connect"),
        ({"backbone": "efficientnet_b0", "drop_connect_rate": 1.0}, "below 1"),
        ({"activation": "gelu"}, "swish"),
        ({"separable": True}, "separable=True is for neck='nas_fpn', not for fpn"),
        ({"backbone": "spinenet49", "separable": True}, "which SpineNet does not have"),
    ],
)
def test_what_does_not_exist_or_fit_is_refused(settings, words):
    with pytest.raises(InputError, match=words):
        make_retinanet(**({"backbone": "resnet18", "num_classes": 3} | settings))


@pytest.mark.parametrize("name", ["efficientnet_lite0", "spinenet49s"])
def test_loss_is_a_function_of_the_key_which_drops_branches(name):
    model = make_retinanet(
        backbone=name, num_classes=3, head_convs=1, head_channels=8, fpn_channels=8, drop_connect_rate=0.9
    )
    task = make_detection_task(model=model, image_size_px=128)
    images = np.random.default_rng(0).normal(size=(2, 128, 128, 3)).astype(np.float32)
    boxes = jnp.tile(jnp.array([[[10.0, 10, 80, 90]]]), (2, 1, 1))
    flags = jnp.ones((2, 1), bool)
    targets = BoxTargets(boxes, jnp.ones((2, 1), jnp.int32), flags, ~flags)
    batch = Batch(jnp.asarray(images), targets, jnp.zeros(2, bool))
    variables = random_variables(task.init, jax.random.key(0))
    loss = jax.jit(lambda variables, rng: task.loss(variables, batch, rng)[0].human)
    losses = [float(loss(variables, jax.random.key(seed))) for seed in (0, 0, 1)]
    assert np.isfinite(losses).all()
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(("backbone", "padding"), [("resnet18", "torch"), ("spinenet49", "fixed")])
def test_a_pool_padding_that_means_nothing_is_refused(backbone, padding):
    with pytest.raises(InputError, match=f"pool_padding='?{padding}'? is"):
        make_backbone(NetworkSettings(backbone=backbone, pool_padding=padding))
