import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.classifier import make_classifier
from selftrain_jax.models.layers import convolve
from selftrain_jax.named_arrays import arrays_by_name
from selftrain_jax.pretrain import importers
from selftrain_jax.pretrain.golden import golden_image
from selftrain_jax.pretrain.import_variables import file_shapes
from selftrain_jax.pretrain.input_normalization import NORMALIZATIONS, fold_normalization, normalize
from selftrain_jax.pretrain.official_networks import variable_shapes
from selftrain_jax.pretrain.torch_names import timm_efficientnet_names, torchvision_resnet_names
from tests.pretrain.torch_golden import torch_golden_array
from tests.pretrain.weight_files import write_safetensors

pytestmark = pytest.mark.compiles

TORCH_GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden/torch_networks.json").read_text())


def torch_file(path, network, names, **extra):
    """Write a file as timm's or torchvision's, with arrays by the golden rule."""
    shapes = file_shapes(variable_shapes(make_classifier(network), 32), names)
    arrays = {name: torch_golden_array(name, shape) for name, shape in shapes.items()}
    return write_safetensors(path, {**arrays, "bn1.num_batches_tracked": np.array(9), **extra})


def assert_same(a, b):
    a, b = arrays_by_name(a), arrays_by_name(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize(
    ("network", "golden", "names"),
    [
        ("efficientnet_b0", "timm/tf_efficientnet_b0", timm_efficientnet_names("b0")),
        ("resnet50", "timm/resnet50", torchvision_resnet_names(50)),
    ],
)
def test_timms_weights_give_timms_logits(tmp_path, network, golden, names):
    row = TORCH_GOLDEN["networks"][golden]
    imported = importers.import_timm(torch_file(tmp_path / "w.safetensors", network, names), network)
    assert len(imported.report.imported) == row["num_arrays"]
    assert imported.report.ignored == ("bn1.num_batches_tracked",)
    assert imported.preprocessing[:2] == ("imagenet", False)
    model = make_classifier(network, pool_padding=imported.preprocessing.pool_padding)
    with jax.default_matmul_precision("highest"):
        image = golden_image(TORCH_GOLDEN["size_px"])
        logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(imported.variables, image)
    error = np.abs(np.asarray(logits[0, ::50]) - row["logits"]).max() / row["std"]
    print(f"{network}: largest error {error:.1e} standard deviations")
    assert error < 1e-4


def test_torchvisions_resnet_is_timms(tmp_path):
    path = torch_file(tmp_path / "w.safetensors", "resnet18", torchvision_resnet_names(18))
    found = importers.import_torchvision(path, "resnet18")
    assert found.preprocessing == ("imagenet", False, 1e-5, "fixed")
    assert_same(found.variables, importers.import_timm(path, "resnet18").variables)
    with pytest.raises(InputError, match=r"efficientnet_b0.*resnet18"):
        importers.import_torchvision(path, "efficientnet_b0")


@pytest.mark.parametrize(
    ("file", "rule"),
    [
        ("tf_efficientnet_b0_ap-f262efe1.pth", "half"),
        ("tf_efficientnet_b0.ap_in1k/model.safetensors", "half"),
        ("advprop/efficientnet-b7", "half"),
        ("tf_efficientnet_b0_aa-827b6e33.pth", "imagenet"),
        ("tf_efficientnet_b7.ns_jft_in1k/model.safetensors", "imagenet"),
        ("map_snap/app.pth", "imagenet"),
    ],
)
def test_adv_props_input_rule_is_told_by_the_files_name(file, rule):
    assert importers.default_rule(file) == rule


def test_timms_lite_takes_our_images_after_folding(tmp_path):
    path = torch_file(tmp_path / "w.safetensors", "efficientnet_lite0", timm_efficientnet_names("lite0"))
    found = importers.import_timm(path, "efficientnet_lite0")
    assert found.preprocessing[:3] == ("half", True, 1e-3)
    as_is = importers.import_timm(path, "efficientnet_lite0", input_rule="imagenet")
    assert as_is.preprocessing[:3] == ("imagenet", False, 1e-3)
    assert_same(found.variables, fold_normalization(as_is.variables, NORMALIZATIONS["half"]))


def test_files_of_other_networks_are_refused_with_what_differs(tmp_path):
    path = torch_file(tmp_path / "w.safetensors", "resnet18", torchvision_resnet_names(18))
    with pytest.raises(InputError, match=r"(?s)missing.*unexpected") as caught:
        importers.import_timm(path, "efficientnet_lite0")
    assert "(blocks.0.0.bn1.running_mean)" in str(caught.value)
    assert "unexpected: conv1.weight" in str(caught.value)
    with pytest.raises(InputError, match="80 missing"):
        importers.import_torchvision(path, "resnet34")
    with pytest.raises(InputError, match=r"'efficientnet_b9'.*spinenet190"):
        importers.import_timm(path, "efficientnet_b9")
    with pytest.raises(InputError, match="input_rule='rgb'"):
        importers.import_timm(path, "resnet18", input_rule="rgb")


def test_unexpected_and_mis_shaped_names_are_refused(tmp_path):
    names = torchvision_resnet_names(18)
    path = torch_file(tmp_path / "a.safetensors", "resnet18", names, surprise=np.zeros(1, np.float32))
    with pytest.raises(InputError, match="1 unexpected: surprise"):
        importers.import_torchvision(path, "resnet18")
    wrong = {"conv1.weight": np.zeros((64, 4, 7, 7), np.float32)}
    path = torch_file(tmp_path / "b.safetensors", "resnet18", names, **wrong)
    with pytest.raises(InputError, match=r"conv1\.weight"):
        importers.import_torchvision(path, "resnet18")


def test_the_number_of_classes_is_the_files(tmp_path):
    head = {"fc.weight": np.zeros((7, 512), np.float32), "fc.bias": np.zeros(7, np.float32)}
    path = torch_file(tmp_path / "w.safetensors", "resnet18", torchvision_resnet_names(18), **head)
    assert importers.import_torchvision(path, "resnet18").variables["params"]["dense"]["kernel"].shape == (
        512,
        7,
    )


@pytest.mark.parametrize("rule", ["unit", "half", "lite"])
def test_a_folded_stem_gives_the_sources_on_an_image_framed_in_our_mean_colour(rule):
    """The same inside, and at the border as if the source saw our mean there, in place of its own 0."""
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 255, (1, 9, 12, 3))
    kernel, mean = rng.normal(size=(7, 7, 3, 5)), rng.normal(size=5)
    variables = {
        "params": {"backbone": {"stem": {"kernel": kernel}, "other": {}}, "dense": {}},
        "batch_stats": {"backbone": {"stem_bn": {"mean": mean}}},
    }
    folded = fold_normalization(variables, NORMALIZATIONS[rule])
    assert folded["params"]["backbone"].keys() == {"stem", "other"}
    ours = normalize(pixels, NORMALIZATIONS["imagenet"])
    pads = ((3, 3), (3, 3))
    got = convolve(jnp.asarray(ours), folded["params"]["backbone"]["stem"]["kernel"], 2, pads)
    frame = np.broadcast_to(np.multiply(NORMALIZATIONS["imagenet"].mean, 255), (1, 15, 18, 3)).copy()
    frame[:, 3:-3, 3:-3] = pixels
    source = normalize(frame, NORMALIZATIONS[rule])
    want = convolve(jnp.asarray(source), jnp.asarray(kernel, jnp.float32), 2, ((0, 0), (0, 0)))
    got -= folded["batch_stats"]["backbone"]["stem_bn"]["mean"]
    np.testing.assert_allclose(got, want - mean, atol=2e-4)
    padded = convolve(
        jnp.asarray(normalize(pixels, NORMALIZATIONS[rule])), jnp.asarray(kernel, jnp.float32), 2, pads
    )
    np.testing.assert_allclose(got[:, 2:-2, 2:-2], (padded - mean)[:, 2:-2, 2:-2], atol=2e-4)
    assert np.abs(got - (padded - mean))[:, 0].max() > 0.1


