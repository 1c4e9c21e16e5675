"""The check finds planted questions and leaks in any dataset, and nothing in one that is built."""

import gzip
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sequences import random_protein
from test_build import bytes_of, proteins
from uniprot_entries import Protein, Remark, to_flat

from proteinlm_ext.benchmark import load_benchmark
from proteinlm_ext.cli import main
from proteinlm_ext.errors import UsageError
from proteinlm_ext.paths import data_file
from proteinlm_sft.build import build
from proteinlm_sft.check import check_dataset, row_text
from proteinlm_sft.recipe import check_recipe

SAMPLE = str(data_file("sample.json"))


def question(number):
    asked = load_benchmark(SAMPLE).questions[number]
    return asked.id, f"{asked.question} {asked.choices[asked.answer]}."


@pytest.fixture
def inputs(tmp_path):
    """Ten clean proteins, two that say a question of the sample, and abstracts with one."""
    chance = random.Random(9)
    planted = [
        Protein(
            accession=f"Q0000{n}", entry_name=f"Q{n}_TESTE", sequence=random_protein(chance, 90),
            remarks=(Remark(text=question(n)[1], evidence=("ECO:0000269|PubMed:1",)),),
        )
        for n in (0, 3)
    ]  # fmt: skip
    flat = b"".join(map(to_flat, [*proteins(10), *planted]))
    (tmp_path / "in.dat").write_bytes(flat)
    said = [
        "Rings of the sample hold twelve pieces in solution, as cooled samples show under light. "
        "Each piece was weighed twice, and the rings were opened by hand before they were dried.",
        f"We report on lids. {question(0)[1]} The lids were removed by washing them twice.",
    ]
    lines = [
        json.dumps({"pmid": str(n), "title": "On samples", "abstract": text})
        for n, text in enumerate(said, 1)
    ]
    (tmp_path / "abstracts.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def recipe(inputs, **given):
    return check_recipe(
        {
            "uniprot": [str(inputs / "in.dat")],
            "benchmark_data": SAMPLE,
            "split": {"clusterer": "linclust", "validation": 0.2, "test": 0.3},
            "texts": {"pubmed": [str(inputs / "abstracts.jsonl")]},
            **given,
        },
        "test",
    )


def test_a_build_drops_what_holds_a_question_and_the_check_finds_nothing_more(inputs):
    manifest = build(recipe(inputs), inputs / "out", 1)
    found = check_dataset(str(inputs / "out"), SAMPLE, 1)

    hits = [json.loads(line) for line in (inputs / "out/contamination.jsonl").open()]
    assert {(hit["unit_id"], hit["question_id"]) for hit in hits} >= {
        ("function:Q00000", question(0)[0]),
        ("function:Q00003", question(3)[0]),
    }
    assert sum(manifest["configs"]["function"]["left_out"]["contaminated"].values()) == 2
    assert manifest["configs"]["ssl_pubmed"]["left_out"]["contaminated"] == {"train": 1}
    assert manifest["configs"]["ssl_pubmed"]["kept"] == {"train": 1}
    assert manifest["contamination"]["questions"] == 60
    assert question(0)[1][:40] not in (inputs / "out/contamination.jsonl").read_text()
    assert found.hits == ()
    assert not found.dirty
    assert {leak.split for leak in found.leaks} == {"validation", "test"}
    assert all(leak.neighbours[0.3] == leak.shared_outputs == 0 for leak in found.leaks)


def test_held_out_proteins_have_no_document_in_the_texts(inputs):
    build(recipe(inputs), inputs / "out", 1)

    with gzip.open(inputs / "out/held_out.tsv.gz", "rt") as lines:
        held = {line.split("\t")[0] for line in lines}
    tested = {
        row["accession"]
        for path in (inputs / "out").glob("*/*.parquet")
        if path.name.startswith(("test-", "validation-"))
        for row in pq.read_table(path).to_pylist()
    }
    (documents,) = (inputs / "out/ssl_uniprot").glob("*.parquet")
    texts = pq.read_table(documents)["text"].to_pylist()
    assert tested
    assert tested <= held
    planted = {"Q00000", "Q00003"}
    assert len(texts) == 12 - len(held | planted)
    assert not any(f"accession number {accession}," in text for accession in held for text in texts)


def test_workers_do_not_change_a_byte_of_the_texts(inputs):
    for workers in (1, 2):
        build(recipe(inputs), inputs / f"of{workers}", workers)

    assert bytes_of(inputs / "of1") == bytes_of(inputs / "of2")


def test_without_decontamination_the_check_finds_the_plants(inputs, capsys):
    build(recipe(inputs, decontaminate="none"), inputs / "out", 1)

    status = main(["data", "check", str(inputs / "out"), "--against", SAMPLE, "--workers", "1"])

    said = capsys.readouterr().out
    assert status == 1
    assert f"function:Q00000: question {question(0)[0]}, verbatim" in said
    assert "pubmed" in said


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_any_file_with_text_can_be_checked(tmp_path, form):
    rows = [
        {"id": "clean", "messages": [{"role": "user", "content": "What is a sample of a thing?"}]},
        {"id": "dirty", "messages": [{"role": "assistant", "content": question(5)[1]}]},
    ]
    path = tmp_path / f"mine.{form}"
    if form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)

    found = check_dataset(str(path), SAMPLE, 1)

    assert {hit.unit_id for hit in found.hits} == {"dirty"}
    assert found.dirty
    assert found.leaks == ()


def test_a_dataset_that_is_not_there_or_says_nothing_is_refused(tmp_path):
    (tmp_path / "numbers.jsonl").write_text('{"a": 1}\n')

    with pytest.raises(UsageError, match="There is no dataset at"):
        check_dataset(str(tmp_path / "nothing"), SAMPLE, 1)
    with pytest.raises(UsageError, match="holds no text to search"):
        check_dataset(str(tmp_path / "numbers.jsonl"), SAMPLE, 1)


def test_a_leak_between_splits_is_told(tmp_path, capsys):
    """The paper's mode makes no split; a copy of its train as test leaks all over."""
    (tmp_path / "in.dat").write_bytes(b"".join(map(to_flat, proteins(6))))
    given = {"uniprot": [str(tmp_path / "in.dat")], "mode": "paper", "decontaminate": "none"}
    build(check_recipe(given, "test"), tmp_path / "out", 1)
    for path in (tmp_path / "out").glob("*/train-*"):
        path.with_name(path.name.replace("train", "test")).write_bytes(path.read_bytes())

    found = check_dataset(str(tmp_path / "out"), "none", 1)

    (leak,) = found.leaks
    assert (leak.split, leak.proteins) == ("test", 6)
    assert leak.neighbours == {0.3: 6, 0.5: 6, 0.9: 6}
    assert leak.shared_outputs == leak.rows
    assert found.dirty
    main(["data", "check", str(tmp_path / "out"), "--against", "none", "--workers", "1"])
    assert "6 (100.0%) at 90%" in capsys.readouterr().out


def test_a_rows_text_is_what_a_trainer_reads():
    row = {"id": "1", "prompt": [{"role": "user", "content": "Q"}], "completion": "A", "n": 3}

    assert row_text(row) == "Q\nA"
