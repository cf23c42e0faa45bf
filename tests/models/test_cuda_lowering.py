"""What a bf16 training step is lowered to for CUDA, of whole networks; no GPU is needed."""

import re

import jax
import jax.numpy as jnp
import pytest

from selftrain_jax.detection.task import make_detection_task
from selftrain_jax.models.retinanet import make_retinanet
from selftrain_jax.models.segmenter import make_segmenter
from selftrain_jax.segmentation.task import make_segmentation_task
from selftrain_jax.types import Batch, BoxTargets, MaskTargets

BATCH, SIZE_PX, SLOTS = 2, 128, 4


def make_task(backbone):
    if backbone == "segmenter":
        model = make_segmenter(
            num_classes=21,
            backbone="efficientnet_b0",
            neck="nas_fpn",
            dtype="bfloat16",
            separable=True,
            nas_fpn_repeats=1,
        )
        return make_segmentation_task(model=model, image_size_px=SIZE_PX)
    model = make_retinanet(backbone=backbone, num_classes=91, dtype="bfloat16")
    return make_detection_task(model=model, image_size_px=SIZE_PX)


def make_batch(backbone):
    images, is_pseudo = jnp.zeros((BATCH, SIZE_PX, SIZE_PX, 3)), jnp.zeros(BATCH, bool)
    if backbone == "segmenter":
        return Batch(images, MaskTargets(jnp.zeros(images.shape[:3], jnp.uint8)), is_pseudo)
    flags = jnp.zeros((BATCH, SLOTS), bool)
    targets = BoxTargets(jnp.zeros((BATCH, SLOTS, 4)), jnp.zeros((BATCH, SLOTS), int), flags, flags)
    return Batch(images, targets, is_pseudo)


@pytest.mark.parametrize("backbone", ["resnet50", "efficientnet_b0", "spinenet49", "segmenter"])
def test_no_convolution_of_a_step_has_float32_operands(backbone):
    task, batch = make_task(backbone), make_batch(backbone)
    variables = jax.eval_shape(task.init, jax.random.key(0))

    def gradient(variables, batch):
        def loss(params):
            return task.loss({**variables, "params": params}, batch, jax.random.key(0))[0].human

        return jax.grad(loss)(variables["params"])

    text = jax.jit(gradient).trace(variables, batch).lower(lowering_platforms=("cuda",)).as_text()
    found = re.findall(r"stablehlo\.convolution.*: \(tensor<(\w+)>, tensor<(\w+)>\) -> tensor<(\w+)>", text)
    assert len(found) == text.count("stablehlo.convolution(") > 100
    for shapes in found:
        assert all(shape.endswith("xbf16") for shape in shapes), shapes
    assert "select_and_scatter" not in text
