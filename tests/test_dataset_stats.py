"""Figures of a small dataset, in columns and in tokens, against what its rows are known to hold."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_models import save_tokenizer

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_sft.dataset_stats import DatasetStats, Lengths, SplitStats, find_shards, measure
from proteinlm_sft.stats_report import to_json, to_text, write_stats
from proteinlm_sft.token_counts import Cut, count_tokens, load_tokenizer, respell

SCHEMA = pa.schema(
    {
        "instruction": pa.string(),
        "input": pa.string(),
        "output": pa.string(),
        "organism": pa.string(),
        "evidence": pa.list_(pa.string()),
        "sequence_length": pa.int32(),
        "sequence_sha256": pa.string(),
    }
)
EXPERIMENT, SIMILARITY = "ECO:0000269", "ECO:0000250"


def row(sequence: str, output: str, *evidence: str, organism: str = "Mus ficta") -> dict[str, Any]:
    return {
        "instruction": "What does it do?",
        "input": f"Here: <seq> {' '.join(sequence)} </seq>",
        "output": output,
        "organism": organism,
        "evidence": evidence,
        "sequence_length": len(sequence),
        "sequence_sha256": hashlib.sha256(sequence.encode()).hexdigest(),
    }


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = SCHEMA if "instruction" in rows[0] else pa.schema({"text": pa.string()})
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "built"
    binds, cuts = row("MKT", "Binds zinc.", EXPERIMENT), row("MKTAYI", "Cuts.", SIMILARITY)
    write(folder, "function/train-00000-of-00002.parquet", [binds, cuts])
    write(
        folder,
        "function/train-00001-of-00002.parquet",
        [row("MKT", "Two.", EXPERIMENT, SIMILARITY), row("MW", "No tag.", organism="Rana picta")],
    )
    write(folder, "function/test-00000-of-00001.parquet", [binds])
    write(folder, "ptm/train-00000-of-00001.parquet", [binds | {"organism": "Rana picta"}])
    texts = [{"text": "Zinc <seq> M K </seq> \u00e9"}, {"text": "No sequence"}]
    write(folder, "ssl_uniprot/train-00000-of-00001.parquet", texts)
    (folder / "function" / ".test-00000.parquet").write_bytes(b"unfinished")
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return str(folder)


def split_of(stats: DatasetStats, config: str, split: str = "train") -> SplitStats:
    (found,) = [one for one in stats.splits if (one.config, one.split) == (config, split)]
    return found


def count_words(texts: list[str]) -> list[int]:
    return [len(text.split()) for text in texts]


# Columns.


def test_shards_are_found_by_config_and_split_with_texts_last(dataset: Path) -> None:
    found = find_shards(dataset)
    assert list(found) == [
        ("function", "train"), ("function", "test"), ("ptm", "train"), ("ssl_uniprot", "train"),
    ]  # fmt: skip
    assert [path.name[:11] for path in found["function", "train"]] == ["train-00000", "train-00001"]


def test_rows_and_distinct_proteins_are_counted_by_split_and_in_all(dataset: Path) -> None:
    stats = measure(dataset)
    train = split_of(stats, "function")
    assert (train.rows, train.proteins) == (4, 3)
    assert split_of(stats, "function", "test").proteins == 1
    assert stats.proteins == 3
    text = split_of(stats, "ssl_uniprot")
    assert (text.rows, text.proteins, text.experimental) == (2, None, None)


def test_evidence_is_experimental_when_it_is_the_only_code(dataset: Path) -> None:
    train = split_of(measure(dataset), "function")
    assert (train.with_evidence, train.experimental) == (3, 1)


def test_residues_and_characters_have_their_rows_by_length(dataset: Path) -> None:
    stats = measure(dataset)
    lengths = split_of(stats, "function").lengths
    assert lengths["residues"].counts == {3: 2, 6: 1, 2: 1}
    assert lengths["answer characters"].counts == {11: 1, 5: 1, 4: 1, 7: 1}
    whole = "What does it do?\nHere: <seq> M K T </seq>"
    assert lengths["prompt characters"].counts[len(whole)] == 2
    row_lengths = {len(whole) + more: rows for more, rows in ((11, 2), (4, 1), (5, 1))}
    assert lengths["row characters"].counts == row_lengths
    texts = split_of(stats, "ssl_uniprot").lengths
    assert texts["residues"].counts == {2: 1, 0: 1}
    assert texts["row characters"].counts == {23: 1, 11: 1}


def test_organisms_come_with_their_rows_in_each_config(dataset: Path) -> None:
    assert measure(dataset).organisms == {
        "Mus ficta": {"function": 4},
        "Rana picta": {"function": 1, "ptm": 1},
    }


def test_only_the_twenty_most_frequent_organisms_are_named(tmp_path: Path) -> None:
    rows = [row("MK", "x", organism=f"Species {n:02}") for n in range(25) for _ in range(n + 1)]
    write(tmp_path, "function/train-00000-of-00001.parquet", rows)
    assert list(measure(tmp_path).organisms) == [f"Species {n:02}" for n in range(24, 4, -1)]


# Percentiles.


def test_a_percentile_is_the_least_length_that_so_many_rows_do_not_exceed() -> None:
    lengths = Lengths(Counter(range(1, 101)))
    assert [lengths.percentile(p) for p in (5, 50, 99)] == [5, 50, 99]
    assert (lengths.rows, lengths.total, lengths.longest) == (100, 5050, 100)
    assert [Lengths({7: 3, 9: 1}).percentile(p) for p in (75, 76)] == [7, 9]
    assert Lengths({}).percentile(50) == Lengths({}).longest == 0


# Tokens.


@pytest.mark.parametrize("given", ["<seq> M K </seq>", "<seq>M K</seq>", "<seq>MK</seq>"])
def test_every_spelling_of_a_sequence_gives_the_same_two(given: str) -> None:
    spelled = respell(f"a {given}, b {given}")
    assert spelled.spaced == "a <seq> M K </seq>, b <seq> M K </seq>"
    assert spelled.joined == "a <seq> MK </seq>, b <seq> MK </seq>"
    assert spelled.without == "a <seq> </seq>, b <seq> </seq>"
    assert spelled.residues == 4


def test_text_between_tags_that_is_no_sequence_stays() -> None:
    assert respell("a <seq> of <b> </seq> \\1") == (*["a <seq> of <b> </seq> \\1"] * 3, 0)


def test_tokens_are_counted_apart_for_prompt_and_answer_in_both_spellings(dataset: Path) -> None:
    paths = find_shards(dataset)["function", "train"]
    found = count_tokens(paths, count_words, [], None, "x")
    assert (found.rows, found.residues) == (4, 14)
    # Of the prompt's words, 7 are no residues.
    assert found.lengths["prompt tokens, spaced"] == {10: 2, 13: 1, 9: 1}
    assert found.lengths["prompt tokens, joined"] == {8: 4}
    assert found.lengths["answer tokens"] == {2: 2, 1: 2}
    assert found.lengths["row tokens, spaced"] == {12: 1, 14: 1, 11: 2}
    assert found.lengths["row tokens, joined"] == {10: 2, 9: 2}


def test_a_document_is_one_row_without_prompt_and_answer(dataset: Path) -> None:
    found = count_tokens(find_shards(dataset)["ssl_uniprot", "train"], count_words, [5], None, "x")
    assert found.lengths == {
        "row tokens, spaced": {6: 1, 2: 1},
        "row tokens, joined": {5: 1, 2: 1},
    }
    assert found.cuts[0] == Cut(5, "spaced", rows=1, tokens=1, residues=1)


def test_a_maximum_length_cuts_rows_answers_tokens_and_residues(tmp_path: Path) -> None:
    rows = [row("M" * 10, "one two three"), row("M" * 40, "one"), row("MK", "one")]
    path = write(tmp_path, "function/train-00000-of-00001.parquet", rows)
    spaced, joined = count_tokens([path], count_words, [18], None, "x").cuts
    # 17 + 3 and 47 + 1 words: 2 and 30 too many; the second prompt alone fills 18.
    assert spaced == Cut(18, "spaced", rows=2, no_answer=1, tokens=32, residues=32)
    assert joined == Cut(18, "joined")


def test_residues_to_cut_follow_from_the_tokens_that_the_sequence_takes(tmp_path: Path) -> None:
    path = write(tmp_path, "function/train-00000-of-00001.parquet", [row("M" * 9, "one two")])
    (_, joined) = count_tokens([path], count_words, [9], None, "x").cuts
    assert joined == Cut(9, "joined", rows=1, tokens=1, residues=9)
    (spaced, _) = count_tokens([path], count_words, [3], None, "x").cuts
    assert (spaced.tokens, spaced.residues) == (15, 9), "no more than there are"


def test_a_row_of_exactly_the_maximum_length_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path, "function/train-00000-of-00001.parquet", [row("MKT", "one two")])
    assert count_tokens([path], count_words, [12], None, "x").cuts[0] == Cut(12, "spaced")
    assert count_tokens([path], count_words, [11], None, "x").cuts[0].rows == 1


def test_a_sample_is_drawn_by_its_seed_from_all_shards(tmp_path: Path) -> None:
    paths = [
        write(
            tmp_path, f"c/train-{first}.parquet", [row("M" * (first + n), "x") for n in range(400)]
        )
        for first in (1, 401)
    ]

    def drawn(seed: str, sample: int | None = 40) -> list[int]:
        found = count_tokens(paths, count_words, [], sample, seed)
        return sorted(found.lengths["prompt tokens, spaced"].elements())

    first = drawn("1")
    assert (len(first), len(set(first))) == (40, 40)
    assert first[0] < 400 + 7 < first[-1]
    assert drawn("1") == first
    assert drawn("2") != first
    assert drawn("1", 800) == drawn("1", None)


def test_a_real_tokenizer_counts_without_special_tokens(tokenizer: str, dataset: Path) -> None:
    from transformers import AutoTokenizer

    loaded: Any = AutoTokenizer.from_pretrained(tokenizer)
    prompt = "What does it do?\nHere: <seq> MKT </seq>"
    assert load_tokenizer(tokenizer)([prompt]) == [len(loaded.tokenize(prompt))]
    stats = measure(dataset, tokenizer=tokenizer, max_lengths=[20, 10])
    test = split_of(stats, "function", "test")
    assert test.lengths["prompt tokens, joined"].counts == {len(loaded.tokenize(prompt)): 1}
    assert [cut.max_length for cut in test.cuts] == [10, 10, 20, 20]
    assert (test.counted, test.residues_counted) == (1, 3)


# Reports.


def test_the_tables_name_every_figure(dataset: Path, tokenizer: str) -> None:
    text = to_text(measure(dataset, tokenizer=tokenizer, max_lengths=[20], sample=3))
    assert "function     train     4         3             75.0            25.0" in text
    assert "ssl_uniprot  train     2         -                -               -" in text
    assert "a sample of 3 rows of each config and split (seed 42)" in text
    assert "row tokens, joined" in text
    assert "row characters" not in text
    assert "What a maximum length cuts" in text
    assert "Rana picta         1    1" in text


def test_without_a_tokenizer_the_tables_are_in_characters(dataset: Path) -> None:
    text = to_text(measure(dataset))
    assert "row characters" in text
    assert "No tokenizer was given" in text
    assert "maximum length" not in text


def test_json_holds_the_same_figures(dataset: Path, tokenizer: str) -> None:
    report = json.loads(to_json(measure(dataset, tokenizer=tokenizer, max_lengths=[4096])))
    assert (report["proteins"], report["splits"][0]["rows"]) == (3, 4)
    residues = report["splits"][0]["lengths"]["residues"]
    assert (residues["total"], residues["p50"], residues["max"]) == (14, 3, 6)
    cut = {"max_length": 4096, "rows": 0, "no_answer": 0, "tokens": 0, "residues": 0}
    cuts = report["splits"][0]["cuts"]
    assert cuts == [{**cut, "spelling": "spaced"}, {**cut, "spelling": "joined"}]


def test_files_are_the_same_bytes_every_time(dataset: Path, tokenizer: str, tmp_path: Path) -> None:
    def write_all(name: str) -> dict[str, bytes]:
        stats = measure(dataset, tokenizer=tokenizer, max_lengths=[20], sample=2)
        return {path.name: path.read_bytes() for path in write_stats(stats, tmp_path / name)}

    first = write_all("a")
    assert list(first) == ["stats.txt", "stats.json", "row_lengths.svg", "residues.svg"]
    assert write_all("b") == first
    picture = first["row_lengths.svg"].decode()
    assert "row tokens (log scale); lines: maximum lengths" in picture
    assert "function, n = 3" in picture, "two rows of train and the one of test"


def test_the_picture_of_residues_leaves_out_configs_without_any(tmp_path: Path) -> None:
    write(tmp_path, "ssl_pubmed/train-00000-of-00001.parquet", [{"text": "No sequence"}])
    files = write_stats(measure(tmp_path), tmp_path / "out")
    assert [path.name for path in files] == ["stats.txt", "stats.json", "row_lengths.svg"]
    assert "row characters" in files[-1].read_text(encoding="utf-8")


# What cannot be measured.


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProteinLMError, match="holds no CONFIG/SPLIT"):
        measure(tmp_path)


def test_a_shard_of_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "function" / "train-0.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"instruction": ["a"], "input": ["b"]}), path)
    with pytest.raises(ProteinLMError, match="no column output, organism, evidence"):
        measure(tmp_path)


@pytest.mark.parametrize("damage", ["cut short", "overwritten"])
def test_a_damaged_shard_is_refused(dataset: Path, tokenizer: str, damage: str) -> None:
    path = dataset / "function" / "test-00000-of-00001.parquet"
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:half] if damage == "cut short" else data[:4] + bytes(300) + data[304:])
    with pytest.raises(ProteinLMError, match="cannot be read"):
        measure(dataset, tokenizer=tokenizer)


def test_a_missing_tokenizer_is_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ProteinLMError, match="cannot be loaded"):
        measure(dataset, tokenizer=str(tmp_path / "none"))


def test_numbers_that_make_no_sense_are_refused(dataset: Path, tokenizer: str) -> None:
    with pytest.raises(UsageError, match="name the --tokenizer"):
        measure(dataset, max_lengths=[10])
    with pytest.raises(UsageError, match="at least 1, not 0"):
        measure(dataset, tokenizer=tokenizer, max_lengths=[10, 0])
    with pytest.raises(UsageError, match="at least 1, not 0"):
        measure(dataset, sample=0)
