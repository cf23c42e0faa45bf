"""Makes tests/golden/adamw.json with PyTorch's AdamW; run it from the root. The tests do not need PyTorch."""

import json
import pathlib

import numpy as np
import torch

SETTINGS = {"b1": 0.8, "b2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1}
RATES = (0.1, 0.2, 0.05)


def main() -> None:
    rng = np.random.default_rng(0)
    start = {"kernel": rng.normal(size=(2, 3)).round(3), "bias": rng.normal(size=3).round(3)}
    grads = [{name: rng.normal(size=w.shape).round(3) for name, w in start.items()} for _ in RATES]
    weights = {name: torch.tensor(w, requires_grad=True) for name, w in start.items()}
    decays = {"kernel": SETTINGS["weight_decay"], "bias": 0.0}
    groups = [{"params": [w], "weight_decay": decays[name]} for name, w in weights.items()]
    betas = (SETTINGS["b1"], SETTINGS["b2"])
    optimizer = torch.optim.AdamW(groups, betas=betas, eps=SETTINGS["epsilon"])
    for rate, step in zip(RATES, grads, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for name, w in weights.items():
            w.grad = torch.tensor(step[name])
        optimizer.step()
    golden = {
        "settings": SETTINGS,
        "rates": RATES,
        "start": {name: w.tolist() for name, w in start.items()},
        "grads": [{name: g.tolist() for name, g in step.items()} for step in grads],
        "end": {name: w.detach().tolist() for name, w in weights.items()},
    }
    path = pathlib.Path(__file__).parents[1] / "golden" / "adamw.json"
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
