"""The rows of a built dataset as documents: the prompt of training, what was read, what is near."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from annotation_rows import ENZYMES, TEXTS, protein_row, write_all, write_rows

from proteinlm_ext import annotation_data
from proteinlm_ext.annotation_data import load_for_harness
from proteinlm_ext.errors import DataError, MissingDependencyError, UsageError
from proteinlm_ext.neighbours import Neighbour
from proteinlm_sft.templates import prompt_completion
from proteinlm_train.tagged import respell

NEAR = Neighbour(id="function:Q00000", accession="Q00000", identity=0.4, coverage=0.9)


@pytest.fixture(autouse=True)
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one row have a neighbour, without a search."""
    monkeypatch.setattr("proteinlm_ext.neighbours.nearest", lambda *_: {"function:P00001": NEAR})


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_all(tmp_path / "set")


def load(folder: Path, config: str = "function", **metadata: Any) -> list[dict[str, Any]]:
    return load_for_harness(config, sft_data=str(folder), **metadata)["test"].to_list()


def test_a_document_is_a_row_with_the_prompt_of_training(dataset: Path) -> None:
    row = protein_row("function", "P00000", TEXTS["function"] + " ")
    (message,) = prompt_completion(row)["prompt"]
    doc = load(dataset)[0]
    assert doc["prompt"] == message["content"]
    assert doc["prompt"].endswith("</seq>")
    for name in ("id", "accession", "instruction", "input", "output", "sequence_sha256"):
        assert doc[name] == row[name]
    assert doc["config"] == "function"


def test_other_model_arguments_and_metadata_do_no_harm(dataset: Path) -> None:
    assert load(dataset, pretrained="m", dtype="float32", data="elsewhere", version=1.0) == load(
        dataset
    )


@pytest.mark.parametrize("written", ["<seq> M K T </seq>", "<seq>M K T</seq>", "<seq>MKT</seq>"])
def test_every_way_to_write_a_sequence_becomes_the_one_that_is_asked_for(written: str) -> None:
    assert respell(f"Here: {written}.", "spaced") == "Here: <seq> M K T </seq>."
    assert respell(f"Here: {written}.", "joined") == "Here: <seq> MKT </seq>."


def test_residues_are_joined_in_the_prompt_on_request(dataset: Path) -> None:
    spaced, joined = load(dataset)[0], load(dataset, residues="joined")[0]
    sequence = spaced["prompt"].partition("<seq> ")[2].removesuffix(" </seq>")
    assert f"<seq> {sequence.replace(' ', '')} </seq>" in joined["prompt"]
    assert joined["output"] == spaced["output"]
    with pytest.raises(UsageError, match='"spaced" or "joined"'):
        load(dataset, residues="apart")


@pytest.mark.parametrize("named", [None, "", 3])
def test_without_a_dataset_the_flag_and_the_command_that_makes_one_are_named(named: Any) -> None:
    with pytest.raises(UsageError) as error:
        load_for_harness("ptm", sft_data=named)
    for part in ("--metadata", "sft_data", "proteinlm data build", "proteinlm_sft_ptm"):
        assert part in str(error.value)


def test_a_missing_config_or_split_says_which_task_to_leave_out(dataset: Path) -> None:
    with pytest.raises(DataError, match=r"no validation rows of ptm .* Leave\s+proteinlm_sft_ptm"):
        load(dataset, "ptm", sft_split="validation")
    empty = write_rows(dataset.parent / "empty", {"ptm": {"test": []}})
    with pytest.raises(DataError, match="no test rows of ptm"):
        load(empty, "ptm")
    with pytest.raises(DataError, match="no test rows of disease"):
        load(empty, "disease")


def test_an_unfinished_build_and_foreign_files_are_refused(dataset: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}), dataset / "ptm" / "test-00000-of-00001.parquet")
    with pytest.raises(DataError, match=r"rows of a built dataset .*accession"):
        load(dataset, "ptm")
    (dataset / "ptm" / "test-00000-of-00001.parquet").write_text("no Parquet")
    with pytest.raises(DataError, match="cannot be read"):
        load(dataset, "ptm")
    for content in ("[]", "{", None):
        (dataset / "manifest.json").unlink()
        if content:
            (dataset / "manifest.json").write_text(content)
        with pytest.raises(DataError, match=r"no finished dataset: its manifest\.json"):
            load(dataset)


def test_what_was_read_is_recorded(dataset: Path) -> None:
    said: dict[str, Any] = {}
    load(dataset, provenance=said)
    file = dataset / "function" / "test-00000-of-00001.parquet"
    manifest = dataset / "manifest.json"
    assert said == {
        "source": "lamps/function/test",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "questions": 3,
        "rows": 3,
        "complete": True,
        "manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest(),
    }
    assert str(dataset) not in json.dumps(said)


def test_another_split_can_be_read(dataset: Path) -> None:
    assert [doc["accession"] for doc in load(dataset, sft_split="train")] == ["Q00000", "Q00001"]


def test_a_document_names_its_nearest_training_protein_or_none(dataset: Path) -> None:
    found = [doc["neighbour"] for doc in load(dataset)]
    assert found[0] is found[2] is None
    assert found[1] == {
        "id": "function:Q00000", "accession": "Q00000", "identity": 0.4, "coverage": 0.9,
    }  # fmt: skip


def test_without_mmseqs2_the_documents_have_no_neighbours_and_that_is_said_once(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(*_: Any) -> None:
        raise MissingDependencyError("MMseqs2 is not installed.")

    annotation_data._remark.cache_clear()
    monkeypatch.setattr("proteinlm_ext.neighbours.nearest", missing)
    with caplog.at_level(logging.WARNING, "proteinlm_ext"):
        docs = [*load(dataset), *load(dataset, "ptm")]
    assert not any("neighbour" in doc for doc in docs)
    assert caplog.text.count("MMseqs2 is not installed.") == 1


def test_an_enzymes_document_has_all_right_numbers_of_its_protein(dataset: Path) -> None:
    docs = load(dataset, "enzyme_cot")
    assert [doc["numbers"] for doc in docs] == [["1.1.1.1", "1.1.9.4"]] * 2 + [["1.1.1.9"]]
    assert [doc["id"] for doc in docs] == [row["id"] for row in ENZYMES]
    assert len({doc["names_sha256"] for doc in docs}) == 1
