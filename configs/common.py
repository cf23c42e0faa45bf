"""Every key of a run with its default: the paper's recipe for RetinaNet with a ResNet-50 backbone.

A config file calls `get_config()` here and changes what it needs; nothing else adds keys.
"""

import difflib
from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict, FieldReference

from selftrain_jax.unlabeled_sources import unlabeled_source

__all__ = ["get_config", "unlabeled_source"]

UNLABELED = {"imagenet": "imagenet2012", "openimages": "open_images_v4", "remainder": ""}


def get_config() -> ConfigDict:
    """Return the paper's settings; data, steps and names are for the config file to fill in."""
    return ConfigDict(
        dict(
            name="",
            task="detection",  # detection | segmentation
            seed=0,
            # Speeds by which the time is estimated before a run has any of its own; 0: unknown. A config that
            # chooses values by the device says so in `name`, and the run prints what it chose.
            # The speeds are those of `backbone` at `size_px`; with others they say nothing.
            preset=dict(
                name="", backbone="", size_px=0, train_images_per_second=0.0, label_images_per_second=0.0
            ),
            # Where images and human labels come from.
            data=dict(
                # builtin | coco | voc | tfds | auto: what lies in dir is recognised; tfds where dir is empty
                # segmentation: builtin | voc (VOC2012's folder) | folder (images and PNG masks) | auto
                kind="coco",
                dir="",  # folder of the data set; TFDS: its data_dir
                images="",  # coco, folder: image folder below dir, `{split}` is filled in
                annotations="",  # coco: JSON file below dir, `{split}` is filled in
                masks="",  # folder: mask folder below dir, `{split}` is filled in
                mask_values="",  # folder: "0=0,7=1": the file's value and its class; empty: as they are
                ignore_value=255,  # folder: the mask value of pixels to ignore; -1: none
                # folder: what stands in the names of images and of masks behind what both have in common, as
                # _leftImg8bit and _gtFine_labelIds; files without it are passed over.
                image_suffix="",
                mask_suffix="",
                lists="",  # folder: text file below dir that names a split's images, `{split}` is filled in
                mask_colors="",  # folder: "0,0,0=0;128,0,0=1": red,green,blue = class, of masks in colours
                sbd="",  # voc: SBD's folder, for the splits train_aug and aug
                tfds="",  # tfds: name such as coco/2017
                train="train",
                val="val",  # curves and the best checkpoint; may equal test, then say so
                test="test",  # the numbers that are reported
                # Names, comma separated. folder: from 0. voc: in order of their ids; empty: all that occur.
                # coco: those to keep, in any order; found by name in every split, with the ids of train's
                # file. Empty: all, and then the splits must have the same.
                classes="",
                # Shares of train, val and test, as 0.7,0.1,0.2: the images of the split `train` are divided
                # so, by seed, and `val` and `test` are not read. Empty: the data set has the splits itself.
                split="",
                # A regular expression: images whose names (of files, or ids) have the same first group, or
                # whole match, stay together in `split`, label_percent and a gold set. As '^(.+)_[0-9]+'.
                group_by="",
                drop_leaks=False,  # leave copies of images of val and test (the same file) out of training
                # A gold set's file, of --job=gold: its images are the test split, and nothing else.
                gold="",
                label_percent=100.0,  # share of train whose labels are used
                label_fold=0,
                bad_boxes="error",  # error | drop: boxes of zero area or outside their image
                # uniform | class: an image with a rare class comes sqrt(repeat_threshold / f) times an epoch
                # if that is above 1, where f is the share of images that have the class.
                sampling="uniform",
                repeat_threshold=0.1,  # LVIS, with its 1,203 classes, has 0.001
                cache_mib=512,  # what human and pseudo-labelled images each keep in memory, and val's labels
                max_stall_secs=600.0,  # a batch that takes longer ends the run: a dead disk, above all
                # Images that cannot be read, or whose mask cannot: skipped and counted up to here. So are
                # masks of unlabelled images, when the pseudo masks are compared with them, and records of
                # pseudo labels whose checksum is wrong. Before the teacher is trained, all image files are
                # checked by their headers and ends, and 500 of each split are decoded.
                max_bad_images=0,
                builtin=dict(train=0, val=0, test=0, unlabeled=0),  # images drawn for each split
            ),
            # --job=gold: how many of the labelled images are drawn, by seed, and into which new file.
            gold=dict(count=0, file=""),
            # Where unlabelled images come from.
            unlabeled=dict(
                # remainder (of train) | folder | builtin | coco | voc | tfds | none: a supervised run
                kind="remainder",
                dir="",  # folder of the images; segmentation with kind=voc: empty means data.dir
                images="",
                annotations="",
                tfds="",
                split="train",
                limit=0,  # at most so many images; 0: all
                # Its part of the student's pseudo-labelled images, beside the weights of further sources.
                weight=1.0,
                # Further sources by name, each a group with the keys above, with `threshold` (-1: that of
                # `pseudo`) and `per_class_thresholds`: --config.unlabeled.also.NAME.KEY=VALUE, or in a
                # config file config.unlabeled.also.NAME = unlabeled_source(kind="coco", dir="coco").
                also=dict(),
            ),
            image=dict(
                # Of the network's input, any number: inside it is padded to a multiple of 2^model.max_level,
                # for masks of 32.
                size_px=640,
                # Slots for the boxes of an image, or of a tile. More of them to train on are refused at the
                # start; of TFDS, whose labels are on the disk, when the image is read. --job=doctor finds
                # them in either.
                max_boxes=100,
                # >0: images are cut into tiles of so many of their own pixels, each fitted into size_px.
                # Steps, batches and epochs count tiles; labels, AP and mIoU are of whole images. 0: off.
                tile_px=0,
                tile_overlap_frac=0.25,  # share of its side that a tile has in common with the next, at least
                # A box of which a tile shows a smaller share is neither object nor background there.
                tile_min_visible=0.5,
            ),
            augment=dict(
                policy="s1",  # s1 | s2 | s3 | s4, Paper: Table 1
                magnitude=10.0,  # RandAugment; the paper uses 15 for ResNet-101
                num_layers=1,
                flip_frac=0.5,  # 0 where left and right matter, as for digits
                jitter_min=0.0,  # 0: the policy's own scale jitter
                jitter_max=0.0,
                # Boxes of turned and sheared images: corners, the upright bounds of the box's own corners, as
                # the official code; ellipse, the bounds of its inscribed ellipse, which do not grow as much.
                box_fit="corners",
                reference_size_px=0,  # >0: pixel constants shrink with the image; 0: official constants
            ),
            model=dict(
                # resnet18|34|50|101|152, efficientnet_b0..b8|l2|lite0..lite2, spinenet49s|49|96|143|190,
                # convnext_tiny|small|base, vit_small|base_dinov2|dinov2_reg4|dinov3
                backbone="resnet50",
                neck="",  # fpn | nas_fpn; empty: the backbone's own, fpn, for SpineNet none
                width_factor=1.0,  # of a ResNet
                min_level=3,
                max_level=7,
                fpn_channels=256,  # of either neck
                nas_fpn_repeats=5,
                separable=False,  # NAS-FPN's convolutions; the paper's segmentation has them so
                head_channels=0,  # 0: the backbone's own, 256; SpineNet by size
                head_convs=0,  # 0: the backbone's own, 4; SpineNet by size; segmentation 3
                activation="relu",  # of all but an EfficientNet backbone
                bn_momentum=0.997,  # of all but an EfficientNet backbone; so is epsilon
                bn_epsilon=1e-4,
                backbone_bn_momentum=0.0,  # 0: the backbone's own, EfficientNet 0.99, else bn_momentum
                drop_connect_rate=-1.0,  # -1: the backbone's own
                pool_padding="same",  # of a ResNet's max-pool; "fixed" for torchvision's and timm's weights
                dtype="bfloat16",  # of activations; variables are float32
                anchor_size=4.0,  # the smallest anchor of a cell, in cells; 0: by the human boxes
            ),
            loss=dict(focal_alpha=0.25, focal_gamma=1.5, huber_delta=0.1, box_weight=50.0),
            # Of masks.
            segmentation=dict(
                loss_resolution="stride4",  # stride4, as the official code: every 4th pixel | full
                # Weights of the classes in the loss of human labels, in their order; (): 1 each, the paper.
                # class_balance makes them (share of the labelled pixels)^-class_balance, scaled to 1 on the
                # mean of these pixels; with 0.5 small objects count.
                class_balance=0.0,
                class_weights=(),
                max_side_px=2048,  # larger images get their mask at this size, enlarged
            ),
            postprocess=dict(
                score_threshold=0.05,  # of evaluation and predictions; pseudo labels have pseudo.score_floor
                iou_threshold=0.5,
                pre_nms_top_k=5000,
                max_detections=100,
                soft_nms_sigma=0.0,  # 0: hard NMS; the paper uses 0.3 for SpineNet
                soft_nms_convention="tensorflow",  # exp(-iou^2 / 2 sigma); bodla: exp(-iou^2 / sigma)
            ),
            optimizer=dict(
                name="momentum",  # momentum (SGD, the paper's) | adamw | lars (for SimCLR's large batches)
                momentum=0.9,  # of momentum and lars
                trust_coefficient=0.001,  # of lars
                b1=0.9,  # of adamw; so are b2 and epsilon
                b2=0.999,
                epsilon=1e-8,
                weight_decay=1e-4,
                decay_bn=False,  # the paper's ResNet-101 runs decay BatchNorm's scale and bias too
                clip_norm=0.0,  # 0: off
                backbone_rate_factor=1.0,  # the backbone's learning rate is the others' times it
                # <1: the rate of each layer of the backbone is that of the next one times it.
                layer_decay=1.0,
                # The backbone runs as in evaluation (BatchNorm by its running averages, which stay, and no
                # drop-connect); its weights stay, whatever its rate and the decay.
                freeze_backbone=False,
                accumulation=1,  # microbatches a step
                remat="none",  # none | convolutions: keep their outputs, recompute the rest backwards
                ema_decay=0.0,  # of the average of weights, at most: it rises from 0.1; 0: none is kept
                max_rollbacks=0,  # how often to go back, at half the rate, when a loss is not finite
                schedule="cosine",  # cosine | step | constant, after the warm-up
                drop_fracs=(0.94, 0.98),  # step: shares of a stage's steps where the rate falls to a tenth
                warmup_steps=1000,
                warmup_start_frac=0.01,  # of the peak learning rate: 0.0032 of 0.32
            ),
            # Weights to start from, each in BACKBONE-imagenet, -imagenet_pp, -simclr; downloaded if missing.
            pretrained=dict(dir="pretrained"),
            import_weights=dict(
                name="",  # of pretrain/catalogue.py: downloaded, unless source has it; gives network and kind
                source="",  # file; TensorFlow: the checkpoint's prefix or its folder
                network="",  # as model.backbone; a released detector: as in pretrain/tf_names.py
                kind="",  # tf | timm | torchvision | simclr | lite | detector
                ema=False,  # TensorFlow: the averages instead of the raw variables
                input_rule="auto",  # what it was trained on: auto | imagenet | unit | half | lite
                fold=True,  # make the stem expect this package's input
            ),
            # init: rand, imagenet, imagenet_pp, simclr, a checkpoint's folder, or teacher (for the student).
            # auto: imagenet, or without network rand, with a backbone that learns as the rest then:
            # optimizer.backbone_rate_factor=1, layer_decay=1, freeze_backbone=False.
            # policy: as augment.policy, for this stage alone; empty: augment.policy.
            # patience: >0: steps is a bound; the stage ends when val's headline metric has not risen for so
            # many evaluations in a row (eval.every_steps). eval.checkpoint=best then uses the best one.
            teacher=dict(
                steps=45_000, patience=0, batch_size=256, learning_rate=0.32, init="rand", policy=""
            ),
            # Controls and oracle have the student's steps, patience, batch, learning rate and policy, and no
            # pseudo label. control: full (as many images a step as the student) | half (as many as the
            # student's human half) | both | none. oracle: one with human labels on all images.
            student=dict(
                steps=45_000,
                patience=0,
                batch_size=512,
                learning_rate=0.32,
                rate_factor=0.0,  # >0: the rate is teacher.learning_rate times it, not student.learning_rate
                init="teacher",
                policy="",
                # BatchNorm's statistics: batch | human (of the batch's human-labelled images alone) | frozen
                # (of the start, not updated; the control's too).
                batch_norm="batch",
                pseudo_frac=0.5,  # share of the batch that is pseudo-labelled
                pseudo_policy="",  # of the pseudo-labelled images; empty: as the human-labelled ones
                control=FieldReference("full", field_type=object),  # once a bool, which may still be given
                oracle=False,
            ),
            # Joint training, Paper: Table 7: weight * classification loss by the same backbone.
            joint=dict(
                weight=0.0,  # 0: off; the paper's 0.5, with self-training 0.2
                stage="both",  # teacher | student (and what is compared with it) | both
                kind="auto",  # folder (DIR/SPLIT/<class>/*.jpg) | tfds | auto: folder where dir is given
                dir="",
                tfds="imagenet2012",
                split="train",
                size_px=224,
                batch_size=256,
                label_smoothing=0.1,
                augment="none",  # none | randaugment, after a random window and a flip
                min_area_frac=0.08,
            ),
            selftrain=dict(
                alpha=1.0,
                loss_norm="ema",  # ema | plain
                decay=0.9997,
                rounds=1,  # a round's student is the next one's teacher
                label_models="last",  # last | all: from the second round on all models so far label together
                stop_when_worse=True,  # no further round after one that is worse on val than the one before
            ),
            pseudo=dict(
                # Whose they are: teacher | foreign (config.foreign's predictions) | both, merged.
                labels="teacher",
                score_floor=0.05,  # kept in the records; NMS keeps boxes from here on, too
                threshold=0.5,  # applied when the records are read. Paper: Section 3.1
                per_class_thresholds="",  # "person=0.4,car=0.6"
                # auto: per_class_thresholds and ignore_below come from teacher/calibration.json, for
                # `precision`; the threshold above stays for classes with too few labels in data.val.
                thresholds="",  # empty | auto
                precision=0.9,  # wanted of pseudo labels: --job=thresholds, and thresholds=auto
                sampling="uniform",  # of the pseudo-labelled images, as data.sampling
                # Classes of a smaller recall in data.val, at their thresholds, are ignored in pseudo labels,
                # not taught as background: boxes from score_floor on, pixels labelled so. 0: none.
                min_class_recall=0.0,
                ignore_below=0.0,  # >0: boxes from here to the threshold are neither object nor background
                images_per_shard=1024,
                # detection: the views in which the teacher sees an image, each a scale of image.size_px, with
                # an f mirrored: 1,1f,0.75. Their boxes are merged. Paper: one view.
                views="1",
                # one | score: of the class loss of the anchors that match a box, or of a pixel's loss.
                class_weight="one",
                # detection: what a pseudo box counts in the student's losses.
                box_weight=1.0,  # of the box loss; 0: pseudo boxes teach classes alone
                agnostic_iou=0.0,  # >0: of boxes that overlap more, of any class, the surest alone is a label
                max_place_std=0.0,  # >0: boxes whose place_std over the views is above it have no box loss
                class_target="one",  # one | score: what the student is to say of these anchors
                scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75),  # segmentation. Paper: Section 3.1
                flip=False,  # segmentation: average with the mirrored image too
                mask_top_k=1,  # segmentation: classes of a pixel that are kept, with probabilities: 1 to 3
                # segmentation: hard | soft: cross entropy against the kept classes' probabilities.
                mask_target="hard",
                min_coverage=0.01,  # segmentation: refuse a smaller share of pixels at the threshold
                # Refuse if one class holds a larger share of the pseudo labels, does not in the human labels,
                # and outnumbers the others over 3 times as much as there. 0: boxes 0.95, masks 0.99.
                max_class_frac=0.0,
                min_boxes_per_image=0.01,  # fewer on average: refuse to train a student
                max_empty_frac=0.98,  # more images without a box: refuse
                # detection: what people corrected (--job=import_corrections) counts as human labels: last, a
                # layer's number, or its file. Empty: the labels as the teacher made them.
                corrections="",
            ),
            # --job=export_labels: pseudo labels go out to an annotation tool; import_corrections: back again.
            review=dict(
                format="label_studio",  # label_studio | cvat | coco | yolo | labelme
                output="",  # the folder of the export; empty: review in the work folder
                # all | least_sure | rarest_class | disagreements (teacher, student) | selection | random
                choose="all",
                count=0,  # images; 0: all of the choice
                selection="",  # of choose=selection: the selection.json of --job=select
                # Label Studio: an image's address is url_prefix and its path below url_root. Empty: its path.
                url_prefix="/data/local-files/?d=",
                url_root="/",
                yolo_scores=False,  # a score at the end of YOLO's lines, which many tools refuse
                file="",  # what the tool gives back: a file, or a folder
                removed="background",  # background | ignore: what a box becomes that a person removed
                confirmed=False,  # all images in the file were looked at, the unchanged ones too
                by="",  # who corrected, where the tool does not say
            ),
            # Other models' predictions on the unlabelled images, as labels: docs/foreign_teachers.md. Several
            # models, separated by commas, are merged; the other keys have one value for all or one for each.
            foreign=dict(
                # COCO results, Label Studio's JSON, a folder of YOLO's txt files; segmentation: of PNGs.
                predictions="",
                map="",  # CSV: their class (name or id), ours (empty: dropped), "merge" where two become one
                annotations="",  # COCO's JSON whose image and category ids COCO results use
                model="",  # name for tables; empty: as the file says, or its own name
                val="",  # predictions for data.val, in the same order: models are weighted by class
                val_annotations="",
                unpredicted="empty",  # an image that a model does not name: empty | unknown
                unknown_images="error",  # predictions for other images than this run's: error | drop
                bad_boxes="error",  # error | drop: boxes of zero area or outside their image
            ),
            eval=dict(
                batch_size=8, every_steps=0, checkpoint="last", backend="auto"
            ),  # checkpoint: last | best
            log=dict(every_steps=100, tensorboard=True),
            checkpoint=dict(every_steps=1000, keep=2),
            # Devices that share one example: its rows (space), the network's large tensors (model).
            mesh=dict(space=1, model=1),
            evaluate=dict(scales=(1.0,), flip=False),  # --job=evaluate on masks, beside the one scale
            # --job=select: which unlabelled images a person should label next.
            select=dict(
                budget=0,  # how many images; there is no default
                # Comma separated: uncertainty, rarity (of predicted classes), diversity; or random alone.
                by="uncertainty,rarity,diversity",
                pool_factor=4,  # diversity picks among so many times the budget, the first by the others
                # Bits of 64 in which hashes of near-duplicates differ; -1: near-duplicates may be chosen.
                max_distance=6,
                seed=0,  # of the order of equals, and of random
                output="",  # empty: selection/ in the run's folder
            ),
            # --job=convert: the layout of kind=coco in a new folder; images: copy | link (hard links).
            convert=dict(output="", images="copy"),
            # score_threshold and annotations are for detection, scales and flip are for segmentation.
            # --job=export: a trained network for other programs.
            export=dict(
                format="",  # stablehlo | onnx | savedmodel | tflite | safetensors
                output="",  # folder
                checkpoint="",  # a stage's folder; empty: the student, or the stage that is there
                dtype="float32",  # of activations: float32 | bfloat16
                batch_size=1,  # 0: any
                nms=True,  # False: of boxes those of every anchor, of masks the logits
                images="",  # folder of images to compare results on; empty: the first four of the test split
            ),
            predict=dict(
                input="",
                output="",
                checkpoint="",
                score_threshold=0.3,  # of the boxes that are drawn
                annotations="",  # COCO's JSON with the images' integer ids; empty: 000000000042.jpg is 42
                scales=(1.0,),
                flip=False,
            ),
        )
    )


