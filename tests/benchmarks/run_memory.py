"""The memory that a run holds at its peak, stage by stage: python -m tests.benchmarks.run_memory

A run of configs/own_data.py on a CPU, of a few steps and a few built-in scenes: teacher (batch 16), pseudo
labels, control and student (batch 32: 16 human and 16 pseudo-labelled images). Each stage has an evaluation.
The resident set of the run's process is read five times a second; images are small beside it. `--rounds=2`
runs a second time with the steps that the first has compiled.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.tasks.detection.coco_export import write_coco_json

STAGES = {"teacher": "teacher", "pseudo_labels": "pseudo labels", "control": "control", "student": "student"}
EVERY_SECS = 0.2


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="of the images, px")
    parser.add_argument("--steps", type=int, default=12, help="of each stage")
    parser.add_argument("--rounds", type=int, default=2)
    return parser.parse_args()


def write_data(folder: pathlib.Path, size_px: int) -> None:
    """Write scenes as COCO files, and a folder of images without labels."""
    for name in ("annotations", "images", "unlabeled"):
        (folder / name).mkdir()
    for split, count in (("train", 20), ("val", 4), ("test", 4)):
        source = read_builtin(split, num_images=count, image_size_px=size_px)
        write_coco_json(source, folder / "annotations" / f"{split}.json")
        for index, name in enumerate(source.file_names):
            (folder / "images" / name).write_bytes(source.read_encoded(index))
    source = read_builtin("unlabeled", num_images=40, image_size_px=size_px)
    for index, name in enumerate(source.file_names):
        (folder / "unlabeled" / name).write_bytes(source.read_encoded(index))


def command(args: argparse.Namespace, data: pathlib.Path, workdir: pathlib.Path) -> list[str]:
    """Return the run's command."""
    flags = {
        "data.dir": data,
        "unlabeled.dir": data / "unlabeled",
        "teacher.steps": args.steps,
        "student.steps": args.steps,
        "optimizer.warmup_steps": 2,
        "log.every_steps": 2,
        "eval.every_steps": args.steps // 2,
        "pseudo.threshold": 0.001,  # what so few steps reach
        "pseudo.score_floor": 0.0,
        "pseudo.max_class_frac": 1.0,
    }
    config = f"configs/own_data.py:size={args.size},steps={args.steps},init=rand,device=cpu"
    return [
        *(sys.executable, "-m", "selftrain_jax.main", f"--config={config}", f"--workdir={workdir}"),
        *(f"--config.{key}={value}" for key, value in flags.items()),
    ]


def measure(line: list[str], cache: pathlib.Path) -> tuple[dict[str, float], float]:
    """Run a command; return the peak in GiB while each stage was the last one named, and the seconds."""
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONUNBUFFERED": "1"}
    begin = time.perf_counter()
    run = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    stage, peaks, printed = "start", {}, []

    def watch() -> None:
        while run.poll() is None:
            peaks[stage] = max(peaks.get(stage, 0.0), resident_gib(run.pid))
            time.sleep(EVERY_SECS)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert run.stdout is not None
    for text in run.stdout:
        printed.append(text)
        stage = next((name for word, name in STAGES.items() if text.startswith((word, name))), stage)
    watcher.join()
    if run.wait():
        raise SystemExit("".join(printed[-20:]))
    return peaks, time.perf_counter() - begin


def resident_gib(pid: int) -> float:
    """Return what a process holds in memory; 0 where it has just ended."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    values = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
    return int(values[0]) / 2**20 if values else 0.0


def main() -> None:
    """Run and print the peaks."""
    args = parse()
    print(json.dumps({"cores": os.cpu_count(), "python": sys.version.split()[0], **vars(args)}))
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        write_data(folder, args.size)
        for number in range(args.rounds):
            peaks, secs = measure(command(args, folder, folder / f"run{number}"), folder / "compiled")
            shown = ", ".join(f"{stage} {peak:.2f}" for stage, peak in peaks.items())
            print(f"run {number + 1}: {secs:.0f} s; GiB at most: {shown}", flush=True)


if __name__ == "__main__":
    main()
