"""Makes tests/golden/torch_networks.json with timm and torchvision; run it from the root.

Weights by `torch_golden_array`, image by `golden_image`. Needs `pip install timm torchvision`; the tests
do not.
"""

import json
import pathlib
import sys

import timm
import torch
import torchvision

from selftrain_jax.pretrain.golden import golden_image
from tests.pretrain.torch_golden import names_digest, torch_golden_array

SIZE_PX = 64
TIMM = [*(f"tf_efficientnet_{v}" for v in ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "l2")),
        *(f"tf_efficientnet_lite{i}" for i in range(3)), "resnet50", "resnet101"]  # fmt: skip
RUN = ("timm/tf_efficientnet_b0", "timm/tf_efficientnet_lite0", "torchvision/resnet50", "timm/resnet50")


def make(name: str) -> torch.nn.Module:
    package, network = name.split("/")
    with torch.device("meta" if name not in RUN else "cpu"):
        model = timm.create_model(network) if package == "timm" else getattr(torchvision.models, network)()
    return model.eval()


def describe(name: str) -> dict:
    model = make(name)
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items() if not k.endswith("tracked")}
    row = {"num_arrays": len(shapes), "sha256_of_names": names_digest(shapes)}
    if name in RUN:
        arrays = {k: torch.tensor(torch_golden_array(k, s)) for k, s in shapes.items()}
        model.load_state_dict(arrays, strict=False)
        image = torch.tensor(golden_image(SIZE_PX).transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            logits = model(image)[0].double().numpy()
        row |= {"std": float(logits.std()), "logits": [float(x) for x in logits[::50]]}
    return row


if __name__ == "__main__":
    names = [f"timm/{n}" for n in TIMM] + [f"torchvision/resnet{d}" for d in (18, 34, 50, 101, 152)]
    golden = {"size_px": SIZE_PX, "networks": {name: describe(name) for name in names}}
    path = pathlib.Path(__file__).parents[1] / "golden" / "torch_networks.json"
    path.write_text(json.dumps(golden, indent=1))
    sys.exit(0)
