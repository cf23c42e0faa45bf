"""The real Label Studio: predictions go in by its API, a person's changes come back by its exports."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.request
import zipfile
from collections.abc import Iterator

import numpy as np
import pytest

from selftrain_jax.errors import InputError
from tests.tasks.detection.review.sent import BOXES, SIZE, make_review, read_back

pytestmark = pytest.mark.slow

COMMAND = os.environ.get("LABEL_STUDIO") or shutil.which("label-studio")
TOKEN = "0123456789abcdef0123456789abcdef01234567"
START_SECS = 600.0


class Server:
    """Label Studio's API on loopback."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def call(self, method: str, path: str, body: object = None) -> bytes:
        headers = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read()

    def json(self, method: str, path: str, body: object = None):
        return json.loads(self.call(method, path, body))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not COMMAND:
        pytest.skip("label-studio is not installed; pip install it anywhere, LABEL_STUDIO=its command")
    data = tmp_path_factory.mktemp("label_studio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    login = ["--username", "anna@example.com", "--password", "a-long-password", "--user-token", TOKEN]
    place = ["--data-dir", str(data), "--internal-host", "127.0.0.1", "-p", str(port)]
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    variables |= {"COLLECT_ANALYTICS": "false", "LOCAL_FILES_SERVING_ENABLED": "true"}
    with (data / "log").open("w") as log:
        process = subprocess.Popen(
            [COMMAND, "start", "--no-browser", "--enable-legacy-api-token", *place, *login],
            env={**variables, "LOCAL_FILES_DOCUMENT_ROOT": "/"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(Server(port), process, data / "log")
        yield Server(port)
    finally:
        process.terminate()
        process.wait(60)


def wait_for(server: Server, process: subprocess.Popen, log: pathlib.Path) -> None:
    deadline = time.monotonic() + START_SECS
    while True:
        try:
            server.json("GET", "/api/projects/")
            return
        except OSError:
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(2)


@pytest.fixture(scope="module")
def reviewed(server: Server, tmp_path_factory: pytest.TempPathFactory):
    """One image changed in each way, one submitted as it was, one left alone."""
    folder = tmp_path_factory.mktemp("review")
    review, output = make_review(folder, "label_studio")
    config = (output / "labeling_config.xml").read_text()
    project = server.json("POST", "/api/projects/", {"title": "review", "label_config": config})["id"]
    tasks = json.loads((output / "tasks.json").read_text())
    answer = server.json("POST", f"/api/projects/{project}/import", tasks)
    assert (answer["task_count"], answer["prediction_count"]) == (3, 3)
    listed = server.json("GET", f"/api/tasks?project={project}&fields=all")["tasks"]
    by_image = {task["data"]["image_id"]: task["id"] for task in listed}
    for image_id in ("a/one 1", "a/two"):
        (prediction,) = server.json("GET", f"/api/predictions?task={by_image[image_id]}")
        assert prediction["model_version"] == "d" * 12
        annotation = {"result": prediction["result"], "parent_prediction": prediction["id"]}
        made = server.json("POST", f"/api/tasks/{by_image[image_id]}/annotations/", annotation)
        if image_id == "a/one 1":
            change = {"result": changed(made["result"])}
            server.json("PATCH", f"/api/annotations/{made['id']}/", change)
    return review, project, folder


def changed(result: list[dict]) -> list[dict]:
    by_id = {region["id"]: region for region in result}
    by_id["r0"]["value"]["x"] += 100 * 3 / SIZE[1]
    by_id["r2"]["value"]["rectanglelabels"] = ["cat"]
    del by_id["r3"]
    value = {"x": 80.0, "y": 5.0, "width": 10.0, "height": 20.0, "rotation": 0, "rectanglelabels": ["cat"]}
    added = {**by_id["r5"], "id": "Zk3w_1", "value": value}
    added.pop("score", None)
    return [*by_id.values(), added]


def download(server: Server, project: int, kind: str, path: pathlib.Path) -> pathlib.Path:
    path.write_bytes(
        server.call("GET", f"/api/projects/{project}/export?exportType={kind}&download_all_tasks=true")
    )
    return path


def check(image, *, has_ids: bool) -> None:
    assert [box.outcome for box in image.boxes] == ["moved", "relabelled", "removed", "kept", "added"]
    moved, relabelled, _, kept, added = image.boxes
    sent = BOXES["a/one 1"]
    np.testing.assert_allclose(moved.box, np.add(sent[0].box, (0, 3, 0, 3)), atol=0.01)
    assert (relabelled.box, relabelled.class_id) == (sent[1].box, 1)
    assert kept.box == sent[3].box
    np.testing.assert_allclose(added.box, np.multiply((0.05, 0.8, 0.25, 0.9), (61, 97, 61, 97)), atol=0.01)


def test_what_a_person_changed_comes_back(server: Server, reviewed, tmp_path: pathlib.Path) -> None:
    review, project, _ = reviewed
    found = read_back(download(server, project, "JSON", tmp_path / "export.json"), review)
    assert (found.format, [image.image_id for image in found.reviewed]) == (
        "label_studio",
        ["a/one 1", "a/two"],
    )
    check(found.reviewed[0], has_ids=True)
    assert [box.outcome for box in found.reviewed[1].boxes] == ["kept"]
    assert found.reviewed[1].boxes[0].box == BOXES["a/two"][0].box
    assert all(image.by.startswith("user ") and image.at.startswith("20") for image in found.reviewed)


@pytest.mark.parametrize("kind", ["COCO", "YOLO"])
def test_its_other_exports_are_read_once_unpacked(
    server: Server, reviewed, tmp_path: pathlib.Path, kind: str
) -> None:
    review, project, _ = reviewed
    archive = download(server, project, kind, tmp_path / "export.zip")
    with pytest.raises(InputError, match="is an archive; unpack it"):
        read_back(archive, review)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "export")
    found = read_back(tmp_path / "export", review)
    check(next(image for image in found.reviewed if image.image_id == "a/one 1"), has_ids=False)


def test_its_images_are_served_from_their_paths(server: Server, reviewed) -> None:
    """An address by url_prefix is one that Label Studio asks its local storage for."""
    _, project, folder = reviewed
    storage = {"project": project, "path": str(folder / "images"), "use_blob_urls": True}
    server.json("POST", "/api/storages/localfiles", storage)
    task = server.json("GET", f"/api/tasks?project={project}&fields=all")["tasks"][0]
    content = server.call("GET", task["data"]["image"])
    assert content == (folder / "images" / f"{task['data']['image_id']}.png").read_bytes()


def test_json_min_is_refused(server: Server, reviewed, tmp_path: pathlib.Path) -> None:
    review, project, _ = reviewed
    with pytest.raises(InputError, match=r"of no format|JSON-MIN"):
        read_back(download(server, project, "JSON_MIN", tmp_path / "min.json"), review)
