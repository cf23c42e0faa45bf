"""Downloads from a server on this machine, both ways of serving, with the faults of networks."""

import hashlib
import io
import json
import pathlib
import tarfile
import zipfile

import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.pretrain import fetched
from selftrain_jax.pretrain.catalogue import Weights, find_weights
from selftrain_jax.pretrain.fetch import fetch, take
from selftrain_jax.pretrain.fetched import BrokenOffError, UnreachableError
from tests.pretrain.loopback import Loopback, commit_of

CONTENT = np.random.default_rng(0).bytes(300_000)
HUB_ROW = find_weights("tf_efficientnet_lite0.in1k")
FILE = "/resolve/main/model.safetensors"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def file_row(server: Loopback, *names: str, **changes: object) -> Weights:
    urls = tuple(f"{server.address}/{name}" for name in names)
    row = Weights("mine", "resnet50", "", "tf", "Apache-2.0", "imagenet", "", urls=urls)
    return row._replace(**changes)


def content_of(row: Weights, folder: pathlib.Path) -> bytes:
    with fetch(row, folder, folder / "target") as found:
        return found.path.read_bytes()


def leftovers(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def hub(server: Loopback) -> Loopback:
    server.publish(HUB_ROW.repo, CONTENT)
    return server


@pytest.fixture
def files(server: Loopback) -> Loopback:
    server.files["/a.bin"] = CONTENT
    return server


def test_the_hub_gives_the_file_its_digest_and_the_commit(hub: Loopback, tmp_path) -> None:
    with fetch(HUB_ROW, tmp_path / "pre", tmp_path / "pre/x") as found:
        assert found.path.read_bytes() == CONTENT
        assert (found.sha256, found.revision) == ({"model.safetensors": DIGEST}, commit_of(CONTENT))
        assert (
            found.address == f"{hub.address}/timm/tf_efficientnet_lite0.in1k/resolve/main/model.safetensors"
        )
    assert json.loads((tmp_path / "pre/checksums.json").read_text()) == {
        HUB_ROW.name: {"model.safetensors": DIGEST}
    }


def test_a_pinned_revision_is_asked_for(hub: Loopback, tmp_path) -> None:
    content_of(HUB_ROW._replace(revision="abc"), tmp_path)
    assert any("/resolve/abc/" in path for _, path, _ in hub.requests)


def test_the_hubs_client_goes_on_after_a_broken_connection(hub: Loopback, tmp_path) -> None:
    hub.faults.breaks, hub.faults.break_after = 2, 98_304
    assert content_of(HUB_ROW, tmp_path) == CONTENT
    assert len([1 for method, path, _ in hub.requests if method == "GET" and "/store" in path]) == 3


def test_what_is_not_as_the_hub_announced_is_deleted_and_refused(hub: Loopback, tmp_path) -> None:
    hub.faults.etag = "0" * 64
    with pytest.raises(InputError, match=f"SHA-256 {DIGEST}.*announced 0000"):
        content_of(HUB_ROW, tmp_path / "pre")
    assert not (tmp_path / "pre").exists()
    assert "model.safetensors" not in leftovers(tmp_path)
    hub.faults.etag = ""
    assert content_of(HUB_ROW, tmp_path / "pre") == CONTENT


@pytest.mark.parametrize("status", [404, 503])
def test_a_hub_without_the_file_says_what_is_missing_where_and_how_to_bring_it(
    hub: Loopback, tmp_path, status: int
) -> None:
    hub.faults.status = status
    with pytest.raises(UnreachableError) as caught:
        content_of(HUB_ROW, tmp_path / "pre")
    message = str(caught.value)
    assert f"{hub.address}/timm/{HUB_ROW.name}{FILE}" in message
    by_name = f"--config.import_weights.name={HUB_ROW.name} --config.import_weights.source=FILE"
    for part in ("curl", "--job=import_weights", f"--workdir={tmp_path}/pre/target", by_name):
        assert part in message
    assert not (tmp_path / "pre").exists()


def test_without_network_the_hubs_cache_serves(hub: Loopback, tmp_path, monkeypatch) -> None:
    content_of(HUB_ROW, tmp_path / "pre")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert content_of(HUB_ROW, tmp_path / "other") == CONTENT


def test_a_redirected_file_is_downloaded_and_only_its_checksum_stays(files: Loopback, tmp_path) -> None:
    files.faults.redirects = True
    assert content_of(file_row(files, "a.bin"), tmp_path) == CONTENT
    assert leftovers(tmp_path) == ["checksums.json"]


def test_a_broken_download_goes_on_where_it_broke(files: Loopback, tmp_path) -> None:
    files.faults.breaks, files.faults.break_after = 2, 98_304
    assert content_of(file_row(files, "a.bin"), tmp_path) == CONTENT
    assert files.gets() == ["", "bytes=98304-", "bytes=196608-"]


def test_a_truncated_download_is_refused_and_the_next_command_goes_on(files: Loopback, tmp_path) -> None:
    row = file_row(files, "a.bin")
    files.faults.breaks, files.faults.break_after = 3, 49_152
    with pytest.raises(BrokenOffError, match=r"broke off after 147,456 of 300,000 bytes.*\n.*by hand"):
        content_of(row, tmp_path)
    assert not list(tmp_path.rglob("a.bin"))
    assert content_of(row, tmp_path) == CONTENT
    assert files.gets()[-1] == "bytes=147456-"


def test_a_server_that_gives_no_parts_is_asked_for_the_whole(files: Loopback, tmp_path) -> None:
    files.faults.breaks, files.faults.break_after, files.faults.ranges = 1, 98_304, False
    assert content_of(file_row(files, "a.bin"), tmp_path) == CONTENT


def test_another_version_on_the_server_is_not_joined_to_the_old_ones_part(files: Loopback, tmp_path) -> None:
    files.faults.breaks = 3
    with pytest.raises(BrokenOffError):
        content_of(file_row(files, "a.bin"), tmp_path)
    files.files["/a.bin"] = CONTENT[::-1]
    assert content_of(file_row(files, "a.bin"), tmp_path) == CONTENT[::-1]
    assert files.gets()[-1] == ""


def test_a_published_checksum_that_differs_is_refused(files: Loopback, tmp_path) -> None:
    row = file_row(files, "a.bin", sha256=("ab" * 32,))
    with pytest.raises(InputError, match=f"a.bin has the SHA-256 {DIGEST}, and the catalogue says abab"):
        content_of(row, tmp_path)
    assert leftovers(tmp_path) == []
    assert content_of(row._replace(sha256=(DIGEST,)), tmp_path) == CONTENT


@pytest.mark.parametrize("way", ["hub", "files"])
def test_the_first_downloads_checksum_is_compared_later(server: Loopback, tmp_path, way: str) -> None:
    row = HUB_ROW if way == "hub" else file_row(server, "a.bin")
    path = f"/{row.repo}/model.safetensors" if way == "hub" else "/a.bin"
    server.files[path] = CONTENT
    content_of(row, tmp_path)
    server.files[path] = CONTENT[:-1] + b"x"
    with pytest.raises(InputError, match=r"checksums.json of the first download says .*remove the entry"):
        content_of(row, tmp_path)
    assert DIGEST in (tmp_path / "checksums.json").read_text()
    server.files[path] = CONTENT
    assert content_of(row, tmp_path) == CONTENT


def test_a_checksum_is_not_recorded_of_what_could_not_be_converted(files: Loopback, tmp_path) -> None:
    with pytest.raises(ZeroDivisionError), fetch(file_row(files, "a.bin"), tmp_path, tmp_path / "x"):
        _ = 1 / 0
    assert not (tmp_path / "checksums.json").exists()


def test_a_login_page_in_place_of_the_file_is_told(files: Loopback, tmp_path) -> None:
    files.faults.page = True
    with pytest.raises(UnreachableError, match="answers with a web page"):
        content_of(file_row(files, "a.bin"), tmp_path)


SMALL_DISK = ("shutil", "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
READ_ONLY = ("os", "access", lambda path, mode: False)  # root may write anywhere


@pytest.mark.parametrize("way", ["hub", "files"])
@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (SMALL_DISK, r"takes 0.3 MB, and 0.0 MB are free in .*pretrained.dir"),
        (READ_ONLY, r"cannot be written; set --config.pretrained.dir, or HF_HOME"),
    ],
)
def test_a_disk_that_is_too_small_or_read_only_is_told_before_the_download(
    server: Loopback, tmp_path, monkeypatch, way: str, refusal: tuple, message: str
) -> None:
    row = HUB_ROW if way == "hub" else file_row(server, "a.bin")
    server.publish(HUB_ROW.repo, CONTENT)
    server.files["/a.bin"] = CONTENT
    module, name, function = refusal
    monkeypatch.setattr(getattr(fetched, module), name, function)
    with pytest.raises(InputError, match=message):
        content_of(row, tmp_path)
    assert not [path for method, path, _ in server.requests if method == "GET" and "api" not in path]


