"""Small examples of every file of a run's folder, with the keys that runs write, in their order."""

from selftrain_jax.run_files.manifest import Manifest

VERSIONS = {"python": "3.11.7", "jax": "0.10.2"}
TEACHER = {"checkpoint": "teacher/checkpoints/9", "digest": "d1", "step": 9}
CALIBRATION = {
    "edges": [0.0, 0.5, 1.0],
    "mean_score": [None, 0.75],
    "precision": [None, 0.5],
    "count": [0, 4],
    "expected_calibration_error": 0.25,
}
SHARDS = [{"file": "pseudo-00000-of-00001.tfrecord", "records": 2, "bytes": 99, "sha256": "ab"}]

COST = {
    "device_seconds": {"TPU v4": 40.0, "cpu": 25.0},
    "images": 6,
    "waiting_device_seconds": None,
    "compiling_device_seconds": 10.5,
    "evaluating_device_seconds": 0,
    "energy_joules": 2.5,
}
STAGE_COST = {
    "device_seconds": {"cpu": 149.0},
    "images_per_device_second": 5.5,
    "waiting_share": 0.01,
    "compiling_share": 0.125,
    "evaluating_share": 0.25,
    "energy_joules": None,
}
RUN_COST = {key: value for key, value in STAGE_COST.items() if key != "images_per_device_second"}

