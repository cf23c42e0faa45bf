"""Further sources of unlabelled images in the config: added by a command, told apart, and refused by key."""

import sys

import pytest
from absl import flags
from ml_collections import ConfigDict

from configs import common
from selftrain_jax import main  # noqa: F401  # defines the flags
from selftrain_jax.command_line import parse_flags
from selftrain_jax.errors import InputError
from selftrain_jax.unlabeled_sources import (
    add_asked_sources,
    check_further_sources,
    further_sources,
    source_weights,
    unlabeled_source,
)


def make_config(**sources: dict) -> ConfigDict:
    config = common.get_config()
    for name, values in sources.items():
        config.unlabeled.also[name] = unlabeled_source(**values)
    return config


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch):
    """Parse a command as `main` does, and forget its flags afterwards."""
    known = set(flags.FLAGS)

    def parse(*arguments: str) -> ConfigDict:
        argv = ["main", "--config=tests/tiny.py", *arguments]
        monkeypatch.setattr(sys, "argv", argv)
        parse_flags(argv)
        return flags.FLAGS.config

    yield parse
    flags.FLAGS.unparse_flags()
    for name in set(flags.FLAGS) - known:
        delattr(flags.FLAGS, name)


def test_a_command_adds_sources_and_sets_their_keys(parsed) -> None:
    config = parsed(
        "--config.unlabeled.also.coco.kind=coco",
        "--config.unlabeled.also.coco.weight=0.25",
        "--config.unlabeled.also.web.dir=pictures",
        "--config.unlabeled.also.coco.threshold=0.7",
    )
    assert list(further_sources(config)) == ["coco", "web"]
    coco, web = config.unlabeled.also.coco, config.unlabeled.also.web
    assert (coco.kind, coco.weight, coco.threshold, coco.split) == ("coco", 0.25, 0.7, "train")
    assert (web.kind, web.dir, web.weight, web.threshold) == ("folder", "pictures", 1.0, -1.0)
    assert source_weights(config) == {"unlabeled": 1.0, "coco": 0.25, "web": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["also.coco.wieght=1"], r"config.unlabeled.also.coco has no key 'wieght'; did you mean weight\?"),
        (["also.coco=1"], "config.unlabeled.also.coco has no key ''; it has kind, dir"),
        (["also.my-coco.dir=x"], "a source cannot be called 'my-coco'"),
        (["also.unlabeled.dir=x"], "also.unlabeled: the first source, config.unlabeled, is called so"),
        (["also.coco.weight=much"], "much"),
    ],
)
def test_mistyped_sources_of_a_command_are_refused(arguments: list[str], message: str, parsed) -> None:
    with pytest.raises(InputError, match=message):
        parsed(*(f"--config.unlabeled.{argument}" for argument in arguments))


def test_one_source_is_what_it_was() -> None:
    config = common.get_config()
    check_further_sources(config)
    add_asked_sources(config, ["main", "--config.unlabeled.kind=coco"])
    assert further_sources(config) == {}
    assert source_weights(config) == {"unlabeled": 1.0}
    older = common.get_config()
    older.unlabeled = ConfigDict({"kind": "coco"})
    assert further_sources(older) == {}


def test_a_source_of_kind_none_is_left_out_and_so_are_all_of_a_supervised_run() -> None:
    config = make_config(b={"kind": "none"}, c={}, a={})
    check_further_sources(config)
    assert list(further_sources(config)) == ["a", "c"]
    config.unlabeled.kind = "none"
    assert further_sources(config) == {}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("weight", 0.0, "config.unlabeled.also.coco.weight=0 is the source's part .* a number above 0"),
        ("weight", -1.0, "config.unlabeled.also.coco.weight=-1 "),
        ("weight", float("nan"), "config.unlabeled.also.coco.weight=nan "),
        ("weight", float("inf"), "config.unlabeled.also.coco.weight=inf "),
        ("threshold", 1.5, "config.unlabeled.also.coco.threshold=1.5 is not a score"),
        ("threshold", -0.5, "config.unlabeled.also.coco.threshold=-0.5 is not a score"),
        ("threshold", float("nan"), "config.unlabeled.also.coco.threshold=nan is not a score"),
    ],
)
def test_values_out_of_range_are_refused_by_key(key: str, value: float, message: str) -> None:
    config = make_config(coco={key: value})
    with pytest.raises(InputError, match=message):
        check_further_sources(config)
    config.unlabeled.also.coco.kind = "none"
    check_further_sources(config)


def test_the_first_sources_weight_is_checked_too() -> None:
    config = make_config(coco={})
    config.unlabeled.weight = 0.0
    with pytest.raises(InputError, match=r"config\.unlabeled\.weight=0 "):
        check_further_sources(config)


def test_names_that_differ_by_case_and_groups_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match=r"also\.coco: config\.unlabeled\.also\.COCO is called so already"):
        check_further_sources(make_config(coco={}, COCO={}))
    config = common.get_config()
    config.unlabeled.also.coco = "coco"
    with pytest.raises(InputError, match=r"also\.coco='coco' is not a group of keys"):
        check_further_sources(config)
    config = common.get_config()
    config.unlabeled.also.coco = ConfigDict({"kind": "coco"})
    with pytest.raises(InputError, match=r"also\.coco lacks annotations, dir, images"):
        check_further_sources(config)
    with pytest.raises(InputError, match="NAME has no key 'wight'; did you mean weight"):
        unlabeled_source(wight=1.0)
