"""The grid of a search: which keys and values it takes, and how its points are called."""

import pytest

from configs import paper, quickstart
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.grid import parse_grid
from selftrain_jax.jobs.search import check_point_names, point_name


def test_values_have_the_types_of_the_configs_own() -> None:
    texts = ("selftrain.alpha=0.25,1", "teacher.steps=5,6", "config.augment.policy=s1,s4")
    assert parse_grid(texts, quickstart.get_config(), ()) == {
        "selftrain.alpha": (0.25, 1.0),
        "teacher.steps": (5, 6),
        "augment.policy": ("s1", "s4"),
    }


@pytest.mark.parametrize("key", ["data.label_percent", "selftrain.rounds", "student.init"])
def test_keys_that_count_by_what_they_lead_to_can_be_searched(key: str) -> None:
    value = {"data.label_percent": "5", "selftrain.rounds": "2", "student.init": "rand"}[key]
    assert list(parse_grid((f"{key}={value}",), quickstart.get_config(), ())) == [key]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ((), "needs a grid: --grid=KEY=VALUE"),
        (("selftrain.alhpa=1",), "no key 'selftrain.alhpa'; did you mean selftrain.alpha"),
        (("eval.batch_size=1,2",), "this key decides no student's result"),
        (("data.cache_mib=1,2",), "this key decides no student's result"),
        (("eval.backend=numpy",), "this key decides no student's result"),
        (("segmentation.max_side_px=1,2",), "this key decides no student's result"),
        (("selftrain.alpha=1,1.0",), "1.0 is given twice"),
        (("selftrain.alpha=1", "selftrain.alpha=2"), "selftrain.alpha is given twice"),
        (("selftrain.alpha=",), "no values"),
        (("selftrain.alpha",), "no values"),
        (("selftrain.alpha=one",), "'one' is not a float, as 1.0 is"),
        (("teacher.steps=1.5",), "'1.5' is not a int, as 1100 is"),
        (("optimizer.decay_bn=yes",), "'yes' is not a bool"),
        (("optimizer.drop_fracs=0.5",), "is a tuple; grids have single values"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(texts: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_grid(texts, quickstart.get_config(), ("segmentation",))


def test_seeds_are_not_a_key_and_a_flag_at_once() -> None:
    with pytest.raises(InputError, match="seed is given twice"):
        parse_grid(("seed=0,1",), quickstart.get_config(), (), seeds=(0, 1))


def test_points_are_named_by_what_they_are() -> None:
    assert point_name({"selftrain.alpha": 0.5}, None) == "alpha=0.5"
    assert (
        point_name({"selftrain.alpha": 0.5, "pseudo.threshold": 0.9}, 2) == "alpha=0.5,threshold=0.9,seed=2"
    )
    steps = {"teacher.steps": 5, "student.steps": 6}
    assert point_name(steps, None) == "teacher.steps=5,student.steps=6"
    assert point_name({"student.init": "runs/a b"}, None) == "init=runs_a_b"


@pytest.mark.parametrize(
    ("inits", "words"), [(("a/b", "a b"), "what another one is called too"), (("x" * 300,), "too long")]
)
def test_points_that_cannot_have_folders_of_their_own_are_refused(inits: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_point_names([{"student.init": init} for init in inits])
    check_point_names([{"student.init": "a"}, {"student.init": "b"}])


def test_the_paper_names_its_grid() -> None:
    config = paper.get_config("table=9,row=1")
    alphas = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0)
    assert parse_grid((config.paper.grid,), config, ()) == {"selftrain.alpha": alphas}
    supervised = paper.get_config("table=3,row=1")
    assert supervised.paper.grid == "" or supervised.unlabeled.kind != "none"
