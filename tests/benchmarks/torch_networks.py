"""The networks of `networks_against_torch` in torch, modules named as ours; call `make_network(NAME)`."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

# blocks, kernel_px, stride, expansion, filters
MBCONV_STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]
RESNET50_GROUPS = [(2, 3, 64), (3, 4, 128), (4, 6, 256), (5, 3, 512)]  # level, blocks, filters
PYRAMID_CHANNELS, NUM_ANCHORS, HEAD_CONVS = 256, 9, 4
PYRAMID = range(3, 8)


class Conv(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME", or by k // 2 on both sides.

    At stride 2 "SAME" puts the odd zero after. That takes a padded copy, which `is_symmetric` saves at
    the price of a grid shifted by a pixel.
    """

    def __init__(
        self, inputs: int, filters: int, kernel_px: int, stride: int = 1, groups: int = 1, bias: bool = False
    ) -> None:
        super().__init__(inputs, filters, kernel_px, stride, kernel_px // 2, groups=groups, bias=bias)
        self.is_symmetric = stride == 1 or kernel_px == 1

    def forward(self, x: Tensor) -> Tensor:
        if self.is_symmetric:
            return super().forward(x)
        kernel_px, stride = self.kernel_size[0], self.stride[0]
        edges: list[int] = []
        for size in (x.shape[3], x.shape[2]):
            total = max((-(-size // stride) - 1) * stride + kernel_px - size, 0)
            edges += [total // 2, total - total // 2]
        return functional.conv2d(
            functional.pad(x, edges), self.weight, self.bias, self.stride, groups=self.groups
        )


def symmetric(conv: Conv) -> Conv:
    conv.is_symmetric = True
    return conv


class MBConv(nn.Module):
    def __init__(self, inputs: int, stage: tuple[int, ...], is_lite: bool) -> None:
        super().__init__()
        _, kernel_px, stride, expansion, filters = stage
        expanded = inputs * expansion
        if expansion > 1:
            self.expand, self.expand_bn = Conv(inputs, expanded, 1), efficient_bn(expanded)
        self.depthwise = Conv(expanded, expanded, kernel_px, stride, groups=expanded)
        self.depthwise_bn = efficient_bn(expanded)
        if not is_lite:
            squeezed = max(1, inputs // 4)
            self.se_reduce = Conv(expanded, squeezed, 1, bias=True)
            self.se_expand = Conv(squeezed, expanded, 1, bias=True)
        self.project, self.project_bn = Conv(expanded, filters, 1), efficient_bn(filters)
        self.activate = activation(is_lite)
        self.has_expansion, self.is_gated = expansion > 1, not is_lite
        self.has_shortcut = stride == 1 and inputs == filters

    def forward(self, x: Tensor) -> Tensor:
        y = self.activate(self.expand_bn(self.expand(x))) if self.has_expansion else x
        y = self.activate(self.depthwise_bn(self.depthwise(y)))
        if self.is_gated:
            squeezed = self.activate(self.se_reduce(y.mean((2, 3), keepdim=True)))
            y = y * torch.sigmoid(self.se_expand(squeezed))
        y = self.project_bn(self.project(y))
        return x + y if self.has_shortcut else y


class EfficientNet(nn.Module):
    def __init__(self, is_lite: bool) -> None:
        super().__init__()
        self.stem, self.stem_bn, self.activate = Conv(3, 32, 3, 2), efficient_bn(32), activation(is_lite)
        self.num_blocks, inputs = 0, 32
        for num_blocks, kernel_px, stride, expansion, filters in MBCONV_STAGES:
            for index in range(num_blocks):
                stage = (1, kernel_px, stride if index == 0 else 1, expansion, filters)
                self.add_module(f"block{self.num_blocks}", MBConv(inputs, stage, is_lite))
                self.num_blocks, inputs = self.num_blocks + 1, filters

    def forward(self, images: Tensor) -> Tensor:
        x = self.activate(self.stem_bn(self.stem(images)))
        for index in range(self.num_blocks):
            x = self.get_submodule(f"block{index}")(x)
        return x


class Classifier(nn.Module):
    def __init__(self, is_lite: bool, num_classes: int) -> None:
        super().__init__()
        self.backbone, self.activate = EfficientNet(is_lite), activation(is_lite)
        self.head, self.head_bn = Conv(320, 1280, 1), efficient_bn(1280)
        self.dense = nn.Linear(1280, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.activate(self.head_bn(self.head(self.backbone(images))))
        return self.dense(x.mean((2, 3)))


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, filters: int, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = Conv(inputs, filters, 1), detector_bn(filters)
        self.conv2, self.bn2 = symmetric(Conv(filters, filters, 3, stride)), detector_bn(filters)
        self.conv3, self.bn3 = Conv(filters, 4 * filters, 1), detector_bn(4 * filters)
        self.has_projection = project
        if project:
            self.shortcut = Conv(inputs, 4 * filters, 1, stride)
            self.shortcut_bn = detector_bn(4 * filters)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = functional.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        y += self.shortcut_bn(self.shortcut(x)) if self.has_projection else x
        return functional.relu(y, inplace=True)


class ResNet50(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_bn, inputs = symmetric(Conv(3, 64, 7, 2)), detector_bn(64), 64
        for level, num_blocks, filters in RESNET50_GROUPS:
            for index in range(num_blocks):
                stride = 2 if index == 0 and level > 2 else 1
                block = Bottleneck(inputs, filters, stride, project=index == 0)
                self.add_module(f"c{level}_block{index}", block)
                inputs = 4 * filters

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        x = functional.relu(self.stem_bn(self.stem(images)), inplace=True)
        x = functional.max_pool2d(x, 3, 2, ceil_mode=True)  # "SAME" where the size is even
        features = {}
        for level, num_blocks, _ in RESNET50_GROUPS:
            for index in range(num_blocks):
                x = self.get_submodule(f"c{level}_block{index}")(x)
            features[level] = x
        return features


class FPN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for level in PYRAMID:
            if level < 6:
                self.add_module(f"lateral{level}", Conv(64 * 2**level, PYRAMID_CHANNELS, 1, bias=True))
            output = Conv(PYRAMID_CHANNELS, PYRAMID_CHANNELS, 3, 1 if level < 6 else 2, bias=True)
            self.add_module(f"output{level}", output)
            self.add_module(f"bn{level}", detector_bn(PYRAMID_CHANNELS))

    def forward(self, features: dict[int, Tensor]) -> dict[int, Tensor]:
        merged = {5: self.get_submodule("lateral5")(features[5])}
        for level in (4, 3):
            upper = functional.interpolate(merged[level + 1], scale_factor=2, mode="nearest")
            merged[level] = self.get_submodule(f"lateral{level}")(features[level]) + upper
        pyramid = {level: self.get_submodule(f"output{level}")(merged[level]) for level in (3, 4, 5)}
        pyramid[6] = self.get_submodule("output6")(pyramid[5])
        pyramid[7] = self.get_submodule("output7")(functional.relu(pyramid[6]))
        return {level: self.get_submodule(f"bn{level}")(x) for level, x in pyramid.items()}


class Head(nn.Module):
    def __init__(self, num_outputs: int) -> None:
        super().__init__()
        self.num_outputs = num_outputs
        for index in range(HEAD_CONVS):
            self.add_module(f"conv{index}", Conv(PYRAMID_CHANNELS, PYRAMID_CHANNELS, 3, bias=True))
            for level in PYRAMID:
                self.add_module(f"bn{index}_{level}", detector_bn(PYRAMID_CHANNELS))
        self.predictor = Conv(PYRAMID_CHANNELS, NUM_ANCHORS * num_outputs, 3, bias=True)

    def forward(self, pyramid: dict[int, Tensor]) -> Tensor:
        outputs = []
        for level, x in pyramid.items():
            for index in range(HEAD_CONVS):
                x = self.get_submodule(f"conv{index}")(x)
                x = functional.relu(self.get_submodule(f"bn{index}_{level}")(x), inplace=True)
            x = self.predictor(x).permute(0, 2, 3, 1)
            outputs.append(x.reshape(len(x), -1, self.num_outputs))
        return torch.cat(outputs, dim=1)


class RetinaNet(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.backbone, self.fpn = ResNet50(), FPN()
        self.class_net, self.box_net = Head(num_classes), Head(4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pyramid = self.fpn(self.backbone(images))
        return self.class_net(pyramid), self.box_net(pyramid)


def activation(is_lite: bool) -> nn.Module:
    return nn.ReLU6(inplace=True) if is_lite else nn.SiLU(inplace=True)


def efficient_bn(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def detector_bn(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-4, momentum=0.003)


def make_network(name: str, num_classes: int) -> nn.Module:
    if name == "retinanet_r50fpn":
        return RetinaNet(num_classes)
    return Classifier(is_lite=name == "efficientnet_lite0", num_classes=num_classes)


def classifier_loss(logits: Tensor, classes: Tensor) -> Tensor:
    return functional.cross_entropy(logits, classes)


def detector_loss(outputs: tuple[Tensor, Tensor], classes: Tensor, boxes: Tensor) -> Tensor:
    """Focal loss (alpha 0.25, gamma 1.5) plus 50 times Huber (delta 0.1), an anchor, as ours."""
    logits, box_outputs = outputs
    is_target = classes[..., None] == torch.arange(logits.shape[-1])
    cross_entropy = functional.softplus(torch.where(is_target, -logits, logits))
    margin = torch.where(is_target, logits, -logits)
    modulator = torch.exp(-1.5 * (cross_entropy + margin))  # (1 - p_t)^gamma
    focal = (torch.where(is_target, 0.25, 0.75) * modulator * cross_entropy).sum()
    huber = functional.huber_loss(box_outputs, boxes, reduction="sum", delta=0.1)
    return (focal + 50.0 * huber) / math.prod(classes.shape)
