"""Splits that do not leak: divided by groups, copies left out, a gold set; by run and doctor alike."""

import hashlib
import json
import pathlib
import re
import shlex

import numpy as np
import pytest
from PIL import Image

from selftrain_jax.build.data import build_sources
from selftrain_jax.build.set_apart import Sources
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job
from selftrain_jax.jobs.run import digest_data
from selftrain_jax.tasks.detection.coco_export import write_coco_json

pytestmark = pytest.mark.tf
SEQUENCES, FRAMES = 4, 5
BY_SEQUENCE = r"^(seq\d+)_"


@pytest.fixture
def frames(config, tmp_path: pathlib.Path):
    """Own data of 4 sequences of 5 frames, brighter from frame to frame; all in one split, all.json."""
    scenes = read_builtin("train", num_images=SEQUENCES, image_size_px=64)
    write_coco_json(scenes, tmp_path / "scenes.json")
    scene = json.loads((tmp_path / "scenes.json").read_text())
    images, boxes = [], []
    for number in range(SEQUENCES * FRAMES):
        sequence, frame = divmod(number, FRAMES)
        name, pixels = f"seq{sequence}_{100 + frame:06d}.png", scenes.read_image(sequence)
        Image.fromarray((pixels * (0.9 + 0.02 * frame)).astype(np.uint8)).save(tmp_path / "images" / name)
        images.append({"id": number + 1, "file_name": name, "width": 64, "height": 64})
        own = [box for box in scene["annotations"] if box["image_id"] == scene["images"][sequence]["id"]]
        boxes += [{**box, "id": len(boxes) + at, "image_id": number + 1} for at, box in enumerate(own)]
    write_split(tmp_path, "all", images, boxes, scene["categories"])
    config.data.train, config.unlabeled.kind = "all", "none"
    return config


def write_split(root: pathlib.Path, split: str, images, boxes, categories) -> None:
    listed = {image["id"] for image in images}
    document = {
        "images": images,
        "annotations": [box for box in boxes if box["image_id"] in listed],
        "categories": categories,
    }
    (root / "annotations" / f"{split}.json").write_text(json.dumps(document))


def scatter(root: pathlib.Path) -> None:
    """Put the frames into train, val and test in turn, as a random split does."""
    whole = json.loads((root / "annotations" / "all.json").read_text())
    for split, rest in {"train": (0, 1, 2), "val": (3,), "test": (4,)}.items():
        images = [image for image in whole["images"] if (image["id"] - 1) % FRAMES in rest]
        write_split(root, split, images, whole["annotations"], whole["categories"])


def sequences(source) -> set[str]:
    return {re.findall(BY_SEQUENCE, name)[0] for name in source.file_names}


def verdicts(workdir: pathlib.Path) -> list[dict]:
    return json.loads((workdir / "doctor.json").read_text())["verdicts"]


def about(words: str, workdir: pathlib.Path) -> list[dict]:
    return [verdict for verdict in verdicts(workdir) if words in verdict["finding"]]


def set_keys(config, remedy: str) -> None:
    """Set the keys of a remedy as a shell would read them."""
    found = [word for word in shlex.split(remedy) if word.startswith("--config.")]
    assert found, remedy
    for word in found:
        key, _, value = word.removeprefix("--config.").partition("=")
        group, name = key.split(".")
        value = value.rstrip(".") if value != remedy else value
        config[group][name] = value == "True" if isinstance(config[group][name], bool) else value


def test_images_without_splits_are_divided_by_whole_sequences_and_the_counts_are_said(
    frames, capsys: pytest.CaptureFixture
) -> None:
    frames.data.update(split="0.5,0.25,0.25", group_by=BY_SEQUENCE)
    sources = build_sources(frames)
    assert "train 10, val 5, test 5; of 4 groups: train 2, val 1, test 1" in capsys.readouterr().out
    parts = [sequences(source) for source in (sources.human, sources.val, sources.test)]
    assert sum(map(len, parts)) == SEQUENCES
    assert sources.human.name == "coco:all, train of 0.5,0.25,0.25, 100 % labelled"
    names = [sources.val.file_names[index] for index in range(5)]
    assert all(name.startswith(f"{next(iter(parts[1]))}_0001") for name in names)


