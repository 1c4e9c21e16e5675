"""The benchmark's card says what the audit found, and nothing that the audit did not find."""

import json
import runpy
from pathlib import Path

import pytest
from audited import write_audited

from proteinlm_ext.benchmark import HUB_SHA256
from proteinlm_ext.errors import ProteinLMError
from proteinlm_hub.benchmark_card import CANARY, collect, to_files
from proteinlm_hub.metadata import check_card, check_eval_yaml


@pytest.fixture(scope="module")
def audit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_audited(tmp_path_factory.mktemp("benchmark"))[1]


def test_every_count_of_the_card_is_the_audits(audit_folder: Path) -> None:
    audit = json.loads((audit_folder / "audit.json").read_text())
    card = collect(audit_folder)
    readme = to_files(card)["README.md"]
    for name, check in audit["checks"].items():
        line = next(line for line in readme.splitlines() if line.startswith(f"| `{name}` |"))
        assert line.split("|")[2].strip() == str(check["count"])
    for name, found in audit["baselines"].items():
        line = next(line for line in readme.splitlines() if f"`{name}` | {found['n']} |" in line)
        assert f"| {100 * found['accuracy']:.1f} | {100 * found['low']:.1f} to " in line
    assert card["checks"]["explanation_contradicts_key"]["count"] == 1
    assert card["slices"] == {"selfcontained": 7, "clean": 8}
    assert "| 3 | 8 |" in readme
    assert CANARY in readme


def test_the_card_says_whether_the_file_is_the_hubs(audit_folder: Path) -> None:
    card = collect(audit_folder)
    assert "every number below is of the audited file alone" in to_files(card)["README.md"]
    card["data"]["sha256"] = HUB_SHA256
    assert "every number below" not in to_files(card)["README.md"]


def test_the_card_keeps_counts_and_not_the_rows_that_were_counted(audit_folder: Path) -> None:
    checks = collect(audit_folder)["checks"].values()
    assert {key for check in checks for key in check} == {"count", "description"}


def test_the_card_is_the_same_from_its_json_alone(audit_folder: Path) -> None:
    card = collect(audit_folder)
    assert to_files(json.loads(json.dumps(card))) == to_files(card)


def test_the_card_and_the_proposed_ones_pass_the_offline_checks(audit_folder: Path) -> None:
    files = to_files(collect(audit_folder))
    assert check_card(files["README.md"], None, "benchmark") == []
    assert check_card(files["pull_request/README.md"], None, "dataset") == []
    assert check_eval_yaml(files["pull_request/eval.yaml"]) == []


def test_the_pull_requests_script_makes_the_columns_that_eval_yaml_reads(
    audit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample_as_benchmark: Path
) -> None:
    files = to_files(collect(audit_folder))
    (tmp_path / "ProteinLMBench.json").write_bytes(sample_as_benchmark.read_bytes())
    text = files["pull_request/PULL_REQUEST.md"]
    (tmp_path / "convert.py").write_text(text.split("```python\n")[1].split("```")[0])
    monkeypatch.chdir(tmp_path)
    made = runpy.run_path("convert.py")
    for name in ("README.md", "eval.yaml"):
        Path(name).write_text(files[f"pull_request/{name}"])
    Path("manifest.json").write_text("{}")  # a folder that holds all that is published
    assert check_card(Path("README.md").read_text(), tmp_path, "dataset") == []
    sample = json.loads(sample_as_benchmark.read_text())
    assert [f"option {row['answer_index'] + 1}" for row in made["rows"]] == [
        row["answer"] for row in sample
    ]


def test_an_audit_of_another_benchmark_is_refused(audit_folder: Path, tmp_path: Path) -> None:
    audit = json.loads((audit_folder / "audit.json").read_text())
    audit["data"]["file"] = "mine.json"
    (tmp_path / "audit.json").write_text(json.dumps(audit))
    (tmp_path / "audit.jsonl").touch()
    with pytest.raises(ProteinLMError, match=r"the audit of mine\.json"):
        collect(tmp_path)


@pytest.mark.parametrize("key", ["baselines", "checks", "data", "definitions", "figures"])
def test_an_audit_without_a_part_is_refused_by_its_name(
    audit_folder: Path, tmp_path: Path, key: str
) -> None:
    audit = json.loads((audit_folder / "audit.json").read_text())
    (tmp_path / "audit.json").write_text(json.dumps({k: v for k, v in audit.items() if k != key}))
    (tmp_path / "audit.jsonl").touch()
    with pytest.raises(ProteinLMError, match=f"lacks {key}"):
        collect(tmp_path)


def test_an_audit_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProteinLMError, match="no whole audit"):
        collect(tmp_path)
