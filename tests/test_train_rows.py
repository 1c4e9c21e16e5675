"""Sources of a recipe: which files, which rows, how often, as which prompt and answer."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_train.recipe import Source
from proteinlm_train.rows import (
    draw_copies,
    list_files,
    read_dataset_manifest,
    read_rows,
    to_conversation,
)

SPLITS = ("train", "validation", "test")


def instruction(config: str, split: str, number: int) -> dict[str, Any]:
    return {
        "instruction": f"Describe {config}.", "input": "<seq> M K </seq>", "output": "It binds.",
        "id": f"{config}-{split}-{number}", "split": split,
    }  # fmt: skip


def save_dataset(folder: Path, configs: tuple[str, ...] = ("function", "ptm")) -> Path:
    """Save Parquet shards and a card as `proteinlm data build` does."""
    card = ["---", "configs:"]
    for config in configs:
        card += [f"- config_name: {config}", "  data_files:"]
        for split in SPLITS if not config.startswith("ssl") else ("train",):
            name = f"{config}/{split}-00000-of-00001.parquet"
            card += [f"  - split: {split}", f"    path: [{name}]"]
            rows = [instruction(config, split, number) for number in range(5)]
            if config.startswith("ssl"):
                rows = [{"id": f"{config}-{number}", "text": "Zinc."} for number in range(5)]
            (folder / config).mkdir(exist_ok=True, parents=True)
            pq.write_table(pa.Table.from_pylist(rows), folder / name)
    (folder / "README.md").write_text("\n".join([*card, "---", ""]))
    return folder


def save_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def source(path: Path | str, **settings: Any) -> Source:
    return Source(path=str(path), **settings)


def read(path: Path, split: str = "train", **settings: Any) -> list[dict[str, Any]]:
    files = list_files(source(path, **settings), 0, split)
    return [row for file in files for row in read_rows(file, range(file.rows))]


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


@pytest.mark.parametrize("split", SPLITS)
def test_a_built_dataset_gives_the_split_of_the_configs_that_are_named(tmp_path, split):
    folder = save_dataset(tmp_path, ("function", "ptm", "disease"))

    rows = read(folder, split, configs=("ptm", "function"))

    assert ids(rows) == [f"{c}-{split}-{n}" for c in ("ptm", "function") for n in range(5)]
    assert rows[0]["instruction"] == "Describe ptm."


def test_a_split_that_one_config_lacks_is_taken_from_the_others(tmp_path):
    folder = save_dataset(tmp_path, ("ssl_uniprot", "function"))

    files = list_files(source(folder, configs=("ssl_uniprot", "function")), 0, "validation")

    assert [file.config for file in files] == ["function"]


def test_a_folder_of_parquet_files_needs_no_card(tmp_path):
    for split in ("train", "validation"):
        rows = [instruction("function", split, number) for number in range(3)]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{split}-00000.parquet")

    assert ids(read(tmp_path)) == [f"function-train-{n}" for n in range(3)]
    assert ids(read(tmp_path, "validation")) == [f"function-validation-{n}" for n in range(3)]


def test_a_folder_of_json_lines_is_split_by_the_names_of_its_files(tmp_path):
    for split in ("train", "validation"):
        save_lines(tmp_path / f"{split}.jsonl", [{"id": split, "text": "Zinc."}])

    assert ids(read(tmp_path)) == ["train"]
    assert ids(read(tmp_path, "validation")) == ["validation"]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_single_file_is_split_by_its_column(tmp_path, form):
    rows = [instruction("function", split, n) for n in range(4) for split in SPLITS]
    path = tmp_path / f"rows.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        save_lines(path, rows)

    for split in SPLITS:
        assert ids(read(path, split)) == [f"function-{split}-{n}" for n in range(4)]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_single_file_without_the_column_is_all_train(tmp_path, form):
    path = tmp_path / f"rows.{form}"
    rows = [{"text": "Zinc."}, {"text": "Iron."}]
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        save_lines(path, rows)

    assert [row["text"] for row in read(path)] == ["Zinc.", "Iron."]
    assert read(path, "validation") == []


def test_a_compressed_file_is_read(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "Zinc."}\n'))

    assert [row["text"] for row in read(path)] == ["Zinc."]


def test_a_row_may_be_larger_than_what_arrow_reads_at_a_time_by_itself(tmp_path):
    long = "M K " * 400_000
    path = save_lines(tmp_path / "rows.jsonl", [{"text": "Zinc."}, {"text": long}])

    assert [len(row["text"]) for row in read(path)] == [5, len(long)]


def test_rows_without_id_are_named_by_file_and_number(tmp_path):
    path = save_lines(tmp_path / "rows.jsonl", [{"text": "Zinc."}, {"text": "Iron."}])

    assert ids(read(path)) == ["rows.jsonl:0", "rows.jsonl:1"]


def test_only_the_rows_that_are_asked_for_are_read(tmp_path):
    path = tmp_path / "train.parquet"
    rows = [{"id": str(number), "text": "Zinc."} for number in range(10_000)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=3000)
    (file,) = list_files(source(tmp_path), 0, "train")

    assert ids(list(read_rows(file, [0, 4095, 4096, 9999]))) == ["0", "4095", "4096", "9999"]
    assert list(read_rows(file, [])) == []


def test_a_file_that_changes_is_read_again(tmp_path):
    path = save_lines(tmp_path / "rows.jsonl", [{"text": "Zinc."}])
    before = list_files(source(path), 0, "train")[0].sha256
    assert read(path)[0]["text"] == "Zinc."

    save_lines(path, [{"text": "Iron."}])

    assert read(path)[0]["text"] == "Iron."
    assert list_files(source(path), 0, "train")[0].sha256 != before


USER = {"role": "user", "content": "Where?"}
ASSISTANT = {"role": "assistant", "content": "In the membrane."}


@pytest.mark.parametrize(
    ("row", "form"),
    [
        ({"prompt": "Where?", "completion": "In the membrane."}, "prompt_completion"),
        ({"prompt": [USER], "completion": [ASSISTANT]}, "prompt_completion"),
        ({"messages": [USER, ASSISTANT]}, "messages"),
        ({"instruction": "Where", "input": "?", "output": "In the membrane."}, "instruction"),
    ],
)
def test_columns_tell_the_format_and_every_format_becomes_messages(tmp_path, row, form):
    path = save_lines(tmp_path / "rows.jsonl", [row])
    (file,) = list_files(source(path), 0, "train")
    (found,) = read_rows(file, [0])

    prompt, completion = to_conversation(found, file.format)

    assert file.format == form
    assert prompt == [USER if form != "instruction" else USER | {"content": "Where\n?"}]
    assert completion == [ASSISTANT]


def test_the_last_message_is_learned_and_the_others_are_context():
    asked = [{"role": "system", "content": "Be brief."}, USER, ASSISTANT, USER]

    row = {"id": "1", "messages": [*asked, ASSISTANT]}

    assert to_conversation(row, "messages") == (asked, [ASSISTANT])


@pytest.mark.parametrize("messages", [None, [], [ASSISTANT], [USER], [USER, ASSISTANT, USER]])
def test_messages_without_question_and_answer_are_refused_by_id(messages):
    with pytest.raises(ProteinLMError, match="Row P1: the last of at least two messages"):
        to_conversation({"id": "P1", "messages": messages}, "messages")


def test_a_format_that_is_named_wins_over_the_others_that_fit(tmp_path):
    path = save_lines(tmp_path / "rows.jsonl", [instruction("ptm", "train", 1) | {"text": "Zinc."}])

    assert list_files(source(path), 0, "train")[0].format == "instruction"
    assert list_files(source(path, format="text"), 0, "train")[0].format == "text"


def test_the_rows_that_ship_are_a_source():
    assert len(read(Path("smoke"))) == 160
    assert len(read(Path("smoke"), "validation")) == 20


def refusal(path: Path | str, **settings: Any) -> str:
    with pytest.raises(ProteinLMError) as refused:
        list_files(source(path, **settings), 0, "train")
    return str(refused.value)


def test_what_cannot_be_read_is_told_with_its_path(tmp_path):
    folder = save_dataset(tmp_path / "built")
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": \n')
    table = save_lines(tmp_path / "table.jsonl", [{"question": "Where?", "answer": "There."}])
    (tmp_path / "empty").mkdir()

    assert f"{tmp_path}/none does not exist. Name a dataset" in refusal(tmp_path / "none")
    assert "'nothing' not found" in refusal(folder, configs=("nothing",))
    assert "Config name is missing" in refusal(folder)
    assert f"data.sources: {tmp_path}/empty cannot be read" in refusal(tmp_path / "empty")
    assert f"{broken} cannot be read" in refusal(broken)
    assert refusal(table) == (
        "table.jsonl has the columns question, answer; wanted: instruction + input + output; "
        "prompt + completion; messages; text."
    )
    assert refusal(table, format="text").endswith("wanted: text.")


def test_the_manifest_of_a_dataset_is_found_beside_its_configs(tmp_path):
    assert read_dataset_manifest(source(tmp_path)) == {}
    (tmp_path / "manifest.json").write_text('{"name": "mine"}')
    assert read_dataset_manifest(source(tmp_path)) == {"name": "mine"}
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ProteinLMError, match=r"manifest.json cannot be read"):
        read_dataset_manifest(source(tmp_path))


@pytest.mark.parametrize(
    ("weight", "max_rows", "expected"),
    [
        (0.5, None, {0: 20, 1: 20}),
        (1, None, {1: 40}),
        (2.5, None, {2: 20, 3: 20}),
        (3, None, {3: 40}),
        (1, 10, {0: 30, 1: 10}),
        (2.5, 10, {0: 30, 2: 5, 3: 5}),
        (0.5, 10, {0: 35, 1: 5}),
        (1, 100, {1: 40}),
    ],
)
def test_a_weight_takes_an_exact_number_of_copies(weight, max_rows, expected):
    copies = draw_copies(source("x", weight=weight, max_rows=max_rows), 40, 42, 0)

    assert Counter(copies.tolist()) == expected


def test_drawing_depends_on_the_seed_and_on_the_place_of_the_source():
    half = source("x", weight=0.5)

    def draw(seed: int, number: int) -> list[int]:
        return draw_copies(half, 40, seed, number).tolist()

    assert draw(42, 0) == draw(42, 0)
    assert draw(42, 0) != draw(42, 1)
    assert draw(42, 0) != draw(43, 0)


def test_a_hub_source_without_commit_is_refused():
    with pytest.raises(ValueError, match="pin owner/name to a commit"):
        source("owner/name")
    assert issubclass(UsageError, ProteinLMError)
