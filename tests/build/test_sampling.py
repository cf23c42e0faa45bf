"""config.data.sampling and config.pseudo.sampling: what is refused, and what a stage draws."""

from collections import Counter

import numpy as np
import pytest
from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.build.data import build_batches
from selftrain_jax.build.sampling import check_sampling
from selftrain_jax.data.pipeline import take_steps
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.stages.settings import deciding_settings
from selftrain_jax.types import Category
from tests import tiny_masks


def configured(**keys: object) -> ConfigDict:
    config = tiny_masks.get_config()
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in keys.items()})
    return config


def make_source(name: str) -> Source:
    """Eight images of class 0, the first of which has class 1 too."""

    def read_labels(index: int):
        mask = np.zeros((64, 64), np.uint8)
        mask[:8] = index == 0
        return {"image_id": f"{name}{index}", "mask": mask}

    def read_image(index: int) -> np.ndarray:
        return np.full((64, 64, 3), 20 * index, np.uint8)

    ids = tuple(f"{name}{index}" for index in range(8))
    categories = (Category(0, "road"), Category(1, "sign"))
    return Source(name, categories, ids, read_labels, lambda index: b"", read_image)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"data__sampling": "rare"}, r"config\.data\.sampling='rare' is not one of uniform, class"),
        ({"pseudo__sampling": ""}, r"config\.pseudo\.sampling='' is not one of uniform, class"),
        ({"data__repeat_threshold": 0.0}, r"repeat_threshold=0 is the share .* expected above 0"),
        ({"data__repeat_threshold": 1.5}, r"repeat_threshold=1\.5 is the share .* at most 1"),
    ],
)
def test_an_order_or_a_threshold_that_does_not_exist_is_refused(keys: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_sampling(configured(**keys))


def test_the_order_decides_the_stages_that_draw_by_it() -> None:
    human, pseudo = configured(data__sampling="class"), configured(pseudo__sampling="class")
    for stage in ("teacher", "control", "student"):
        plain = deciding_settings(configured(), stage)
        assert plain["data.sampling"] == "uniform"
        assert "data.repeat_threshold" not in plain  # decides nothing
        assert deciding_settings(human, stage)["data.repeat_threshold"] == 0.1
        assert (deciding_settings(pseudo, stage) != plain) == (stage == "student")
    assert deciding_settings(pseudo, "student")["data.repeat_threshold"] == 0.1


@pytest.mark.tf
@pytest.mark.parametrize("by_class", ["data", "pseudo"])
def test_a_student_draws_the_rare_class_more_often_from_the_source_that_is_asked(
    by_class: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(hosts, "log", lines.append)
    config = configured(**{f"{by_class}__sampling": "class", "data__repeat_threshold": 1.0})
    batches = build_batches(config, "student", make_source("h"), make_source("p"))
    # sqrt(1 / (1/8)) = 2.83 times, so that ten draws are an epoch: five steps of two images of either source.
    ids = [image_id for _, image_ids in take_steps(batches, 0, 5) for image_id in image_ids]
    counts = Counter(ids)
    rare, other = ("h0", "p0") if by_class == "data" else ("p0", "h0")
    assert counts[rare] in (2, 3)
    assert counts[other] in (1, 2)  # ten of sixteen draws, each image once before any is drawn twice
    assert len([line for line in lines if "sampling" in line]) == 1
    assert f"config.{by_class}.sampling=class: 10 draws of 8 images" in lines[0]
    assert "'sign' (in 1) 2.8 times" in lines[0]
    resumed = [image_id for _, image_ids in take_steps(batches, 3, 2) for image_id in image_ids]
    assert resumed == ids[12:]


@pytest.mark.tf
def test_a_threshold_below_all_shares_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(hosts, "log", lines.append)
    config = configured(data__sampling="class")
    build_batches(config, "teacher", make_source("h"), None)
    assert "no class of h is in less than 0.1 of its 8 images" in lines[0]
