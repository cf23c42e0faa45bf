"""Vision transformers: sizes, cost, memory, positions. Outputs: tests/pretrain/test_vit_parity.py."""

import dataclasses
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.cost import count_multiply_adds
from selftrain_jax.models.layers import LayerStyle
from selftrain_jax.models.patches import CELL_PX, PatchEmbedding, cell_to_patch, resize_positions
from selftrain_jax.models.rotary import rotary_angles, rotate
from selftrain_jax.models.spatial_sharding import split_rows_over
from selftrain_jax.models.vit import LEVEL, VARIANTS, ViT
from selftrain_jax.models.vit_block import attend
from selftrain_jax.train.sharding import make_mesh, shard_batch
from selftrain_jax.train.step import _remat_policy
from tests.models.random_variables import random_variables


def tiny(name="small_dinov3", **changes):
    return dataclasses.replace(
        VARIANTS[name], **{"width": 24, "num_heads": 3, "depth": 2, "grid": 3} | changes
    )


def shapes_of(model, size_px, train=False):
    images = jax.ShapeDtypeStruct((1, size_px, size_px, 3), jnp.float32)
    return images, jax.eval_shape(partial(model.init, train=False), jax.random.key(0), images)


@pytest.mark.parametrize(
    ("name", "size_px", "num_params", "billions"),
    [  # parameters and multiply-adds of timm's model cards, for 37×37 and 16×16 patches
        ("small_dinov2", 37 * 16, 22.06e6, 46.8),
        ("base_dinov2", 37 * 16, 86.58e6, 151.7),
        ("small_dinov3", 16 * 16, 21.59e6, 6.3),
        ("base_dinov3", 16 * 16, 85.64e6, 23.6),
    ],
)
def test_parameters_and_cost_are_timms(name, size_px, num_params, billions):
    model = ViT(VARIANTS[name])
    images, variables = shapes_of(model, size_px)
    assert sum(x.size for x in jax.tree.leaves(variables)) == pytest.approx(num_params, abs=5e3)
    cost = count_multiply_adds(partial(model.apply, train=False), variables, images)
    assert cost == pytest.approx(billions * 1e9, rel=0.01)


@pytest.mark.parametrize("name", VARIANTS)
def test_cost_is_that_of_the_formula(name):
    """Of N tokens of C channels a block has 12·N·C² for its four layers and 2·N²·C for attention."""
    variant = VARIANTS[name]
    model = ViT(variant)
    images, variables = shapes_of(model, 640)
    patches, channels = 40 * 40, variant.width
    tokens = patches + variant.num_prefix
    block = 12 * tokens * channels**2 + 2 * tokens**2 * channels
    expected = variant.depth * block + patches * 16 * 16 * 3 * channels
    found = count_multiply_adds(partial(model.apply, train=False), variables, images)
    assert found == pytest.approx(expected, rel=0.002)  # and the resizing of positions and of the kernel


def test_blocks_are_named_by_their_depth():
    _, variables = shapes_of(ViT(tiny(depth=11)), 32)
    blocks = {f"block{i}" for i in range(11)}
    assert set(variables["params"]) == blocks | {"patches", "class_token", "registers", "norm"}


