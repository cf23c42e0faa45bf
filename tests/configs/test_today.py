"""configs/today.py: every cell of the table is one run, by the recipes of the backbones' papers."""

import pytest

from configs import today
from selftrain_jax.build.optimizer import build_optimizer


def test_cells_are_those_of_the_papers_table_3():
    cells = list(today.list_cells())
    assert len(set(cells)) == 2 * 3 * 2
    for cell in cells:
        config = today.get_config(cell)
        build_optimizer(config.optimizer)
        assert config.student.control == "full"
        assert config.unlabeled.kind != "none"
        values = dict(item.split("=") for item in cell.split(","))
        assert (config.teacher.init, config.augment.policy) == (values["init"], values["aug"])
        assert config.data.label_percent == float(values["labels"])


def test_recipes_are_the_papers():
    convnext = today.get_config("backbone=convnext_small,data=own")
    assert (convnext.optimizer.name, convnext.optimizer.weight_decay) == ("adamw", 0.05)
    assert (convnext.teacher.learning_rate, convnext.optimizer.layer_decay) == (2e-4, 0.7)
    vit = today.get_config("backbone=vit_base_dinov2_reg4")
    assert (vit.student.learning_rate, vit.optimizer.weight_decay) == (1e-4, 0.1)
    assert today.get_config("backbone=resnet50").optimizer.name == "momentum"


def test_a_random_backbone_learns_in_all_its_layers():
    config = today.get_config("backbone=convnext_tiny,data=own,init=rand")
    assert (config.optimizer.layer_decay, config.optimizer.backbone_rate_factor) == (1.0, 1.0)


def test_a_frozen_backbone_leaves_ten_times_the_rate_to_the_rest():
    config = today.get_config("backbone=vit_small_dinov2,frozen=True")
    assert config.optimizer.freeze_backbone
    assert config.optimizer.layer_decay == 1.0
    assert config.teacher.learning_rate == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("data=voc", "data='voc' is not one of coco, own"),
        ("frozen=yes", "frozen='yes' is not one of True, False"),
        ("frozen=True,init=rand", "init=rand knows nothing"),
        ("size=256", "size is for data=own"),
        ("backbon=x", "did you mean 'backbone'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        today.get_config(arguments)
