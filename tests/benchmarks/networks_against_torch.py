"""Our networks on two CPU cores against torch's: python -m tests.benchmarks.networks_against_torch

Forward pass and training step (forward, loss, gradients, SGD with momentum) of EfficientNet-Lite0 and
-B0 classifiers and the ResNet-50-FPN RetinaNet, float32, 256 px, 8 images. Needs torch:
pip install torch (the build for CPU).

Each side is a process of its own, because idle threads of one library's pool wait by spinning and take
cores from the other's. The processes take turns in each round, so that what else the machine does falls
on both, and both are bound to the same two cores. On a busy machine torch suffers more, since its threads
wait for each other at every operation: run this on an idle one. Torch's networks, `torch_networks`, get our
weights, and before timing outputs and first loss must agree to 1e-3: it is the same network. Torch may
choose its form for each row: channels last or first, and padding as ours or symmetric (a grid shifted
by a pixel, which saves copies); `--compile` adds torch.compile's forms. Drop-connect and dropout are off.
The table gives medians over rounds and the ratio torch / ours, above 1 where we are ahead, with spread.
"""

import argparse
import json
import multiprocessing
import os
import platform
import time
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.network_sides import NETWORKS, PASSES, OurSide, TorchSide, make_inputs, take_turn

TOLERANCE = 1e-3
BUSY_LOAD = 0.5


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=NETWORKS, default="", help="one network")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--size_px", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--turn_secs", type=float, default=1.0, help="least time of a turn")
    parser.add_argument(
        "--compile", action="store_true", help="let torch try torch.compile (needs a C++ compiler)"
    )
    return parser.parse_args()


def serve(side: str, connection: Connection, name: str, args: argparse.Namespace, num_cores: int) -> None:
    """Work off one network's requests in a process of its own: build, then a turn for each pass asked."""
    inputs = make_inputs(name, args.batch, args.size_px)
    if side == "ours":
        ours = OurSide(name, inputs)
        connection.send(ours.weights())
        connection.send(ours.build())
        passes = ours.passes
    else:
        theirs = TorchSide(name, inputs, num_cores, args.compile)
        connection.send(theirs.build(connection.recv()))
        passes = theirs.passes
    for key in iter(connection.recv, None):
        connection.send(take_turn(passes[key], args.turn_secs))


def compare(name: str, args: argparse.Namespace, num_cores: int) -> dict[str, Any]:
    """Build both sides, check that they are the same network, and let them take turns."""
    context, sides, workers = multiprocessing.get_context("spawn"), {}, []
    for side in ("ours", "torch"):
        sides[side], far_end = context.Pipe()
        worker = context.Process(target=serve, args=(side, far_end, name, args, num_cores), daemon=True)
        worker.start()
        far_end.close()  # a worker that dies then ends the wait for its answer
        workers.append(worker)
        if side == "ours":
            weights, ours = sides[side].recv(), sides[side].recv()
    sides["torch"].send(weights)
    theirs = sides["torch"].recv()
    difference = check_same(name, ours, theirs)
    times: dict[str, dict[str, list[float]]] = {key: {side: [] for side in sides} for key in PASSES}
    for _ in range(args.rounds):
        for key in PASSES:
            for side, connection in sides.items():
                time.sleep(0.1)  # until the other side's threads rest
                connection.send(key)
                times[key][side].append(connection.recv())
    for connection, worker in zip(sides.values(), workers, strict=True):
        connection.send(None)
        worker.join()
    found = {"parameters": ours["parameters"], "largest_difference": difference}
    for key in PASSES:
        row = {f"{side}_secs": secs for side, secs in times[key].items()}
        found[key] = row | {"compile_secs": ours["compile_secs"][key], "torch_form": theirs["forms"][key]}
    return found


def check_same(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """Return the largest relative difference of outputs and of the training loss; refuse a large one."""
    assert ours["parameters"] == theirs["parameters"], (ours["parameters"], theirs["parameters"])
    differences = [abs(ours["loss"] - theirs["loss"]) / abs(ours["loss"])]
    for output, other in zip(ours["outputs"], theirs["outputs"], strict=True):
        differences.append(float(np.abs(output - other).max() / output.std()))
    largest = max(differences)
    print(
        f"{name}: {ours['parameters']:,} parameters on both sides, first loss {ours['loss']:.6f} and "
        f"{theirs['loss']:.6f}, outputs and loss agree to {largest:.0e}",
        flush=True,
    )
    if not largest < TOLERANCE:
        raise SystemExit(f"{name}: the two networks differ ({differences}), so their times say nothing.")
    return largest


def print_rows(name: str, found: dict[str, Any], batch: int) -> None:
    for key in PASSES:
        row = found[key]
        ours, theirs = (np.array(row[f"{side}_secs"]) for side in ("ours", "torch"))
        ratios = theirs / ours
        row.update(
            ratio=float(np.median(ratios)),
            ratio_least=float(ratios.min()),
            ratio_greatest=float(ratios.max()),
            ours_images_per_second=batch / float(np.median(ours)),
            torch_images_per_second=batch / float(np.median(theirs)),
        )
        spread = f"{ratios.min():.2f} to {ratios.max():.2f}"
        print(
            f"{name:19} {key:8} {1e3 * np.median(ours):8.0f} {1e3 * np.median(theirs):9.0f} "
            f"{row['ours_images_per_second']:9.1f} {row['torch_images_per_second']:9.1f} "
            f"{row['ratio']:6.2f} {spread:>14} {row['compile_secs']:10.0f}  {row['torch_form']}",
            flush=True,
        )


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    packages = {package: version(package) for package in ("jax", "jaxlib", "flax", "torch", "numpy")}
    return {
        "device": models[0] if models else platform.processor(),
        "versions": {"python": platform.python_version(), **packages},
    }


def main() -> None:
    """Print the table."""
    args = parse()
    if find_spec("torch") is None:
        raise SystemExit("torch is not installed; pip install torch (the build for CPU)")
    os.environ["JAX_PLATFORMS"] = "cpu"  # the workers inherit it, and the cores
    os.environ.setdefault(
        "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
    )  # both gain; launch/environment.sh sets more
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cores)
    report = machine() | {"cores": len(cores), "rounds": args.rounds}
    report |= {"size_px": args.size_px, "batch": args.batch, "load_at_start": os.getloadavg()[0]}
    report["malloc"] = os.environ["GLIBC_TUNABLES"]
    print(", ".join(f"{key} {value}" for key, value in report.items()))
    if report["load_at_start"] > BUSY_LOAD:
        print("the machine is busy; these numbers are no good (torch suffers more than we do)")
    names = [args.only] if args.only else NETWORKS
    networks = {name: compare(name, args, len(cores)) for name in names}
    print(
        f"\n{'network':19} {'pass':8} {'ours ms':>8} {'torch ms':>9} {'images/s':>9} {'torch':>9} "
        f"{'ratio':>6} {'spread':>14} {'compile s':>10}  torch's form"
    )
    for name, found in networks.items():
        print_rows(name, found, args.batch)
    if args.json:
        args.json.write_text(json.dumps(report | {"networks": networks}, indent=1) + "\n")


if __name__ == "__main__":
    main()
