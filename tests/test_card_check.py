"""`proteinlm card` writes folders that `card check` makes again byte for byte."""

import argparse
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from audited import write_audited
from carded import Sources, save_evaluations, save_sources

from proteinlm_ext.commands import add_command
from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_hub.cli_card import add_cards
from proteinlm_hub.render import read_card, to_files

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_evaluations(tmp_path_factory.mktemp("evaluations"))


@pytest.fixture
def sources(tmp_path: Path, evaluations: Path) -> Sources:
    return save_sources(tmp_path, evaluations)


def card(*arguments: Any) -> int:
    """Run `proteinlm card`."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()

    add_cards(partial(add_command, commands))
    options = parser.parse_args(["card", *map(str, arguments)])
    return options.execute(options)


def card_model(sources: Sources, *more: str) -> int:
    given = ["--run", sources.run, "--data", sources.data, "--results", *sources.results()]
    return card("model", sources.model, *given, *more)


def test_a_model_card_is_written_with_its_picture_and_passes(
    sources: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    assert card_model(sources, "--repo", "acme/lamps", "--subject", "first") == 0
    written = {path.name for path in sources.model.iterdir()}
    assert {"README.md", "card.json", "loss.svg"} <= written
    assert "`first` is this model" in (sources.model / "README.md").read_text()
    assert card("check", sources.model) == 0
    assert capsys.readouterr().out.endswith("1 card, 0 wrong\n")


def test_the_same_sources_give_the_same_bytes(sources: Sources) -> None:
    def read() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sources.model.iterdir()}

    assert card_model(sources) == 0
    first = read()
    assert card_model(sources) == 0
    assert read() == first


def test_a_dataset_card_is_written_beside_its_data(
    sources: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    assert card("dataset", sources.data) == 0
    assert (sources.data / "README.md").read_text() == to_files(read_card(sources.data))[
        "README.md"
    ]
    assert card("check", sources.data) == 1
    # The sizes in the manifest are invented; the text is right.
    assert re.fullmatch(r"(.*download_size is \d+, .*\n)+", capsys.readouterr().err)


def test_a_benchmark_card_is_written_with_the_overlay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, audit = write_audited(tmp_path)
    monkeypatch.setenv("PROTEINLM_DATA", str(data))
    assert card("benchmark", audit, "--out", tmp_path / "overlay") == 0
    assert card("check", tmp_path / "overlay") == 0


def _change_card(folder: Path, **changes: Any) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "README.md").write_text("# Better\n"), "README.md is not what card.json"),
        (lambda f: (f / "README.md").unlink(), "README.md is not what card.json makes"),
        (lambda f: _change_card(f, name="Other"), "README.md is not what card.json makes"),
        (lambda f: _change_card(f, base="nobody"), "'nobody' is no OWNER/NAME"),
        (lambda f: _change_card(f, kind="poster"), "kind 'poster'"),
        (lambda f: _change_card(f, schema_version=2), "schema_version 2"),
        (lambda f: (f / "card.json").unlink(), "`proteinlm card` makes it"),
        (lambda f: (f / "card.json").write_text("{"), "`proteinlm card` makes it"),
        (lambda f: (f / "card.json").write_text("[]"), "no card"),
        (lambda f: (f / "loss.svg").unlink(), "'loss.svg' leads to a file that is not there"),
        (
            lambda f: ((f / ".eval_results").mkdir(), (f / ".eval_results/old.yaml").touch()),
            "old.yaml is not what card.json makes; remove it",
        ),
    ],
)
def test_a_card_that_was_changed_is_told(
    sources: Sources,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], Any],
    message: str,
) -> None:
    card_model(sources, "--repo", "acme/lamps")
    spoil(sources.model)
    assert card("check", sources.model) == 1
    assert message in capsys.readouterr().err


def test_a_line_end_counts(sources: Sources) -> None:
    card_model(sources)
    path = sources.model / "README.md"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert card("check", sources.model) == 1


def test_the_cards_of_this_project_are_checked_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    assert card("check") == 0, capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no card in cards/generated"):
        card("check")


def test_help_is_printed_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert card() == 0
    assert "check" in capsys.readouterr().out


def test_a_card_needs_an_evaluation(sources: Sources) -> None:
    with pytest.raises(ProteinLMError, match="There is no run"):
        card("model", sources.model, "--run", sources.run, "--data", sources.data,
             "--results", "base=nowhere")  # fmt: skip
