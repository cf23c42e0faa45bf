import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.detection.anchors import make_anchors
from selftrain_jax.models.layers import LayerStyle
from selftrain_jax.models.retinanet import Head, RetinaNet

TINY = {
    "num_classes": 3,
    "depth": 18,
    "width_factor": 0.125,
    "fpn_channels": 8,
    "head_channels": 8,
    "head_convs": 1,
}

# Weights and biases by hand, for 91 classes (background included), 9 anchors, 256 channels:
CONV = 3 * 3 * 256 * 256 + 256
FPN_PARAMS = (512 + 1024 + 2048) * 256 + 3 * 256 + 5 * CONV + 5 * 2 * 256  # lateral, output 3..7, bn 3..7
TOWER = 4 * CONV + 4 * 5 * 2 * 256  # convolutions shared by the 5 levels, a bn for each
CLASS_NET = TOWER + 3 * 3 * 256 * 819 + 819
BOX_NET = TOWER + 3 * 3 * 256 * 36 + 36


def shapes_of(image_size_px, method=None, **fields):
    model = RetinaNet(**fields)
    images = jax.ShapeDtypeStruct((2, image_size_px, image_size_px, 3), jnp.float32)

    def init(images):
        return model.init_with_output(jax.random.key(0), images, train=False, method=method)

    return jax.eval_shape(init, images)


@pytest.mark.parametrize(
    ("depth", "backbone", "total"), [(50, 23_508_032, 34_091_159), (101, 42_500_160, 53_083_287)]
)
def test_parameter_counts_are_the_papers(depth, backbone, total):
    (logits, boxes), variables = shapes_of(640, num_classes=91, depth=depth)
    count = {k: sum(x.size for x in jax.tree.leaves(v)) for k, v in variables["params"].items()}
    assert count == {"backbone": backbone, "fpn": FPN_PARAMS, "class_net": CLASS_NET, "box_net": BOX_NET}
    assert sum(count.values()) == total  # 34.09M, 53.08M: the sum over the authors' trainables
    assert logits.shape == (2, 76_725, 91)
    assert boxes.shape == (2, 76_725, 4)


def test_outputs_stand_in_the_order_of_the_anchors():
    """One lit cell must answer at its own anchors, and each anchor by its own channels of the predictor."""
    head = Head(
        num_convs=0, num_channels=8, num_anchors=9, num_outputs=4, predictor_bias=0.0, style=LayerStyle()
    )
    kernel = np.zeros((3, 3, 1, 36), np.float32)
    kernel[1, 1, 0] = np.arange(1, 37)
    lit = jnp.zeros((1, 8, 8, 1)).at[0, 2, 5].set(1)
    variables = {"params": {"predictor": {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(36)}}}
    outputs = head.apply(variables, {3: lit}, train=False)[3][0]
    anchors = make_anchors(image_size_px=64, min_level=3, max_level=3)
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    at_cell = np.isclose(centres, [2 * 8 + 4, 5 * 8 + 4], atol=1e-3).all(axis=1)
    np.testing.assert_array_equal(outputs.any(axis=1), at_cell)
    np.testing.assert_array_equal(outputs[at_cell], np.arange(1, 37).reshape(9, 4))


def test_network_starts_by_calling_everything_background():
    """The class predictor starts at probability 0.01, lest the many negatives swamp the first steps."""

    def predictor():
        images = jnp.zeros((1, 64, 64, 3))
        variables = RetinaNet(**TINY, max_level=5).init(jax.random.key(0), images, train=False)
        return variables["params"]["class_net"]["predictor"]

    found = jax.jit(predictor)()
    np.testing.assert_allclose(jax.nn.sigmoid(found["bias"]), 0.01, rtol=1e-4)
    assert np.abs(found["kernel"]).max() < 1e-4


def test_levels_are_given_apart_too():
    (logits, boxes), _ = shapes_of(64, **TINY, max_level=6, method="per_level")
    assert {level: x.shape for level, x in logits.items()} == {
        3: (2, 9 * 64, 3),
        4: (2, 9 * 16, 3),
        5: (2, 9 * 4, 3),
        6: (2, 9, 3),
    }
    assert {level: x.shape[1] for level, x in boxes.items()} == {n: x.shape[1] for n, x in logits.items()}


def test_bfloat16_keeps_variables_and_outputs_in_float32():
    outputs, variables = shapes_of(64, **TINY, max_level=5, dtype="bfloat16")
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves((outputs, variables)))


def test_heads_share_convolutions_and_keep_a_norm_for_each_level():
    _, variables = shapes_of(64, **TINY, max_level=5)
    assert sorted(variables["params"]["class_net"]) == ["bn0_3", "bn0_4", "bn0_5", "conv0", "predictor"]
