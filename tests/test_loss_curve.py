"""The loss picture shows both curves and is the same for the same log."""

from proteinlm_train.loss_curve import draw_loss

LOG = [
    {"step": 0, "eval_loss": 3.0},
    *({"step": step, "loss": 3.0 - step / 50} for step in range(1, 51)),
    {"step": 51, "loss": 2.0, "eval_loss": 2.125},
]


def test_the_picture_names_the_run_and_the_best_validation_loss() -> None:
    picture = draw_loss(LOG, "smoke-run")
    assert "smoke-run" in picture
    assert "2.125" in picture
    assert ">validation<" in picture


def test_the_same_log_gives_the_same_bytes() -> None:
    assert draw_loss(LOG, "a") == draw_loss(LOG, "a")
    assert draw_loss(LOG, "a") != draw_loss(LOG[:-1], "a")


def test_a_run_without_validation_has_a_picture() -> None:
    assert ">validation<" not in draw_loss(LOG[1:-1], "a")
