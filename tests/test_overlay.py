"""The overlay holds hashes, flags and positions, and no words of the questions."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from audited import write_audited
from datasets import load_dataset

from proteinlm_ext.audit_report import write_audit
from proteinlm_ext.auditing import audit
from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.wording import words
from proteinlm_hub.benchmark_card import CANARY
from proteinlm_hub.metadata import check_card
from proteinlm_hub.overlay import write_overlay

RUN = 8


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_audited(tmp_path_factory.mktemp("benchmark"))


@pytest.fixture(scope="module")
def overlay(benchmark: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    data, audit_folder = benchmark
    out = tmp_path_factory.mktemp("made") / "overlay"
    write_overlay(audit_folder, out, data)
    return out


def table(overlay: Path, config: str) -> list[dict[str, Any]]:
    return pq.read_table(overlay / config / "test-00000-of-00001.parquet").to_pylist()


def texts(folder: Path) -> Iterator[str]:
    """Yield all text of a folder: whole files, and each cell of a Parquet file."""
    for path in filter(Path.is_file, folder.rglob("*")):
        if path.suffix == ".parquet":
            yield from (json.dumps(row) for row in pq.read_table(path).to_pylist())
            yield str(pq.read_metadata(path).metadata)
        else:
            yield path.read_text(encoding="utf-8")


def runs(said: Iterable[str]) -> set[tuple[str, ...]]:
    """Return every run of eight words; of a shorter text of five or more, all of it."""
    found: set[tuple[str, ...]] = set()
    for text in said:
        each = words(text)
        found.update(tuple(each[n : n + RUN]) for n in range(len(each) - RUN + 1))
        if 5 <= len(each) < RUN:
            found.add(tuple(each))
    return found


def leaked(data: Path, overlay: Path) -> list[str]:
    rows = json.loads(data.read_text(encoding="utf-8"))
    asked = [text for row in rows for text in (row["question"], row["explanation"])]
    options = [option.split(": ", 1)[1] for row in rows for option in row["options"]]
    held = [f" {' '.join(words(text))} " for text in texts(overlay)]
    written = runs(text for text in held if len(text.split()) >= RUN)
    short = {run for run in runs([*asked, *options]) if len(run) < RUN}
    found = runs([*asked, *options]) & written
    found |= {run for run in short if any(f" {' '.join(run)} " in text for text in held)}
    return [" ".join(run) for run in found]


def test_no_words_of_a_question_are_in_any_file(
    benchmark: tuple[Path, Path], overlay: Path
) -> None:
    assert leaked(benchmark[0], overlay) == []


@pytest.mark.parametrize(
    "planted",
    [
        "so yellow oil pressed very slowly it is",
        "by keeper 3 when the harbour bell number 3 has rung",
        "The log book of the lighthouse tells it on page one",
    ],
)
def test_the_search_for_words_finds_planted_ones(
    benchmark: tuple[Path, Path], tmp_path: Path, planted: str
) -> None:
    (tmp_path / "README.md").write_text(f"Said before. {planted}. Said after.")
    assert leaked(benchmark[0], tmp_path)


def test_every_row_has_its_hashes_flags_and_slices(
    benchmark: tuple[Path, Path], overlay: Path
) -> None:
    audited = [json.loads(line) for line in (benchmark[1] / "audit.jsonl").open()]
    rows = table(overlay, "rows")
    assert [{key: row[key] for key in audited[0]} for row in rows] == audited
    assert {row["canary"] for row in rows} == {CANARY}
    assert {row["num_options"] for row in rows} == {3}
    # The keys are options 1, 2, 3, 1, 2; by length they are the third, second and first.
    assert [row["gold_length_rank"] for row in rows[:5]] == [3, 2, 1, 3, 2]


def test_corrections_are_the_contradictions_that_the_audit_found(overlay: Path) -> None:
    found = [(row["row"], row["old_option"], row["new_option"], row["evidence"])
             for row in table(overlay, "key_corrections")]  # fmt: skip
    assert found == [
        (7, 1, 2, "explanation_contradicts_key: restates it"),
        (1, 1, None, "schema: the same question has different keys"),
        (6, 2, None, "schema: the same question has different keys"),
    ]


def test_both_configurations_load_with_the_features_and_counts_of_the_card(
    overlay: Path, tmp_path: Path
) -> None:
    card = json.loads((overlay / "card.json").read_text())
    assert [config["name"] for config in card["overlay"]["configs"]] == ["rows", "key_corrections"]
    for config in card["overlay"]["configs"]:
        loaded = load_dataset(str(overlay), config["name"], cache_dir=str(tmp_path))
        assert {split: len(rows) for split, rows in loaded.items()} == {
            "test": config["num_examples"]
        }
        assert loaded["test"].features._to_yaml_list() == config["features"]


def test_the_manifest_has_all_that_is_published_and_not_the_pull_request(overlay: Path) -> None:
    files = json.loads((overlay / "manifest.json").read_text())["files"]
    published = {
        path.relative_to(overlay).as_posix()
        for path in overlay.rglob("*")
        if path.is_file() and "pull_request" not in path.parts and path.name != "manifest.json"
    }
    assert set(files) == published
    assert files["README.md"]["bytes"] == (overlay / "README.md").stat().st_size
    assert {path.name for path in (overlay / "pull_request").iterdir()} == {
        "CITATION.bib", "PULL_REQUEST.md", "README.md", "eval.yaml",
    }  # fmt: skip


def test_the_card_passes_the_offline_checks(overlay: Path) -> None:
    assert check_card((overlay / "README.md").read_text(), overlay, "overlay") == []


def test_the_same_audit_gives_the_same_bytes(
    benchmark: tuple[Path, Path], overlay: Path, tmp_path: Path
) -> None:
    write_overlay(benchmark[1], tmp_path / "again", benchmark[0])
    for path in filter(Path.is_file, overlay.rglob("*")):
        assert (tmp_path / "again" / path.relative_to(overlay)).read_bytes() == path.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_the_file_that_the_environment_names_is_read(
    benchmark: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROTEINLM_DATA", str(benchmark[0]))
    (tmp_path / "out").mkdir()  # empty: as good as new
    write_overlay(benchmark[1], tmp_path / "out")
    assert len(table(tmp_path / "out", "rows")) == 8


def test_another_file_than_the_audited_one_is_refused(
    benchmark: tuple[Path, Path], tmp_path: Path
) -> None:
    other = tmp_path / "ProteinLMBench.json"
    other.write_bytes(benchmark[0].read_bytes() + b"\n")
    with pytest.raises(ProteinLMError, match="the audited file had"):
        write_overlay(benchmark[1], tmp_path / "out", other)
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_left_alone(benchmark: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        write_overlay(benchmark[1], tmp_path, benchmark[0])
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_no_words_of_a_real_question_are_in_any_file(real_benchmark: Path, tmp_path: Path) -> None:
    write_audit(audit(real_benchmark), tmp_path / "audit")
    write_overlay(tmp_path / "audit", tmp_path / "overlay", real_benchmark)
    assert leaked(real_benchmark, tmp_path / "overlay") == []
    generated = Path(__file__).parent.parent / "cards" / "generated"
    for name in ("proteinlmbench", "proteinlm-dataset"):
        assert (generated / name / "card.json").is_file()
        assert leaked(real_benchmark, generated / name) == []
