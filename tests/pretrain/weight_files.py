"""Weight files as PyTorch's and TensorFlow's users have them, written by code of the tests' own."""

import json
import pathlib

import numpy as np

TYPES = {"float32": "F32", "float16": "F16", "int64": "I64"}


def write_safetensors(path: pathlib.Path, arrays: dict[str, np.ndarray], **changes: object) -> pathlib.Path:
    """Write arrays; `changes` replace entries of the header by name."""
    header, data = {}, b""
    for name, array in arrays.items():
        raw = np.ascontiguousarray(array).tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": TYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": offsets}
        data += raw
    text = json.dumps(header | changes).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def write_tf_checkpoint(prefix: pathlib.Path, arrays: dict[str, np.ndarray]) -> pathlib.Path:
    import tensorflow as tf

    names = sorted(arrays)
    tensors = [tf.constant(arrays[name]) for name in names]
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors
    )
    return prefix