@pytest.mark.compiles
@pytest.mark.parametrize("name", ["small_dinov2", "small_dinov2_reg4", "small_dinov3"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_of_all_parameters_are_finite_and_float32(name, dtype):
    model = ViT(tiny(name), style=LayerStyle(dtype=dtype))
    random = np.random.default_rng(0)
    images = jnp.asarray(random.normal(size=(2, 32, 48, 3)), jnp.float32)
    shapes = shapes_of(model, 32)[1]
    variables = jax.tree.map(lambda x: jnp.asarray(random.normal(size=x.shape) / 4, jnp.float32), shapes)

    def loss(variables):
        tokens = model.apply(variables, images, train=False)[LEVEL]
        assert (tokens.shape, tokens.dtype) == ((2, 2, 3, 24), dtype)
        return jnp.sum(tokens[..., 0].astype(jnp.float32) ** 2)

    for gradient in jax.tree.leaves(jax.jit(jax.grad(loss))(variables)):
        assert gradient.dtype == jnp.float32
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("remat", ["none", "convolutions"])
def test_weights_of_pairs_of_tokens_are_not_kept_for_the_gradient(remat):
    model = ViT(tiny(depth=3))
    images, variables = shapes_of(model, 128)
    num_tokens = 8 * 8 + 5
    run = partial(model.apply, train=False)
    if remat == "convolutions":
        run = jax.checkpoint(run, policy=_remat_policy(remat))
    _, backward = jax.eval_shape(lambda v, x: jax.vjp(run, v, x), variables, images)
    kept = [x.shape for x in jax.tree.leaves(backward)]
    assert (1, num_tokens, 4 * 24) in kept
    assert not [shape for shape in kept if shape.count(num_tokens) > 1]


def test_softmax_is_in_float32():
    query = jnp.zeros((1, 5, 1, 8), jnp.bfloat16)
    exponentials = re.findall(r"(\w+)\[[\d,]+\] = exp ", str(jax.make_jaxpr(attend)(query, query, query)))
    assert exponentials == ["f32"]


def test_attention_is_that_of_its_formula():
    random = np.random.default_rng(0)
    query, key, value = random.normal(size=(3, 2, 5, 3, 4)).astype(np.float32)
    weights = np.exp(np.einsum("bnhd,bmhd->bhnm", query, key) / 2)
    weights /= weights.sum(-1, keepdims=True)
    expected = np.einsum("bhnm,bmhd->bnhd", weights, value)
    inputs = [jnp.asarray(x) for x in (query, key, value)]
    np.testing.assert_allclose(attend(*inputs), expected, rtol=1e-4, atol=1e-5)
    found, autodiff = (
        jax.grad(lambda *x, f=f: (f(*x) ** 2).sum(), argnums=(0, 1, 2))(*inputs)
        for f in (attend, jax.nn.dot_product_attention)
    )
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), found, autodiff)


