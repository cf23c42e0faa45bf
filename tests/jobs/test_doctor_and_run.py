"""What the doctor lets pass the run accepts, what it refuses the run refuses, and their remedies work."""

import json
import pathlib
import re
from collections.abc import Callable

import pytest

from selftrain_jax.build.data import build_sources, check_data_sets
from selftrain_jax.build.image_checks import check_images
from selftrain_jax.data.source import Source, label_fraction
from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.types import Category

pytestmark = pytest.mark.tf


def edit_classes(path: pathlib.Path, edit: Callable[[list[dict]], None]) -> None:
    truth = json.loads(path.read_text())
    edit(truth["categories"])
    listed = {category["id"] for category in truth["categories"]}
    truth["annotations"] = [box for box in truth["annotations"] if box["category_id"] in listed]
    path.write_text(json.dumps(truth))


def exchange_two_names(categories: list[dict]) -> None:
    categories[0]["name"], categories[1]["name"] = categories[1]["name"], categories[0]["name"]


def drop_two(categories: list[dict]) -> None:
    del categories[3:5]


def follow_remedy(config, message: str) -> None:
    """Set the keys that a message tells to set, as one would who pastes them."""
    found = re.findall(r"--config\.([a-z_.]+)=(\S+?)[.:;,]?(?=\s|$)", message)
    assert found, message
    for key, value in found:
        group, name = key.split(".")
        config[group][name] = type(config[group][name])(value)


def errors_of_doctor(config, workdir: pathlib.Path) -> str:
    """Run the doctor, which must refuse; return the errors that it lists."""
    with pytest.raises(InputError, match="errors"):
        run_job("doctor", config, workdir)
    verdicts = json.loads((workdir / "doctor.json").read_text())["verdicts"]
    return "\n".join(
        f"{verdict['finding']} {verdict['remedy']}" for verdict in verdicts if verdict["level"] == "error"
    )


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (drop_two, "only coco:train has 4 '3', 5 '4'"),
        (exchange_two_names, "only coco:val has 1 '1', 2 '0'; only coco:train has 1 '0', 2 '1'"),
    ],
)
def test_splits_with_other_classes_are_refused_by_doctor_and_run_and_go_on_as_the_message_says(
    edit, words: str, config, tmp_path: pathlib.Path
) -> None:
    before = build_sources(config).human.categories
    edit_classes(tmp_path / "annotations" / "val.json", edit)
    with pytest.raises(InputError) as error:
        build_sources(config)
    assert words in str(error.value)
    assert words in errors_of_doctor(config, tmp_path / "run")
    follow_remedy(config, str(error.value))
    run_job("doctor", config, tmp_path / "run")
    sources = build_sources(config)
    assert sources.human.categories == sources.val.categories == before


def test_classes_of_coco_are_chosen_by_name_in_any_order_with_the_ids_of_train(
    config, tmp_path: pathlib.Path
) -> None:
    edit_classes(tmp_path / "annotations" / "val.json", exchange_two_names)
    all_val = [*range(2)]
    names_before = _names_of_boxes(build_one(config, "val"), all_val)
    config.data.classes = "7,0,1"
    sources = build_sources(config)
    assert sources.val.categories == (Category(1, "0"), Category(2, "1"), Category(8, "7"))
    kept = [[name for name in names if name in "017"] for names in names_before]
    assert _names_of_boxes(sources.val, all_val) == kept
    assert any(kept)


def build_one(config, split: str) -> Source:
    return get_task("detection").open_split(config, "data", split)


def _names_of_boxes(source: Source, indices: list[int]) -> list[list[str]]:
    names = dict(source.categories)
    return [[names[int(number)] for number in source.read_labels(index)["classes"]] for index in indices]


def test_class_that_train_does_not_have_is_refused_by_doctor_and_run(config, tmp_path: pathlib.Path) -> None:
    config.data.classes = "0,nonsense"
    with pytest.raises(InputError, match=r"config\.data\.classes: .*'nonsense'"):
        build_sources(config)
    assert "could not be opened" in errors_of_doctor(config, tmp_path / "run")
    assert "'nonsense'" in (tmp_path / "run" / "doctor.json").read_text()


def test_doctor_refuses_unreadable_unlabelled_images_by_the_runs_limit(
    config, tmp_path: pathlib.Path
) -> None:
    image = tmp_path / "more" / "0.png"
    image.write_bytes(image.read_bytes()[:500])
    with pytest.raises(InputError) as error:
        check_images(config, build_sources(config))
    found = errors_of_doctor(config, tmp_path / "run")
    assert "unlabelled: 1 of 2 images do not decode, allowed are 0" in found
    follow_remedy(config, found)
    run_job("doctor", config, tmp_path / "run")
    check_images(config, build_sources(config))
    config.data.max_bad_images = 0
    follow_remedy(config, str(error.value))
    assert config.data.max_bad_images == 1


