"""Importers of TensorFlow checkpoints, on synthetic ones that bear the official names."""

import jax
import numpy as np
import pytest

from configs import common
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.import_weights import run_import_weights
from selftrain_jax.models.classifier import make_classifier
from selftrain_jax.models.segmenter import make_segmenter
from selftrain_jax.named_arrays import arrays_by_name
from selftrain_jax.pretrain import importers
from selftrain_jax.pretrain.golden import golden_array
from selftrain_jax.pretrain.import_variables import file_shapes
from selftrain_jax.pretrain.init_modes import init_variables
from selftrain_jax.pretrain.input_normalization import NORMALIZATIONS, fold_normalization
from selftrain_jax.pretrain.official_networks import make_network, variable_shapes
from selftrain_jax.pretrain.parity import golden_variables
from selftrain_jax.pretrain.tf_names import conv_names, resnet_tf_names, tf_names, unused_tf_names
from selftrain_jax.train.checkpoint import restore_whole
from tests.pretrain.weight_files import write_tf_checkpoint

pytestmark = [pytest.mark.tf, pytest.mark.compiles]

EMA = "/ExponentialMovingAverage"
HEAD = "head_supervised/linear_layer/dense"


def golden_arrays(shapes):
    return {name: golden_array(name, shape) for name, shape in shapes.items()}


