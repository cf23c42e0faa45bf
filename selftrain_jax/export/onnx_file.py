"""A program as ONNX, with ONNX's own NMS; call `write_onnx`, which needs the packages of the extra `onnx`.

Reference: onnx.ai/onnx/operators/onnx__NonMaxSuppression. A box is dropped where its IoU with a better one
of its class is above the threshold, as in `detection.nms`; the best `pre_nms_top_k` of a class are not
chosen beforehand.
"""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from selftrain_jax.errors import InputError
from selftrain_jax.export.portable import without_choices
from selftrain_jax.export.program import Program, Results, Selection, first_line

FILE = "model.onnx"
OPSET = 18
INPUTS = ("images", "covered_px")


def write_onnx(program: Program, folder: Path) -> Path:
    """Write the network and, with a selection, what it makes of `boxes` and `scores`.

    Raises:
        InputError: a package is missing, or a selection is asked of more than one image at once.
    """
    if program.selection and program.batch_size != 1:
        raise InputError(
            "ONNX with NMS is of one image at a time, not of "
            f"config.export.batch_size={program.batch_size or 0}; set it to 1, or leave NMS to the program "
            "that runs it: --config.export.nms=False"
        )
    jax2onnx, onnx = load_package("jax2onnx"), load_package("onnx")
    names = [*program.outputs]

    def run(images: Any, covered_px: Any) -> tuple[Any, ...]:
        found = program.run(images, covered_px)
        return tuple(found[name] for name in names)

    shapes = program.input_shapes(program.batch_size or "batch")
    try:
        model = jax2onnx.to_onnx(
            without_choices(run), shapes, opset=OPSET, input_names=INPUTS, output_names=names
        )
    except Exception as error:  # it raises its own, JAX's and others
        raise InputError(
            f"jax2onnx cannot convert this network: {first_line(error)}. Of detectors it converts what is "
            "before NMS, and greedy NMS of one image is ONNX's own: --config.export.nms=False, or a "
            "config.postprocess.soft_nms_sigma of 0"
        ) from error
    if program.selection:
        model = with_selection(onnx, model, program.selection)
    path = folder / FILE
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def open_onnx(path: Path) -> Results:
    """Return the function that a written model is, run by onnxruntime."""
    session = load_package("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(images: Any, covered_px: Any) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {"images": images, "covered_px": covered_px}), strict=True))

    return run


def load_package(name: str) -> ModuleType:
    """Import a package of the extra `onnx`. Raises: InputError, with the command that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"ONNX needs the package {name} ({error}); install it: pip install 'selftrain_jax[onnx]', in a "
            "clone pip install -e '.[onnx]'"
        ) from None


def with_selection(onnx: ModuleType, model: Any, selection: Selection) -> Any:
    """Append NMS to a model of one image with `boxes` [1, A, 4] and `scores` [1, A, C]; returns a new one."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph, helper, types = made.graph, onnx.helper, onnx.TensorProto
    _rename_results(graph, {"boxes": "all_boxes", "scores": "all_scores"})
    kept = selection.max_detections
    constants = {
        "nms_kept": np.array([kept], np.int64),
        "nms_iou": np.array([selection.iou_threshold], np.float32),
        "nms_score": np.array([selection.score_threshold], np.float32),
        "nms_zero": np.array([0], np.int64),
        "nms_one": np.array([1], np.int64),
        "nms_two": np.array([2], np.int64),
        "nms_three": np.array([3], np.int64),
        "nms_nothing": np.array(0, np.float32),
        "nms_no_class": np.array(0, np.int32),
        "nms_first": np.array(0, np.int64),
        "nms_boxes_shape": np.array([1, kept, 4], np.int64),
        "nms_row_shape": np.array([1, kept], np.int64),
        "nms_first_class": np.array(1, np.int32),
        "nms_box_pads": np.zeros(2, np.int64),
    }
    graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    node = helper.make_node
    graph.node.extend(
        [
            node("Transpose", ["all_scores"], ["by_class"], perm=[0, 2, 1]),
            node(
                "NonMaxSuppression",
                ["all_boxes", "by_class", "nms_kept", "nms_iou", "nms_score"],
                ["selected"],  # [N, 3]: image, class, anchor
            ),
            node("Slice", ["selected", "nms_one", "nms_two", "nms_one"], ["class_column"]),
            node("Slice", ["selected", "nms_two", "nms_three", "nms_one"], ["anchor_column"]),
            node("Squeeze", ["class_column", "nms_one"], ["class_index"]),
            node("Squeeze", ["anchor_column", "nms_one"], ["anchor_index"]),
            node("GatherND", ["by_class", "selected"], ["selected_scores"]),
            node("Shape", ["selected_scores"], ["num_selected"]),
            node("Min", ["num_selected", "nms_kept"], ["num_best"]),
            node("TopK", ["selected_scores", "num_best"], ["best_scores", "best_index"], axis=0),
            node("Sub", ["nms_kept", "num_best"], ["num_missing"]),
            node("Concat", ["nms_zero", "num_missing"], ["row_pads"], axis=0),
            node("Pad", ["best_scores", "row_pads", "nms_nothing"], ["scores_row"]),
            node("Reshape", ["scores_row", "nms_row_shape"], ["scores"]),
            node("Gather", ["class_index", "best_index"], ["best_classes"], axis=0),
            node("Cast", ["best_classes"], ["best_classes_int"], to=types.INT32),
            node("Add", ["best_classes_int", "nms_first_class"], ["best_ids"]),
            node("Pad", ["best_ids", "row_pads", "nms_no_class"], ["classes_row"]),
            node("Reshape", ["classes_row", "nms_row_shape"], ["classes"]),
            node("Gather", ["anchor_index", "best_index"], ["best_anchors"], axis=0),
            node("Gather", ["all_boxes", "nms_first"], ["image_boxes"], axis=0),
            node("Gather", ["image_boxes", "best_anchors"], ["best_boxes"], axis=0),
            node("Concat", ["nms_box_pads", "num_missing", "nms_zero"], ["box_pads"], axis=0),
            node("Pad", ["best_boxes", "box_pads", "nms_nothing"], ["boxes_rows"]),
            node("Reshape", ["boxes_rows", "nms_boxes_shape"], ["boxes"]),
            node("Greater", ["scores", "nms_nothing"], ["valid"]),
        ]
    )
    del graph.output[:]
    info = helper.make_tensor_value_info
    graph.output.extend(
        [
            info("boxes", types.FLOAT, [1, kept, 4]),
            info("scores", types.FLOAT, [1, kept]),
            info("classes", types.INT32, [1, kept]),
            info("valid", types.BOOL, [1, kept]),
        ]
    )
    return made


def _rename_results(graph: Any, names: dict[str, str]) -> None:
    """Rename results of a graph wherever they are made or read."""
    for node in graph.node:
        for values in (node.input, node.output):
            for index, name in enumerate(values):
                values[index] = names.get(name, name)
    for value in (*graph.value_info, *graph.output):
        value.name = names.get(value.name, value.name)
