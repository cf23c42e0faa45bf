"""What the paper's six scales cost in labelling: python -m tests.benchmarks.multi_scale_labelling

Labels 500 x 375 JPEGs with pseudo masks, reading and decoding included, by the one scale trained at and
by the paper's six. First come images a second by the clock, as median (least to greatest) of the rounds. The
two take turns in each round, so that what else the machine does falls on both. The pixel counts predict a
ratio of time, sum(size^2) / size^2; the goal is to stay within 1.3 times of it. The ratio stands there by the
clock and by CPU seconds, of all threads, which bear a busy machine better. The last column is the share of
the six scales' CPU time that goes to making class maps from logits: resampling, softmax, averaging, argmax.
"""

import argparse
import functools
import io
import os
import time
from collections.abc import Callable

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import numpy as np
from PIL import Image
from skimage import data

from selftrain_jax.data.source import Source, decode_image
from selftrain_jax.models.input_normalization import normalize
from selftrain_jax.models.segmenter import make_segmenter
from selftrain_jax.segmentation.multi_scale import label_pixels
from selftrain_jax.tasks.segmentation.inference import Segmenter, bind_variables
from selftrain_jax.tasks.segmentation.pseudo.labeller import infer_masks
from selftrain_jax.tasks.segmentation.pseudo.network import MaskNetwork
from selftrain_jax.types import PixelLogits

GOAL, SCALES, NUM_CLASSES = 1.3, (0.5, 0.75, 1.0, 1.25, 1.5, 1.75), 21
SMALL = dict(fpn_channels=64, nas_fpn_repeats=2, head_channels=64)
NETWORKS = {
    "resnet18 quarter": dict(backbone="resnet18", width_factor=0.25, separable=True, **SMALL),
    "lite0 small": dict(backbone="efficientnet_lite0", separable=True, **SMALL),
    "b0 of the paper": dict(backbone="efficientnet_b0", separable=True, nas_fpn_repeats=7),
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, action="append", help="may be repeated; else all")
    parser.add_argument("--size-px", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--images", type=int, default=8, help="labelled in each turn")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def photographs(count: int) -> Source:
    """JPEGs of 500 x 375, the commonest size in PASCAL VOC."""
    encoded = []
    for pixels in (data.astronaut(), data.coffee(), data.chelsea(), data.rocket()):
        buffer = io.BytesIO()
        Image.fromarray(pixels).resize((500, 375)).save(buffer, "JPEG", quality=90)
        encoded.append(buffer.getvalue())
    ids = tuple(map(str, range(count)))
    return Source(
        name="photographs",
        categories=(),
        image_ids=ids,
        read_labels=lambda index: {"image_id": ids[index]},
        read_encoded=lambda index: encoded[index % len(encoded)],
        read_image=lambda index: decode_image(encoded[index % len(encoded)], ids[index]),
    )


def make_network(name: str, size_px: int, batch_size: int) -> Callable[[tuple[float, ...]], MaskNetwork]:
    """Return the function that gives a network of random weights, to label at given scales."""
    model = make_segmenter(num_classes=NUM_CLASSES, **NETWORKS[name])
    variables = jax.jit(functools.partial(model.init, train=False))(
        jax.random.key(0), np.zeros((1, 128, 128, 3), np.float32)
    )
    segmenter = Segmenter(
        place=jax.device_put,
        predict=jax.jit(
            lambda placed, fitted: PixelLogits(model.apply(placed, normalize(fitted), train=False))
        ),
        label=jax.jit(label_pixels, static_argnums=(3, 4)),
        batch_size=batch_size,
        image_size_px=size_px,
        max_side_px=2048,
    )
    return lambda scales: bind_variables(segmenter, [variables], scales=scales)


def seconds(run: Callable[[], object]) -> np.ndarray:
    """Return the seconds that a call takes by the clock, and of CPU."""
    start = time.perf_counter(), time.process_time()
    run()
    return np.array([time.perf_counter() - start[0], time.process_time() - start[1]])


def label_all(source: Source, network: MaskNetwork) -> None:
    """Label the source in batches."""
    starts = range(0, len(source), network.batch_size)
    chunks = [(0, range(i, min(i + network.batch_size, len(source)))) for i in starts]
    for _ in infer_masks(chunks, source=source, network=network):
        pass


def bound_label(network: MaskNetwork, image_px: tuple[int, int], canvas_px: int) -> Callable[[], object]:
    """Return the call that turns one batch's logits, here all 0, into class maps."""
    batch_size = network.batch_size
    logits = [jax.numpy.zeros((batch_size, s // 4, s // 4, NUM_CLASSES)) for s in network.sizes_px]
    scaled_px = np.tile([[[s * 3 // 4, s] for s in network.sizes_px]], (batch_size, 1, 1)).astype(np.int32)
    target_px = np.tile(image_px, (batch_size, 1)).astype(np.int32)
    straight = (False,) * len(logits)
    return lambda: jax.block_until_ready(network.label(logits, scaled_px, target_px, canvas_px, straight))


def spread(values: np.ndarray, form: str) -> str:
    """Write median, least and greatest."""
    return f"{np.median(values):{form}} ({values.min():{form}} to {values.max():{form}})"


def measure(name: str, options: argparse.Namespace) -> None:
    """Print a network's rows."""
    source, bound = photographs(options.images), make_network(name, options.size_px, options.batch)
    single, multi = bound((1.0,)), bound(SCALES)
    label = bound_label(multi, (375, 500), 512)
    runs = [lambda: label_all(source, single), lambda: label_all(source, multi), label]
    for run in runs:
        run()
    times = np.array([[seconds(run) for run in runs] for _ in range(options.rounds)])  # [round, run, clock]
    (one, six, _), (one_cpu, six_cpu, maps_cpu) = times.transpose(2, 1, 0)
    predicted = sum(size**2 for size in multi.sizes_px) / single.sizes_px[0] ** 2
    ratio, ratio_cpu = six / one, six_cpu / one_cpu
    maps_share = -(-options.images // options.batch) * np.median(maps_cpu / six_cpu)
    print(
        f"{name:18}{spread(options.images / one, '.2f'):>26}{spread(options.images / six, '.2f'):>26}"
        f"{spread(ratio, '.2f'):>24}{spread(ratio_cpu, '.2f'):>24}{predicted:11.2f}"
        f"{np.median(ratio) / predicted:16.2f}{np.median(ratio_cpu) / predicted:14.2f}{maps_share:12.1%}",
        flush=True,
    )
    maps_ms = 1e3 * np.median(maps_cpu) / options.batch
    print(f"{'':18}{multi.shapes_used}; class maps of an image: {maps_ms:.0f} ms CPU")


def main() -> None:
    """Print the table."""
    options = parse()
    print(
        f"{options.size_px} px, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"batch {options.batch}, {options.rounds} rounds of {options.images} images; "
        f"goal: at most {GOAL} times the prediction"
    )
    print(
        f"{'network':18}{'one scale, images/s':>26}{'six scales, images/s':>26}{'ratio by the clock':>24}"
        f"{'ratio of CPU':>24}{'predicted':>11}{'of it, clock':>16}{'of it, CPU':>14}{'class maps':>12}"
    )
    for name in options.network or NETWORKS:
        measure(name, options)


if __name__ == "__main__":
    main()
