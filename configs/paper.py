r"""The run behind a row of the paper's tables and figures (Paper: Tables 2 to 14, Appendix H).

python -m selftrain_jax.main --config=configs/paper.py:table=3,row=5

`python -m selftrain_jax.paper` prints the tables with their rows, counted from 1; figures are
table=figure1, figure2, figure3. A supervised row trains the teacher alone (unlabeled.kind is none); a
self-training row trains its teacher, which the supervised row beside it describes, then labels, then the
student. The paper has no control of equal steps: --config.student.control=full adds one.

What a run is comes from coco_retinanet.py, coco_spinenet.py and voc_nasfpn.py (settings=paper);
`config.paper` has the published value and what had to be assumed. COCO's test-dev and VOC's test are measured
on the validation split here, since their labels are the servers': --job=predict writes what those take. Table
9's alphas are the best of a search, as --job=search makes it over the grid that `config.paper` names. VOC
needs --config.data.dir and --config.data.sbd, Table 14's COCO also --config.unlabeled.dir (see
voc_nasfpn.py).
"""

from ml_collections import ConfigDict

from configs import coco_retinanet, coco_spinenet, common, voc_nasfpn
from selftrain_jax.paper.recipe import Recipe, find_recipe
from selftrain_jax.paper.row import Row
from selftrain_jax.paper.rows import find_row

# As voc_nasfpn.py calls what a row's `labels` and `unlabeled` call otherwise.
VOC_LABELS = {"train": "train", "train+val": "trainval", "train+aug (human)": "train_aug"}
VOC_UNLABELED = {"pascal_aug": "aug", "imagenet": "imagenet", "coco_240k": "coco", None: "none"}
# Paper: Table 9 has the best alpha of each setting, of these six.
ALPHA_GRID = "selftrain.alpha=0.25,0.5,1,2,3,4"
# What the runs of a row are measured on where the published number is a server's.
SERVERS = {
    "COCO test-dev AP": "measured on validation here",
    "VOC2012 test mIoU": "measured on val here, which it is trained on: it takes the server to compare",
}


def get_config(arguments: str | None = None) -> ConfigDict:
    """Read `table=3,row=5`, and `fold=0,seed=0` of the labelled share.

    Raises:
      ValueError: no such table or row, or a fold of VOC, whose rows have whole splits.
    """
    chosen = common.parse_arguments(arguments, table="", row=0, fold=0, seed=0)
    if not chosen["table"] or not chosen["row"]:
        raise ValueError(
            "say which run, as in configs/paper.py:table=3,row=5; see python -m selftrain_jax.paper"
        )
    row = find_row(chosen["table"], chosen["row"])
    recipe = find_recipe(row)
    config = _segmenter(row, chosen) if row.task == "segmentation" else _detector(row, chosen)
    config.name = f"paper_{row.table}_{row.row}"
    config.teacher.update(steps=recipe.teacher_steps, init=row.init)
    config.student.control = "none"
    if row.unlabeled:
        _set_student(config, row, recipe)
    else:
        config.unlabeled.update(kind="none", tfds="")
    if row.joint_weight:
        config.joint.update(dict(weight=row.joint_weight, stage=recipe.joint_stage))
        config.joint.update(dict(kind="tfds", tfds="imagenet2012", split="train"))
    note = "; ".join(filter(None, [row.note, SERVERS.get(row.metric)]))
    published = dict(metric=row.metric, value=row.value, note=note, assumed=recipe.assumed)
    grid = ALPHA_GRID if row.unlabeled else ""
    config.update(dict(paper=dict(table=row.table, row=row.row, setup=row.setup, **published, grid=grid)))
    return config


def _detector(row: Row, chosen: dict) -> ConfigDict:
    """Return the config of the row's backbone, labels and policy."""
    rest = f"labels={row.labels_percent:g},fold={chosen['fold']},seed={chosen['seed']}"
    if row.backbone.startswith("spinenet"):
        size = row.backbone.removeprefix("spinenet")
        return coco_spinenet.get_config(f"size={size},settings=paper,{rest}")
    policy = str(row.augment).lower()
    return coco_retinanet.get_config(f"backbone={row.backbone},aug={policy},{rest}")


def _segmenter(row: Row, chosen: dict) -> ConfigDict:
    """Return the config of the row's backbone, split, policy and unlabelled images."""
    if chosen["fold"]:
        raise ValueError(f"fold={chosen['fold']}: the rows of table={row.table} have whole splits of VOC")
    size, policy = row.backbone.removeprefix("efficientnet_"), str(row.augment).lower()
    data = f"labels={VOC_LABELS[row.labels]},unlabeled={VOC_UNLABELED[row.unlabeled]},seed={chosen['seed']}"
    return voc_nasfpn.get_config(f"backbone={size},settings=paper,aug={policy},{data}")


def _set_student(config: ConfigDict, row: Row, recipe: Recipe) -> None:
    """Set the student's steps, start and loss, and where a detector's unlabelled images are."""
    config.student.update(steps=recipe.student_steps, init=row.student_init)
    config.student.learning_rate *= recipe.learning_rate_factor
    if row.task == "detection":
        config.unlabeled.update(kind="tfds", tfds=common.UNLABELED[row.unlabeled], split="train")
    config.selftrain.update(alpha=recipe.alpha, loss_norm=row.loss_norm)
