import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.pretrain import init_modes
from selftrain_jax.pretrain.init_modes import format_init, init_variables, load_mode


def network(value, *, modules=("backbone",), classes=3, stem=4):
    """Variables of a tiny network, all of one value."""
    shapes = {
        "backbone": {
            "params": {"stem": {"kernel": (3, stem)}},
            "batch_stats": {"stem_bn": {"mean": (stem,)}},
        },
        "fpn": {"params": {"lateral": {"kernel": (4, 4)}}, "batch_stats": {"bn": {"mean": (4,)}}},
        "class_net": {"params": {"predictor": {"bias": (classes,)}}, "batch_stats": {}},
        "box_net": {"params": {"predictor": {"bias": (4,)}}, "batch_stats": {}},
        "dense": {"params": {"kernel": (4, 1000)}, "batch_stats": {}},
    }
    tree = {}
    for collection in ("params", "batch_stats"):
        parts = {module: fill(shapes[module][collection], value) for module in modules}
        tree[collection] = {module: part for module, part in parts.items() if part}
    return tree


def fill(shapes, value):
    if isinstance(shapes, tuple):
        return np.full(shapes, value, np.float32)
    return {key: fill(part, value) for key, part in shapes.items()}


DETECTOR = ("backbone", "fpn", "class_net", "box_net")
TEMPLATE = network(0, modules=DETECTOR)
RANDOM = network(1, modules=DETECTOR)


def values(variables):
    """The value of each module, which must be one."""
    found = {}
    for modules in variables.values():
        for module, tree in modules.items():
            found.setdefault(module, set()).update(
                np.unique(np.asarray(leaf)).item() for leaf in leaves(tree)
            )
    return {module: value.pop() for module, value in found.items() if len(value) == 1}


def leaves(tree):
    return [leaf for part in tree.values() for leaf in leaves(part)] if isinstance(tree, dict) else [tree]


def test_rand_leaves_all_random():
    found, report = init_variables("rand", TEMPLATE, RANDOM, lambda mode: 1 / 0)
    assert found is RANDOM
    assert format_init(report) == (
        "random: backbone 2 arrays, fpn 2 arrays, box_net 1 arrays, class_net 1 arrays"
    ).replace("1 arrays", "1 array")


@pytest.mark.parametrize("has_head", [True, False])
def test_of_a_classifier_the_backbone_is_taken_and_the_rest_listed_as_random(has_head):
    loaded = network(2, modules=("backbone", "dense") if has_head else ("backbone",))
    found, report = init_variables("imagenet", TEMPLATE, RANDOM, lambda mode: loaded)
    assert values(found) == {"backbone": 2, "fpn": 1, "class_net": 1, "box_net": 1}
    assert report == ("imagenet", {"backbone": 2}, {"fpn": 2, "class_net": 1, "box_net": 1})
    assert (
        "loaded backbone 2 arrays; random: fpn 2 arrays, box_net 1 array, class_net 1 array"
        in format_init(report)
    )


def test_a_bare_backbone_is_taken():
    loaded = {collection: tree["backbone"] for collection, tree in network(2).items()}
    found, _ = init_variables("x", TEMPLATE, RANDOM, lambda mode: loaded)
    assert values(found) == {"backbone": 2, "fpn": 1, "class_net": 1, "box_net": 1}


def test_a_detector_of_other_classes_keeps_a_random_class_head():
    found, report = init_variables(
        "x", TEMPLATE, RANDOM, lambda mode: network(2, modules=DETECTOR, classes=9)
    )
    assert values(found) == {"backbone": 2, "fpn": 2, "class_net": 1, "box_net": 2}
    assert report.random == {"class_net": 1}


def test_the_same_detector_is_taken_whole():
    found, report = init_variables("x", TEMPLATE, RANDOM, lambda mode: network(2, modules=DETECTOR))
    assert set(values(found).values()) == {2}
    assert "nothing is random" in format_init(report)


def test_another_backbone_is_refused_with_what_differs():
    with pytest.raises(InputError, match=r"2 of another shape.*stem/kernel is \(3, 5\), expected \(3, 4\)"):
        init_variables("x", TEMPLATE, RANDOM, lambda mode: network(2, stem=5))
    other = {"params": {"conv1": {"kernel": np.zeros(2)}}, "batch_stats": {}}
    with pytest.raises(InputError, match=r"2 missing.*stem/kernel.*1 unexpected.*conv1/kernel"):
        init_variables("x", TEMPLATE, RANDOM, lambda mode: other)


def load(mode, folder, backbone="resnet50"):
    return load_mode(mode, backbone=backbone, pretrained_dir=str(folder), restore=lambda path: {"from": path})


def test_named_modes_are_folders_of_the_backbone(tmp_path):
    (tmp_path / "resnet50-simclr").mkdir()
    (tmp_path / "mine").mkdir()
    assert load("simclr", tmp_path) == {"from": tmp_path / "resnet50-simclr"}
    assert load(str(tmp_path / "mine"), tmp_path) == {"from": tmp_path / "mine"}


def test_an_absent_mode_says_where_it_was_looked_for_and_what_makes_it(tmp_path):
    with pytest.raises(InputError) as caught:
        load("imagenet_pp", tmp_path, "efficientnet_b7")
    message = str(caught.value)
    assert f"no folder {tmp_path}/efficientnet_b7-imagenet_pp" in message
    assert "noisy_student_efficientnet-b7.tar.gz" in message
    for part in ("--job=import_weights", f"--workdir={tmp_path}/efficientnet_b7-imagenet_pp",
                 "name=efficientnet-b7-noisystudent", "source=FILE"):  # fmt: skip
        assert part in message
    with pytest.raises(InputError, match=r"(?s)ResNet50_1x\.zip.*name=simclr-resnet50-1x"):
        load("simclr", tmp_path)


def test_absent_weights_of_lite_say_where_they_are_and_the_way_around(tmp_path, monkeypatch):
    monkeypatch.setattr(init_modes, "find_lite_package", lambda variant: None)
    with pytest.raises(InputError) as error:
        load("imagenet", tmp_path, "efficientnet_lite0")
    assert "timm/tf_efficientnet_lite0.in1k/resolve/main/model.safetensors" in str(error.value)
    assert "--config.teacher.init=rand" in str(error.value)


def test_weights_that_nobody_publishes_say_so_and_how_to_import_ones_own(tmp_path):
    with pytest.raises(InputError, match=r"no published file.*network=spinenet49.*kind=tf.*source=FILE"):
        load("imagenet", tmp_path, "spinenet49")


def test_unknown_modes_list_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="'imagnet' is none of rand, imagenet, imagenet_pp, simclr"):
        load("imagnet", tmp_path)
