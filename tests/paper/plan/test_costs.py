"""Device-hours, disk, downloads and money, by hand from the compiled table and the paper's steps."""

import json
import pathlib

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.paper.plan.costs import count_cost, count_costs, count_money
from selftrain_jax.paper.plan.data_sets import find_downloads
from selftrain_jax.paper.plan.graph import Labels, build_graph, find_result
from selftrain_jax.paper.plan.networks import FACTS
from selftrain_jax.paper.plan.speeds import read_compiled, read_measured, read_prices
from selftrain_jax.paper.rows import ROWS, find_row, rows

B7 = "coco_retinanet efficientnet_b7"


@pytest.fixture(scope="module")
def compiled():
    return read_compiled()


def write(path: pathlib.Path, value: object) -> pathlib.Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_device_hours_of_one_row_by_hand(compiled) -> None:
    # Table 3, row 3: 120,000 steps of 256 images; the student's step has 2,982 images/s on 64 chips of v5e.
    cost = count_cost(find_result(find_row("3", 3)), compiled)
    assert (cost.images, cost.speed.where, cost.speed.num_devices) == (30_720_000, "v5e:8x8 bfloat16", 64)
    assert cost.device_hours == pytest.approx(30_720_000 * 64 / 2_982 / 3600, rel=2e-4)
    assert cost.disk_bytes == 4 * 577_720_404


def test_a_student_has_half_pseudo_labels_and_a_joint_step_its_further_pixels(compiled) -> None:
    plain, joint = (count_cost(find_result(find_row("7", row)), compiled) for row in (2, 4))
    assert plain.images == joint.images == 90_000 * 512
    # 256 images of 224 px beside 512 of 640 px: 256 * 0.1225 = 31.36 images more.
    assert joint.device_hours / plain.device_hours == pytest.approx((512 + 31.36) / 512)


def test_masks_are_labelled_over_six_scales(compiled) -> None:
    labels = find_result(find_row("14", 4)).labels
    cost = count_cost(labels, compiled)
    # 0.5, 0.75, ... 1.75 squared add up to 8.6875; one view has 1,911 images/s on 4 chips.
    assert cost.device_hours == pytest.approx(1_281_167 * 8.6875 * 4 / 1_911 / 3600, rel=5e-4)
    assert cost.disk_bytes == 147_897_477_120


def test_the_fastest_fitting_step_of_the_networks_own_size_is_taken(compiled) -> None:
    assert {facts.name for facts in FACTS.values()} == set(compiled.train) == set(compiled.label)
    # R101: 16 / 1629 on 4x4 with remat is below 32 / 3139 without; R50 has faster rows, of 256 px.
    assert compiled.train["coco_retinanet resnet101"].where == "v5e:4x4 bfloat16, remat"
    assert compiled.train["coco_retinanet resnet50"].device_secs == pytest.approx(16 / 2600, rel=1e-3)


def test_costs_of_shared_stages_are_counted_once(compiled) -> None:
    alone = [count_costs(build_graph([row]).stages, compiled) for row in rows("3")]
    together = count_costs(build_graph(rows("3")).stages, compiled)
    assert sum(cost.steps for cost in together) == 435_000 + 675_000  # nine teachers and nine students
    teachers = sum(cost.device_hours for cost in together if cost.images == cost.steps * 256)
    difference = sum(c.device_hours for cs in alone for c in cs) - sum(c.device_hours for c in together)
    assert difference == pytest.approx(teachers)


def test_measured_speeds_replace_the_compiled_ones(tmp_path) -> None:
    path = write(
        tmp_path / "speeds.json",
        {"accelerator": "H100", "images_per_second": {B7: 100, f"{B7} label": 400}},
    )
    graph = build_graph([find_row("3", 6)])
    teacher, labels, student = count_costs(graph.stages, read_measured(path))
    assert teacher.device_hours == pytest.approx(30_720_000 / 100 / 3600)
    assert labels.device_hours == pytest.approx(1_281_167 / 400 / 3600)
    assert student.device_hours == pytest.approx(46_080_000 / 100 / 3600)
    assert count_money([teacher, student], {"H100": 2.0}) == pytest.approx(2 * 76_800_000 / 100 / 3600)