MEMBERS = {
    "net/checkpoint": b"c",
    "net/model.ckpt-5.index": b"i",
    "net/model.ckpt-5.meta": b"m",
    "net/model.ckpt-5.data-00000-of-00001": b"d",
    "../../escaped.index": b"e",
    "._x.index": b"r",
}


def tar() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, content in MEMBERS.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("net/link.index")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return data.getvalue()


def zipped() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in MEMBERS.items():
            archive.writestr(name, content)
    return data.getvalue()


@pytest.mark.parametrize(("name", "make"), [("a.tar.gz", tar), ("a.zip", zipped)])
def test_of_an_archive_a_checkpoints_files_are_unpacked_for_the_conversion(
    server: Loopback, tmp_path, name: str, make
) -> None:
    server.files[f"/{name}"] = make()
    with fetch(file_row(server, name), tmp_path / "pre", tmp_path / "x") as found:
        names = {"checkpoint", "escaped.index", "model.ckpt-5.index", "model.ckpt-5.data-00000-of-00001"}
        assert {path.name for path in found.path.iterdir()} == names
        assert found.path.is_relative_to(tmp_path / "pre")
    assert leftovers(tmp_path / "pre") == ["checksums.json"]
    assert not (tmp_path / "escaped.index").exists()


@pytest.mark.parametrize(("name", "make"), [("a.tar.gz", tar), ("a.zip", zipped)])
def test_damaged_archives_are_refused_and_leave_nothing_unpacked(
    server: Loopback, tmp_path, name: str, make
) -> None:
    server.files[f"/{name}"] = make()[:-60]
    with (
        pytest.raises(InputError, match="is not a whole archive"),
        fetch(file_row(server, name), tmp_path / "pre", tmp_path / "x"),
    ):
        pass
    assert not list((tmp_path / "pre").rglob("*.index"))


def test_several_files_are_a_folder(server: Loopback, tmp_path) -> None:
    server.files |= {"/m.index": b"i", "/m.data-00000-of-00001": b"d"}
    row = file_row(server, "m.index", "m.data-00000-of-00001")
    with fetch(row, tmp_path, tmp_path / "x") as found:
        assert sorted(path.name for path in found.path.iterdir()) == ["m.data-00000-of-00001", "m.index"]


def test_what_is_brought_by_hand_is_unpacked_and_compared_too(server: Loopback, tmp_path) -> None:
    (tmp_path / "mine.zip").write_bytes(zipped())
    row = file_row(server, "a.zip")
    with take(row, tmp_path / "mine.zip", tmp_path / "pre") as found:
        assert (found.path / "checkpoint").read_bytes() == b"c"
    assert not server.requests
    with (
        pytest.raises(InputError, match="catalogue says"),
        take(row._replace(sha256=("ab",)), tmp_path / "mine.zip", tmp_path / "pre"),
    ):
        pass
