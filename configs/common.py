"""Every key of a run with its default: the paper's recipe for RetinaNet with a ResNet-50 backbone.

A config file calls `get_config()` here and changes what it needs; nothing else adds keys.
"""

import difflib

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Return the paper's settings; data, steps and names are for the config file to fill in."""
    return ConfigDict(
        dict(
            name="",
            seed=0,
            # Where images and human labels come from.
            data=dict(
                kind="coco",  # builtin | coco | voc | tfds | auto: voc where dir is given, else tfds
                dir="",  # folder of the data set; TFDS: its data_dir
                images="",  # coco: image folder below dir, `{split}` is filled in
                annotations="",  # coco: JSON file below dir, `{split}` is filled in
                tfds="",  # tfds: name such as coco/2017
                train="train",
                val="val",  # curves and the best checkpoint; may equal test, then say so
                test="test",  # the numbers that are reported
                classes="",  # voc: names in order, comma separated; empty: all that occur
                label_percent=100.0,  # share of train whose labels are used
                label_fold=0,
                bad_boxes="error",  # error | drop: boxes of zero area or outside their image
                cache_mib=512,  # decoded images kept in memory, for human and for pseudo labels each
                max_bad_images=0,  # images that do not decode, skipped and counted up to here
                builtin=dict(train=0, val=0, test=0, unlabeled=0),  # images drawn for each split
            ),
            # Where unlabelled images come from.
            unlabeled=dict(
                kind="remainder",  # remainder (of train) | folder | builtin | coco | voc | tfds
                dir="",
                images="",
                annotations="",
                tfds="",
                split="train",
                limit=0,  # at most so many images; 0: all
            ),
            image=dict(size_px=640, max_boxes=100),
            augment=dict(
                policy="s1",  # s1 | s2 | s3 | s4, Paper: Table 1
                magnitude=10.0,  # RandAugment; the paper uses 15 for ResNet-101
                num_layers=1,
                flip_frac=0.5,  # 0 where left and right matter, as for digits
                jitter_min=0.0,  # 0: the policy's own scale jitter
                jitter_max=0.0,
                reference_size_px=0,  # >0: pixel constants shrink with the image; 0: official constants
            ),
            model=dict(
                backbone="resnet50",  # resnet18 | 34 | 50 | 101 | 152
                width_factor=1.0,
                min_level=3,
                max_level=7,
                fpn_channels=256,
                head_channels=256,
                head_convs=4,
                activation="relu",
                bn_momentum=0.997,
                bn_epsilon=1e-4,
                dtype="bfloat16",  # of activations; variables are float32
                anchor_size=4.0,
            ),
            loss=dict(focal_alpha=0.25, focal_gamma=1.5, huber_delta=0.1, box_weight=50.0),
            postprocess=dict(
                score_threshold=0.05,
                iou_threshold=0.5,
                pre_nms_top_k=5000,
                max_detections=100,
                soft_nms_sigma=0.0,  # 0: hard NMS; the paper uses 0.3 for SpineNet
                soft_nms_convention="tensorflow",  # exp(-iou^2 / 2 sigma); bodla: exp(-iou^2 / sigma)
            ),
            optimizer=dict(
                momentum=0.9,
                weight_decay=1e-4,
                decay_bn=False,  # the paper's ResNet-101 runs decay BatchNorm's scale and bias too
                clip_norm=0.0,  # 0: off
                accumulation=1,  # microbatches a step
                ema_decay=0.0,  # 0: no average of the weights is kept
                warmup_steps=1000,
                warmup_start_frac=0.01,  # of the peak learning rate: 0.0032 of 0.32
            ),
            # init: rand, teacher (for the student), or the folder of a checkpoint.
            teacher=dict(steps=45_000, batch_size=256, learning_rate=0.32, init="rand"),
            # The control has the student's steps, batch and learning rate.
            student=dict(steps=45_000, batch_size=512, learning_rate=0.32, init="teacher", control=True),
            selftrain=dict(alpha=1.0, loss_norm="ema", decay=0.9997),  # loss_norm: ema | plain
            pseudo=dict(
                score_floor=0.05,  # kept in the records
                threshold=0.5,  # applied when they are read, Paper: Section 3.1
                per_class_thresholds="",  # "person=0.4,car=0.6"
                ignore_below=0.0,  # >0: boxes from here to the threshold are neither object nor background
                images_per_shard=1024,
                min_boxes_per_image=0.01,  # fewer on average: refuse to train a student
                max_empty_frac=0.98,  # more images without a box: refuse
            ),
            eval=dict(
                batch_size=8, every_steps=0, checkpoint="last", backend="auto"
            ),  # checkpoint: last | best
            log=dict(every_steps=100, tensorboard=True),
            checkpoint=dict(every_steps=1000, keep=2),
            predict=dict(input="", output="", checkpoint="", score_threshold=0.3),
        )
    )


def parse_arguments(text: str | None, **defaults: object) -> dict:
    """Read `axis=value,axis=value` of `--config=FILE.py:...` into the types of `defaults`.

    Raises:
      ValueError: an unknown axis (the nearest is named) or a value of another type.
    """
    values = dict(defaults)
    for item in filter(None, (text or "").split(",")):
        axis, _, value = item.partition("=")
        if axis not in defaults:
            near = difflib.get_close_matches(axis, defaults, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"config argument {axis!r} is not one of {', '.join(defaults)}{hint}")
        kind = type(defaults[axis])
        try:
            values[axis] = kind(value)
        except ValueError:
            raise ValueError(f"config argument {axis}={value!r} is not a {kind.__name__}") from None
    return values
