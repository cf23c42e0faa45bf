from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.pretrain.import_variables import Slot, file_shapes, format_report, import_variables

NAMES = {
    "net/depthwise_kernel": Slot("params", ("conv", "kernel"), "depthwise"),
    "net/mean": Slot("batch_stats", ("bn", "mean")),
    "net/head": Slot("params", ("head", "bias")),
}
ARRAYS = {
    "net/depthwise_kernel": np.arange(12.0).reshape(2, 3, 2, 1),
    "net/mean": np.ones(4),
    "net/head": np.full(3, 2.0),
}


def template():
    shape = jax.ShapeDtypeStruct
    params = {
        "conv": {"kernel": shape((2, 3, 1, 2), jnp.float32)},
        "head": {"bias": shape((3,), jnp.float32)},
    }
    return {"params": params, "batch_stats": {"bn": {"mean": shape((4,), jnp.float32)}}}


class LazyArrays(Mapping):
    def __init__(self, arrays):
        self.arrays, self.read = arrays, []

    def __getitem__(self, name):
        self.read.append(name)
        return self.arrays[name]

    def __iter__(self):
        return iter(self.arrays)

    def __len__(self):
        return len(self.arrays)


def without(arrays, name):
    return {key: array for key, array in arrays.items() if key != name}


def test_arrays_reach_their_slots_in_our_layout_and_dtype():
    variables, report = import_variables(template(), ARRAYS, NAMES)
    kernel = variables["params"]["conv"]["kernel"]
    assert kernel.dtype == np.float32
    assert kernel[1, 2, 0, 1] == ARRAYS["net/depthwise_kernel"][1, 2, 1, 0] == 11
    np.testing.assert_array_equal(variables["batch_stats"]["bn"]["mean"], np.ones(4))
    np.testing.assert_array_equal(variables["params"]["head"]["bias"], np.full(3, 2))
    assert report.imported == tuple(sorted(ARRAYS))
    assert not any(report[1:])


def test_arrays_of_other_names_are_not_read():
    arrays = LazyArrays(ARRAYS | {"net/mean/Momentum": None})
    _, report = import_variables(template(), arrays, NAMES, ignore=["*/Momentum"])
    assert set(arrays.read) == set(ARRAYS)
    assert report.ignored == ("net/mean/Momentum",)


def test_what_may_be_missing_keeps_its_value():
    start = template()
    start["params"]["head"]["bias"] = jnp.zeros(3)
    variables, report = import_variables(
        start, without(ARRAYS, "net/head"), NAMES, allow_missing=["params/head/*"]
    )
    np.testing.assert_array_equal(variables["params"]["head"]["bias"], np.zeros(3))
    assert report.kept == ("params/head/bias",)
    assert isinstance(start["params"]["conv"]["kernel"], jax.ShapeDtypeStruct)


def test_an_ignored_name_is_not_imported():
    with pytest.raises(InputError, match=r"1 missing: params/head/bias \(net/head\)"):
        import_variables(template(), ARRAYS, NAMES, ignore=["net/head"])


def test_a_missing_array_is_refused_by_both_names():
    with pytest.raises(InputError, match=r"1 missing: batch_stats/bn/mean \(net/mean\)"):
        import_variables(template(), without(ARRAYS, "net/mean"), NAMES)


def test_a_variable_that_no_name_leads_to_is_missing():
    with pytest.raises(InputError, match=r"1 missing: params/head/bias \(of no name\)"):
        import_variables(template(), without(ARRAYS, "net/head"), without(NAMES, "net/head"))


def test_an_unexpected_array_is_refused():
    with pytest.raises(InputError, match=r"some\.ckpt does not fit(.|\n)*1 unexpected: net/extra"):
        import_variables(template(), ARRAYS | {"net/extra": np.ones(1)}, NAMES, source="some.ckpt")


def test_a_name_whose_variable_the_network_lacks_is_unexpected():
    names = NAMES | {"net/dense": Slot("params", ("dense", "kernel"))}
    with pytest.raises(InputError, match="1 unexpected: net/dense"):
        import_variables(template(), ARRAYS | {"net/dense": np.ones(1)}, names)


@pytest.mark.parametrize("shape", [(2, 3, 1, 2), (2, 3, 2), (12,), ()])
def test_another_shape_is_refused_in_the_files_layout(shape):
    arrays = ARRAYS | {"net/depthwise_kernel": np.ones(shape)}
    with pytest.raises(InputError, match=r"1 mis-shaped: net/depthwise_kernel .* instead of \[2, 3, 2, 1\]"):
        import_variables(template(), arrays, NAMES)


def test_all_faults_are_told_at_once_and_long_lists_cut():
    arrays = {f"other/{i}": np.ones(1) for i in range(7)} | {"net/mean": np.ones(5)}
    with pytest.raises(InputError) as caught:
        import_variables(template(), arrays, NAMES)
    message = str(caught.value)
    assert "7 unexpected: other/0, other/1, other/2, other/3, other/4 and 2 more\n" in message
    assert "2 missing: params/conv/kernel" in message
    assert "1 mis-shaped: net/mean [5] instead of [4]" in message
    assert "0 imported\n" in message


def test_report_counts_each_kind():
    _, report = import_variables(template(), ARRAYS | {"step": np.int64(3)}, NAMES, ignore=["step"])
    assert format_report(report).splitlines() == [
        "3 imported: net/depthwise_kernel, net/head, net/mean",
        "1 ignored: step",
    ]


def test_shapes_of_the_file_come_from_the_network():
    assert file_shapes(template(), NAMES) == {name: array.shape for name, array in ARRAYS.items()}
    with pytest.raises(AssertionError, match="1 names lead to no variable: x to params/y"):
        file_shapes(template(), NAMES | {"x": Slot("params", ("y",))})
