import dataclasses

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from selftrain_jax.errors import InputError
from selftrain_jax.models.cost import count_multiply_adds
from selftrain_jax.models.layers import Conv, DepthwiseConv, LayerStyle
from selftrain_jax.models.retinanet import make_retinanet
from selftrain_jax.models.segmenter import make_segmenter
from selftrain_jax.models.spinenet import SIZES

SQUARE = jax.ShapeDtypeStruct((3, 3), jnp.float32)
STYLE = LayerStyle()


def square(x):
    return x @ x  # 27 multiply-adds


def count_network(network, image_size_px):
    def run(images):
        return network.init_with_output(jax.random.key(0), images, train=False)[0]

    return count_multiply_adds(run, jax.ShapeDtypeStruct((1, image_size_px, image_size_px, 3), jnp.float32))


def count_layer(layer, shape):
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    variables = jax.eval_shape(lambda x: layer.init(jax.random.key(0), x), x)
    return count_multiply_adds(layer.apply, variables, x)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Conv(5, 3, STYLE, stride=2), (2 * 4 * 6) * 5 * (3 * 3 * 4)),
        (Conv(5, 3, STYLE, use_bias=True), (2 * 8 * 12) * 5 * (3 * 3 * 4)),  # no bias counts
        (DepthwiseConv(3, STYLE), (2 * 8 * 12) * 4 * (3 * 3)),
    ],
)
def test_convolution_is_outputs_times_kernel_area_times_channels_of_a_group(layer, expected):
    assert count_layer(layer, (2, 8, 12, 4)) == expected


def test_products_are_counted_whatever_is_contracted():
    a, b = jnp.zeros((2, 3, 4)), jnp.zeros((2, 4, 5))
    assert count_multiply_adds(jnp.matmul, a, b) == 2 * 3 * 4 * 5
    assert count_multiply_adds(lambda a: jnp.tensordot(a, a, axes=3), a) == 2 * 3 * 4


def test_elementwise_operations_count_nothing():
    assert count_multiply_adds(lambda x: jnp.exp(x) * x + x.sum(), SQUARE) == 0


def test_gradient_of_a_product_costs_two_more():
    a, b = jnp.zeros((3, 4)), jnp.zeros((4, 5))
    gradient = jax.grad(lambda a, b: (a @ b).sum() ** 2, argnums=(0, 1))
    assert count_multiply_adds(gradient, a, b) == 3 * (3 * 4 * 5)


def test_functions_within_are_counted():
    custom_jvp, custom_vjp = jax.custom_jvp(square), jax.custom_vjp(square)
    custom_jvp.defjvp(lambda x, dx: (square(*x), dx[0]))
    custom_vjp.defvjp(lambda x: (square(x), None), lambda _, g: (g,))
    for function in (jax.jit(square), jax.checkpoint(square), custom_jvp, custom_vjp):
        assert count_multiply_adds(function, SQUARE) == 27
    assert count_multiply_adds(jax.vmap(square), jnp.zeros((4, 3, 3))) == 4 * 27


def test_scan_counts_its_body_times_its_length():
    def function(x):
        return lax.scan(lambda x, _: (square(x), None), x, length=7)

    assert count_multiply_adds(function, SQUARE) == 7 * 27


def test_choice_counts_its_costliest_branch():
    def function(x):
        return lax.cond(x[0, 0] > 0, lambda x: square(square(x)), square, x)

    assert count_multiply_adds(function, SQUARE) == 2 * 27


def test_choice_by_platform_counts_its_default():
    def function(x):
        return lax.platform_dependent(x, cpu=lambda x: square(square(x)), default=square)

    assert count_multiply_adds(function, SQUARE) == 27
    assert count_multiply_adds(jax.grad(lambda x: function(x).sum()), SQUARE) == 3 * 27


def test_while_loop_is_refused_unless_nothing_in_it_counts():
    found = count_multiply_adds(lambda x: lax.while_loop(lambda x: x[0, 0] < 9, jnp.negative, x @ x), SQUARE)
    assert found == SQUARE.shape[0] ** 3
    with pytest.raises(InputError, match=r"while loop.*lax\.scan"):
        count_multiply_adds(lambda x: lax.while_loop(lambda x: x[0, 0] < 9, square, x), SQUARE)


@pytest.mark.compiles
@pytest.mark.parametrize(
    ("backbone", "image_size_px", "billions"),
    [
        ("resnet50", 640, 97.0),
        ("resnet101", 640, 127.3),
        ("spinenet49", 640, 85.4),
        ("spinenet96", 1024, 265.4),
        ("spinenet143", 1280, 524.0),
        ("spinenet190", 1280, 1885.0),
    ],
)
def test_detectors_cost_what_their_authors_say(backbone, image_size_px, billions):
    network = make_retinanet(backbone=backbone, num_classes=91)
    assert count_network(network, image_size_px) == pytest.approx(billions * 1e9, rel=0.01)


def unused_classifier(cells_px, channels, head):
    """Count what the authors' graph has and does nothing with: ImageNet's 1×1 convolution and classes."""
    return cells_px**2 * channels * head + head * 1000


@pytest.mark.compiles
def test_efficientnet_detector_costs_what_the_authors_graph_does():
    network = make_retinanet(backbone="efficientnet_b7", num_classes=91)
    found = count_network(network, 640) + unused_classifier(20, 640, 2560)
    assert found == pytest.approx(105.0e9, rel=0.01)


@pytest.mark.compiles
@pytest.mark.parametrize(
    ("variant", "channels", "head", "billions"),
    [("b7", 640, 2560, 60.2), pytest.param("l2", 1376, 5504, 229.5, marks=pytest.mark.slow)],
)
def test_segmenter_costs_what_the_authors_graph_does(variant, channels, head, billions):
    network = make_segmenter(
        backbone=f"efficientnet_{variant}", num_classes=21, nas_fpn_repeats=7, separable=True
    )
    found = count_network(network, 512) + unused_classifier(16, channels, head)
    assert found == pytest.approx(billions * 1e9, rel=0.01)


@pytest.mark.compiles
def test_published_cost_of_spinenet_49s_is_that_of_256_endpoint_channels(monkeypatch):
    """The model zoo's 11.9M parameters and 33.8B are not of the released 49S, which has 128: 30.8B."""
    network = make_retinanet(backbone="spinenet49s", num_classes=91)
    assert count_network(network, 640) == pytest.approx(30.8e9, rel=0.01)
    monkeypatch.setitem(SIZES, "49s", dataclasses.replace(SIZES["49s"], endpoint_channels=256))
    assert count_network(network, 640) == pytest.approx(33.8e9, rel=0.01)
