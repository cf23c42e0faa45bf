"""The doctor's page and terminal text of a data set whose names want to be more than names."""

import json
import pathlib
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from selftrain_jax.data.sources.coco import find_problems, read_coco_json
from selftrain_jax.errors import InputError, printable
from selftrain_jax.tasks.detection.doctor import examine_boxes, format_diagnosis, write_report

HOSTILE = (
    "</style></title><script>alert(1)</script>",
    '" onload="alert(1)" x=\'><img src=x onerror=alert(1)>',
    "javascript:alert(1) \x00\x1b[31m\x07 --><!-- ]]> &lt;b&gt; \u202e",
)
PLAIN = ("cat", "dog", "bird")


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: Counter = Counter()
        self.values: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found[tag, tuple(key for key, _ in attributes)] += 1
        self.values += [str(value) for key, value in attributes if key in ("src", "href", "style")]

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.found["comment", data] += 1


def write_data(folder: pathlib.Path, names: tuple[str, ...]) -> None:
    """Two images, one of them twice, and a fault of every kind under the given names."""
    folder.mkdir()
    for number, file in enumerate(("0.png", "1.png", "2.png")):
        value = np.random.default_rng(min(number, 1)).integers(0, 256, (60, 80, 3), np.uint8)
        Image.fromarray(value).save(folder / file)
    box = {"category_id": 1, "bbox": [1, 2, 30, 40]}
    document = {
        "images": [
            {"id": name, "file_name": f"{n}.png", "width": 80, "height": 60} for n, name in enumerate(names)
        ]
        + [{"id": "more", "file_name": f"{names[0]}.png"}],
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, 1)],
        "annotations": [
            {**box, "id": 1, "image_id": names[0]},
            {**box, "id": 2, "image_id": names[1], "bbox": [1, 2, 0, 0]},
            {**box, "id": 3, "image_id": names[2] + "?"},
            {**box, "id": names[0], "image_id": names[0], "category_id": 9},
            {**box, "id": names[1], "image_id": names[0], "bbox": [1, 2, names[2], 3]},
            {"id": 6, names[0]: names[1]},
        ],
    }
    (folder / "labels.json").write_text(json.dumps(document))
    document["images"].pop()
    document["annotations"] = document["annotations"][:1]
    (folder / "sound.json").write_text(json.dumps(document))


def diagnose(folder: pathlib.Path, names: tuple[str, ...]):
    write_data(folder, names)
    source = read_coco_json(folder / "sound.json", folder)
    problems = list(find_problems(folder / "labels.json", folder))
    return examine_boxes(labelled={"train": source, names[0]: source}, unlabelled=source, problems=problems)


def test_the_doctors_page_has_the_same_elements_whatever_the_names(tmp_path: pathlib.Path) -> None:
    pages = []
    for place, names in (("plain", PLAIN), ("<b onclick=alert(1)>", HOSTILE)):
        diagnosis = diagnose(tmp_path / place, names)
        assert len(diagnosis.images.problems) == 6
        pages.append(Elements(write_report(diagnosis, tmp_path / place).read_text(encoding="utf-8")))
    plain, hostile = pages
    assert hostile.found == plain.found
    assert "script" not in {tag for tag, _ in hostile.found}
    for value in hostile.values:
        known = ("data:image/jpeg;base64,", "--share:", "border-color:var(--", "#")
        assert value.startswith(known), value[:60]
        assert "alert" not in value
    assert HOSTILE[0] in hostile.text
    assert HOSTILE[1] in hostile.text


def test_the_terminal_obeys_no_name(tmp_path: pathlib.Path) -> None:
    text = format_diagnosis(diagnose(tmp_path / "a", HOSTILE))
    assert not [letter for letter in text if not letter.isprintable() and letter != "\n"]


def test_what_a_terminal_would_obey_is_escaped_and_the_rest_left() -> None:
    assert printable("köln\n\ta \x1b[31m\u202e\ud800") == "köln\n\ta \\x1b[31m\\u202e\\ud800"


@pytest.mark.parametrize("broken", ["categories", "image id", "file name", "annotation"])
def test_half_letters_are_refused_by_the_reader_and_can_be_printed(
    tmp_path: pathlib.Path, broken: str
) -> None:
    """What cannot be written as UTF-8 would end the first job that writes it."""
    write_data(tmp_path / "a", PLAIN)
    document = json.loads((tmp_path / "a/sound.json").read_text())
    if broken == "categories":
        document["categories"][0]["name"] = "\ud800"
    elif broken == "annotation":
        document["annotations"][0]["image_id"] = "\udfff"
    else:
        document["images"][1]["id" if broken == "image id" else "file_name"] = "\ud800"
    (tmp_path / "a/sound.json").write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        read_coco_json(tmp_path / "a/sound.json", tmp_path / "a")
    printable(str(caught.value)).encode()
