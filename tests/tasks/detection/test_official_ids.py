"""An evaluation on TFDS's coco/2017 against COCO's own annotation file, judged by pycocotools."""

import json
import pathlib
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.tfds import read_tfds
from selftrain_jax.io import read_json, write_json
from selftrain_jax.report.workdir import StageFiles
from selftrain_jax.tasks.detection.coco_export import source_ids, write_coco_json
from selftrain_jax.tasks.detection.inference import Detector, evaluate_source
from selftrain_jax.tasks.detection.report.sections import detections_by_image
from selftrain_jax.tasks.detection.spec import DETECTION
from selftrain_jax.types import Detections, FittedImages
from tests.data.sources.tfds_files import HEIGHT, WIDTH, bbox, coco_example, prepare

pytestmark = pytest.mark.tf

OFFICIAL_CLASSES = sorted(set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})  # by TFDS's label
IMAGE_IDS = (397133, 37777, 252219)  # not in the order of TFDS's records, nor of their positions
OBJECTS = [  # (ymin, xmin, ymax, xmax) in px, TFDS's label, whether it is a crowd
    [((4, 6, 20, 30), 0, False), ((10, 12, 38, 57), 79, False), ((0, 0, 40, 60), 79, True)],
    [((1, 3, 35, 44), 11, False)],
    [((8, 5, 25, 50), 45, False), ((2, 2, 18, 17), 0, False)],
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    data_dir = tmp_path_factory.mktemp("coco")
    fractions = np.array([HEIGHT, WIDTH, HEIGHT, WIDTH])
    examples = [
        coco_example(
            50 * number,
            *((label, bbox(*(box / fractions)), crowd) for box, label, crowd in objects),
            image_id=image_id,
        )
        for number, (image_id, objects) in enumerate(zip(IMAGE_IDS, OBJECTS, strict=True))
    ]
    prepare(data_dir, "coco/2017", examples)
    return read_tfds("coco/2017", "train", data_dir=data_dir)


def instances() -> dict[str, Any]:
    """Write the same truth as COCO's own file does: by image id, with COCO's ids and areas of outlines."""
    annotations = [
        {
            "id": 1000 + 10 * number + k,
            "image_id": image_id,
            "category_id": OFFICIAL_CLASSES[label],
            "bbox": [box[1], box[0], box[3] - box[1], box[2] - box[0]],
            "area": 0.6 * (box[3] - box[1]) * (box[2] - box[0]),
            "iscrowd": int(crowd),
        }
        for number, (image_id, objects) in enumerate(zip(IMAGE_IDS, OBJECTS, strict=True))
        for k, (box, label, crowd) in enumerate(objects)
    ]
    images = [
        {"id": image_id, "file_name": f"{image_id:012d}.jpg", "height": HEIGHT, "width": WIDTH}
        for image_id in sorted(IMAGE_IDS)
    ]
    categories = [{"id": id, "name": f"class {id}"} for id in OFFICIAL_CLASSES]
    return {"images": images, "annotations": annotations, "categories": categories}


def perfect_detector(source: Source) -> Detector:
    """Find every object but crowds; how light an image is says which it is."""
    labels = [source.read_labels(index) for index in range(len(source))]

    def predict(_: Any, fitted: FittedImages) -> Detections:
        boxes, classes = np.zeros((1, 4, 4), np.float32), np.zeros((1, 4), np.int32)
        found = labels[round(float(fitted.images[0, 0, 0, 0]) / 50)]
        kept = np.flatnonzero(~found["is_crowd"])
        boxes[0, : len(kept)], classes[0, : len(kept)] = found["boxes"][kept], found["classes"][kept]
        return Detections(boxes, 0.9 * (classes > 0).astype(np.float32), classes, classes > 0)

    return Detector(
        place=lambda variables: variables,
        predict=predict,
        load=lambda image: (np.full((64, 64, 3), image[0, 0, 0]), np.array(image.shape[:2])),
        batch_size=1,
        image_size_px=64,
        score_floor=0.05,
        eval_backend="pycocotools",
    )


def judge(truth: pathlib.Path, results: pathlib.Path) -> np.ndarray:
    coco = COCO(str(truth))
    judged = COCOeval(coco, coco.loadRes(str(results)), "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    return judged.stats


def test_perfect_detections_on_tfds_have_ap_one_against_cocos_own_file(
    source: Source, tmp_path: pathlib.Path
) -> None:
    result, records = evaluate_source(perfect_detector(source), {}, source)
    write_json(tmp_path / "instances.json", instances())
    write_json(tmp_path / "detections.json", records)
    assert {record["category_id"] for record in records} == {OFFICIAL_CLASSES[i] for i in (0, 79, 11, 45)}
    stats = judge(tmp_path / "instances.json", tmp_path / "detections.json")
    assert result["ap"] == stats[0] == stats[1] == stats[2] == 1.0


def test_ground_truth_of_a_run_has_the_ids_of_its_detections_and_leads_back_to_the_source(
    source: Source, tmp_path: pathlib.Path
) -> None:
    _, records = evaluate_source(perfect_detector(source), {}, source)
    write_coco_json(source, tmp_path / "ground_truth.json")
    write_json(tmp_path / "detections.json", records)
    assert judge(tmp_path / "ground_truth.json", tmp_path / "detections.json")[0] == 1.0
    truth = read_json(tmp_path / "ground_truth.json", "")
    assert [image["file_name"] for image in truth["images"]] == [f"{id:012d}.jpg" for id in IMAGE_IDS]
    found = detections_by_image(StageFiles((), None, None, records), source_ids(truth))
    assert list(found) == list(source.image_ids)
    np.testing.assert_allclose(found["0000001"]["boxes"], [[1, 3, 35, 44]], rtol=1e-6)


def test_old_folders_truth_by_positions_is_written_anew_and_its_detections_are_still_found(
    source: Source, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "ground_truth.json"
    old = {"images": [{"id": name} for name in source.image_ids], "annotations": [], "categories": []}
    path.write_text(json.dumps(old))
    self_training = DETECTION.self_training
    assert self_training is not None
    self_training.write_truth(source, tmp_path)
    truth = read_json(path, "")
    assert [image["id"] for image in truth["images"]] == list(IMAGE_IDS)
    written = path.stat().st_mtime_ns
    self_training.write_truth(source, tmp_path)
    assert path.stat().st_mtime_ns == written
    record = {"image_id": "0000001", "category_id": 1, "bbox": [0, 0, 5, 5], "score": 0.5}
    assert list(detections_by_image(StageFiles((), None, None, [record]), source_ids(truth))) == ["0000001"]


def test_equal_scores_are_ordered_as_in_cocos_own_evaluation(source: Source, tmp_path: pathlib.Path) -> None:
    """A wrong box of class 1 in the image that TFDS has first and COCO last, scored like the right ones."""
    right = perfect_detector(source)

    def predict(variables: Any, fitted: FittedImages) -> Detections:
        found = right.predict(variables, fitted)
        if fitted.images[0, 0, 0, 0] == 0:
            found.boxes[0, 0] = (30, 1, 39, 9)
        return found

    detector = Detector(**{**vars(right), "predict": predict})
    result, records = evaluate_source(detector, {}, source)
    write_json(tmp_path / "instances.json", instances())
    write_json(tmp_path / "detections.json", records)
    stats = judge(tmp_path / "instances.json", tmp_path / "detections.json")
    assert result["ap"] == pytest.approx(stats[0], abs=1e-12)