BOX_MANIFEST = {
    "teacher": TEACHER,
    "nms": {"iou_threshold": 0.5},
    "config": {"name": "quickstart", "evaluate": {"scales": [1.0]}},
    "versions": VERSIONS,
    "kind": "boxes",
    "score_floor": 0.05,
    "image_size_px": 128,
    "source": "builtin/unlabeled",
    "threshold": 0.5,
    "per_class_thresholds": {"cat": 0.4},
    "seconds": 12.5,
    "cost": COST,
    "num_images": 2,
    "num_bad_images": 1,
    "bad_images": ["b"],
    "num_boxes": 5,
    "num_boxes_at_threshold": 3,
    "images_without_boxes_at_threshold": 1,
    "per_class": {
        "cat": {"boxes_at_floor": 4, "boxes_at_threshold": 3},
        "dog": {"boxes_at_floor": 1, "boxes_at_threshold": 0},
    },
    "score_histogram": {"edges": [0.0, 0.5, 1.0], "counts": [2, 3]},
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    "shards": SHARDS,
}
MASK_MANIFEST = {
    "teacher": TEACHER,
    "scales": [0.5, 1.0],
    "config": {},
    "versions": VERSIONS,
    "kind": "masks",
    "sizes_px": [64, 128],
    "flip": False,
    "max_side_px": 128,
    "source": "builtin-mosaics/unlabeled",
    "threshold": 0.5,
    "per_class_thresholds": {},
    "seconds": 27,
    "num_images": 2,
    "num_bad_images": 0,
    "bad_images": [],
    "num_pixels": 24,
    "num_pixels_at_threshold": 12,
    "coverage": 0.5,
    "images_without_pixels_at_threshold": 0,
    "per_class": {"brick": {"pixels": 24, "pixels_at_threshold": 12}},
    "confidence_histogram": {"edges": [0.0, 0.5, 1.0], "counts": [12, 12]},
    "coverage_by_threshold": {"thresholds": [0.0, 0.5], "coverage": [1.0, 0.5]},
    "categories": [{"id": 0, "name": "brick"}],
    "shards": SHARDS,
}
BOX_QUALITY = {
    "iou": 0.5,
    "thresholds": [0.05, 0.5],
    "overall": {"precision": [0.5, 1.0], "recall": [0.8, 0.4]},
    "per_class": {"cat": {"precision": [0.5, None], "recall": [0.8, 0.4]}},
    "calibration": CALIBRATION,
    "at_threshold": {"threshold": 0.5, "precision": 1.0, "recall": 0.4},
}
CAT_CURVE = {"num_truth": 5, "num_labels": [6, 3], "num_right": [4, 3], "num_trials": [6, 3]}
CALIBRATION_OF_TEACHER = {
    "teacher": {"digest": "ab", "step": 9},
    "split": "builtin/val",
    "num_images": 2,
    "data_sha256": "cd",
    "settings": {"score_floor": 0.05, "nms": {"iou_threshold": 0.5}},
    "unit": "boxes",
    "trials": "boxes",
    "ignored_below": False,
    "cuts": [0.05, 0.5],
    "curves": {"IoU 0.5": {"cat": CAT_CURVE}, "IoU 0.75": {"cat": CAT_CURVE}},
}
MASK_QUALITY = {
    "thresholds": [0.0, 0.5],
    "overall": {"precision": [0.5, 1.0], "recall": [0.8, 0.4], "miou": [0.3, 0.6], "coverage": [1.0, 0.5]},
    "per_class": {"brick": {"precision": [0.5, None], "recall": [0.8, 0.4]}},
    "calibration": CALIBRATION,
    "at_threshold": {"threshold": 0.5, "precision": 1.0, "recall": 0.4, "miou": None, "coverage": 0.5},
    "bad_truth": 0,
}
BOX_EVALUATION = {
    "ap": 0.25,
    "ap50": 0.5,
    "ap75": 0.125,
    "ap_large": -1.0,
    "per_class": {"cat": {"ap": 0.25, "ap50": 0.5, "num_boxes": 7}},
    "pr_curves": {
        "recall": [0.0, 1.0],
        "precision_iou50": [1.0, 0.5],
        "precision_iou75": [1.0, -1.0],
        "per_class_iou50": {"cat": [1.0, 0.5]},
    },
    "num_images": 6,
    "split": "builtin/test",
    "checkpoint_step": 9,
    "checkpoint": "teacher/checkpoints/9",
    "training_secs": 74.5,
    "cost": {**COST, "waiting_device_seconds": 1, "energy_joules": None},
}
MASK_EVALUATION = {
    "miou": 0.5,
    "pixel_accuracy": 0.75,
    "per_class": {"brick": {"iou": 0.5, "num_pixels": 24, "iou_resized": -1.0}},
    "confusion": [[18, 6], [0, 0]],
    "miou_resized": 0.5,
    "per_image": {"test-0": 0.5, "test-1": None},
    "image_size_px": 128,
    "sizes_px": [128],
    "flip": False,
    "split": "builtin-mosaics/test",
    "num_images": 2,
    "checkpoint_step": 9,
    "checkpoint": "teacher/checkpoints/9",
    "training_secs": 170.5,
}
SCALES_EVALUATION = {**MASK_EVALUATION, "flip": True, "scales": [0.5, 1.0]}
CLASS_EVALUATION = {
    "top1": 0.5,
    "top5": 0.75,
    "num_images": 4,
    "split": "val",
    "checkpoint_step": 3,
    "checkpoint": "pretrain/checkpoints/3",
    "training_secs": 1.5,
}
SUMMARY = {
    "teacher": {
        **{"ap": 0.25, "ap50": 0.5, "ap75": 0.125, "checkpoint": "teacher/checkpoints/9"},
        **{"split": "builtin/test", "steps": 9, "seconds": 74.5, "cost": STAGE_COST},
    },
    "pseudo_labels": {
        **{"images": 2, "boxes": 3, "per_class": {"cat": 3, "dog": 0}},
        **{"precision": 0.75, "recall": None, "seconds": 12.5, "cost": STAGE_COST},
    },
    "gain_over_teacher": None,
    "gain_over_control": None,
    "metric": "ap",
    "device": "1 x cpu (cpu)",
    "versions": VERSIONS,
    "seconds_total": 87.0,
    "cost": RUN_COST,
    "seed": 0,
    "command": "python -m selftrain_jax.main",
    "config": {"name": "quickstart"},
}
MASK_SUMMARY = {
    **SUMMARY,
    "pseudo_labels": {
        **{"images": 2, "pixels": 12, "per_class": {"brick": 12}, "precision": None, "recall": None},
        **{"seconds": 27, "coverage": 0.5, "miou": None},
    },
    "metric": "miou",
}
ROUNDS_SUMMARY = {
    **{key: value for key, value in SUMMARY.items() if key != "config"},
    "kept_round": 1,
    "stopped_early": True,
    "rounds": [
        {
            **{"round": 1, "val": 0.25, "student": SUMMARY["teacher"]},
            "pseudo_labels": SUMMARY["pseudo_labels"],
        },
        {"round": 2, "val": -1.0, "student": None, "pseudo_labels": {}},
    ],
    "val": 0.75,
    "variants": {
        "alpha=0.5": {
            "teacher": SUMMARY["teacher"],
            **dict.fromkeys(("control", "control_half", "oracle"), SUMMARY["teacher"]),
            "student": {**SUMMARY["teacher"], "ap": 0.5, "stopped": {"step": 12, "at_most": 90}},
            "pseudo_labels": SUMMARY["pseudo_labels"],
            **{"gain_over_teacher": 0.25, "gain_over_control": 0.25, "val": 0.5},
            **{"stronger_control": "control", "threshold": 0.5, "alpha": 0.5},
            "differs": {"selftrain.alpha": [1.0, 0.5], "teacher.init": [None, "rand"]},
            "oracle_share_percent": None,
        },
        "begun": {
            **{"pseudo_labels": {}, "gain_over_teacher": None, "gain_over_control": None},
            **{"val": None, "threshold": None, "alpha": None, "differs": {}},
        },
    },
    "config": {"name": "quickstart"},
}
CARD = {
    "source": "/weights/lite0.pth",
    "sha256": {"lite0.pth": "ab"},
    "kind": "lite",
    "network": "efficientnet_lite0",
    "weights": "as saved",
    "published_accuracy": None,
    "preprocessing": {
        "input_rule_of_source": "lite",
        "stem_folded": True,
        "mean_of_x_over_255": [0.485, 0.456, 0.406],
        "deviation_of_x_over_255": [0.229, 0.224, 0.225],
        "image_border": "as source",
    },
    "bn_epsilon_of_source": 0.001,
    "pool_padding_of_source": "same",
    "num_imported": 247,
    "num_ignored": 2,
    "variables_sha256": "cd",
    "versions": VERSIONS,
}


