"""The parsers that the fuzz run feeds: a builder for each by name."""

import pathlib
from collections.abc import Callable

from tests.faults import fuzz_data, fuzz_run_files
from tests.faults.fuzz_data import Parser

PARSERS: dict[str, Callable[[pathlib.Path], Parser]] = {
    "COCO JSON": fuzz_data.coco_json,
    "VOC XML": fuzz_data.voc_xml,
    "VOC list": fuzz_data.voc_list,
    "TFRecord file": fuzz_data.tfrecord_file,
    "record": fuzz_data.record,
    "image": fuzz_data.image,
    "mask PNG": fuzz_data.mask_png,
    "SBD mat": fuzz_data.sbd_mat,
    "label table": fuzz_data.label_table,
    "safetensors": fuzz_run_files.safetensors,
    "torch file": fuzz_run_files.torch_file,
    "TensorFlow pointer": fuzz_run_files.tf_pointer,
    "golden file": fuzz_run_files.golden_file,
    "checkpoint seal": fuzz_run_files.checkpoint_seal,
    "manifest.json": fuzz_run_files.manifest,
    "results of a run": fuzz_run_files.results,
    "stage.json": fuzz_run_files.stage_record,
    "metrics.jsonl": fuzz_run_files.metrics_log,
    "overrides": fuzz_run_files.overrides,
    "mask values": fuzz_run_files.mask_values,
    "class thresholds": fuzz_run_files.class_thresholds,
    "topology": fuzz_run_files.topology,
}