def test_folding_our_own_rule_changes_nothing():
    variables = {
        "params": {"backbone": {"stem": {"kernel": np.ones((3, 3, 3, 2), np.float32)}}},
        "batch_stats": {"backbone": {"stem_bn": {"mean": np.ones(2, np.float32)}}},
    }
    assert_same(fold_normalization(variables, NORMALIZATIONS["imagenet"]), variables)


def resnet18_arrays():
    names = torchvision_resnet_names(18)
    shapes = file_shapes(variable_shapes(make_classifier("resnet18"), 32), names)
    return {name: torch_golden_array(name, shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("prefix", ["", "model.", "module.backbone."])
@pytest.mark.parametrize("has_head", [True, False])
def test_backbones_without_classifier_and_names_with_a_prefix_are_the_same_weights(
    prefix, has_head, tmp_path
):
    arrays = resnet18_arrays()
    whole = importers.import_torchvision(write_safetensors(tmp_path / "a.safetensors", arrays), "resnet18")
    kept = {f"{prefix}{name}": a for name, a in arrays.items() if has_head or not name.startswith("fc.")}
    found = importers.import_timm(write_safetensors(tmp_path / "b.safetensors", kept), "resnet18")
    for collection in ("params", "batch_stats"):
        assert_same(found.variables[collection]["backbone"], whole.variables[collection]["backbone"])
    assert ("dense" in found.variables["params"]) == has_head


def test_half_a_classifier_is_refused(tmp_path):
    arrays = resnet18_arrays()
    del arrays["fc.bias"]
    path = write_safetensors(tmp_path / "a.safetensors", arrays)
    with pytest.raises(InputError, match=r"1 missing: params/dense/bias \(fc\.bias\)"):
        importers.import_torchvision(path, "resnet18")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_by_name(value, tmp_path):
    arrays = resnet18_arrays()
    arrays["layer1.0.conv1.weight"][0, 0, 0, 0] = value
    path = write_safetensors(tmp_path / "a.safetensors", arrays)
    with pytest.raises(
        InputError, match=r"1 arrays hold numbers that are not finite: layer1\.0\.conv1\.weight"
    ):
        importers.import_torchvision(path, "resnet18")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 46830571\n", "a Git LFS pointer"),
        ("<!DOCTYPE html><html>rate limited</html>", "is a web page, not weights"),
    ],
)
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_what_is_downloaded_in_place_of_a_file_is_told(text, words, suffix, tmp_path):
    (tmp_path / f"w.{suffix}").write_text(text)
    with pytest.raises(InputError, match=words):
        importers.import_torchvision(tmp_path / f"w.{suffix}", "resnet18")