def test_another_split_is_another_data_set(frames) -> None:
    frames.data.split = "0.5,0.25,0.25"
    before = digest_data(build_sources(frames), None)
    frames.data.split = "0.5,0.2,0.25"
    after = digest_data(build_sources(frames), None)
    assert [key for key in before if before[key] != after[key]] == ["val"]


def test_labels_are_taken_by_whole_sequences_and_the_others_remain_for_the_teacher(frames) -> None:
    frames.data.update(split="0.5,0.25,0.25", group_by=BY_SEQUENCE, label_percent=50.0)
    frames.unlabeled.kind = "remainder"
    sources = build_sources(frames)
    assert sources.unlabeled is not None
    assert len(sources.human) == len(sources.unlabeled) == 5
    assert not sequences(sources.human) & sequences(sources.unlabeled)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"split": "70,10,20"}, r"split=70,10,20 sums to 100: are they percentages\?.*=0\.7,0\.1,0\.2"),
        ({"split": "0.7,0.3"}, r"split='0.7,0.3'; expected the shares"),
        ({"split": "0.7,nan,0.1"}, "expected the shares"),
        ({"split": "0.9,-0.1,0.1"}, "train and val need images"),
        ({"split": "0.9,0.1,0"}, r"no image to test on.*--config\.data\.gold=FILE"),
        ({"split": "0.7,0.1,0.2", "group_by": "("}, r"group_by='\(' is no regular expression: missing \)"),
        ({"split": "0.7,0.1,0.2", "group_by": "seq"}, "puts all 20 images of coco:all into one group, 'seq'"),
        (
            {"split": "0.7,0.1,0.2", "group_by": "seq[01]"},
            "finds nothing in 10 of the 20 names .*'seq2_000100",
        ),
    ],
)
def test_split_that_cannot_be_made_is_refused_by_run_and_doctor(keys, words: str, frames, tmp_path) -> None:
    frames.data.update(keys)
    with pytest.raises(InputError, match=words):
        build_sources(frames)
    with pytest.raises(InputError, match="errors"):
        run_job("doctor", frames, tmp_path / "run")
    errors = [verdict["finding"] for verdict in verdicts(tmp_path / "run") if verdict["level"] == "error"]
    assert any(re.search(words, error) for error in errors)


def test_doctor_finds_frames_on_both_sides_and_its_regex_keeps_them_together(frames, tmp_path) -> None:
    scatter(tmp_path)
    frames.data.train = "train"
    run_job("doctor", frames, tmp_path / "run")
    found = about("neighbours in time", tmp_path / "run")
    assert [verdict["finding"].split(":")[0] for verdict in found] == ["val", "test"]
    assert "val: 4 of 4 images are neighbours in time of an image of train" in found[0]["finding"]
    assert "(4 groups of 5 to 5 images; " in found[0]["remedy"]
    frames.data.train = "all"
    set_keys(frames, found[0]["remedy"])
    run_job("doctor", frames, tmp_path / "run")
    assert about("neighbours in time", tmp_path / "run") == []
    assert sum(len(sequences(source)) for source in measured(build_sources(frames))) == SEQUENCES


def measured(sources: Sources):
    return sources.human, sources.val, sources.test


def copy_to(config, image_id: int, split: str, name: str) -> None:
    """Copy an image's file under another name, into a split's list or, without one, the unlabelled folder."""
    root = pathlib.Path(config.data.dir)
    whole = json.loads((root / "annotations" / "all.json").read_text())
    (image,) = [image for image in whole["images"] if image["id"] == image_id]
    encoded = (root / "images" / image["file_name"]).read_bytes()
    if not split:
        (pathlib.Path(config.unlabeled.dir) / name).write_bytes(encoded)
        return
    (root / "images" / name).write_bytes(encoded)
    path = root / "annotations" / f"{split}.json"
    document = json.loads(path.read_text())
    box = next(box for box in whole["annotations"] if box["image_id"] == image_id)
    document["images"].append({**image, "id": 900 + image_id, "file_name": name})
    document["annotations"].append({**box, "id": 9000 + image_id, "image_id": 900 + image_id})
    path.write_text(json.dumps(document))


