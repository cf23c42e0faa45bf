"""The formats of exported networks, by name: `FORMATS`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from selftrain_jax.export import onnx_file, stablehlo, tensorflow_files
from selftrain_jax.export.program import Program, Results


class Format(NamedTuple):
    """How a program is written, and how the written file is run again."""

    write: Callable[[Program, Path], Path]
    open: Callable[[Path], Results]
    has_nms: bool = False  # of its own, which takes the place of this package's


FORMATS: Mapping[str, Format | None] = {
    "stablehlo": Format(stablehlo.write_stablehlo, stablehlo.open_stablehlo),
    "onnx": Format(onnx_file.write_onnx, onnx_file.open_onnx, has_nms=True),
    "savedmodel": Format(tensorflow_files.write_savedmodel, tensorflow_files.open_savedmodel, has_nms=True),
    "tflite": Format(tensorflow_files.write_tflite, tensorflow_files.open_tflite),
    "safetensors": None,  # the weights alone, which lie beside every other format, too
}
