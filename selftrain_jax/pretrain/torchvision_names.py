"""Names in torchvision's ResNets, and in timm's of the same make; call `torchvision_resnet_names`."""

from selftrain_jax.models.resnet import BLOCKS
from selftrain_jax.pretrain.name_map import NameMap
from selftrain_jax.pretrain.torch_layer_names import (
    BACKBONE,
    Path,
    torch_bn_names,
    torch_conv_names,
    torch_dense_names,
)


def torchvision_resnet_names(depth: int) -> NameMap:
    """Name the classifier: `layer1` to `layer4` are our levels 2 to 5."""
    names = torch_conv_names("conv1", (*BACKBONE, "stem")) | torch_bn_names("bn1", (*BACKBONE, "stem_bn"))
    num_convs = 3 if depth >= 50 else 2
    for level, num_blocks in enumerate(BLOCKS[depth], start=2):
        for index in range(num_blocks):
            path = (*BACKBONE, f"c{level}_block{index}")
            project = index == 0 and (level > 2 or num_convs == 3)
            names |= block_names(f"layer{level - 1}.{index}", path, num_convs, project)
    return names | torch_dense_names("fc")


def block_names(scope: str, path: Path, num_convs: int, project: bool) -> NameMap:
    """Name a block's layers."""
    names: NameMap = {}
    if project:
        names |= torch_conv_names(f"{scope}.downsample.0", (*path, "shortcut"))
        names |= torch_bn_names(f"{scope}.downsample.1", (*path, "shortcut_bn"))
    for i in range(1, num_convs + 1):
        names |= torch_conv_names(f"{scope}.conv{i}", (*path, f"conv{i}"))
        names |= torch_bn_names(f"{scope}.bn{i}", (*path, f"bn{i}"))
    return names
