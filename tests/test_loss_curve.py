"""The loss picture shows both curves and is the same for the same log."""

import pytest

from proteinlm_train.loss_curve import draw_loss

LOG = [
    {"step": 0, "eval_loss": 3.0},
    *({"step": step, "loss": 3.0 - step / 50} for step in range(1, 51)),
    {"step": 51, "loss": 2.0, "eval_loss": 2.125},
]


def test_the_picture_names_the_run_and_the_first_and_best_validation_loss() -> None:
    picture = draw_loss(LOG, "smoke-run")
    assert ">smoke-run<" in picture
    assert ">start 3.000<" in picture
    assert ">best 2.125<" in picture
    assert ">validation<" in picture


def test_a_model_that_only_got_worse_has_its_best_at_the_start() -> None:
    picture = draw_loss([LOG[0], {"step": 5, "eval_loss": 4.0}], "a")
    assert ">start, best 3.000<" in picture
    assert "4.000" not in picture


def test_the_mean_is_of_as_many_logs_as_the_legend_says() -> None:
    (long, short, single) = (draw_loss(LOG[1 : 1 + count], "a") for count in (50, 15, 5))
    assert ">training, mean of 10 logs<" in long
    assert ">training, mean of 3 logs<" in short
    assert "mean of" not in single


def test_the_same_log_gives_the_same_bytes() -> None:
    assert draw_loss(LOG, "a") == draw_loss(LOG, "a")
    assert draw_loss(LOG, "a") != draw_loss(LOG[:-1], "a")


def test_a_run_without_validation_has_a_picture() -> None:
    assert ">validation<" not in draw_loss(LOG[1:-1], "a")


@pytest.mark.filterwarnings("error")
def test_a_run_without_a_log_has_an_empty_picture() -> None:
    assert "training" not in draw_loss([], "a")
