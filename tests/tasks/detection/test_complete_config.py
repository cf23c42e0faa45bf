import pytest

from configs import own_data
from selftrain_jax.tasks.detection.complete_config import describe_padding, log_padding


@pytest.mark.parametrize("size_px", [128, 256, 600, 640, 1280])
def test_sizes_that_cost_little_more_than_asked_are_not_worth_a_word(size_px: int) -> None:
    assert describe_padding(size_px, 7) == ""


def test_a_size_says_what_it_costs_and_what_others_do() -> None:
    assert describe_padding(192, 7) == (
        "config.image.size_px=192: the network sees 256 x 256 px, 1.8 times as many pixels, for the multiple "
        "of its coarsest stride. 256 px costs the same; 128 px costs 0.25 times as much"
    )
    assert describe_padding(192, 6) == ""
    assert describe_padding(96, 7).endswith("128 px costs the same")


def test_a_run_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    log_padding(own_data.get_config("kind=coco,size=192"))
    assert "256 px costs the same" in capsys.readouterr().out
    log_padding(own_data.get_config("kind=coco,size=128"))
    assert not capsys.readouterr().out
