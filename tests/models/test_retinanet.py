import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.detection.anchors import make_anchors
from selftrain_jax.models.fpn import FPN
from selftrain_jax.models.layers import LayerStyle
from selftrain_jax.models.resnet import ResNet
from selftrain_jax.models.retinanet import Head, RetinaNet

pytestmark = pytest.mark.compiles


def tiny(max_level, dtype="float32"):
    """A ResNet-18 of an eighth of the width with heads of one convolution."""
    style = LayerStyle(dtype=dtype)
    return RetinaNet(
        backbone=ResNet(18, 0.125, style),
        fpn=FPN(8, max_level=max_level, style=style),
        num_classes=3,
        max_level=max_level,
        head_channels=8,
        head_convs=1,
        style=style,
    )


def shapes_of(model, method=None):
    def init(images):
        return model.init_with_output(jax.random.key(0), images, train=False, method=method)

    return jax.eval_shape(init, jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32))


def test_outputs_stand_in_the_order_of_the_anchors():
    """One lit cell must answer at its own anchors, and each anchor by its own channels of the predictor."""
    head = Head(
        num_convs=0, num_channels=8, num_anchors=9, num_outputs=4, predictor_bias=0.0, style=LayerStyle()
    )
    kernel = np.zeros((3, 3, 1, 36), np.float32)
    kernel[1, 1, 0] = np.arange(1, 37)
    lit = jnp.zeros((1, 8, 8, 1)).at[0, 2, 5].set(1)
    variables = {"params": {"predictor": {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(36)}}}
    outputs = head.apply(variables, {3: lit}, train=False)[3].reshape(-1, 4)
    anchors = make_anchors(image_size_px=64, min_level=3, max_level=3)
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    at_cell = np.isclose(centres, [2 * 8 + 4, 5 * 8 + 4], atol=1e-3).all(axis=1)
    np.testing.assert_array_equal(outputs.any(axis=1), at_cell)
    np.testing.assert_array_equal(outputs[at_cell], np.arange(1, 37).reshape(9, 4))


def test_network_starts_by_calling_everything_background():
    """The class predictor starts at probability 0.01, lest the many negatives swamp the first steps."""

    def predictor():
        images = jnp.zeros((1, 64, 64, 3))
        variables = tiny(max_level=5).init(jax.random.key(0), images, train=False)
        return variables["params"]["class_net"]["predictor"]

    found = jax.jit(predictor)()
    np.testing.assert_allclose(jax.nn.sigmoid(found["bias"]), 0.01, rtol=1e-4)
    assert np.abs(found["kernel"]).max() < 1e-4


def test_levels_are_given_apart_too():
    (logits, boxes), _ = shapes_of(tiny(max_level=6), method="per_level")
    assert {level: x.shape for level, x in logits.items()} == {
        3: (2, 8, 8, 9 * 3),
        4: (2, 4, 4, 9 * 3),
        5: (2, 2, 2, 9 * 3),
        6: (2, 1, 1, 9 * 3),
    }
    assert {level: x.shape for level, x in boxes.items()} == {
        level: (*x.shape[:3], 9 * 4) for level, x in logits.items()
    }


def test_bfloat16_keeps_variables_and_outputs_in_float32():
    outputs, variables = shapes_of(tiny(max_level=5, dtype="bfloat16"))
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves((outputs, variables)))


def test_heads_share_convolutions_and_keep_a_norm_for_each_level():
    _, variables = shapes_of(tiny(max_level=5))
    assert sorted(variables["params"]["class_net"]) == ["bn0_3", "bn0_4", "bn0_5", "conv0", "predictor"]


class Pyramid(nn.Module):
    """A backbone that is its own neck."""

    @nn.compact
    def __call__(self, images, *, train):
        del train
        return {level: images[:, :: 2**level, :: 2**level] for level in range(2, 8)}


def test_without_a_neck_the_backbones_own_levels_are_the_pyramid():
    (logits, _), variables = shapes_of(RetinaNet(backbone=Pyramid(), fpn=None, num_classes=3), "per_level")
    assert {level: x.shape[1] for level, x in logits.items()} == {3: 8, 4: 4, 5: 2, 6: 1, 7: 1}
    assert set(variables["params"]) == {"class_net", "box_net"}
