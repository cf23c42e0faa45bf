"""Makes tests/golden/torch_vits.json with timm; run it from the root.

Two blocks, and learned positions of a grid of 8×8, with weights by `vit_golden_array`. The image is a crop of
`golden_image`; a network of patch 14 gets it at 14/16 of its size, by torch's bilinear interpolation. Needs
`pip install timm`; the tests do not.
"""

import json
import math
import pathlib

import timm
import torch

from selftrain_jax.pretrain.golden import golden_image
from tests.pretrain.torch_golden import names_digest, vit_golden_array

DEPTH, GRID, IMAGE_PX, NUM_VALUES = 2, 8, 256, 200
NETWORKS = {
    f"vit_{size}_{ours}": f"vit_{size}_patch{timms}"
    for size in ("small", "base")
    for ours, timms in (("dinov2", "14_dinov2"), ("dinov2_reg4", "14_reg4_dinov2"), ("dinov3", "16_dinov3"))
}
RUNS = [  # network, height and width of the image in cells of 16 px
    ("vit_small_dinov2_reg4", GRID, GRID),  # its own grid
    ("vit_small_dinov2_reg4", 10, 14),  # a finer one
    ("vit_small_dinov2_reg4", 5, 7),  # a coarser one, where antialiasing counts
    ("vit_small_dinov2", 6, 10),
    ("vit_small_dinov3", 8, 10),
]


def describe(network: str) -> dict:
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in timm.create_model(NETWORKS[network]).state_dict().items()}
    return {"num_arrays": len(shapes), "sha256_of_names": names_digest(shapes)}


def run(network: str, rows: int, columns: int) -> dict:
    is_v2 = "dinov2" in network
    options = {"img_size": 14 * GRID, "dynamic_img_size": True} if is_v2 else {}
    model = timm.create_model(NETWORKS[network], depth=DEPTH, **options).eval()
    arrays = {k: torch.tensor(vit_golden_array(k, tuple(v.shape))) for k, v in model.state_dict().items()}
    model.load_state_dict(arrays)
    image = torch.tensor(
        golden_image(IMAGE_PX).transpose(0, 3, 1, 2)[:, :, : 16 * rows, : 16 * columns].copy()
    )
    if is_v2:
        # In float64: torch's float32 places the samples 1e-5 pixels off.
        size = (14 * rows, 14 * columns)
        image = torch.nn.functional.interpolate(image.double(), size, mode="bilinear").float()
    with torch.no_grad():
        tokens = model.forward_features(image)[0, model.num_prefix_tokens :].double().numpy()
    stride = math.ceil(tokens.size / NUM_VALUES)
    while math.gcd(stride, tokens.shape[1]) > 1:  # so that the values are of other channels each time
        stride += 1
    return {
        "network": network,
        "size_px": [16 * rows, 16 * columns],
        "std": float(tokens.std()),
        "stride": stride,
        "values": [round(float(x), 7) for x in tokens.flat[::stride]],
    }


if __name__ == "__main__":
    golden = {
        "depth": DEPTH,
        "grid": GRID,
        "image_px": IMAGE_PX,
        "networks": {network: describe(network) for network in NETWORKS},
        "runs": [run(*row) for row in RUNS],
    }
    path = pathlib.Path(__file__).parents[1] / "golden" / "torch_vits.json"
    path.write_text(json.dumps(golden, indent=1))
