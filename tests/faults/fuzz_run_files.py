"""Readers of weights, of a run's own files and of the command line under fuzzing, as `fuzz_data` has them."""

import io
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from selftrain_jax.errors import InputError
from tests import run_files as examples
from tests.faults import mutations
from tests.faults.fuzz_data import CATEGORIES, Parser, of_file

CONFIG = pathlib.Path(__file__).parents[2] / "configs/quickstart.py"


def safetensors(folder: pathlib.Path) -> Parser:
    from selftrain_jax.pretrain.torch_files import read_torch_file

    entries = {
        "conv.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "bn.bias": {"dtype": "BF16", "shape": [2], "data_offsets": [24, 28]},
        "empty": {"dtype": "I64", "shape": [0, 4], "data_offsets": [28, 28]},
        "__metadata__": {"format": "pt"},
    }
    header = json.dumps(entries).encode()
    path = folder / "a.safetensors"

    def parse(data: bytes) -> None:
        path.unlink(missing_ok=True)  # the arrays of the input before may still be mapped
        path.write_bytes(data)
        read_torch_file(path)

    seed = len(header).to_bytes(8, "little") + header + bytes(range(28))
    return Parser([seed], mutations.header_changed, parse)


def torch_file(folder: pathlib.Path) -> Parser:
    import torch

    from selftrain_jax.pretrain.torch_files import read_torch_file

    seeds, path = [], folder / "a.pth"
    for is_zip in (True, False):
        file = io.BytesIO()
        torch.save({"a": torch.ones(2, 3)}, file, _use_new_zipfile_serialization=is_zip)
        seeds.append(file.getvalue())

    return Parser(seeds, mutations.bytes_changed, of_file(path, read_torch_file))


def tf_pointer(folder: pathlib.Path) -> Parser:
    from selftrain_jax.pretrain.tf_checkpoint import find_prefix

    for name in ("model.ckpt-1.index", "model.ckpt-1.data-00000-of-00001", "other.index"):
        (folder / name).write_bytes(b"")
    seeds = [b'model_checkpoint_path: "/home/them/model.ckpt-1"\n', b'model_checkpoint_path: "model.ckpt-1"']

    def parse(data: bytes) -> None:
        (folder / "checkpoint").write_bytes(data)
        assert find_prefix(folder).parent == folder

    return Parser(seeds, mutations.text_changed, parse)


def golden_file(folder: pathlib.Path) -> Parser:
    from selftrain_jax.pretrain.golden import check_shapes, read_golden

    output = {"shape": [1, 4], "mean": 0.5, "std": 1.5, "absmax": 2, "idx": [0, 3], "vals": [1, -2]}
    path = folder / "net_64.json"

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        check_shapes({"logits": (1, 4)}, read_golden(path), str(path))

    return Parser([json.dumps({"logits": output}).encode()], mutations.json_changed, parse)


def checkpoint_seal(folder: pathlib.Path) -> Parser:
    from selftrain_jax.train.checkpoint_files import CHECKSUMS_FILE, find_damage, write_checksums

    (folder / "variables").mkdir()
    (folder / "variables/0").write_bytes(bytes(1000))
    (folder / "about").write_text("{}")
    write_checksums(folder)

    def parse(data: bytes) -> None:
        (folder / CHECKSUMS_FILE).write_bytes(data)
        damage = find_damage(folder)
        if damage is not None:
            raise InputError(damage)  # as its callers do

    return Parser([(folder / CHECKSUMS_FILE).read_bytes()], mutations.json_changed, parse)


def manifest(folder: pathlib.Path) -> Parser:
    from selftrain_jax.data.shards import write_shard
    from selftrain_jax.selftrain.manifest import read_manifest
    from selftrain_jax.selftrain.records import locate_records
    from selftrain_jax.tasks.detection.pseudo.source import check_pseudo_boxes
    from selftrain_jax.tasks.detection.run_files import BoxTotals
    from selftrain_jax.tasks.segmentation.pseudo.source import check_pseudo_masks
    from selftrain_jax.tasks.segmentation.run_files import MaskTotals

    path = folder / examples.SHARDS[0]["file"]
    write_shard(path, [b"a", b"b"])
    shards = [{**examples.SHARDS[0], "bytes": path.stat().st_size}]
    seeds = [{**seed, "shards": shards} for seed in (examples.BOX_MANIFEST, examples.MASK_MANIFEST)]

    def parse(data: bytes) -> None:
        (folder / "manifest.json").write_bytes(data)
        is_masks = b'"masks"' in data
        found = read_manifest(folder, MaskTotals if is_masks else BoxTotals)
        locate_records(folder, found.shards, 0)
        check = check_pseudo_masks if is_masks else check_pseudo_boxes
        check(found, human_categories=found.categories)

    return Parser([json.dumps(seed).encode() for seed in seeds], mutations.json_changed, parse)


