"""Answers come from finished batches, then from other batches, and are computed last."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from proteinlm_ext.answer_store import AnswerStore
from proteinlm_ext.resume import Resumable, digest

MODEL = {"weights": "0" * 64}
MACHINE = {"threads": 1}


class Model:
    """Answers with a number of its own, and remembers what it was asked."""

    def __init__(self, base: float = 0.0) -> None:
        self.base = base
        self.asked: list[list[str]] = []

    def compute(self, keys: Sequence[str]) -> Callable[[list[int]], list[Any]]:
        """Return what computes the answers to keys by index."""

        def answer(indices: list[int]) -> list[Any]:
            self.asked.append([keys[i] for i in indices])
            return [[self.base - len(keys[i]) / 7, i % 2 == 0] for i in indices]

        return answer


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Resumable]:
    """Return a function that starts a run on the store of the test."""

    def start_run(known: Sequence[str] = (), machine: Any = MACHINE, model: Any = MODEL) -> Any:
        run = Resumable(AnswerStore(tmp_path, model), machine)
        run.begin(known)
        return run

    return start_run


def ask(run: Resumable, keys: Sequence[str], model: Model, plan: Any = "plan") -> list[Any]:
    return run.answer(plan, keys, model.compute(keys))


def counts(run: Resumable) -> tuple[int, int, int]:
    return run.counts["computed"], run.counts["resumed"], run.counts["reused"]


def test_a_finished_batch_is_read_back_to_the_last_bit_and_nothing_is_computed(start: Any) -> None:
    model, keys = Model(), ["a", "bb", "ccc"]
    first = ask(start(keys), keys, model)
    again = start(keys)
    assert ask(again, keys, Model(base=5)) == first
    assert [value.hex() for value, _ in first] == [(-n / 7).hex() for n in (1, 2, 3)]
    assert counts(again) == (0, 3, 0)
    assert model.asked == [keys]


def test_only_what_is_missing_is_computed_and_every_answer_stands_at_its_place(start: Any) -> None:
    ask(start(), ["bb", "dddd"], Model())
    keys, model = ["a", "bb", "ccc", "dddd", "eeeee"], Model()
    run = start(keys)
    answers = ask(run, keys, model)
    assert model.asked == [["a", "ccc", "eeeee"]]
    assert [value for value, _ in answers] == [-n / 7 for n in (1, 2, 3, 4, 5)]
    assert counts(run) == (3, 0, 2)


def test_a_partly_known_batch_is_stored_whole(start: Any) -> None:
    ask(start(), ["bb"], Model())
    keys = ["a", "bb"]
    mixed = ask(start(keys), keys, Model())
    run, model = start(keys), Model(base=5)
    assert ask(run, keys, model) == mixed
    assert model.asked == []
    assert (run.counts["resumed"], run.counts["reused"]) == (1, 1)


def test_a_batch_that_is_known_from_others_alone_computes_nothing(start: Any) -> None:
    ask(start(), ["a", "bb", "ccc"], Model())
    run, model = start(["a", "ccc"]), Model(base=5)
    assert [value for value, _ in ask(run, ["a", "ccc"], model)] == [-1 / 7, -3 / 7]
    assert model.asked == []
    assert counts(run) == (0, 0, 2)


def test_answers_are_reused_only_if_they_were_looked_up_before_the_run(start: Any) -> None:
    late = start(["a", "bb"])
    ask(start(), ["a"], Model())
    model = Model(base=5)
    assert ask(late, ["a", "bb"], model)[0][0] == 5 - 1 / 7
    assert model.asked == [["a", "bb"]]
    assert counts(late) == (2, 0, 0)


def test_a_request_in_two_batches_of_a_run_is_computed_once_and_is_not_called_reused(
    start: Any,
) -> None:
    run, model = start(["a", "bb", "ccc"]), Model()
    first = ask(run, ["a", "bb"], model)
    second = ask(run, ["bb", "ccc"], model)
    assert second[0] == first[1]
    assert model.asked == [["a", "bb"], ["ccc"]]
    assert counts(run) == (3, 0, 0)


def test_a_resumed_batch_serves_the_later_batches_of_its_run(start: Any) -> None:
    before = start(["a", "bb", "ccc"])
    ask(before, ["a", "bb"], Model())
    run, model = start(["a", "bb", "ccc"]), Model()
    ask(run, ["a", "bb"], model)
    ask(run, ["bb", "ccc"], model)
    assert model.asked == [["ccc"]]
    assert counts(run) == (1, 2, 0)


def test_a_run_that_stops_anywhere_goes_on_to_the_answers_of_one_that_did_not(
    tmp_path: Path,
) -> None:
    batches = [["a", "bb"], ["ccc", "dddd"], ["bb", "eeeee"], ["ffffff"]]
    keys = [key for batch in batches for key in batch]

    def begin(folder: Path) -> Resumable:
        run = Resumable(AnswerStore(folder, MODEL), MACHINE)
        run.begin(keys)
        return run

    whole = begin(tmp_path / "whole")
    expected = [ask(whole, batch, Model()) for batch in batches]
    for stop in range(len(batches) + 1):
        folder = tmp_path / str(stop)
        killed, run = begin(folder), None
        done = [ask(killed, batch, Model()) for batch in batches[:stop]]
        run = begin(folder)
        assert [ask(run, batch, Model()) for batch in batches] == expected
        assert done == expected[:stop]
        assert run.counts["computed"] + killed.counts["computed"] == whole.counts["computed"]
        assert run.counts["resumed"] == sum(map(len, batches[:stop]))
        assert run.counts["reused"] == 0


@pytest.mark.parametrize("change", ["machine", "plan", "order", "members"])
def test_the_same_requests_in_another_batch_count_as_reused(change: str, start: Any) -> None:
    keys = ["a", "bb"]
    ask(start(), keys, Model())
    asked = {"order": ["bb", "a"], "members": ["a"]}.get(change, keys)
    run = start(asked, machine={"threads": 2} if change == "machine" else MACHINE)
    ask(run, asked, Model(), plan="other" if change == "plan" else "plan")
    assert counts(run) == (0, 0, len(asked))


def test_the_answers_of_another_model_are_not_taken(start: Any) -> None:
    ask(start(), ["a"], Model())
    run = start(["a"], model={"weights": "1" * 64})
    assert ask(run, ["a"], Model(base=5))[0][0] == 5 - 1 / 7
    assert counts(run) == (1, 0, 0)


def test_without_a_store_everything_is_computed_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        run, model = Resumable(), Model()
        run.begin(["a", "bb"])
        assert [value for value, _ in ask(run, ["a", "bb"], model)] == [-1 / 7, -2 / 7]
        assert model.asked == [["a", "bb"]]
        assert counts(run) == (2, 0, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_computing_stores_nothing_of_the_batch(start: Any) -> None:
    def fail(_: list[int]) -> list[Any]:
        raise MemoryError

    with pytest.raises(MemoryError):
        start(["a"]).answer("plan", ["a"], fail)
    run, model = start(["a"]), Model()
    ask(run, ["a"], model)
    assert model.asked == [["a"]]
    assert counts(run) == (1, 0, 0)


def test_a_model_that_answers_too_few_requests_is_an_error_and_stores_nothing(start: Any) -> None:
    with pytest.raises(ValueError, match="shorter"):
        start(["a", "bb"]).answer("plan", ["a", "bb"], lambda _: [[-1.0, True]])
    run = start(["a", "bb"])
    ask(run, ["a", "bb"], Model())
    assert counts(run) == (2, 0, 0)


@pytest.mark.parametrize("value", ["a text \u03b1\n", -3.5, [-2.5, False], ""])
def test_every_kind_of_answer_comes_back_as_it_was(value: Any, start: Any) -> None:
    start().answer("plan", ["a"], lambda _: [value])
    assert start(["a"]).answer("plan", ["a"], lambda _: [None]) == [value]


def test_the_digest_tells_parts_apart_and_does_not_depend_on_the_order_of_keys() -> None:
    assert digest("a", {"x": 1, "y": 2}) == digest("a", {"y": 2, "x": 1})
    assert len({digest("ab"), digest("a", "b"), digest(["a", "b"]), digest("a", ["b"])}) == 4
    stable = "0eb5b8d6f81bc677da8a08567cc4fa9a06a57e9ec8da85ed73a7f62727996002"  # of ["a"]
    assert digest("a") == stable
