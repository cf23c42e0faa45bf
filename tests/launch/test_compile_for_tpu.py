"""What is read off a step compiled for a TPU slice, and what is compiled; libtpu is not needed."""

import json
import pathlib

import jax
import jax.numpy as jnp
import pytest

from configs import common
from launch.compile_for_tpu.abstract import label_step, selection_step, training_step
from launch.compile_for_tpu.collectives import count_collectives
from launch.compile_for_tpu.measure import Measured, estimate_secs, measure
from launch.compile_for_tpu.report import _read_need, add_to_table, advice, format_row, largest_batch
from launch.compile_for_tpu.slices import find_slice
from launch.compile_for_tpu.table import format_table
from selftrain_jax.errors import InputError

HLO = """
  %all-reduce.1 = f32[256,64]{1,0:T(8,128)} all-reduce(f32[256,64]{1,0} %a), replica_groups={{0,1}}
  %all-reduce-start = (f32[100]{0}, bf16[50]{0}) all-reduce-start(f32[100]{0} %b, bf16[50]{0} %c)
  %all-reduce-done = (f32[100]{0}, bf16[50]{0}) all-reduce-done((f32[100]{0}, bf16[50]{0}) %all-reduce-start)
  %g = (bf16[8,16]{1,0}, bf16[32,16]{1,0}) all-gather-start(bf16[8,16]{1,0} %d), dimensions={0}
  %p = (f32[10]{0}, f32[10]{0}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(f32[10]{0} %e)
  ROOT %s = (f32[3]{0:T(128)S(1)}, bf16[5]{0}, /*index=5*/f32[]{:T(128)}) all-reduce(%m, %n, /*index=5*/%o)
  %t = f32[3]{0:T(128)} get-tuple-element(%all-reduce.1), metadata={op_name="all-reduce"}
  %add = f32[9]{0} add(f32[9]{0} %x, f32[9]{0} %y)
"""


def test_bytes_of_collectives_by_hand() -> None:
    assert count_collectives(HLO) == {
        "all-reduce": 4 * 256 * 64 + 4 * 100 + 2 * 50 + 4 * 3 + 2 * 5,
        "all-gather": 2 * 32 * 16,
        "collective-permute": 4 * 10,
    }


def test_the_selection_has_the_anchors_of_the_padded_size() -> None:
    config = common.get_config()
    config.image.size_px = 600
    logits, outputs = selection_step(config, jax.devices()[:1]).arguments
    assert logits.shape == (8, 76725, 91)  # of 640 px
    assert outputs.shape == (8, 76725, 4)


@pytest.mark.parametrize(
    ("name", "chips", "hbm_gib"), [("v5e:16x16", 256, 16), ("v4:4x4x8", 128, 32), ("v5p:2x2x1", 4, 95)]
)
def test_slices(name: str, chips: int, hbm_gib: int) -> None:
    found = find_slice(name)
    assert (found.num_chips, found.chip.hbm_gib) == (chips, hbm_gib)


