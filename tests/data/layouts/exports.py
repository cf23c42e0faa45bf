"""The same images and boxes as the tools export them; each function fills a folder."""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

NAMES = ("cat", "dog")


class Picture(NamedTuple):
    name: str
    pixels: np.ndarray
    boxes: np.ndarray  # yxyx pixels
    classes: np.ndarray  # from 1


Split = list[Picture]


def draw(count: int, seed: int = 0, size: tuple[int, int] = (48, 64)) -> Split:
    rng = np.random.default_rng(seed)
    pictures = []
    for number in range(count):
        num_boxes = number % 3  # the first has none
        low = rng.uniform(0, 30, (num_boxes, 2))
        boxes = np.concatenate([low, low + rng.uniform(4, 17, (num_boxes, 2))], axis=1)
        pixels = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        classes = 1 + (np.arange(num_boxes) + number) % 2
        pictures.append(Picture(f"pic_{seed}_{number}.png", pixels, boxes, classes))
    return pictures


def save(picture: Picture, folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.pixels).save(folder / picture.name)


def coco_document(split: Split, ids: Mapping[str, int], extra: list[dict[str, Any]] = []) -> dict[str, Any]:  # noqa: B006
    images, annotations = [], []
    for number, picture in enumerate(split):
        height, width = picture.pixels.shape[:2]
        images.append({"id": number, "file_name": picture.name, "width": width, "height": height})
        for box, class_id in zip(picture.boxes.tolist(), picture.classes.tolist(), strict=True):
            ymin, xmin, ymax, xmax = box
            bbox = [xmin, ymin, xmax - xmin, ymax - ymin]
            record = {"id": len(annotations), "image_id": number, "category_id": ids[NAMES[class_id - 1]]}
            annotations.append(record | {"bbox": bbox, "area": bbox[2] * bbox[3], "iscrowd": 0})
    categories = [{"id": number, "name": name, "supercategory": "pets"} for name, number in ids.items()]
    return {"images": images, "annotations": annotations, "categories": [*extra, *categories]}


def write(path: pathlib.Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))


def roboflow(root: pathlib.Path, splits: Mapping[str, Split]) -> None:
    group = [{"id": 0, "name": "pets", "supercategory": "none"}]
    for split, pictures in splits.items():
        folder = root / {"val": "valid"}.get(split, split)
        for picture in pictures:
            save(picture, folder)
        write(folder / "_annotations.coco.json", coco_document(pictures, {"cat": 1, "dog": 2}, group))


def cvat(root: pathlib.Path, splits: Mapping[str, Split]) -> None:
    for split, pictures in splits.items():
        for picture in pictures:
            save(picture, root / "images" / split)
        write(root / f"annotations/instances_{split}.json", coco_document(pictures, {"cat": 1, "dog": 2}))


def yolo(root: pathlib.Path, splits: Mapping[str, Split]) -> None:
    for split, pictures in splits.items():
        folder = {"val": "valid"}.get(split, split)
        for picture in pictures:
            save(picture, root / folder / "images")
            height, width = picture.pixels.shape[:2]
            lines = []
            for (ymin, xmin, ymax, xmax), class_id in zip(picture.boxes, picture.classes, strict=True):
                centre = ((xmin + xmax) / 2 / width, (ymin + ymax) / 2 / height)
                values = (*centre, (xmax - xmin) / width, (ymax - ymin) / height)
                lines.append(" ".join([str(class_id - 1), *(f"{value:.6f}" for value in values)]))
            if lines:  # an image without objects may have no file at all
                write(root / folder / "labels" / f"{picture.name[:-4]}.txt", "\n".join(lines))
    write(
        root / "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['cat', 'dog']\n",
    )


def label_studio(root: pathlib.Path, splits: Mapping[str, Split]) -> None:
    for split, pictures in splits.items():
        tasks = []
        for number, picture in enumerate(pictures):
            save(picture, root / "media")
            height, width = picture.pixels.shape[:2]
            results = []
            for (ymin, xmin, ymax, xmax), class_id in zip(picture.boxes, picture.classes, strict=True):
                value = {"x": 100 * xmin / width, "y": 100 * ymin / height, "rotation": 0}
                value |= {"width": 100 * (xmax - xmin) / width, "height": 100 * (ymax - ymin) / height}
                value |= {"rectanglelabels": [NAMES[class_id - 1]]}
                sizes = {"original_width": width, "original_height": height, "image_rotation": 0}
                results.append({"type": "rectanglelabels", "id": f"r{len(results)}", "value": value, **sizes})
            data = {"image": f"/data/upload/1/0a1b2c3d-{picture.name}"}
            tasks.append({"id": number + 1, "data": data, "annotations": [{"id": 1, "result": results}]})
        write(root / f"{split}.json", tasks)


def labelme(root: pathlib.Path, splits: Mapping[str, Split]) -> None:
    for split, pictures in splits.items():
        for picture in pictures:
            save(picture, root / split)
            height, width = picture.pixels.shape[:2]
            shapes = [
                {
                    "label": NAMES[class_id - 1],
                    "points": [[xmax, ymin], [xmin, ymax]],
                    "shape_type": "rectangle",
                }
                for (ymin, xmin, ymax, xmax), class_id in zip(
                    picture.boxes.tolist(), picture.classes.tolist(), strict=True
                )
            ]
            document = {"version": "5.4.1", "shapes": shapes, "imagePath": picture.name, "imageData": None}
            document |= {"imageHeight": height, "imageWidth": width}
            write(root / split / f"{picture.name[:-4]}.json", document)


def open_images(root: pathlib.Path, splits: Mapping[str, Split]) -> None:
    write(root / "class-descriptions-boxable.csv", "/m/01,cat\n/m/02,dog\n/m/03,tree\n")
    for split, pictures in splits.items():
        lines = ["ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf"]
        lines.append("0000,xclick,/m/01,1,0.1,0.2,0.1,0.2,0")  # an image that nobody downloaded
        for picture in pictures:
            save(picture, root / split)
            height, width = picture.pixels.shape[:2]
            for (ymin, xmin, ymax, xmax), class_id in zip(
                picture.boxes.tolist(), picture.classes.tolist(), strict=True
            ):
                shares = f"{xmin / width},{xmax / width},{ymin / height},{ymax / height}"
                lines.append(f"{picture.name[:-4]},xclick,/m/0{class_id},1,{shares},0")
        name = {"val": "validation"}.get(split, split)
        write(root / f"{name}-annotations-bbox.csv", "\n".join(lines) + "\n")


EXPORTS: dict[str, Callable[[pathlib.Path, Mapping[str, Split]], None]] = {
    "roboflow": roboflow,
    "cvat": cvat,
    "yolo": yolo,
    "label_studio": label_studio,
    "labelme": labelme,
}