def results(folder: pathlib.Path) -> Parser:
    from selftrain_jax.io import parse_shallow_json
    from selftrain_jax.run_files.evaluation import Evaluation
    from selftrain_jax.run_files.model_card import ModelCard
    from selftrain_jax.run_files.quality import Quality
    from selftrain_jax.run_files.rounds import Rounds
    from selftrain_jax.run_files.search import Search
    from selftrain_jax.run_files.summary import Summary
    from selftrain_jax.tasks.detection.run_files import BoxDetails
    from selftrain_jax.tasks.segmentation.run_files import MaskDetails

    path = folder / "run.json"
    seeds = (
        examples.BOX_QUALITY, examples.MASK_QUALITY, examples.BOX_EVALUATION, examples.SCALES_EVALUATION,
        examples.SUMMARY, examples.MASK_SUMMARY, examples.CARD,
        examples.ROUNDS, examples.SEARCH, examples.ROUNDS_SUMMARY,
    )  # fmt: skip
    readers = (
        Quality.from_json, Summary.from_json, ModelCard.from_json, Rounds.from_json,
        Search.from_json,
        lambda value, path: Evaluation.from_json(value, path, BoxDetails),
        lambda value, path: Evaluation.from_json(value, path, MaskDetails),
    )  # fmt: skip

    def parse(data: bytes) -> None:
        value, errors = parse_shallow_json(data, str(path), ""), []
        for read in readers:
            try:
                read(value, path).to_json()
            except InputError as error:
                errors.append(error)
        if len(errors) == len(readers):
            raise errors[0]

    return Parser([json.dumps(seed).encode() for seed in seeds], mutations.json_changed, parse)


def stage_record(folder: pathlib.Path) -> Parser:
    from configs.quickstart import get_config
    from selftrain_jax.run_files.stage import STAGE_FILE, StageResult
    from selftrain_jax.stages.records import differences, finish, make_record, read_record
    from selftrain_jax.stages.settings import deciding_settings

    settings = deciding_settings(get_config(), "student")
    wanted = make_record("student", settings, {"start": "random"}, {"jax": "0.10"}, "")
    finish(folder, wanted, {"last": StageResult(digest="0a", step=6, val=0.5)})
    path = folder / STAGE_FILE

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        found = read_record(folder)
        if found is not None:
            differences(found, wanted)

    return Parser([path.read_bytes()], mutations.json_changed, parse)


def metrics_log(folder: pathlib.Path) -> Parser:
    from selftrain_jax.run_files.metrics import merge_steps, read_metrics

    rows = [{"step": step, "train/loss": 0.5, "eval/ap": None} for step in (1, 2)]
    seed = "".join(json.dumps(row) + "\n" for row in rows).encode()

    def parse(data: bytes) -> None:
        (folder / "metrics.jsonl").write_bytes(data)
        merge_steps(read_metrics(folder / "metrics.jsonl"))

    def change(rng: np.random.Generator, seeds: Sequence[bytes]) -> bytes:
        lines = [mutations.json_changed(rng, line.splitlines()) for line in seeds]
        return b"\n".join([*lines, lines[0]]) + b"\n"

    return Parser([seed], change, parse)


def overrides(folder: pathlib.Path) -> Parser:
    import sys

    from absl import flags

    import selftrain_jax.main  # noqa: F401, it defines the options
    from selftrain_jax.command_line import parse_flags

    seeds = (
        "--config.optimizer.momentum=0.5", "--config.teacher.steps=12", "--config.image.size_px=64",
        "--config.data.dir=here", "--config.log.every_steps=1", "--config.predict.flip=True", "--host=1",
        "--config.evaluate.scales=(0.5, 1.0)", "--job=train", f"--config={CONFIG}:seed=1",
    )  # fmt: skip

    def parse(data: bytes) -> None:
        before, argument = sys.argv, data.decode("utf-8", "surrogateescape")
        try:
            sys.argv = ["main", f"--config={CONFIG}", "--workdir=x", argument]
            parse_flags(sys.argv)
        finally:
            sys.argv = before
            flags.FLAGS.unparse_flags()
            for name in [name for name in flags.FLAGS if name.startswith("config.")]:
                delattr(flags.FLAGS, name)

    return Parser([seed.encode() for seed in seeds], mutations.text_changed, parse)


def mask_values(folder: pathlib.Path) -> Parser:
    from selftrain_jax.data.sources.paired_folders import make_value_table

    seeds = [b"0=0,7=1,8=255", b"255=0, 128=1", b""]
    return Parser(seeds, mutations.text_changed, lambda data: make_value_table(_text(data), 254, 2))


def class_thresholds(folder: pathlib.Path) -> Parser:
    from selftrain_jax.selftrain.checks import class_thresholds, parse_class_thresholds

    def parse(data: bytes) -> None:
        class_thresholds(CATEGORIES, 0.5, parse_class_thresholds(_text(data), "per_class_thresholds"))

    return Parser([b"cat=0.4,stop sign=0.6", b"cat=1"], mutations.text_changed, parse)


def topology(folder: pathlib.Path) -> Parser:
    from launch.compile_for_tpu.slices import find_slice

    seeds = [b"v5e:16x16", b"v4:4x4x8", b"v6e:1x1"]
    return Parser(seeds, mutations.text_changed, lambda data: find_slice(_text(data)))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")  # as Python reads its command line