@pytest.mark.parametrize(
    ("name", "host_part"), [("v5e:16x16", "v5e:2x2"), ("v4:4x4x8", "v4:2x2x1"), ("v6e:2x2", "v6e:2x2")]
)
def test_a_host_of_a_slice_has_four_chips(name: str, host_part: str) -> None:
    assert find_slice(name).host_part() == find_slice(host_part)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("v4:4x4", "v4 has 3 sides, got 2"),
        ("v5e:16", "v5e has 2 sides, got 1"),
        *(
            (name, "generations are v4, v5e, v5p, v6e")
            for name in ("v5e", "v9:4x4", "v5e:0x4", "v5e:4x4x", "")
        ),
    ],
)
def test_an_unknown_slice_is_refused_with_the_known_ones(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_slice(name)


def measured(**changes: object) -> Measured:
    sizes = dict(arguments_gib=1.0, outputs_gib=0.5, temporaries_gib=6.0, program_gib=0.1)
    work = dict(tflops=197.0, analytic_tflops=190.0, hbm_gb=81.9, collective_mb={"all-reduce": 20_000.0})
    return Measured(**{**dict(compile_secs=1.0, images=4.0), **sizes, **work, **changes})


def test_bounds_and_largest_batch_by_hand() -> None:
    v5e = find_slice("v5e:4x4")
    assert measured().peak_gib == pytest.approx(7.6)
    assert estimate_secs(measured(), v5e) == pytest.approx({"computing": 1.0, "memory": 0.1, "network": 0.1})
    assert largest_batch(measured(), v5e) == 9  # (16 - 0.4 - 1.6) / 1.5 = 9.3
    assert largest_batch(measured(arguments_gib=20.0), v5e) == 0


def row(**changes: object) -> dict:
    facts = dict(config="c", step="student", topology="v5e:4x4", image_size_px=64, batch_size=16)
    facts |= dict(mesh={"data": 16}, remat="none", dtype="float32", hbm_gib=16, images=1.0)
    return {**facts, "fits": False, "why": "Ran out of memory", **changes}


def test_advice_follows_from_what_was_found() -> None:
    text = format_row(row())
    assert "does not fit: Ran out of memory" in text
    for option in ("remat=convolutions", "dtype=bfloat16", "mesh.space=2", "accumulation=2"):
        assert option in text
    assert "mesh.space" not in "\n".join(advice(row(images=4.0)))
    assert "remat" not in "\n".join(advice(row(remat="convolutions")))
    assert "half the chips" in advice(row(fits=True, largest_batch_a_device=2))[0]
    assert advice(row(fits=True, largest_batch_a_device=1)) == ["  fits"]


def test_the_table_says_what_fits_and_what_does_not() -> None:
    facts = row(arguments_gib=1.0, outputs_gib=0.5, temporaries_gib=6.0, program_gib=0.1, peak_gib=7.6)
    facts |= dict(tflops=2.0, analytic_tflops=1.5, collective_mb={"all-reduce": 90.0, "all-gather": 10.0})
    facts |= dict(bound_secs={"computing": 0.01, "memory": 0.04}, images_per_sec_at_best=400.0)
    facts |= dict(
        largest_batch_a_device=2, compile_secs=60.4, fits=True, remat="convolutions", dtype="bfloat16"
    )
    spread = row(temporaries_gib=24.78, mesh={"data": 8, "space": 2}, dtype="float32")
    *_, fitting, failing = format_table([facts, spread]).splitlines()
    assert [cell.strip() for cell in fitting.split("|")[1:-1]] == [
        "c", "student", "64", "16", "v5e:4x4", "1", "bfloat16", "convolutions", "7.6 of 16", "6.0",
        "2.00 (1.50)", "100.0", "memory 40 ms", "400", "2", "60",
    ]  # fmt: skip
    assert [cell.strip() for cell in failing.split("|")[5:11]] == [
        "v5e:4x4, space 2", "1", "float32", "all", "does not fit 16", "24.8"
    ]  # fmt: skip
    assert failing.count("|") == fitting.count("|")


def test_what_a_step_asked_for_is_read_from_the_compilers_message() -> None:
    message = (
        "Ran out of memory on HBM, the total memory required for HLO temporaries (24.78G) exceeds (15.75G)."
    )
    assert _read_need(RuntimeError(message)) == {"temporaries_gib": 24.78}
    assert _read_need(RuntimeError("something else")) == {}


def test_a_row_takes_the_place_of_an_earlier_one_of_the_same_run(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "table.json"
    for added in (row(), row(step="label"), row(why="again")):
        add_to_table(path, added)
    assert [(r["step"], r["why"]) for r in json.loads(path.read_text())] == [
        ("label", "Ran out of memory"),
        ("student", "again"),
    ]


def small_config() -> object:
    config = common.get_config()
    config.data.kind, config.image.size_px = "coco", 64
    config.model.update(
        backbone="resnet18", width_factor=0.125, fpn_channels=16, max_level=5, dtype="float32"
    )
    config.teacher.batch_size = config.eval.batch_size = 4
    return config


@pytest.mark.compiles
def test_the_real_step_is_what_is_compiled_here_for_two_cpu_devices() -> None:
    step = training_step(small_config(), "teacher", jax.devices()[:2])
    found = measure(step, is_training=True)
    assert found.images == 2
    assert 0.8 < found.tflops / found.analytic_tflops < 1.6
    assert found.arguments_gib > 0
    assert found.temporaries_gib > 0
    weights_mb = sum(leaf.size for leaf in jax.tree.leaves(step.arguments[0].variables["params"])) * 4 / 1e6
    assert found.collective_mb["all-reduce"] > weights_mb  # a head's gradients are summed level by level


@pytest.mark.compiles
def test_labelling_is_split_over_a_hosts_devices() -> None:
    step = label_step(small_config(), jax.devices()[:2])
    images, covered_px = step.arguments[1]
    assert (images.dtype, covered_px.dtype) == (jnp.uint8, jnp.int32)
    assert images.sharding.shard_shape(images.shape) == (2, 64, 64, 3)
    assert step.multiply_adds > 0


def test_data_of_the_users_own_is_refused() -> None:
    config = small_config()
    config.data.kind = "folder"
    with pytest.raises(InputError, match="only runs on COCO or VOC"):
        training_step(config, "teacher", jax.devices()[:1])
