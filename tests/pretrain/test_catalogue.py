"""The table of published weights: whole, and found by name, by network and by a file's path."""

import re

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.settings import CONVNEXTS, EFFICIENTNETS, RESNETS, VITS
from selftrain_jax.pretrain.catalogue import (
    WEIGHTS,
    describe,
    explain_by_hand,
    find_by_name_alone,
    find_start,
    find_weights,
    published_accuracy,
)
from selftrain_jax.pretrain.init_modes import NAMED_MODES
from selftrain_jax.pretrain.input_normalization import NORMALIZATIONS
from selftrain_jax.pretrain.tf_names import NETWORKS

BY_NAME = {weights.name: weights for weights in WEIGHTS}


def test_a_name_and_a_file_are_in_one_row(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert len(BY_NAME) == len(WEIGHTS)
    addresses = [weights.addresses for weights in WEIGHTS]
    assert len(set(addresses)) == len(WEIGHTS)
    assert all(re.fullmatch(r"https://[\w./-]+", url) for urls in addresses for url in urls)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_row_names_what_exists(name):
    weights = BY_NAME[name]
    networks = {"detector": NETWORKS, "simclr": RESNETS}.get(
        weights.kind, {**RESNETS, **EFFICIENTNETS, **CONVNEXTS, **VITS}
    )
    assert weights.network in networks
    assert weights.kind in ("timm", "tf", "simclr", "detector")
    assert weights.input_rule in NORMALIZATIONS
    assert weights.init in ("", *NAMED_MODES)
    assert bool(weights.repo) == (weights.kind == "timm") != bool(weights.urls)
    assert not weights.sha256 or len(weights.sha256) == len(weights.addresses)


@pytest.mark.parametrize(
    ("network", "init", "name"),
    [
        ("efficientnet_lite0", "imagenet", "tf_efficientnet_lite0.in1k"),
        ("efficientnet_b7", "imagenet", "efficientnet-b7-autoaugment"),  # the paper's
        ("efficientnet_b7", "imagenet_pp", "efficientnet-b7-noisystudent"),
        ("resnet50", "imagenet", "tpu-resnet50"),
        ("resnet50", "simclr", "simclr-resnet50-1x"),
        ("resnet101", "imagenet", "resnet101.a1_in1k"),
        ("vit_base_dinov2_reg4", "imagenet", "vit_base_patch14_reg4_dinov2.lvd142m"),
    ],
)
def test_an_init_takes_the_first_row_of_its_network(network, init, name):
    found = find_start(network, init)
    assert found is not None
    assert found.name == name


def test_a_resnets_weights_are_those_for_its_max_pool():
    found = find_start("resnet50", "imagenet", pool_padding="fixed")
    assert found is not None
    assert (found.name, found.pool_padding) == ("resnet50.a1_in1k", "fixed")


def test_what_nobody_publishes_is_not_found():
    assert find_start("spinenet49", "imagenet") is None
    assert find_start("efficientnet_lite0", "simclr") is None


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(InputError, match=r"'efficientnet-b7-noisy'.*efficientnet-b7-noisystudent"):
        find_weights("efficientnet-b7-noisy")
    with pytest.raises(InputError, match=r"'?!'.*names are tf_efficientnet_lite0.in1k, .* more\."):
        find_weights("?!")


@pytest.mark.parametrize(
    ("path", "network", "accuracy"),
    [
        ("/w/ckptsaug/efficientnet-b7/model.ckpt", "efficientnet_b7", "84.3 % top-1"),
        ("/w/efficientnet-b7-randaug", "efficientnet_b7", "84.7 % top-1"),
        ("/w/advprop/efficientnet-b0", "efficientnet_b0", "77.6 % top-1"),
        ("/w/noisy_student_efficientnet-l2_475", "efficientnet_l2", "88.2 % top-1"),
        ("/w/noisy_student_efficientnet-l2", "efficientnet_l2", "88.4 % top-1"),
        ("/w/spinenet-143-ssl/model", "retinanet_spinenet143", "52.6 AP, Soft-NMS"),
        ("/p/models/efficientnet-lite0-57934424.pth", "efficientnet_lite0", "75.1 % top-1 in TensorFlow"),
        ("/w/resnet-nhwc-2018-10-14/model.ckpt", "resnet50", None),
        ("/w/spinenet-143-ssl", "efficientnet_b7", None),
    ],
)
def test_a_path_tells_the_published_accuracy(path, network, accuracy):
    assert published_accuracy(path, network) == accuracy


def test_a_licence_that_forbids_commercial_use_is_said(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert "licence CC-BY-NC-4.0 (no commercial use)" in describe(
        find_weights("resnet50.fb_swsl_ig1b_ft_in1k")
    )
    assert "no licence stated" in describe(find_weights("tpu-resnet50"))
    lite = describe(find_weights("tf_efficientnet_lite0.in1k"))
    assert lite == (
        "tf_efficientnet_lite0.in1k, about 19 MB, licence Apache-2.0, 74.8 % top-1 in timm, "
        "from huggingface.co"
    )


def test_dinov3_has_terms_of_its_own_and_is_taken_by_name_alone(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert find_start("vit_small_dinov3", "imagenet") is None
    (weights,) = find_by_name_alone("vit_small_dinov3")
    assert describe(weights) == (
        "vit_small_patch16_dinov3.lvd1689m, about 86 MB, licence DINOv3 License (Meta's own terms: "
        "ai.meta.com/resources/models-and-libraries/dinov3-license), from huggingface.co"
    )
    assert find_by_name_alone("vit_small_dinov2") == find_by_name_alone("resnet50") == []


def test_by_hand_every_file_of_a_checkpoint_is_listed(tmp_path):
    text = explain_by_hand(find_weights("tpu-resnet50"), tmp_path)
    base = (
        "https://storage.googleapis.com/cloud-tpu-artifacts/resnet/resnet-nhwc-2018-10-14/model.ckpt-112602"
    )
    assert f"{base}.index\n" in text
    assert f"{base}.data-00000-of-00001\n" in text
    assert "source=FOLDER_OF_THE_FILES" in text
