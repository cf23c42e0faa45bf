r"""Your own images: a few with boxes (as your annotation tool exports them), many without (any folder).

python -m selftrain_jax.main --config=configs/own_data.py \\
  --config.data.dir=DATA --config.unlabeled.dir=FOLDER_OF_IMAGES

What lies in DATA is recognised, docs/own_data.md lists the formats; kind=coco expects
DATA/annotations/{train,val,test}.json and DATA/images/, kind=voc
DATA/{Annotations,JPEGImages,ImageSets/Main/{train,val,test}.txt}. Check the data first: --job=doctor.

Size, steps and network are a preset by the device, printed with the time that they take; what is given by
hand wins: `kind=coco,size=256,steps=3000`. The recipe is for few labels, see docs/few_labels.md, and starts
from ImageNet's weights, which are downloaded once; without network it starts at random and says so.
init=imagenet insists on them, init=rand does without (docs/pretrained.md).
"""

from ml_collections import ConfigDict

from configs import own_images

LITE = dict(backbone="efficientnet_lite0", channels=64, head_convs=1)
# Of ResNet-50's published weights, timm's, which have a licence, want this max-pool.
RESNET = dict(backbone="resnet50", pool_padding="fixed", channels=64, head_convs=1)
# train, label: images a second of training and of labelling in four views, on two cores of a cloud machine;
# 0 where it was not measured.
PRESETS = {
    "cpu": dict(**LITE, size=128, steps=1000, dtype="float32", train=42.0, label=80.0),
    "gpu": dict(**RESNET, size=512, steps=4000, dtype="bfloat16", train=0.0, label=0.0),
}


def get_config(arguments: str | None = None) -> ConfigDict:
    """Read kind (auto, coco, voc) and what else `own_images.begin` takes."""
    config = own_images.begin(arguments, PRESETS, name="own_data")
    config.data.update(annotations="annotations/{split}.json", images="images")
    config.augment.box_fit = "ellipse"
    config.model.anchor_size = 0.0  # by the boxes: objects may be smaller than COCO's
    # Short runs: positives count more and boxes less than in the paper's long ones.
    config.loss.update(focal_alpha=0.5, focal_gamma=0.5, box_weight=10.0)
    config.teacher.update(batch_size=16, learning_rate=0.05)
    # As in the paper (256, then 256 and 256): as many human images a step as the teacher had, beside as many
    # pseudo-labelled ones.
    config.student.update(batch_size=32, learning_rate=0.05)
    config.postprocess.update(pre_nms_top_k=1000)
    config.pseudo.update(views="1,1f,0.94,0.94f", agnostic_iou=0.6)
    return config
