import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.layers import LayerStyle
from selftrain_jax.models.resnet import BasicBlock, BottleneckBlock, ResNet, scale_filters

pytestmark = pytest.mark.compiles


def shapes_of(depth, width_factor=1.0):
    def init(images):
        return ResNet(depth, width_factor).init_with_output(jax.random.key(0), images, train=False)

    return jax.eval_shape(init, jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32))


def count(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("depth", "num_params"),
    [
        # torchvision's totals less the classifier, 512·1000 + 1000 or 2048·1000 + 1000
        (18, 11_689_512 - 513_000),
        (34, 21_797_672 - 513_000),
        (50, 25_557_032 - 2_049_000),
        (101, 44_549_160 - 2_049_000),
        (152, 60_192_808 - 2_049_000),
    ],
)
def test_parameter_counts_are_the_published_ones(depth, num_params):
    assert count(shapes_of(depth)[1]["params"]) == num_params


@pytest.mark.parametrize(("depth", "channels"), [(18, (64, 128, 256, 512)), (50, (256, 512, 1024, 2048))])
def test_features_of_level_n_have_stride_2_to_the_n(depth, channels):
    features, _ = shapes_of(depth)
    expected = {n: (2, 64 >> n, 64 >> n, c) for n, c in zip((2, 3, 4, 5), channels, strict=True)}
    assert {level: x.shape for level, x in features.items()} == expected


def test_width_factor_multiplies_filters_and_rounds_to_8():
    features, _ = shapes_of(18, 0.25)
    assert [x.shape[-1] for x in features.values()] == [16, 32, 64, 128]
    assert [scale_filters(64, f) for f in (0.3, 0.01, 1.3)] == [16, 8, 80]


def test_stride_is_on_the_3x3_of_a_bottleneck():
    block = BottleneckBlock(filters=2, stride=2, project=True, style=LayerStyle())

    def outputs(x):
        variables = block.init(jax.random.key(1), x, train=False)
        _, state = block.apply(variables, x, train=False, capture_intermediates=True)
        return {name: state["intermediates"][name]["__call__"][0] for name in ("conv1", "conv2", "conv3")}

    found = jax.eval_shape(outputs, jax.ShapeDtypeStruct((1, 4, 4, 8), jnp.float32))
    assert {name: x.shape[1] for name, x in found.items()} == {"conv1": 4, "conv2": 2, "conv3": 2}


def test_block_without_projection_starts_as_the_activated_identity():
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
    block = BasicBlock(filters=8, stride=1, project=False, style=LayerStyle())
    y = jax.jit(lambda: block.init_with_output(jax.random.key(1), x, train=False)[0])()
    np.testing.assert_array_equal(y, jax.nn.relu(x))


def test_unknown_depth_is_refused():
    with pytest.raises(InputError, match=r"depth 20 .* \[18, 34, 50, 101, 152\]"):
        shapes_of(20)
