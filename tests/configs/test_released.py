"""configs/released.py: every checkpoint's network builds, has the published size and takes its archive."""

import jax
import numpy as np
import pytest

from configs import released as config_file
from selftrain_jax.data.sources.coco import COCO_CATEGORIES
from selftrain_jax.paper.released import RELEASED
from selftrain_jax.pretrain.catalogue import find_weights
from selftrain_jax.pretrain.import_variables import file_shapes
from selftrain_jax.pretrain.official_networks import make_network, variable_shapes
from selftrain_jax.pretrain.tf_names import tf_names
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.types import Category

pytestmark = [pytest.mark.tf, pytest.mark.compiles]

VOC = tuple(Category(id, str(id)) for id in range(21))
# Of the official graph, where nothing else is said. A segmenter's has EfficientNet's classifier in it, which
# is not built: 1×1 convolution, BatchNorm, and 1000 outputs of 2560 (B7) or 5504 channels.
R50_FPN = 34_091_159
FPN = 3_584 * 256 + 3 * 256 + 5 * (9 * 256 * 256 + 256 + 2 * 256)
NAS_FPN = 3_584 * 256 + 3 * (256 + 2 * 256) + 49 * (9 * 256 * 256 + 256 + 2 * 256)
NUM_PARAMETERS = {
    "spinenet49s": 11_265_942,
    "spinenet49": 28_543_383,
    "spinenet96": 42_974_871,
    "spinenet143": 66_959_511,
    "spinenet190": 163_637_351,
    "r50_fpn": R50_FPN,
    "r50_nasfpn": R50_FPN - FPN + NAS_FPN,  # by hand; the model zoo says 60.3 million
    "b7_nasfpn": 71_731_837 - (640 * 2560 + 2 * 2560 + 2560 * 1000 + 1000),
    "l2_nasfpn": 485_972_801 - (1376 * 5504 + 2 * 5504 + 5504 * 1000 + 1000),
}


@pytest.mark.parametrize("name", NUM_PARAMETERS)
def test_the_network_builds_with_the_official_number_of_parameters(name: str) -> None:
    released = next(x for x in RELEASED if x.name == name or x.name.startswith(f"{name}_"))
    config = config_file.get_config(f"name={released.name}")
    config.image.size_px = 128
    categories = VOC if config.task == "segmentation" else tuple(COCO_CATEGORIES)
    task = get_task(config.task).build_task(config, categories)
    variables = jax.eval_shape(task.init, jax.random.key(0))
    assert sum(x.size for x in jax.tree.leaves(variables["params"])) == NUM_PARAMETERS[name]
    official = variable_shapes(make_network(find_weights(released.weights).network), 128)
    shapes = [jax.tree.map(lambda x: x.shape, tree) for tree in (variables, official)]
    assert dict(shapes[0]) == dict(shapes[1]), "what is imported is what is evaluated"


def test_nas_fpns_plain_convolutions_have_a_name_each() -> None:
    names = tf_names("retinanet_r50nasfpn")
    shapes = file_shapes(variable_shapes(make_network("retinanet_r50nasfpn"), 128), names)
    assert shapes["resample_l5/conv2d/kernel"] == (1, 1, 2048, 256)
    assert shapes["fpn_cells/cell_6/sub_policy6/op_after_combine11/conv/kernel"] == (3, 3, 256, 256)
    trained = [name for name in shapes if not name.endswith(("moving_mean", "moving_variance"))]
    assert sum(int(np.prod(shapes[name])) for name in trained) == NUM_PARAMETERS["r50_nasfpn"]


def test_settings_are_the_authors_files() -> None:
    def model(name: str) -> tuple:
        config = config_file.get_config(f"name={name}")
        settings = config.model
        return config.image.size_px, settings.activation, settings.bn_epsilon, settings.anchor_size

    assert model("spinenet49s") == (640, "relu", 1e-4, 3.0)
    assert model("spinenet96_best") == (1024, "swish", 1e-4, 3.0)
    assert model("spinenet143") == (1280, "swish", 1e-4, 4.0)
    assert model("spinenet190_ssl") == (1280, "swish", 1e-3, 4.0)
    assert model("r50_nasfpn") == (640, "relu", 1e-4, 4.0)
    assert model("l2_nasfpn_ssl")[:3] == (512, "relu", 1e-3)
    postprocess = config_file.get_config("name=r50_fpn").postprocess
    assert (postprocess.score_threshold, postprocess.iou_threshold) == (0.05, 0.5)
    assert (postprocess.pre_nms_top_k, postprocess.max_detections) == (5000, 100)


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"name='b7_nasfpn'.*b7_nasfpn_ssl"):
        config_file.get_config("name=b7_nasfpn")