def assert_same(a, b):
    a, b = arrays_by_name(a), arrays_by_name(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.fixture(scope="module")
def efficientnet(tmp_path_factory):
    """A checkpoint of B0 with averages (twice the raw values) and the optimizer's slots."""
    shapes = variable_shapes(make_network("efficientnet-b0"), 32)
    arrays = golden_arrays(file_shapes(shapes, tf_names("efficientnet-b0")))
    averages = {name + EMA: 2 * array for name, array in arrays.items()}
    slots = {f"{name}/RMSProp": np.zeros(1, np.float32) for name in arrays}
    prefix = tmp_path_factory.mktemp("b0") / "model.ckpt-5"
    return write_tf_checkpoint(prefix, {**arrays, **averages, **slots, "global_step": np.int64(5)}), shapes


def test_efficientnets_raw_variables_and_averages(efficientnet):
    prefix, shapes = efficientnet
    raw = importers.import_efficientnet_tf(prefix, "b0", ema=False)
    assert_same(raw.variables, golden_variables("efficientnet-b0", shapes, 1.0))
    assert len(raw.report.imported) == 311
    averaged = importers.import_efficientnet_tf(prefix.parent, "b0", ema=True)
    assert_same(averaged.variables, jax.tree.map(lambda x: 2 * x, raw.variables))
    assert raw.preprocessing[:3] == ("imagenet", False, 1e-3)


def test_efficientnet_of_another_size_is_refused(efficientnet):
    with pytest.raises(InputError, match="missing"):
        importers.import_efficientnet_tf(efficientnet[0], "b1", ema=False)


@pytest.mark.parametrize("scope", ["", "resnet50"])
def test_tpu_resnet_with_and_without_its_scope(tmp_path, scope):
    names = resnet_tf_names(50, scope) | conv_names(f"{scope}/dense".lstrip("/"), ("dense",), bias=True)
    shapes = file_shapes(variable_shapes(make_classifier("resnet50", 1001), 32), names)
    arrays = {name: np.full(shape, index, np.float32) for index, (name, shape) in enumerate(shapes.items())}
    momenta = {f"{name}/Momentum": np.zeros(1, np.float32) for name in arrays}
    prefix = write_tf_checkpoint(tmp_path / "model.ckpt-112602", {**arrays, **momenta})
    found = importers.import_resnet_tf(prefix, 50)
    leaves = arrays_by_name(found.variables)
    for index, (name, slot) in enumerate(names.items()):
        assert leaves[str(slot)].reshape(-1)[0] == index, name
    assert found.variables["params"]["dense"]["kernel"].shape == (2048, 1001)
    assert found.preprocessing[:3] == ("imagenet", False, 1e-5)


@pytest.mark.parametrize("has_head", [True, False])
def test_simclr_takes_our_images_after_folding(tmp_path, has_head):
    names = resnet_tf_names(50, "base_model")
    template = variable_shapes(make_classifier("resnet50"), 32)
    if has_head:
        names |= conv_names(HEAD, ("dense",), bias=True)
    else:
        template = {collection: {"backbone": tree["backbone"]} for collection, tree in template.items()}
    arrays = golden_arrays(file_shapes(template, names))
    projection = {"head_contrastive/nl_0/dense/kernel": np.zeros((4, 4), np.float32)}
    prefix = write_tf_checkpoint(tmp_path / "model.ckpt-1", {**arrays, **projection})
    raw = importers.import_simclr(prefix, fold=False)
    assert ("dense" in raw.variables["params"]) == has_head
    assert raw.report.ignored == ("head_contrastive/nl_0/dense/kernel",)
    assert raw.preprocessing[:3] == ("unit", False, 1e-5)
    folded = importers.import_simclr(prefix)
    assert folded.preprocessing[:3] == ("unit", True, 1e-5)
    assert_same(folded.variables, fold_normalization(raw.variables, NORMALIZATIONS["unit"]))
    with pytest.raises(InputError, match="no moving average of"):
        importers.import_simclr(prefix, ema=True)


def test_a_released_spinenet_student_fills_the_detector(tmp_path):
    network = "retinanet_spinenet49S"
    shapes = variable_shapes(make_network(network), 128)
    arrays = golden_arrays(file_shapes(shapes, tf_names(network)))
    momenta = {f"{name}/Momentum": np.zeros(1, np.float32) for name in arrays}
    prefix = write_tf_checkpoint(tmp_path / "spinenet-49S-ssl", {**arrays, **momenta})
    found = importers.import_detector_tf(prefix, network)
    assert_same(found.variables, golden_variables(network, shapes, 1.0))
    assert found.preprocessing[:3] == ("imagenet", False, 1e-3)  # released students: epsilon 1e-3
    with pytest.raises(InputError, match="retinanet_spinenet190"):
        importers.import_detector_tf(prefix, "retinanet_spinenet50")


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    """A checkpoint of the B0 segmenter as the authors release theirs, with unused classifier and slots."""
    network = "seg_effb0_nasfpn"
    shapes = variable_shapes(make_network(network), 128)
    arrays = golden_arrays(file_shapes(shapes, tf_names(network)))
    unused = {name: np.zeros(1, np.float32) for name in unused_tf_names(network)}
    momenta = {f"{name}/Momentum": np.zeros(1, np.float32) for name in arrays}
    content = {**arrays, **unused, **momenta, "global_step": np.int64(5)}
    return write_tf_checkpoint(tmp_path_factory.mktemp("seg") / "model.ckpt-5", content), shapes


def test_a_released_segmenter_is_imported_with_its_head(segmenter):
    prefix, shapes = segmenter
    found = importers.import_detector_tf(prefix, "seg_effb0_nasfpn")
    assert found.variables["params"].keys() == {"backbone", "fpn", "segmenter"}
    assert_same(found.variables, golden_variables("seg_effb0_nasfpn", shapes, 1.0))
    assert set(found.report.ignored) == set(unused_tf_names("seg_effb0_nasfpn"))
    assert found.preprocessing[:3] == ("imagenet", False, 1e-3)
    kernel = found.variables["params"]["segmenter"]["head_conv2"]["kernel"]
    np.testing.assert_array_equal(kernel, golden_array("segmentation/conv-2/kernel", (3, 3, 256, 256)))


def test_the_job_makes_a_released_segmenter_a_checkpoint_for_runs_of_its_classes(segmenter, tmp_path):
    config = common.get_config()
    config.import_weights.update(source=str(segmenter[0]), network="seg_effb0_nasfpn", kind="detector")
    run_import_weights(config, tmp_path / "teacher")
    released = restore_whole(tmp_path / "teacher", "last")
    for num_classes, random in ((21, {}), (12, {"segmenter": 20})):  # 3 pairs of 6 arrays, and a classifier
        fields = dict(backbone="efficientnet_b0", nas_fpn_repeats=7, separable=True)
        template = variable_shapes(make_segmenter(num_classes=num_classes, **fields), 128)
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), template)
        start, report = init_variables(str(tmp_path / "teacher"), template, zeros, lambda _: released)
        assert report.random == random
        assert_same({"params": start["params"]["fpn"]}, {"params": released["params"]["fpn"]})


def test_a_segmenter_of_another_size_is_refused(segmenter):
    with pytest.raises(InputError, match="missing"):
        importers.import_detector_tf(segmenter[0], "seg_b7_nasfpn")
