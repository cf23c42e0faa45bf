r"""Your own images: a few with masks (PNG, or polygons of a tool), many without (any folder).

python -m selftrain_jax.main --config=configs/own_masks.py \\
  --config.data.dir=DATA --config.data.classes=background,road,car --config.unlabeled.dir=FOLDER_OF_IMAGES

DATA holds {train,val,test}/images and {train,val,test}/masks; a mask has its image's name, with .png. Another
order of folders is --config.data.images="images/{split}" and --config.data.masks="masks/{split}". The classes
are named from 0 on; the pixel value 255 is ignored (--config.data.ignore_value). Masks with other
values are mapped: --config.data.mask_values="0=0,128=1,254=2". Check the data first: --job=doctor.

kind=folder, of the config's arguments, is that alone; by default other layouts are recognised too, and
polygons painted: docs/own_data.md.

Size, steps and network are a preset by the device, printed with the time that they take; what is given by
hand wins: `size=256,steps=3000`. The recipe is for few labels, see docs/few_labels.md, and starts from
ImageNet's weights, which are downloaded once; without network it starts at random and says so.
init=imagenet insists on them, init=rand does without (docs/pretrained.md).
"""

from ml_collections import ConfigDict

from configs import own_images

LITE = dict(backbone="efficientnet_lite0", channels=64, head_convs=2)
# Of ResNet-50's published weights, timm's, which have a licence, want this max-pool.
RESNET = dict(backbone="resnet50", pool_padding="fixed", channels=64, head_convs=2)
# train, label: images a second, on two cores of a cloud machine; 0 where it was not measured.
PRESETS = {
    "cpu": dict(**LITE, size=160, steps=500, dtype="float32", train=0.0, label=0.0),
    "gpu": dict(**RESNET, size=512, steps=4000, dtype="bfloat16", train=0.0, label=0.0),
}


def get_config(arguments: str | None = None) -> ConfigDict:
    """Read kind (auto, folder) and what else `own_images.begin` takes."""
    config = own_images.begin(arguments, PRESETS, name="own_masks")
    config.task = "segmentation"
    config.data.update(images="{split}/images", masks="{split}/masks")
    config.model.update(neck="nas_fpn", nas_fpn_repeats=3, separable=True, bn_epsilon=1e-3)
    config.optimizer.ema_decay = 0.99
    # Else a short training never says the classes of few pixels: docs/few_labels.md.
    config.segmentation.class_balance = 0.5
    config.teacher.update(batch_size=8, learning_rate=0.1)
    # As many human images a step as the teacher had, beside as many pseudo-labelled ones.
    config.student.update(batch_size=16, learning_rate=0.03)
    return config