def test_copies_of_what_is_measured_are_left_out_of_training_and_counted(
    frames, tmp_path, capsys: pytest.CaptureFixture
) -> None:
    scatter(tmp_path)
    frames.data.train, frames.unlabeled.kind = "train", "folder"
    copy_to(frames, 4, "train", "other_name.png")  # of val
    copy_to(frames, 5, "", "copy.png")  # of test
    before = build_sources(frames)
    with pytest.raises(InputError, match="errors"):
        run_job("doctor", frames, tmp_path / "run")
    errors = [verdict for verdict in verdicts(tmp_path / "run") if verdict["level"] == "error"]
    assert [error["finding"] for error in errors] == [
        "val: 1 of 4 images equal an image of train",
        "test: 1 of 4 images equal an image of unlabelled",
    ]
    for error in errors:
        set_keys(frames, error["remedy"])
    assert frames.data.drop_leaks is True
    capsys.readouterr()
    after = build_sources(frames)
    said = "left out as copies of val or test: 1 of train, 1 unlabelled"
    assert said in capsys.readouterr().out
    assert set(before.human.image_ids) - set(after.human.image_ids) == {"904"}
    assert before.unlabeled is not None
    assert after.unlabeled is not None
    assert set(before.unlabeled.image_ids) - set(after.unlabeled.image_ids) == {"copy.png"}
    assert after.val.image_ids == before.val.image_ids
    run_job("doctor", frames, tmp_path / "run")


def draw_gold(config, path: pathlib.Path, count: int = 5) -> dict:
    config.gold.update(count=count, file=str(path))
    run_job("gold", config, path.parent / "unused")
    assert not (path.parent / "unused").exists()
    return json.loads(path.read_text())


def test_gold_set_is_drawn_once_by_content_and_is_the_test_split_of_every_later_run(
    frames, tmp_path, capsys: pytest.CaptureFixture
) -> None:
    frames.data.update(split="0.8,0.2,0", group_by=BY_SEQUENCE)
    drawn = draw_gold(frames, tmp_path / "gold.json")
    assert "gold set: 5 of 15 images, 1 of 3 groups of coco:all, train" in capsys.readouterr().out
    names = [image["name"] for image in drawn["images"]]
    hashes = [hashlib.sha256((tmp_path / "images" / name).read_bytes()).hexdigest() for name in names]
    assert [image["sha256"] for image in drawn["images"]] == hashes
    assert (drawn["seed"], drawn["group_by"]) == (0, BY_SEQUENCE)
    with pytest.raises(InputError, match=r"gold\.json exists, and a gold set is never overwritten"):
        draw_gold(frames, tmp_path / "gold.json")
    assert draw_gold(frames, tmp_path / "again.json")["images"] == drawn["images"]

    frames.data.gold, frames.unlabeled.kind = str(tmp_path / "gold.json"), "folder"
    number = int(names[0][3]) * FRAMES + 1
    copy_to(frames, number, "", "renamed.png")
    sources = build_sources(frames)
    assert "5 images are the test split; left out: 5 of train, 0 of val, 1 unl" in capsys.readouterr().out
    assert sorted(sources.test.file_names) == sorted(names)
    assert sources.unlabeled is not None
    assert "renamed.png" not in sources.unlabeled.image_ids
    used = {*sources.human.file_names, *sources.val.file_names}
    assert len(used) == 15
    assert not used & set(names)
    whole = json.loads((tmp_path / "annotations" / "all.json").read_text())
    boxes = [box for box in whole["annotations"] if str(box["image_id"]) == sources.test.image_ids[0]]
    assert len(sources.test.read_labels(0)["boxes"]) == len(boxes)
    run_job("doctor", frames, tmp_path / "run")


