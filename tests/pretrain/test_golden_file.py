import json
from pathlib import Path

import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.pretrain.golden import (
    check_shapes,
    difference,
    parse_output,
    read_golden,
    size_and_gain,
)

ENTRY = {"shape": [1, 2, 3], "mean": 2.5, "std": 1.5, "absmax": 5, "idx": [0, 5], "vals": [0, 5]}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("efficientnet-b0_224.json", (224, 1.0)),
        ("retinanet_r50fpn_256_gain0.5.json", (256, 0.5)),
        ("x_64_gain2.json", (64, 2.0)),
    ],
)
def test_size_and_gain_are_in_the_name(name, expected):
    assert size_and_gain(Path("folder_7") / name) == expected


@pytest.mark.parametrize(
    "name", ["b0.json", "b0_0.json", "b0_224_gain.json", "b0_224.txt", "_224_gain0.5x.json"]
)
def test_a_name_without_a_size_is_refused(name):
    with pytest.raises(InputError, match="does not say its image size"):
        size_and_gain(Path(name))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is not JSON"),
        ("[]", "has no outputs"),
        ("{}", "has no outputs"),
        ('{"logits": 3}', "logits of .* is 3; expected an object"),
    ],
)
def test_a_file_that_is_not_golden_is_refused(tmp_path, content, message):
    path = tmp_path / "b0_224.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_golden(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"std": 0}, "std 0.0"),
        ({"std": float("nan")}, "std nan"),
        ({"idx": [0, 6]}, "from 0 to 5"),
        ({"idx": [-1, 5]}, "from 0 to 5"),
        ({"vals": [0]}, "1 vals for 2 idx"),
        ({"mean": "much"}, "malformed"),
        ({"shape": 3}, "malformed"),
    ],
)
def test_a_malformed_output_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        parse_output(ENTRY | change, "logits")


def test_an_output_without_a_key_is_refused():
    with pytest.raises(InputError, match=r"lacks one of .*KeyError: 'vals'"):
        parse_output({key: value for key, value in ENTRY.items() if key != "vals"}, "logits")


def test_differences_are_in_standard_deviations():
    golden = parse_output(ENTRY | {"std": 2.0}, "x")
    array = np.arange(6, dtype=np.float32).reshape(1, 2, 3)  # mean 2.5, deviation √(35/12)
    found = difference(array, golden)
    assert found.values == 0
    assert found.moments == pytest.approx((2 - (35 / 12) ** 0.5) / 2)
    array[0, 1, 2] = 8  # a golden index, and the largest
    assert difference(array, golden).values == pytest.approx(1.5)
    assert difference(array, golden).moments == pytest.approx(1.5)


def test_nan_exceeds_any_tolerance():
    golden = parse_output(ENTRY, "x")
    found = difference(np.full((1, 2, 3), np.nan), golden)
    assert found.exceeds(1e9)
    assert not difference(np.zeros((1, 2, 3)), golden).exceeds(10.0)


def test_other_outputs_and_shapes_are_refused():
    golden = {"logits": parse_output(ENTRY, "x")}
    check_shapes({"logits": (1, 2, 3), "more": (1,)}, golden, "f.json")
    with pytest.raises(InputError, match=r"logits the shape \[1, 2, 3\]; the network's is \[1, 6\]"):
        check_shapes({"logits": (1, 6)}, golden, "f.json")
    with pytest.raises(InputError, match=r"f\.json has an output 'logits'; the network has feat3"):
        check_shapes({"feat3": (1,)}, golden, "f.json")


def test_what_json_gives_is_read(tmp_path):
    path = tmp_path / "b0_224.json"
    path.write_text(json.dumps({"a": ENTRY, "b": ENTRY | {"mean": 1}}))
    golden = read_golden(path)
    assert golden["b"] == ((1, 2, 3), 1.0, 1.5, 5.0, (0, 5), (0.0, 5.0))