def test_doctor_refuses_bad_boxes_of_the_unlabelled_set_as_the_run_does(
    config, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "annotations" / "more.json"
    truth = json.loads((tmp_path / "annotations" / "train.json").read_text())
    truth["annotations"][0]["bbox"][2] = 0
    path.write_text(json.dumps(truth))
    config.unlabeled.update(
        kind="coco", annotations="annotations/more.json", images="images", dir=str(tmp_path)
    )
    with pytest.raises(InputError) as error:
        build_sources(config)
    errors_of_doctor(config, tmp_path / "run")
    follow_remedy(config, str(error.value))
    build_sources(config)
    run_job("doctor", config, tmp_path / "run")


def test_unknown_class_of_a_threshold_is_refused_by_doctor_and_before_the_run(
    config, tmp_path: pathlib.Path
) -> None:
    config.pseudo.per_class_thresholds = "cat=0.4"
    with pytest.raises(InputError, match=r"config\.pseudo\..*'cat'"):
        build_sources(config)
    assert "unknown classes 'cat'" in errors_of_doctor(config, tmp_path / "run")


def crowd_an_image(path: pathlib.Path, num_boxes: int) -> None:
    truth = json.loads(path.read_text())
    first = truth["annotations"][0]
    truth["annotations"] = [
        {**first, "id": number, "bbox": [number % 40, number // 40, 8, 8], "area": 64}
        for number in range(num_boxes)
    ]
    path.write_text(json.dumps(truth))


def test_image_with_more_boxes_than_slots_is_refused_by_doctor_and_run_and_goes_on_as_they_say(
    config, tmp_path: pathlib.Path
) -> None:
    crowd_an_image(tmp_path / "annotations" / "train.json", 132)
    with pytest.raises(InputError, match=r"1 of 3 images have more .*=100; image \S+ has 132") as error:
        build_sources(config)
    assert "has 132" in errors_of_doctor(config, tmp_path / "run")
    follow_remedy(config, str(error.value))
    assert config.image.max_boxes == 132
    build_sources(config)
    run_job("doctor", config, tmp_path / "run")


def test_only_boxes_that_are_trained_on_need_slots(config, tmp_path: pathlib.Path) -> None:
    crowd_an_image(tmp_path / "annotations" / "val.json", 132)
    build_sources(config)
    path = tmp_path / "annotations" / "train.json"
    crowd_an_image(path, 132)
    truth = json.loads(path.read_text())
    for box in truth["annotations"][100:]:
        box["iscrowd"] = 1
    path.write_text(json.dumps(truth))
    build_sources(config)
    crowd_an_image(path, 132)
    crowded = truth["annotations"][0]["image_id"]
    config.unlabeled.kind = "remainder"
    config.data.label_percent = 67.0
    has_labels = [str(crowded) in _labelled_ids(config, fold) for fold in range(9)]
    config.data.label_fold = has_labels.index(False)
    build_sources(config)
    config.data.label_fold = has_labels.index(True)
    with pytest.raises(InputError, match="max_boxes"):
        build_sources(config)


def _labelled_ids(config, fold: int) -> tuple[str, ...]:
    train = build_one(config, "train")
    kept, _ = label_fraction(len(train), config.data.label_percent, seed=config.seed, fold=fold)
    return tuple(train.image_ids[index] for index in kept)


def test_doctor_and_run_refuse_fewer_slots_than_detections_and_go_on_as_they_say(
    config, tmp_path: pathlib.Path
) -> None:
    config.image.max_boxes = 99
    with pytest.raises(InputError) as error:
        check_data_sets(config)
    assert "max_detections=100" in errors_of_doctor(config, tmp_path / "run")
    follow_remedy(config, str(error.value))
    check_data_sets(config)
    run_job("doctor", config, tmp_path / "run")


@pytest.mark.parametrize(
    ("key", "value"), [("threshold", 0.03), ("per_class_thresholds", "7=0.0312"), ("ignore_below", 0.04)]
)
def test_scores_that_no_record_will_have_are_refused_before_the_teacher_and_go_on_as_told(
    key: str, value, config, tmp_path: pathlib.Path
) -> None:
    config.pseudo[key] = value
    with pytest.raises(InputError, match=r"below 0\.05 are not kept") as error:
        check_data_sets(config)
    assert "are not kept" in errors_of_doctor(config, tmp_path / "run")
    follow_remedy(config, str(error.value))
    check_data_sets(config)
    run_job("doctor", config, tmp_path / "run")


def test_all_labelled_leaves_no_remainder(config, tmp_path: pathlib.Path) -> None:
    config.unlabeled.kind = "remainder"
    with pytest.raises(InputError, match="label_percent"):
        build_sources(config)
    errors_of_doctor(config, tmp_path / "run")
    assert "label_percent" in (tmp_path / "run" / "doctor.json").read_text()
    config.data.label_percent = 67.0
    assert len(build_sources(config).unlabeled) == 1
    run_job("doctor", config, tmp_path / "run")


def test_bad_box_is_left_out_as_the_message_says(config, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "annotations" / "train.json"
    truth = json.loads(path.read_text())
    truth["annotations"][0]["bbox"][2] = 0
    path.write_text(json.dumps(truth))
    with pytest.raises(InputError) as error:
        build_sources(config)
    follow_remedy(config, str(error.value))
    build_sources(config)
    run_job("doctor", config, tmp_path / "run")