def test_gold_set_is_found_under_other_names_and_in_another_seeds_split(frames, tmp_path) -> None:
    frames.data.split = "0.5,0.25,0.25"
    names = {image["name"] for image in draw_gold(frames, tmp_path / "gold.json")["images"]}
    frames.data.gold, frames.seed = str(tmp_path / "gold.json"), 7
    path = tmp_path / "annotations" / "all.json"
    whole = json.loads(path.read_text())
    for image in whole["images"]:
        new = f"renamed_{image['file_name']}"
        (tmp_path / "images" / image["file_name"]).rename(tmp_path / "images" / new)
        image["file_name"] = new
    path.write_text(json.dumps(whole))
    sources = build_sources(frames)
    assert {name.removeprefix("renamed_") for name in sources.test.file_names} == names
    used = {*sources.human.file_names, *sources.val.file_names}
    assert not {name.removeprefix("renamed_") for name in used} & names


def test_gold_set_is_measured_where_a_data_set_has_no_test_split(frames, tmp_path) -> None:
    scatter(tmp_path)
    frames.data.train = "train"
    draw_gold(frames, tmp_path / "gold.json")
    (tmp_path / "annotations" / "test.json").unlink()
    frames.data.gold = str(tmp_path / "gold.json")
    sources = build_sources(frames)
    assert (len(sources.human), len(sources.val), len(sources.test)) == (7, 4, 5)
    run_job("doctor", frames, tmp_path / "run")


@pytest.mark.parametrize("count", [20, 50])
def test_gold_set_as_large_as_the_labelled_part_is_refused(count: int, frames, tmp_path) -> None:
    with pytest.raises(InputError, match=rf"gold\.count={count}, but coco:all, 100 % labelled has 20 images"):
        draw_gold(frames, tmp_path / "gold.json", count)
    assert not (tmp_path / "gold.json").exists()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"gold.file": ""}, r"name it, as --config\.gold\.file=gold\.json"),
        ({"gold.count": 0}, r"gold\.count=0; expected how many"),
        ({"data.gold": "x.json"}, r"data\.gold=x\.json is a gold set already"),
        ({"gold.file": "no_folder/gold.json"}, "no_folder is no folder"),
    ],
)
def test_gold_set_that_cannot_be_drawn_is_refused(keys, words: str, frames, tmp_path) -> None:
    frames.gold.update(count=5, file=str(tmp_path / "gold.json"))
    for key, value in keys.items():
        group, name = key.split(".")
        frames[group][name] = value
    with pytest.raises(InputError, match=words):
        run_job("gold", frames, tmp_path / "run")


def test_gold_set_that_is_damaged_or_not_whole_is_refused_by_run_and_doctor(frames, tmp_path) -> None:
    frames.data.split, path = "0.8,0.1,0.1", tmp_path / "gold.json"
    drawn = draw_gold(frames, path)
    frames.data.gold = str(path)
    changed = tmp_path / "images" / drawn["images"][2]["name"]
    Image.open(changed).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(changed)
    with pytest.raises(InputError, match=rf"1 of its 5 images are not in .*{changed.name}"):
        build_sources(frames)
    with pytest.raises(InputError, match="errors"):
        run_job("doctor", frames, tmp_path / "run")
    assert about("1 of its 5 images are not in", tmp_path / "run")
    drawn["images"][0]["sha256"] = "short"
    path.write_text(json.dumps(drawn))
    with pytest.raises(InputError, match=r"images\[0\].*expected name, sha256"):
        build_sources(frames)
    path.write_text(json.dumps({"kind": "something"}))
    with pytest.raises(InputError, match="no gold set of version 1"):
        build_sources(frames)
    path.unlink()
    with pytest.raises(InputError, match=r"does not exist: name the file that --job=gold wrote"):
        build_sources(frames)
