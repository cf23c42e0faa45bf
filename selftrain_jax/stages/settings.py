"""Which config keys decide which stage's result: one table, read top to bottom; call `deciding_settings`.

Every key of `configs/common.py` is in the table of a stage, in `BY_CONTENT` or in `FREE`.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from selftrain_jax.command_line import flatten
from selftrain_jax.run_files.arms import COMPARED
from selftrain_jax.stages.choices import (
    FOREIGN_LABELS,
    TEACHER_LABELS,
    batch_norm_of,
    has_joint_training,
    label_source,
    peak_rate,
)
from selftrain_jax.unlabeled_sources import GROUP, further_sources

# The network and what it looks at: whatever is computed by it.
NETWORK = ("task", "image.size_px", "image.tile_px", "model", "segmentation.max_side_px")
TILES = "image.tile_overlap_frac"
CUTTING = (TILES, "image.tile_min_visible")  # idle without tiles

# One training: the network, its losses, what an image looks like, the optimizer.
TRAINING = (
    *NETWORK,
    *CUTTING,
    "seed",
    "augment",
    "loss",
    "segmentation.loss_resolution",
    "segmentation.class_balance",
    "segmentation.class_weights",
    *("optimizer.name", "optimizer.momentum", "optimizer.b1", "optimizer.b2", "optimizer.epsilon"),
    "optimizer.trust_coefficient",
    *("optimizer.weight_decay", "optimizer.decay_bn", "optimizer.clip_norm"),
    *("optimizer.backbone_rate_factor", "optimizer.layer_decay", "optimizer.freeze_backbone"),
    *("optimizer.accumulation", "optimizer.ema_decay"),
    *("optimizer.schedule", "optimizer.drop_fracs", "optimizer.warmup_steps", "optimizer.warmup_start_frac"),
)
# The order of the human-labelled images.
SAMPLING = ("data.sampling", "data.repeat_threshold")
BY_CLASS = "class"
JOINT = (
    "joint.weight",
    "joint.size_px",
    "joint.batch_size",
    "joint.label_smoothing",
    "joint.augment",
    "joint.min_area_frac",
)
STUDENT = (
    "student.steps",
    "student.patience",
    "student.batch_size",
    "student.learning_rate",
    "student.rate_factor",  # counts by the rate that it makes
    "student.policy",
    "student.batch_norm",
)
PATIENCE = ("teacher.patience", "student.patience")


STAGES: Mapping[str, tuple[str, ...]] = {
    "teacher": (
        *TRAINING,
        *SAMPLING,
        *JOINT,
        "teacher.steps",
        "teacher.patience",
        "teacher.batch_size",
        "teacher.learning_rate",
        "teacher.policy",
    ),
    # Of a teacher's weights and unlabelled images: what it finds in them. The threshold is not here: records
    # keep what is below it.
    "labels": (
        *NETWORK,
        TILES,
        "postprocess",
        "pseudo.score_floor",
        "pseudo.scales",
        "pseudo.flip",
        "pseudo.views",
        "pseudo.mask_top_k",
        "pseudo.images_per_shard",  # shards of two sizes cannot be one set
        "pseudo.labels",
        "foreign.unpredicted",
        "foreign.bad_boxes",
    ),
    # As many steps as the student, on human labels alone.
    **dict.fromkeys(COMPARED, (*TRAINING, *SAMPLING, *JOINT, *STUDENT)),
    "control_half": (*TRAINING, *SAMPLING, *JOINT, *STUDENT, "student.pseudo_frac"),
    "student": (
        *TRAINING,
        *SAMPLING,
        *JOINT,
        *STUDENT,
        "student.pseudo_policy",
        "student.pseudo_frac",
        "selftrain.alpha",
        "selftrain.loss_norm",
        "selftrain.decay",
        "unlabeled.weight",  # where there are further sources; then their weights and thresholds too
        "pseudo.threshold",
        "pseudo.per_class_thresholds",
        "pseudo.ignore_below",
        "pseudo.sampling",
        "pseudo.mask_target",
        "pseudo.box_weight",
        "pseudo.max_place_std",
        "pseudo.agnostic_iou",
        "pseudo.class_weight",
        "pseudo.class_target",
    ),
    # Of a model's weights and the test split: how they are measured.
    "evaluation": (*NETWORK, TILES, "postprocess", "eval.backend"),
    "pretrain": (*TRAINING, "pretrain"),
}

# Of labels that other models' predictions alone make, what counts beside the predictions.
FOREIGN_SETTINGS = ("task", "pseudo.score_floor", "pseudo.images_per_shard", "pseudo.labels", "foreign")

# What stages did before a key existed: records of that time lack it.
BEFORE: Mapping[str, Any] = {
    "unlabeled.weight": 1.0,
    **dict.fromkeys(PATIENCE, 0),
    "image.tile_px": 0,
    "image.tile_overlap_frac": 0.25,
    "image.tile_min_visible": 0.5,
    "augment.box_fit": "corners",
    "optimizer.name": "momentum",
    "optimizer.b1": 0.9,
    "optimizer.b2": 0.999,
    "optimizer.epsilon": 1e-8,
    "optimizer.trust_coefficient": 0.001,
    "optimizer.backbone_rate_factor": 1.0,
    "optimizer.layer_decay": 1.0,
    "optimizer.freeze_backbone": False,
    "student.pseudo_policy": "",
    "pseudo.views": "1",
    "student.rate_factor": 0.0,
    "student.batch_norm": "batch",
    "student.pseudo_frac": 0.5,
    "data.sampling": "uniform",
    "pseudo.sampling": "uniform",
    "pseudo.mask_top_k": 1,
    "segmentation.class_balance": 0.0,
    "segmentation.class_weights": (),
    "pseudo.mask_target": "hard",
    "pseudo.box_weight": 1.0,
    "pseudo.max_place_std": 0.0,
    "pseudo.agnostic_iou": 0.0,
    "pseudo.class_weight": "one",
    "pseudo.class_target": "one",
    "pseudo.labels": "teacher",
    "pretrain.objective": "classification",
}

# When and how a training's checkpoints are measured: it decides which one is the best, not what the last is
# (but for a training that ends by what was measured).
CANDIDATES = ("eval.every_steps", "postprocess")

# Keys that count by what they name or lead to: data by image ids and annotations, weights by their digest,
# thresholds by their values, rounds one by one. A path may change while its content stays.
BY_CONTENT = (
    "data",
    "unlabeled",
    "pretrained",
    "teacher.init",
    "student.init",
    "joint.stage",  # the stages without a second stream leave the keys of joint out
    "joint.kind",
    "joint.dir",
    "joint.tfds",
    "joint.split",
    "selftrain.rounds",  # how many there are, not what one of them is
    "selftrain.stop_when_worse",
    "selftrain.label_models",  # by the weights of the models
    "pseudo.thresholds",
    "pseudo.precision",
    "pseudo.min_class_recall",  # by the classes that are ignored
    "pseudo.corrections",  # by the layer's digest
    "eval.checkpoint",  # which weights the next stage takes
    "foreign.predictions",
    "foreign.map",
    "foreign.annotations",
    "foreign.val",
    "foreign.val_annotations",
)

# Keys that decide no result: they may change at any time, in the middle of a stage too.
FREE = (
    "name",
    "preset",
    "data.cache_mib",
    "data.max_bad_images",
    "data.max_stall_secs",
    "image.max_boxes",  # slots for boxes: the loss is the same however many are empty; too few are refused
    "optimizer.remat",
    "optimizer.max_rollbacks",
    "import_weights",
    "gold",  # which images are drawn; what is left out of a run is data's
    "foreign.model",  # a name
    "foreign.unknown_images",  # a guard: refuses or lets pass
    "student.control",  # which controls there are
    "student.oracle",  # whether there is one
    "pseudo.min_coverage",  # guards: they refuse or let pass
    "pseudo.max_class_frac",
    "pseudo.min_boxes_per_image",
    "pseudo.max_empty_frac",
    "eval.batch_size",
    "eval.every_steps",  # but see CANDIDATES
    "evaluate",  # evaluation_scales.json says itself what it was measured over
    "log",
    "checkpoint",
    "mesh",
    "convert",
    "predict",
    "export",
    "select",
    "review",
)


def deciding_settings(config: ConfigDict, stage: str, idle: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the values of the keys that decide the result of a kind of stage, by dotted key.

    `idle` are keys, or groups of them, that the run's task does not read. An augmentation policy of the
    stage's own is the same as one of all stages, and a learning rate by factor the same as by value. The
    threshold of sampling by class, how tiles are cut and joint training's keys count where they take place.

    Raises:
        InputError: joint training is for a stage that does not exist, or `peak_rate` refuses.
    """
    keys = STAGES[stage]
    if stage not in ("labels", "evaluation"):
        keys = (*keys, *CANDIDATES)
    values = {
        key: value
        for key, value in flatten(config.to_dict()).items()
        if is_among(key, keys) and not is_among(key, idle)
    }
    if not config.image.tile_px:
        values = {key: value for key, value in values.items() if key not in CUTTING}
    if stage == "labels":
        return _label_settings(values, label_source(config))
    group = {"teacher": "teacher", **dict.fromkeys((*COMPARED, "student"), "student")}.get(stage)
    if group is None:
        return values
    values[f"{group}.policy"] = values[f"{group}.policy"] or values["augment.policy"]
    if values.get("student.pseudo_policy") == values[f"{group}.policy"]:
        values["student.pseudo_policy"] = ""
    del values["augment.policy"]
    values[f"{group}.learning_rate"] = peak_rate(config, stage)
    values.pop("student.rate_factor", None)
    if "student.batch_norm" in values:
        values["student.batch_norm"] = batch_norm_of(config, stage)
    if "unlabeled.weight" in values:
        values |= _source_settings(config)
        if not further_sources(config):
            del values["unlabeled.weight"]
    if BY_CLASS not in (values["data.sampling"], values.get("pseudo.sampling")):
        del values["data.repeat_threshold"]
    if not has_joint_training(config, stage):
        values = {key: value for key, value in values.items() if not key.startswith("joint.")}
    return values


def _source_settings(config: ConfigDict) -> dict[str, Any]:
    """Return how a student uses the labels of further sources; their images count by their ids."""
    keys = ("weight", "threshold", "per_class_thresholds")
    return {
        f"{GROUP}.{name}.{key}": group[key] for name, group in further_sources(config).items() for key in keys
    }


def _label_settings(values: dict[str, Any], source: str) -> dict[str, Any]:
    """Leave out what does not count for labels of this source: other models' need no network of ours."""
    if source == TEACHER_LABELS:
        return {key: value for key, value in values.items() if not key.startswith("foreign.")}
    if source == FOREIGN_LABELS:
        return {key: value for key, value in values.items() if is_among(key, FOREIGN_SETTINGS)}
    return values


def stages_decided_by(key: str, idle: tuple[str, ...] = ()) -> list[str]:
    """Name the stages whose result a key decides; none for a free key, and for one that does not exist."""
    if is_among(key, idle):
        return []
    return [stage for stage, keys in STAGES.items() if is_among(key, keys)]


def is_among(key: str, keys: tuple[str, ...]) -> bool:
    """Tell whether a dotted key, or a group that it is in, is listed."""
    return any(key == listed or key.startswith(f"{listed}.") for listed in keys)