def tiny_manifest(labels, categories, *, num_images, threshold=0.5):
    """Make a manifest without shards, for what looks only at its counts."""
    return Manifest(
        provenance={},
        source=None,
        threshold=threshold,
        per_class_thresholds={},
        seconds=0.0,
        num_images=num_images,
        num_bad_images=0,
        bad_images=(),
        labels=labels,
        categories=categories,
        shards=(),
    )


ROUNDS = {
    "rounds": [{"round": 1, "val": 0.25}, {"round": 2, "val": 0.5}],
    "kept": 2,
    "stopped_early": False,
}
SEARCH = {
    "format": 1,
    "metric": "ap",
    "grid": {"selftrain.alpha": [0.25, 0.5], "augment.policy": ["s1", "s4"]},
    "seeds": [0, 1],
    "points": [
        {
            "values": {"selftrain.alpha": 0.25, "augment.policy": "s1"},
            **{"seed": 0, "variant": "alpha=0.25,policy=s1,seed=0", "val": 0.25},
        },
        {
            "values": {"selftrain.alpha": 0.5, "augment.policy": "s1"},
            **{"seed": 1, "variant": "alpha=0.5,policy=s1,seed=1", "val": None},
        },
    ],
    "chosen": {"selftrain.alpha": 0.25, "augment.policy": "s1"},
    "test": [{"seed": 0, "variant": "alpha=0.25", "teacher": 0.25, "control": None, "student": 0.5}],
}
