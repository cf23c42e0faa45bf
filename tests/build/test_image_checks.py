"""What a run sees of its image files before the teacher is trained."""

import pathlib
import re

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from configs import common
from selftrain_jax.build import image_checks
from selftrain_jax.build.image_checks import check_images, find_unreadable
from selftrain_jax.build.set_apart import Sources
from selftrain_jax.data.source import Source, subset
from selftrain_jax.data.sources.image_folder import read_image_folder
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.errors import InputError

NUM_IMAGES = 9


def make_folder(folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, 24, 32, 3)).astype(np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def cut(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def damage(path: pathlib.Path) -> None:
    """Spoil pixels between a sound header and a sound end."""
    encoded = bytearray(path.read_bytes())
    encoded[100:400] = bytes(300)
    path.write_bytes(encoded)


@pytest.fixture
def sources(tmp_path: pathlib.Path) -> Sources:
    folders = [make_folder(tmp_path / name) for name in ("human", "unlabeled", "val", "test")]
    human, unlabeled, val, test = map(read_image_folder, folders)
    return Sources(human, unlabeled, None, val, test)


@pytest.fixture
def config() -> ConfigDict:
    return common.get_config()


def test_whole_images_pass_in_silence(
    config: ConfigDict, sources: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    check_images(config, sources)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("split", "name"), [("unlabeled", "unlabelled"), ("human", "train")])
def test_file_cut_off_is_refused_and_the_value_in_the_message_lets_the_run_go_on(
    split: str, name: str, config: ConfigDict, sources: Sources, tmp_path: pathlib.Path
) -> None:
    cut(tmp_path / split / "3.png")
    cut(tmp_path / split / "5.png")
    with pytest.raises(InputError) as error:
        check_images(config, sources)
    message = str(error.value)
    assert f"{name}: 2 of 9 images do not decode, allowed are 0" in message
    assert "3.png" in message
    config.data.max_bad_images = int(re.findall(r"--config\.data\.max_bad_images=(\d+)", message)[0])
    check_images(config, sources)


@pytest.mark.parametrize("split", ["val", "test"])
def test_images_of_evaluation_are_all_needed(
    split: str, config: ConfigDict, sources: Sources, tmp_path: pathlib.Path
) -> None:
    config.data.max_bad_images = 9
    cut(tmp_path / split / "8.png")
    with pytest.raises(InputError, match=rf"{split}: 1 of 9 .*evaluation needs every image"):
        check_images(config, sources)


def test_damage_inside_a_file_is_found_among_the_images_that_are_decoded_and_the_rest_is_said(
    config: ConfigDict,
    sources: Sources,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(tmp_path / "unlabeled" / "4.png")
    with pytest.raises(InputError, match="unlabelled: 1 of 9"):
        check_images(config, sources)
    monkeypatch.setattr(image_checks, "MAX_DECODED", 2)  # the first and the last
    check_images(config, sources)
    assert "unlabelled: looked at the files of 9 images and decoded 2; the others" in capsys.readouterr().out


def test_subset_checks_the_files_that_it_holds(sources: Sources, tmp_path: pathlib.Path) -> None:
    cut(tmp_path / "human" / "7.png")
    assert list(find_unreadable(subset(sources.human, [1, 7, 2]), [])) == [1]


def test_supervised_run_and_drawn_images_have_nothing_to_look_at(
    config: ConfigDict, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: Source = read_builtin("train", num_images=2, image_size_px=64)
    monkeypatch.setattr(image_checks, "find_unreadable", lambda *_: pytest.fail("was read"))
    check_images(config, Sources(drawn, None, None, drawn, drawn))