@pytest.mark.compiles
def test_training_drops_branches_of_later_blocks_by_the_key():
    model = ViT(tiny(), drop_connect_rate=0.5)
    images = jnp.ones((8, 16, 16, 3))
    variables = random_variables(partial(model.init, train=False), jax.random.key(0), images)
    variables["params"] = {
        name: {**value, "scale1": np.ones(24, "f"), "scale2": np.ones(24, "f")} if "block" in name else value
        for name, value in variables["params"].items()
    }
    run = jax.jit(lambda key: model.apply(variables, images, train=True, rngs={"drop": key})[LEVEL])
    first, again, other = (np.asarray(run(jax.random.key(seed))) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    assert 1 < len(np.unique(first[:, 0, 0, 0].round(4))) <= 4  # of two branches each is there or not


@pytest.mark.parametrize(
    ("model", "size_px", "words"),
    [
        (ViT(tiny()), 40, r"40 by 40 pixels.*multiples of 16"),
        (ViT(tiny(), drop_connect_rate=1.0), 32, r"drop-connect rate is 1.0"),
        (ViT(tiny(patch_px=32)), 32, "patch_px=32"),
        (ViT(tiny(num_heads=4)), 32, "6 channels.*multiple of 4"),
    ],
)
def test_what_does_not_fit_is_refused(model, size_px, words):
    with pytest.raises(InputError, match=words):
        shapes_of(model, size_px)


def test_a_cell_is_resized_between_the_centres_of_its_pixels():
    """A ramp stays a ramp: pixel i of 14 is at (i + 1/2)·16/14 - 1/2; no weight reaches another cell."""
    matrix = cell_to_patch(14)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(matrix @ np.arange(16), (np.arange(14) + 0.5) * 16 / 14 - 0.5, rtol=1e-6)
    np.testing.assert_array_equal(cell_to_patch(16), np.eye(16))


def test_a_token_is_the_patchs_product_with_its_cell_alone():
    embedding = PatchEmbedding(num_channels=2, patch_px=CELL_PX, style=LayerStyle())
    random = np.random.default_rng(0)
    image, kernel = random.normal(size=(1, 32, 48, 3)), random.normal(size=(16, 16, 3, 2))
    variables = {"params": {"kernel": jnp.asarray(kernel, "f"), "bias": jnp.array([1.0, 2.0])}}
    found = embedding.apply(variables, jnp.asarray(image, "f"))
    expected = np.einsum("ijc,ijcd->d", image[0, 16:32, 32:48], kernel) + np.array([1, 2])
    np.testing.assert_allclose(found[0, 1, 2], expected, rtol=1e-4)


def test_positions_of_the_own_grid_are_kept_and_a_ramp_is_stretched():
    ramp = jnp.broadcast_to(jnp.arange(8.0)[:, None, None], (8, 8, 1))
    np.testing.assert_array_equal(resize_positions(ramp, 8, 8), ramp)
    found = resize_positions(ramp, 16, 4)
    assert found.shape == (16, 4, 1)
    np.testing.assert_allclose(found[4:12, 1, 0], (np.arange(4, 12) + 0.5) / 2 - 0.5, rtol=1e-5)


def test_scores_of_rotated_tokens_depend_on_their_distance_alone():
    angles = rotary_angles(4, 6, 16, num_prefix=2)
    random = np.random.default_rng(0)
    query, key = (jnp.broadcast_to(jnp.asarray(random.normal(size=16), "f"), (1, 26, 1, 16)) for _ in "qk")
    scores = np.einsum("nd,md->nm", rotate(query, angles)[0, :, 0], rotate(key, angles)[0, :, 0])
    grid = scores[2:, 2:].reshape(4, 6, 4, 6)
    np.testing.assert_allclose(grid[0, 1, 2, 4], grid[1, 2, 3, 5], rtol=1e-4)
    np.testing.assert_allclose(grid[3, 0, 1, 2], grid[2, 3, 0, 5], rtol=1e-4)
    assert abs(grid[0, 0, 0, 1] - grid[0, 0, 1, 0]) > 1e-3
    np.testing.assert_allclose(scores[:2, :2], float(query[0, 0, 0] @ key[0, 0, 0]), rtol=1e-5)


def test_rotary_angles_are_those_of_the_patches_centres():
    """Two rows, one column: y = -1/2 and 1/2, x = 0; periods 1 and 100^(1/2) of a head of 8 channels."""
    expected = 2 * np.pi * 0.5 / np.array([1, 10])
    found = rotary_angles(2, 1, 8, num_prefix=1)
    np.testing.assert_allclose(found, [np.zeros(4), [*-expected, 0, 0], [*expected, 0, 0]], atol=1e-6)


@pytest.mark.compiles
@pytest.mark.parametrize("height", [96, 128])  # 3 and 4 rows of patches a device
def test_gradients_of_split_rows_are_those_of_whole_images(height):
    model = ViT(tiny())
    random = np.random.default_rng(0)
    images = random.normal(size=(2, height, 64, 3)).astype(np.float32)
    shapes = shapes_of(model, 32)[1]
    variables = jax.tree.map(lambda x: random.normal(size=x.shape).astype(np.float32) / 4, shapes)

    def loss(variables, images):
        return jnp.sum(model.apply(variables, images, train=False)[LEVEL][..., :2] ** 3)

    whole = jax.jit(jax.grad(loss))(variables, images)
    mesh = make_mesh(space=2)
    with split_rows_over(mesh):
        split = jax.jit(jax.grad(loss))(variables, shard_batch(mesh, {"images": images})["images"])
    for a, b in zip(jax.tree.leaves(split), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max())
