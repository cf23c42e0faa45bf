"""Makes tests/golden/convnext.json with timm; run it from the root.

Weights by `torch_golden_array`, image by `golden_image`. Needs `pip install timm torchvision`; the tests
do not.
"""

import json
import pathlib

import numpy as np
import timm
import torch

from selftrain_jax.pretrain.golden import golden_image
from tests.pretrain.torch_golden import names_digest, torch_golden_array

SIZE_PX = 64
RUN = "convnext_tiny"
NUM_VALUES = 20


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {k: tuple(v.shape) for k, v in timm.create_model(name).state_dict().items()}


def summarise(x: np.ndarray) -> dict:
    """As `selftrain_jax.pretrain.golden.read_golden` takes it."""
    x = np.asarray(x, np.float64)
    indices = np.linspace(0, x.size - 1, NUM_VALUES).astype(int)
    moments = {"mean": float(x.mean()), "std": float(x.std()), "absmax": float(np.abs(x).max())}
    return {
        "shape": list(x.shape),
        **moments,
        "idx": indices.tolist(),
        "vals": [float(f"{v:.8g}") for v in x.reshape(-1)[indices]],
    }


def run() -> dict:
    """The classifier's logits and the plain outputs of its stages, which `features_only` gives too."""
    model = timm.create_model(RUN).eval()
    arrays = {k: torch.tensor(torch_golden_array(k, s)) for k, s in shapes_of(RUN).items()}
    model.load_state_dict(arrays)
    image = torch.tensor(golden_image(SIZE_PX).transpose(0, 3, 1, 2).copy())
    backbone = timm.create_model(RUN, features_only=True).eval()
    names = {k.replace("stem.", "stem_").replace("stages.", "stages_"): v for k, v in arrays.items()}
    backbone.load_state_dict(names, strict=False)
    with torch.no_grad():
        features = [x.numpy().transpose(0, 2, 3, 1) for x in backbone(image)]
        stages = model.forward_intermediates(image, norm=False, intermediates_only=True)
        for x, y in zip(features, stages, strict=True):
            assert np.array_equal(x, y.numpy().transpose(0, 2, 3, 1)), "the two ways differ"
        logits = model(image).numpy()
    outputs = {f"reduction_{level}": x for level, x in enumerate(features, start=2)}
    return {name: summarise(x) for name, x in {**outputs, "logits": logits}.items()}


if __name__ == "__main__":
    networks = {}
    for size in ("tiny", "small", "base"):
        shapes = shapes_of(f"convnext_{size}")
        networks[f"convnext_{size}"] = {"num_arrays": len(shapes), "sha256_of_names": names_digest(shapes)}
    golden = {"size_px": SIZE_PX, "networks": networks, RUN: run()}
    path = pathlib.Path(__file__).parents[1] / "golden" / "convnext.json"
    path.write_text(json.dumps(golden, indent=1) + "\n")
