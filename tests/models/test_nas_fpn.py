import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.layers import LayerStyle
from selftrain_jax.models.nas_fpn import NASFPN, NODES, attend, change_level, unused_nodes
from tests.models.random_variables import random_variables

pytestmark = pytest.mark.compiles

SEPARABLE_CELL = 7 * (3 * 3 * 256 + 256 * 256 + 256 + 2 * 256)
PLAIN_CELL = 7 * (3 * 3 * 256 * 256 + 256 + 2 * 256)


def features_of(channels, image_px=128):
    shapes = {n: (1, -(-image_px // 2**n), -(-image_px // 2**n), c) for n, c in channels.items()}
    return {n: jax.ShapeDtypeStruct(shape, jnp.float32) for n, shape in shapes.items()}


def shapes_of(neck, features):
    return jax.eval_shape(lambda x: neck.init_with_output(jax.random.key(0), x, train=False), features)


def count_by_part(params):
    sizes = {"lateral": 0, "cell": 0}
    for name, module in params.items():
        sizes[name.rstrip("_0123456789bnode")] += sum(x.size for x in jax.tree.leaves(module))
    return sizes


@pytest.mark.parametrize(
    ("channels", "laterals"),
    [
        # a weight per channel, the 1×1 product, its bias, scale and bias of the normalisation
        ((80, 224, 640), (80 + 224 + 640) * (1 + 256) + 3 * 3 * 256),  # EfficientNet-B7: 0.245M
        ((176, 480, 1376), (176 + 480 + 1376) * (1 + 256) + 3 * 3 * 256),  # L2: 0.525M
    ],
)
def test_parameter_counts_of_the_papers_segmentation_necks(channels, laterals):
    neck = NASFPN(num_repeats=7, separable=True)
    _, variables = shapes_of(neck, features_of(dict(zip((3, 4, 5), channels, strict=True))))
    assert count_by_part(variables["params"]) == {"lateral": laterals, "cell": 3_361_792}
    assert 7 * SEPARABLE_CELL == 3_361_792  # the sum over the authors' trainables


def test_detectors_neck_has_plain_convolutions_and_no_lateral_where_channels_fit():
    features, variables = shapes_of(NASFPN(), features_of({3: 512, 4: 256, 5: 2048}))
    laterals = (512 + 2048) * 256 + 2 * 3 * 256
    assert count_by_part(variables["params"]) == {"lateral": laterals, "cell": 5 * PLAIN_CELL}
    assert {n: x.shape for n, x in features.items()} == {n: (1, 128 >> n, 128 >> n, 256) for n in range(3, 8)}


def test_odd_images_keep_the_sizes_of_the_levels():
    features, _ = shapes_of(NASFPN(8, 1), features_of({3: 8, 4: 8, 5: 8}, image_px=100))
    assert [x.shape[1] for x in features.values()] == [13, 7, 4, 2, 1]


def test_left_over_are_level_5_for_node_9_and_level_7_for_node_10():
    assert {i: unused_nodes(i) for i in NODES if unused_nodes(i)} == {9: [2], 10: [4]}


def test_attention_gates_each_channel_by_the_others_global_maximum():
    a = jnp.array([[[[0.0, -1.0]], [[np.log(3.0), -2.0]]]])  # maxima ln 3 and -1: gates 3/4 and 1/(1 + e)
    b = jnp.array([[[[4.0, 1.0]], [[8.0, 1.0]]]])
    gate = 1 / (1 + np.e)
    expected = [[[[3.0, -1 + gate]], [[np.log(3.0) + 6.0, -2 + gate]]]]
    np.testing.assert_allclose(attend(a, b), expected, rtol=1e-6)


def test_fitting_pools_to_coarser_levels_and_repeats_to_finer_ones():
    x = -jnp.arange(1.0, 26.0).reshape(1, 5, 5, 1)  # below 0, so that a border of zeros would win
    # 2 windows of 4 cells over 5 leave 3 over: 1 before the first row, 2 after the last
    assert change_level(x, 2, 2, 2)[0, :, :, 0].tolist() == [[-1, -4], [-16, -19]]
    assert change_level(x[:, :1, :2], -1, 2, 4)[0, :, :, 0].tolist() == [[-1, -1, -2, -2]] * 2


def resize_by_hand(x, size):
    """Pool or repeat one image in loops; sizes are powers of 2."""
    found = x.shape[0]
    if size >= found:
        return np.kron(x, np.ones((size // found, size // found, 1)))
    k = found // size
    return np.array(
        [[x[r * k : r * k + k, c * k : c * k + k].max((0, 1)) for c in range(size)] for r in range(size)]
    )


def cell_by_hand(p3, p4, p5, p6, p7, refine):
    """Compute one cell, written out node by node."""

    def at(size, *values):
        return [resize_by_hand(x, size) for x in values]

    def attention(a, b):
        return a + b / (1 + np.exp(-a.max((0, 1))))

    size3, size4, size5, size6, size7 = (x.shape[0] for x in (p3, p4, p5, p6, p7))
    n5 = refine(5, attention(*at(size4, p6, p4)))
    n6 = refine(6, p4 + n5)
    n7 = refine(7, sum(at(size3, p3, n6)))
    n8 = refine(8, sum(at(size4, n6, n7)))
    n9 = refine(9, attention(*at(size5, n8, n7)) + p5)
    n10 = refine(10, attention(*at(size7, n9, n6)) + p7)
    n11 = refine(11, attention(*at(size6, n10, n9)))
    return {3: n7, 4: n8, 5: n9, 6: n11, 7: n10}


def test_two_cells_are_as_written_out_by_hand():
    random = np.random.default_rng(0)
    features = {
        n: jnp.asarray(random.normal(size=(1, 128 >> n, 128 >> n, 2)), jnp.float32) for n in (3, 4, 5)
    }
    neck = NASFPN(2, 2, style=LayerStyle("swish", bn_epsilon=0.0))
    variables = random_variables(lambda: neck.init(jax.random.key(0), features, train=False))
    for node in variables["params"].values():
        only_centre = random.normal(size=(2, 2))
        node["conv"]["kernel"] *= 0
        node["conv"]["kernel"][1, 1] = only_centre
    found = jax.jit(lambda v, x: neck.apply(v, x, train=False))(variables, features)

    def refine_of(cell):
        def refine(index, x):
            kernel = variables["params"][f"cell{cell}_node{index}"]["conv"]["kernel"][1, 1]
            return (x / (1 + np.exp(-x))) @ kernel

        return refine

    pyramid = {n: np.asarray(x[0], np.float64) for n, x in features.items()}
    pyramid[6] = resize_by_hand(pyramid[5], 2)
    pyramid[7] = resize_by_hand(pyramid[6], 1)
    for cell in (0, 1):
        pyramid = cell_by_hand(*(pyramid[n] for n in range(3, 8)), refine_of(cell))
    assert sorted(found) == sorted(pyramid)
    for n, x in pyramid.items():
        np.testing.assert_allclose(found[n][0], x, rtol=1e-4, atol=1e-5)


def test_other_levels_are_refused():
    with pytest.raises(InputError, match="levels 3 to 7, not 3 to 6"):
        shapes_of(NASFPN(max_level=6), features_of({3: 8, 4: 8, 5: 8}))