def test_labelling_without_a_speed_is_as_slow_as_training(tmp_path) -> None:
    path = write(tmp_path / "speeds.json", {"accelerator": "H100", "images_per_second": {B7: 100}})
    (labels,) = build_graph([find_row("3", 6)]).of_kind(Labels)
    assert count_cost(labels, read_measured(path)).device_hours == pytest.approx(1_281_167 / 100 / 3600)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("[]", "expected {.accelerator"),
        ({"accelerator": "H100", "images_per_second": {"vgg16": 3}}, "'vgg16' is not one of coco_retinanet"),
        ({"accelerator": "H100", "images_per_second": {B7: 0}}, "0 images a second; expected a number above"),
        ({"accelerator": "H100", "images_per_second": {B7: True}}, "True images a second"),
        ("{", "not JSON"),
    ],
)
def test_wrong_speeds_are_said(tmp_path, value: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_measured(write(tmp_path / "speeds.json", value))


def test_a_speed_or_a_price_that_is_needed_is_named(tmp_path, compiled) -> None:
    path = write(tmp_path / "speeds.json", {"accelerator": "H100", "images_per_second": {B7: 100}})
    stages = build_graph(rows("4")).stages
    with pytest.raises(InputError, match="no speed of coco_retinanet resnet50"):
        count_costs(stages, read_measured(path))
    with pytest.raises(InputError, match=r"no price of v5e.* prices are of v4, H100"):
        count_money(count_costs(stages, compiled), {"v4": 1.0, "H100": 2.0})


@pytest.mark.parametrize(
    ("name", "text"),
    [("p.json", '{"v5e": 1.2, "H100": 3}'), ("p.csv", "accelerator,price\nv5e,1.2\nH100, 3\n")],
)
def test_prices_are_json_or_csv(tmp_path, name: str, text: str) -> None:
    assert read_prices(write(tmp_path / name, text)) == {"v5e": 1.2, "H100": 3}


@pytest.mark.parametrize(
    ("name", "text"),
    [("p.json", "[]"), ("p.json", '{"v5e": -1}'), ("p.csv", "v5e,1.2\nH100,much\n"), ("p.csv", "v5e,nan\n")],
)
def test_wrong_prices_are_said(tmp_path, name: str, text: str) -> None:
    with pytest.raises(InputError, match=name):
        read_prices(write(tmp_path / name, text))


def test_no_compiled_table_says_what_to_do(tmp_path) -> None:
    with pytest.raises(InputError, match="--images-per-second=FILE"):
        read_compiled(tmp_path / "none.json")
    with pytest.raises(InputError, match="not a table of launch"):
        read_compiled(write(tmp_path / "other.json", [{"fits": True}]))


def test_downloads_are_each_named_once_and_unknown_sizes_stay_unknown() -> None:
    found = find_downloads(build_graph(rows("4")).stages)
    assert [own.name.partition(" from ")[0] for own in found] == [
        "COCO 2017: train, val, test, annotations",
        "ImageNet 2012: train, val",
        "weights: tpu-resnet50",
        "weights: simclr-resnet50-1x",
    ]
    assert [own.num_bytes for own in found] == [27_052_325_073, 154_642_401_280, None, None]
    everything = find_downloads(build_graph(ROWS).stages)
    assert len({own.name for own in everything}) == len(everything)


def test_joint_training_alone_needs_imagenet() -> None:
    names = [own.name for own in find_downloads(build_graph([find_row("7", 3)]).stages)]
    assert "ImageNet 2012: train, val" in names
    assert len(find_downloads(build_graph([find_row("7", 1)]).stages)) == 1