def set_coco(config: ConfigDict, chosen: dict) -> None:
    """Read COCO 2017 by the arguments labels (percent), fold and unlabeled.

    Raises:
      ValueError: unlabeled is none of `UNLABELED`.
    """
    check_choice("unlabeled", chosen["unlabeled"], UNLABELED)
    config.data.update(kind="tfds", tfds="coco/2017", train="train", val="validation", test="validation")
    config.data.update(label_percent=chosen["labels"], label_fold=chosen["fold"], bad_boxes="drop")
    dataset = UNLABELED[chosen["unlabeled"]]
    config.unlabeled.update(kind="tfds" if dataset else "remainder", tfds=dataset, split="train")


def set_init(config: ConfigDict, chosen: dict) -> None:
    """Start the teacher and the student from what the arguments init and student_init name."""
    config.teacher.init, config.student.init = chosen["init"], chosen["student_init"]


def short_run_momentum(backbone: str) -> float:
    """Return BatchNorm's momentum for a run of few steps, as backbone_bn_momentum; 0: it has no BatchNorm."""
    return 0.0 if backbone.startswith(("convnext_", "vit_")) else 0.9


def check_choice(axis: str, value: str, known: Iterable[str]) -> None:
    """Refuse a value of a config argument that does not exist. Raises: ValueError listing those that do."""
    if value not in (names := list(known)):
        raise ValueError(f"config argument {axis}={value!r} is not one of {', '.join(names)}")


def parse_arguments(text: str | None, **defaults: object) -> dict:
    """Read `axis=value,axis=value` of `--config=FILE.py:...` into the types of `defaults`.

    Raises:
      ValueError: an unknown axis (the nearest is named), one given twice, or a value of another type.
    """
    values, seen = dict(defaults), set()
    for item in filter(None, (text or "").split(",")):
        axis, _, value = item.partition("=")
        if axis not in defaults:
            near = difflib.get_close_matches(axis, defaults, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"config argument {axis!r} is not one of {', '.join(defaults)}{hint}")
        if axis in seen:
            raise ValueError(f"config argument {axis!r} is given twice")
        seen.add(axis)
        kind: type[Any] = type(defaults[axis])
        try:
            values[axis] = kind(value)
        except ValueError:
            raise ValueError(f"config argument {axis}={value!r} is not a {kind.__name__}") from None
    return values
