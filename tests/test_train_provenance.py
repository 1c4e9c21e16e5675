"""A score means something only if the training data were cleaned of the questions."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from proteinlm_ext.errors import UsageError
from proteinlm_train.provenance import describe_decontamination, describe_split, read_ancestor
from proteinlm_train.recipe import Recipe
from proteinlm_train.recipe_file import check_recipe
from proteinlm_train.record import SCHEMA_VERSION, write_record


def build(folder: Path, *, cleaned: bool = True, by: str = "similarity") -> dict[str, Any]:
    """Write a dataset with one file, and return what `prepare` says of having read it."""
    file = folder / "function" / "train-00000-of-00001.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table({"text": ["MKT binds zinc."]}), file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest: dict[str, Any] = {
        "files": {"function/train-00000-of-00001.parquet": {"sha256": sha256}},
        "recipe": {"split": {"by": by, "identity": 0.3}},
    }
    if cleaned:
        manifest["contamination"] = {
            "questions": 944,
            "sha256": "0" * 64,
            "dropped": {"verbatim": 3},
        }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return {"files": [{"name": file.name, "sha256": sha256}]}


def recipe(*folders: Path, policy: str = "required", held_out: str = "split") -> Recipe:
    return check_recipe(
        {
            "name": "test",
            "stage": "sft",
            "method": "lora",
            "model": {"path": "smollm2"},
            "data": {
                "sources": [{"path": str(folder)} for folder in folders],
                "validation": {"from": held_out},
                "decontamination": policy,
            },
            "train": {"lr": 1e-4, "max_steps": 1},
            "run": {"output_dir": "run"},
        },
        "test",
    )


def test_the_record_says_which_questions_were_removed(tmp_path: Path) -> None:
    said = describe_decontamination(recipe(tmp_path), {"sources": [build(tmp_path)]})
    assert said["policy"] == "required"
    assert said["sources"][0]["questions"] == 944
    assert said["sources"][0]["removed"] == {"verbatim": 3}


def test_a_source_without_a_record_is_refused_by_name(tmp_path: Path) -> None:
    read = [build(tmp_path / "clean"), build(tmp_path / "unchecked", cleaned=False)]
    sources = recipe(tmp_path / "clean", tmp_path / "unchecked")
    with pytest.raises(UsageError, match=r"unchecked \(no record"):
        describe_decontamination(sources, {"sources": read})


def test_a_file_that_changed_after_the_check_does_not_count_as_checked(tmp_path: Path) -> None:
    read = build(tmp_path)
    read["files"][0]["sha256"] = "f" * 64
    with pytest.raises(UsageError, match="changed after the dataset was built"):
        describe_decontamination(recipe(tmp_path), {"sources": [read]})


def test_a_waiver_is_in_the_record(tmp_path: Path) -> None:
    read = build(tmp_path, cleaned=False)
    said = describe_decontamination(recipe(tmp_path, policy="waived"), {"sources": [read]})
    assert said["policy"] == "waived"
    assert not said["sources"][0]["decontaminated"]


def test_what_was_waived_for_the_base_must_be_waived_for_what_is_built_on_it(
    tmp_path: Path,
) -> None:
    read = build(tmp_path / "data")
    final = tmp_path / "run" / "final"
    final.mkdir(parents=True)
    assert read_ancestor(final) is None
    record = {
        "schema_version": SCHEMA_VERSION, "name": "first", "recipe": {"sha256": "a"},
        "base_model": {}, "data": {"fingerprint": "b"}, "decontamination": {"policy": "waived"},
    }  # fmt: skip
    write_record(final.parent, record)
    base = read_ancestor(final)
    with pytest.raises(UsageError, match="trained by first with decontamination waived"):
        describe_decontamination(recipe(tmp_path / "data"), {"sources": [read]}, base)
    waived = recipe(tmp_path / "data", policy="waived")
    said = describe_decontamination(waived, {"sources": [read]}, base)
    assert (said["policy"], said["base"]) == ("waived", "waived")


PREPARED = {"splits": {"validation": {"counts": {"kept": 7}, "shards": [{"sha256": "a"}]}}}


def test_the_split_is_the_datasets_where_all_sources_agree(tmp_path: Path) -> None:
    build(tmp_path / "a")
    build(tmp_path / "b")
    assert describe_split(recipe(tmp_path / "a", tmp_path / "b"), PREPARED)["by"] == "similarity"
    build(tmp_path / "c", by="random")
    assert describe_split(recipe(tmp_path / "a", tmp_path / "c"), PREPARED)["by"] == "unknown"


def test_rows_set_aside_from_training_are_no_split_by_protein(tmp_path: Path) -> None:
    build(tmp_path)
    assert describe_split(recipe(tmp_path, held_out="train"), PREPARED)["by"] == "row"
