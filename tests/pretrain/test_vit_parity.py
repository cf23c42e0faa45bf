"""Vision transformers of two blocks against timm 1.0.31, by what `make_vit_golden.py` wrote down."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest

from selftrain_jax.models.settings import VITS, NetworkSettings, make_backbone
from selftrain_jax.models.vit import LEVEL, ViT
from selftrain_jax.pretrain.golden import golden_image
from selftrain_jax.pretrain.import_variables import file_shapes, import_variables
from selftrain_jax.pretrain.vit_names import timm_vit_names
from tests.pretrain.torch_golden import names_digest, vit_golden_array

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden/torch_vits.json").read_text())


def template_of(model, height_px=64, width_px=64):
    images = jax.ShapeDtypeStruct((1, height_px, width_px, 3), np.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
    return {"params": {"backbone": variables["params"]}}


def variables_of(model, network):
    """Return weights by rule under timm's names, imported."""
    template, names = template_of(model), timm_vit_names(network)
    made = template["params"]["backbone"]  # fewer blocks than the published network has
    names = {name: slot for name, slot in names.items() if slot.path[1] in made}
    arrays = {name: vit_golden_array(name, shape) for name, shape in file_shapes(template, names).items()}
    return {"params": import_variables(template, arrays, names)[0]["params"]["backbone"]}


@pytest.mark.parametrize("network", VITS)
def test_names_and_shapes_are_timms(network):
    row = GOLDEN["networks"][network]
    model = make_backbone(NetworkSettings(backbone=network))
    found = file_shapes(template_of(model), timm_vit_names(network))
    assert len(found) == row["num_arrays"]
    assert names_digest(found) == row["sha256_of_names"]


@pytest.mark.compiles
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 2e-5), ("bfloat16", 0.06)], ids=["float32", "bfloat16"]
)
@pytest.mark.parametrize(
    "run", GOLDEN["runs"], ids=lambda run: "-".join([run["network"], *map(str, run["size_px"])])
)
def test_patch_tokens_are_timms(run, dtype, tolerance):
    variant = dataclasses.replace(VITS[run["network"]], depth=GOLDEN["depth"], grid=GOLDEN["grid"])
    model = ViT(variant, style=make_backbone(NetworkSettings(backbone=run["network"], dtype=dtype)).style)
    height, width = run["size_px"]
    image = golden_image(GOLDEN["image_px"])[:, :height, :width]
    variables = variables_of(model, run["network"])
    with jax.default_matmul_precision("highest"):
        tokens = jax.jit(lambda v, x: model.apply(v, x, train=False)[LEVEL])(variables, image)
    assert tokens.shape == (1, height // 16, width // 16, 384)
    assert tokens.dtype == dtype
    found = np.asarray(tokens, np.float32).reshape(-1)[:: run["stride"]]
    error = np.abs(found - run["values"]).max() / run["std"]
    print(f"{run['network']} {dtype}: largest error {error:.1e} standard deviations")
    assert error < tolerance
