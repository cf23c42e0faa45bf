"""ConvNeXt against timm 1.0.31 from the same made weights, and its weights by name."""

import json
import pathlib

import jax
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.classifier import make_classifier
from selftrain_jax.models.retinanet import make_retinanet
from selftrain_jax.models.settings import CONVNEXTS
from selftrain_jax.named_arrays import arrays_by_name
from selftrain_jax.pretrain import importers
from selftrain_jax.pretrain.catalogue import describe, find_start
from selftrain_jax.pretrain.convnext_names import timm_convnext_names
from selftrain_jax.pretrain.golden import difference, golden_image, parse_output
from selftrain_jax.pretrain.import_variables import file_shapes
from selftrain_jax.pretrain.init_modes import init_variables
from selftrain_jax.pretrain.input_normalization import NORMALIZATIONS, fold_normalization
from selftrain_jax.pretrain.official_networks import named_outputs, variable_shapes
from tests.models.random_variables import random_variables
from tests.pretrain.torch_golden import names_digest, torch_golden_array
from tests.pretrain.weight_files import write_safetensors

pytestmark = pytest.mark.compiles

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden/convnext.json").read_text())
NAMES = timm_convnext_names("tiny")
SIZE_PX = GOLDEN["size_px"]


def timm_arrays():
    shapes = file_shapes(variable_shapes(make_classifier("convnext_tiny"), SIZE_PX), NAMES)
    return {name: torch_golden_array(name, shape) for name, shape in shapes.items()}


def assert_same(a, b):
    a, b = arrays_by_name(a), arrays_by_name(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize("network", CONVNEXTS)
def test_names_and_shapes_are_timms(network):
    row = GOLDEN["networks"][network]
    shapes = variable_shapes(make_classifier(network), SIZE_PX)
    found = file_shapes(shapes, timm_convnext_names(CONVNEXTS[network]))
    assert len(found) == row["num_arrays"] == len(jax.tree.leaves(shapes))
    assert names_digest(found) == row["sha256_of_names"]


def test_timms_weights_give_timms_features_and_logits(tmp_path):
    path = write_safetensors(tmp_path / "w.safetensors", timm_arrays())
    imported = importers.import_timm(path, "convnext_tiny")
    assert imported.preprocessing == ("imagenet", False, 1e-6, "same")
    model = make_classifier("convnext_tiny")
    with jax.default_matmul_precision("highest"):
        run = jax.jit(lambda v, x: named_outputs(model, v, x))
        outputs = jax.device_get(run(imported.variables, golden_image(SIZE_PX)))
    assert outputs.keys() == GOLDEN["convnext_tiny"].keys()
    for name, entry in GOLDEN["convnext_tiny"].items():
        golden = parse_output(entry, name)
        assert outputs[name].shape == golden.shape
        error = difference(outputs[name], golden)
        print(f"{name}: {error.values:.1e} and {error.moments:.1e} standard deviations")
        assert not error.exceeds(1e-4), name


def test_a_file_without_a_classifier_is_the_backbone(tmp_path):
    arrays = timm_arrays()
    whole = importers.import_timm(write_safetensors(tmp_path / "a.safetensors", arrays), "convnext_tiny")
    del arrays["head.fc.weight"], arrays["head.fc.bias"]
    path = write_safetensors(tmp_path / "b.safetensors", arrays)
    bare = importers.import_timm(path, "convnext_tiny")
    assert bare.report.ignored == ("head.norm.bias", "head.norm.weight")
    assert bare.variables["params"].keys() == {"backbone"}
    assert_same(bare.variables["params"]["backbone"], whole.variables["params"]["backbone"])
    with pytest.raises(InputError, match=r"missing.*stages\.2\.blocks\.10"):
        importers.import_timm(path, "convnext_small")


def test_a_folded_stem_gives_what_it_gave_of_the_sources_input():
    """Its windows do not overlap and have no padding, so that it is exact at the border too."""
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 255, (4, 4, 3))
    stem = {"kernel": rng.normal(size=(4, 4, 3, 5)), "bias": rng.normal(size=5)}
    ours, half = (
        (pixels / 255 - n.mean) / n.deviation for n in map(NORMALIZATIONS.get, ("imagenet", "half"))
    )
    folded = fold_normalization({"params": {"backbone": {"stem": stem}}}, NORMALIZATIONS["half"])
    found = folded["params"]["backbone"]["stem"]
    np.testing.assert_allclose(
        np.einsum("hwi,hwio->o", ours, found["kernel"]) + found["bias"],
        np.einsum("hwi,hwio->o", half, stem["kernel"]) + stem["bias"],
        atol=2e-5,
    )


def test_init_imagenet_is_trained_on_imagenet_alone(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    found = {network: find_start(network, "imagenet") for network in CONVNEXTS}
    assert {network: row.name for network, row in found.items()} == {
        network: f"{network}.fb_in1k" for network in CONVNEXTS
    }
    assert describe(found["convnext_tiny"]) == (
        "convnext_tiny.fb_in1k, about 114 MB, licence Apache-2.0, 82.7 % top-1 in timm, from huggingface.co"
    )


def test_a_detector_starts_from_a_classifiers_backbone():
    model = make_retinanet(backbone="convnext_tiny", num_classes=3, fpn_channels=8, head_channels=8)
    image = jax.ShapeDtypeStruct((1, 128, 128, 3), np.float32)
    random = random_variables(lambda x: model.init(jax.random.key(0), x, train=False), image)
    names = {name: slot for name, slot in NAMES.items() if slot.path[0] == "backbone"}
    shapes = file_shapes({"params": random["params"]}, names)
    loaded = {"params": jax.tree.map(lambda x: x + 1, {"backbone": random["params"]["backbone"]})}
    assert len(shapes) == len(jax.tree.leaves(loaded))
    found, report = init_variables("imagenet", random, random, lambda mode: loaded)
    assert_same(found["params"]["backbone"], loaded["params"]["backbone"])
    assert_same(found["batch_stats"], random["batch_stats"])
    assert report.loaded == {"backbone": len(shapes)}
