from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.classifier import Classifier, make_classifier
from selftrain_jax.models.layers import LayerStyle

pytestmark = pytest.mark.compiles


class Levels(nn.Module):
    """Stands in for a backbone: the images' channels again and again as level 4, zeros as level 3."""

    repeats: int = 1

    @nn.compact
    def __call__(self, images, *, train):
        return {4: jnp.tile(images, self.repeats), 3: jnp.zeros((1, 1, 1, 1))}


@cache
def shapes_of(name, **settings):
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    net = make_classifier(name, **settings)
    return jax.eval_shape(partial(net.init_with_output, train=False), jax.random.key(0), images)


@pytest.mark.parametrize(
    ("name", "num_params"),
    [
        ("efficientnet_b0", 5_288_548),
        ("efficientnet_b1", 7_794_184),
        ("efficientnet_b2", 9_109_994),
        ("efficientnet_b3", 12_233_232),
        ("efficientnet_b4", 19_341_616),
        ("efficientnet_b5", 30_389_784),
        ("efficientnet_b6", 43_040_704),
        ("efficientnet_b7", 66_347_960),
        ("efficientnet_b8", 87_413_142),
        ("efficientnet_l2", 480_309_308),
        ("efficientnet_lite0", 4_652_008),  # the sums over the published weights
        ("efficientnet_lite1", 5_416_680),
        ("efficientnet_lite2", 6_092_072),
        ("resnet18", 11_689_512),
        ("resnet50", 25_557_032),
    ],
)
def test_parameter_counts_are_the_authors(name, num_params):
    logits, variables = shapes_of(name)
    assert sum(x.size for x in jax.tree.leaves(variables["params"])) == num_params
    assert logits.shape == (1, 1000)


def test_names_are_the_contracts():
    assert sorted(shapes_of("efficientnet_lite0")[1]["params"]) == ["backbone", "dense", "head", "head_bn"]
    assert sorted(shapes_of("resnet18")[1]["params"]) == ["backbone", "dense"]


def test_logits_are_a_dense_layer_of_the_coarsest_levels_mean():
    images = jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
    logits, variables = Classifier(Levels(), 7).init_with_output(jax.random.key(0), images, train=False)
    dense = variables["params"]["dense"]
    np.testing.assert_allclose(logits, images.mean((1, 2)) @ dense["kernel"] + dense["bias"], rtol=1e-4)


def test_head_is_a_convolution_a_norm_and_the_activation():
    images = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    net = Classifier(Levels(), 2, head_channels=6, style=LayerStyle("relu6", bn_epsilon=0.5))
    logits, variables = net.init_with_output(jax.random.key(0), 20 * images, train=False)
    params = variables["params"]
    x = np.clip(20 * images @ params["head"]["kernel"][0, 0] / np.sqrt(1.5), 0, 6)
    np.testing.assert_allclose(logits, x.mean((1, 2)) @ params["dense"]["kernel"], rtol=1e-4, atol=1e-5)


def test_dropout_draws_from_its_own_rng_and_only_in_training():
    net = Classifier(Levels(repeats=100), 4, dropout_rate=0.5)
    images = jnp.ones((2, 1, 1, 3))
    variables = net.init(jax.random.key(0), images, train=False)
    still = net.apply(variables, images, train=False)

    def trained(seed):
        return net.apply(variables, images, train=True, rngs={"drop": jax.random.key(seed)})

    np.testing.assert_array_equal(trained(1), trained(1))
    assert np.abs(trained(1) - trained(2)).max() > 0.01
    assert np.abs(trained(1) - still).max() > 0.01
    np.testing.assert_array_equal(still[0], still[1])


def test_dense_starts_within_one_over_the_root_of_the_classes():
    net = Classifier(Levels(repeats=100), 16)
    params = net.init(jax.random.key(0), jnp.ones((1, 1, 1, 3)), train=False)["params"]
    kernel = params["dense"]["kernel"]
    assert 0.24 < kernel.max() <= 0.25
    assert -0.25 <= kernel.min() < -0.24


def test_settings_are_the_networks_own():
    net = make_classifier("efficientnet_lite2", 10, drop_connect_rate=0.1, dtype="bfloat16")
    assert net.style == net.backbone.style == LayerStyle("relu6", 0.99, 1e-3, "bfloat16")
    assert (net.dropout_rate, net.head_channels, net.backbone.drop_connect_rate) == (0.3, 1280, 0.1)
    assert make_classifier("efficientnet_b4").style.activation == "swish"
    logits, variables = shapes_of("resnet18", num_classes=10, dtype="bfloat16")
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves((logits, variables)))


@pytest.mark.parametrize("name", ["efficientnet_b9", "efficientnet", "resnet20", "vgg16"])
def test_unknown_classifier_is_refused_with_what_exists(name):
    with pytest.raises(InputError, match=f"'{name}'; use one of resnet18, .* efficientnet_l2"):
        make_classifier(name)
