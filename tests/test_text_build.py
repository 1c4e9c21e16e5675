"""The SSL subsets from files to Parquet: what stays, what goes and why, and the same bytes."""

import gzip
import json
import os
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tiny_models import save_tokenizer
from uniprot_entries import Protein, Remark, to_flat, to_tsv, to_xml

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_hub.scan_rows import is_free
from proteinlm_sft.entry import SourceError
from proteinlm_sft.inputs import InputFile, find_inputs
from proteinlm_sft.text_build import SubsetReport, build_texts
from proteinlm_sft.text_plan import SUBSETS, TextPlan

WORDS = [f"{first}{second}" for first in ("sha", "ke", "mo", "tir") for second in "bdfglmnprstvz"]
SHELLIN = Protein(
    name="Shellin-1",
    remarks=(Remark(text="Makes the shell of the tortoise hard and keeps it so for life."),),
)


def prose(seed: int, words: int = 60) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(words)).capitalize() + "."


def abstract(pmid: int, text: str) -> dict[str, Any]:
    return {"pmid": str(pmid), "title": f"Title {pmid}", "abstract": text, "doi": f"10.1/{pmid}"}


def write_lines(path: Path, records: list[dict[str, Any]]) -> tuple[InputFile, ...]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return tuple(find_inputs([str(path)]))


def write(path: Path, data: bytes) -> tuple[InputFile, ...]:
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return tuple(find_inputs([str(path)]))


def build(plan: TextPlan, folder: Path, workers: int = 1) -> SubsetReport:
    """Build a plan of one subset and return its report."""
    (report,) = build_texts(plan, folder, folder / "work", workers).subsets.values()
    return report


def rows(folder: Path, config: str) -> list[dict[str, Any]]:
    shards = sorted((folder / config).glob("*.parquet"))
    return [row for shard in shards for row in pq.read_table(shard).to_pylist()]


def hashes(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("ssl_*/*.parquet")
    }


def pubmed_plan(tmp_path: Path, *records: dict[str, Any], **changes: Any) -> TextPlan:
    files = write_lines(tmp_path / "pubmed.jsonl", list(records))
    return replace(TextPlan(subsets=("ssl_pubmed",), pubmed=files), **changes)


@pytest.fixture
def everything(tmp_path: Path) -> TextPlan:
    """Return a plan of all subsets from small files of every kind."""
    article = {"pmcid": "PMC5", "pmid": "5", "text": prose(5), "license": "CC-BY-4.0"}
    pair = {"id": "a", "english": prose(6), "chinese": "壳" * 80, "license": "CC-BY-NC-4.0"}
    annotated = f"8|t|On sn1\n8|a|{prose(8)}\n8\t3\t6\tsn1\tGene\tP00001\n"
    return TextPlan(
        subsets=SUBSETS,
        uniprot=write(tmp_path / "sprot.dat.gz", to_flat(SHELLIN)),
        pubmed=write_lines(tmp_path / "p.jsonl", [abstract(1, f"{prose(1)} Shellin-1 too.")]),
        pmc=write_lines(tmp_path / "pmc.jsonl", [article]),
        annotations=write(tmp_path / "a.pubtator", annotated.encode()),
        pairs=write_lines(tmp_path / "pairs.jsonl", [pair]),
        releases={"ssl_uniprot": "2025_03"},
    )


def test_every_subset_is_made_with_source_licence_and_provenance(
    everything: TextPlan, tmp_path: Path
) -> None:
    report = build_texts(everything, tmp_path / "out", tmp_path / "work", 1)

    found = {config: rows(tmp_path / "out", config) for config in SUBSETS}
    assert {config: len(items) for config, items in found.items()} == {
        "ssl_uniprot": 1,
        "ssl_pubmed": 1,
        "ssl_pmc": 1,
        "ssl_sequence_in_abstract": 2,
        "ssl_translation_pairs": 1,
    }
    (protein,), (record,) = found["ssl_uniprot"], found["ssl_pubmed"]
    assert (protein["id"], protein["release"]) == ("uniprot:P00001", "2025_03")
    assert (protein["license"], protein["redistributable"]) == ("CC-BY-4.0", True)
    assert (record["pmid"], record["doi"], record["redistributable"]) == ("1", "10.1/1", False)
    assert record["text"] == f"Title 1\n\n{prose(1)} Shellin-1 too."
    assert found["ssl_pmc"][0]["redistributable"] is True
    assert found["ssl_translation_pairs"][0]["redistributable"] is False
    by_name, by_annotation = found["ssl_sequence_in_abstract"]
    assert by_name["text"].endswith(f"Shellin-1 <seq> {' '.join(SHELLIN.sequence)} </seq> too.")
    assert by_annotation["text"].startswith("On sn1 <seq> M K")
    assert by_name["accessions"] == by_annotation["accessions"] == ["P00001"]
    offset = record["text"].index("Shellin-1")
    assert json.loads(by_name["details"])["insertions"] == [
        {"accession": "P00001", "name": "Shellin-1", "offset": offset}
    ]
    assert report.dictionary["usable"] == 1
    assert report.subsets["ssl_pubmed"].inputs[0]["file"] == "p.jsonl"
    assert report.subsets["ssl_sequence_in_abstract"].insertions == {"insertions": 2}


def test_flat_file_xml_and_tsv_give_the_same_document(tmp_path: Path) -> None:
    forms = {"a.dat": to_flat(SHELLIN), "a.xml": to_xml([SHELLIN]), "a.tsv.gz": to_tsv([SHELLIN])}
    texts: list[str] = []
    for name, data in forms.items():
        plan = TextPlan(subsets=("ssl_uniprot",), uniprot=write(tmp_path / name, data))
        build(plan, tmp_path / f"out-{name}")
        texts += [row["text"] for row in rows(tmp_path / f"out-{name}", "ssl_uniprot")]

    assert len(texts) == 3
    assert len(set(texts)) == 1


def test_what_is_dropped_is_counted_and_listed_by_reason(tmp_path: Path) -> None:
    near = prose(4, 300)
    plan = pubmed_plan(
        tmp_path,
        abstract(1, prose(1)),
        abstract(2, ""),
        abstract(3, "Brief."),
        abstract(4, near),
        abstract(5, near.replace("shab", "moz", 1)),
        abstract(1, prose(6)),
        {"pmid": "none", "abstract": prose(7)},
        abstract(8, prose(8) + " A question of the benchmark."),
        abstract(9, prose(9)),
        contaminated=marks_questions,
        find_contaminated=finds_number_nine,
    )

    report = build(plan, tmp_path / "out")

    assert (report.read, report.kept) == (9, 2)
    assert report.left_out == {
        "contaminated": 1,
        "empty": 1,
        "near_duplicate": 1,
        "no_pmid": 1,
        "same_id": 1,
        "short": 1,
        "source": 1,
    }
    lines = [line for path in report.listed for line in Path(path).read_text().splitlines()]
    listed = [json.loads(line) for line in lines]
    assert sorted((item["reason"], item["id"]) for item in listed) == [
        ("contaminated", "pubmed:8"),
        ("empty", "pubmed:2"),
        ("near_duplicate", "pubmed:5"),
        ("no_pmid", "none"),
        ("same_id", "pubmed:1"),
        ("short", "pubmed:3"),
        ("source", "pubmed:9"),
    ]
    assert [row["id"] for row in rows(tmp_path / "out", "ssl_pubmed")] == ["pubmed:1", "pubmed:4"]


def marks_questions(text: str) -> str | None:
    return "contaminated" if "question of the benchmark" in text else None


def finds_number_nine(texts: Callable[[], Iterator[tuple[str, str]]]) -> Mapping[str, str]:
    ids = [name for name, text in texts() if text]
    assert ids == [name for name, _ in texts()] == ["pubmed:1", "pubmed:4", "pubmed:9"]
    return {"pubmed:9": "source"}


def test_equal_texts_under_two_ids_are_kept_once(tmp_path: Path) -> None:
    twins = [{"pmid": pmid, "abstract": prose(1)} for pmid in ("1", "2")]

    report = build(pubmed_plan(tmp_path, *twins, near_duplicates=False), tmp_path / "out")

    assert report.left_out == {"same_text": 1}


def test_texts_that_share_half_their_words_in_order_are_no_near_duplicates(tmp_path: Path) -> None:
    first = prose(1, 200)
    records = [abstract(number, f"{first} {prose(number, 200)}") for number in (2, 3)]

    assert build(pubmed_plan(tmp_path, *records), tmp_path / "out").left_out == {}


def test_abstracts_that_hold_the_same_sequence_are_no_near_duplicates(tmp_path: Path) -> None:
    long = replace(SHELLIN, sequence=SHELLIN.sequence * 10)
    plan = pubmed_plan(
        tmp_path,
        *(abstract(number, f"{prose(number)} Shellin-1 binds.") for number in (1, 2)),
        subsets=("ssl_sequence_in_abstract",),
        uniprot=write(tmp_path / "a.dat", to_flat(long)),
    )

    assert build(plan, tmp_path / "out").kept == 2


def test_a_later_file_replaces_a_record_and_the_order_is_that_of_the_files(tmp_path: Path) -> None:
    baseline = [abstract(number, prose(number)) for number in (1, 2, 3)]
    update = [abstract(2, prose(20)), abstract(4, prose(4))]
    files = [
        *write_lines(tmp_path / "n0001.jsonl", baseline),
        *write_lines(tmp_path / "n0002.jsonl", update),
    ]
    plan = pubmed_plan(tmp_path, pubmed=tuple(files), task_bytes=1)

    report = build(plan, tmp_path / "out")

    found = rows(tmp_path / "out", "ssl_pubmed")
    assert [row["pmid"] for row in found] == ["1", "3", "2", "4"]
    assert prose(20) in found[2]["text"]
    assert list(report.shards.items()) == [
        ("ssl_pubmed/train-00000-of-00002.parquet", 2),
        ("ssl_pubmed/train-00001-of-00002.parquet", 2),
    ]


def test_a_task_that_keeps_nothing_shifts_no_other(tmp_path: Path) -> None:
    files = [
        *write_lines(tmp_path / "a.jsonl", [abstract(1, prose(1))]),
        *write_lines(tmp_path / "b.jsonl", [abstract(2, "")]),
        *write_lines(tmp_path / "c.jsonl", [abstract(1, prose(3)), abstract(3, prose(4))]),
    ]
    plan = pubmed_plan(tmp_path, pubmed=tuple(files), task_bytes=1)

    report = build(plan, tmp_path / "out")

    assert report.left_out == {"empty": 1, "same_id": 1}
    assert [prose(3) in row["text"] for row in rows(tmp_path / "out", "ssl_pubmed")] == [
        True,
        False,
    ]


def test_a_subset_of_which_nothing_is_left_has_no_shard(tmp_path: Path) -> None:
    report = build(pubmed_plan(tmp_path, abstract(1, "")), tmp_path / "out")

    assert (report.read, report.kept, report.shards) == (1, 0, {})


def test_shards_are_bounded(tmp_path: Path) -> None:
    records = [abstract(number, prose(number, 30)) for number in range(2500)]
    plan = pubmed_plan(tmp_path, *records, shard_bytes=1000, near_duplicates=False)

    report = build(plan, tmp_path / "out")

    assert list(report.shards.values()) == [1000, 1000, 500]
    found = rows(tmp_path / "out", "ssl_pubmed")
    assert [row["pmid"] for row in found] == [str(number) for number in range(2500)]


def test_proteins_that_are_held_out_have_no_document_and_no_insertion(everything: TextPlan) -> None:
    folder = Path(everything.uniprot[0].path).parent / "out"
    twin = replace(SHELLIN, accession="P00002", name="Twin shellin")
    plan = replace(
        everything,
        subsets=("ssl_uniprot", "ssl_sequence_in_abstract"),
        uniprot=write(folder.with_name("both.dat"), to_flat(SHELLIN) + to_flat(twin)),
        holdout=frozenset({"P00001"}),
    )

    report = build_texts(plan, folder, folder / "work", 1)

    assert report.subsets["ssl_uniprot"].left_out == {"held_out": 1}
    assert [row["id"] for row in rows(folder, "ssl_uniprot")] == ["uniprot:P00002"]
    assert report.subsets["ssl_sequence_in_abstract"].kept == 0
    assert report.dictionary["held_out"] == 2


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, ["1", "2", "3"]),
        ({"pmids": frozenset({"2"})}, ["2"]),
        ({"select_by_names": True}, ["3"]),
        ({"pmids": frozenset({"2"}), "select_by_names": True}, ["2", "3"]),
    ],
)
def test_articles_are_chosen_by_pmid_or_by_name(
    everything: TextPlan, tmp_path: Path, changes: dict[str, Any], kept: list[str]
) -> None:
    articles = [
        {"pmcid": f"PMC{number}", "pmid": str(number), "text": prose(number)} for number in (1, 2)
    ]
    articles.append({"pmcid": "PMC3", "pmid": "3", "text": f"{prose(3)} On Shellin-1."})
    files = write_lines(tmp_path / "articles.jsonl", articles)
    plan = replace(everything, subsets=("ssl_pmc",), pmc=files, **changes)

    report = build(plan, tmp_path / "out")

    assert [row["pmid"] for row in rows(tmp_path / "out", "ssl_pmc")] == kept
    assert report.left_out.get("not_selected", 0) == 3 - len(kept)


def test_tokens_are_counted_where_a_tokenizer_is_given(tmp_path: Path) -> None:
    save_tokenizer(tmp_path / "tokenizer")
    tokenizer = str(tmp_path / "tokenizer" / "tokenizer.json")

    report = build(pubmed_plan(tmp_path, abstract(1, prose(1)), tokenizer=tokenizer), tmp_path)

    (row,) = rows(tmp_path, "ssl_pubmed")
    assert report.tokens == row["tokens"] > 60


def test_a_broken_input_is_refused_by_name_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = write(tmp_path / "p.jsonl", b'{"pmid": "1", "abstr')

    with pytest.raises(SourceError, match=r"p\.jsonl: line 1"):
        build(replace(pubmed_plan(tmp_path), pubmed=files), tmp_path / "out")

    assert capfd.readouterr().err == ""
    assert not list((tmp_path / "out").glob("ssl_*/*"))


def test_a_build_that_failed_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    files = [
        file
        for number in range(3)
        for file in write_lines(tmp_path / f"{number}.jsonl", [abstract(number, prose(number))])
    ]
    plan = pubmed_plan(tmp_path, pubmed=tuple(files), task_bytes=1)
    build(plan, tmp_path / "whole")

    with pytest.raises(RuntimeError, match="power"):
        build(replace(plan, contaminated=fails_at_the_last), tmp_path / "again")
    with pytest.raises(RuntimeError, match="power"):
        build(replace(plan, find_contaminated=fails), tmp_path / "again")
    read = [path.stat().st_mtime_ns for path in sorted((tmp_path / "again").rglob("documents/*"))]
    build(plan, tmp_path / "again")

    assert hashes(tmp_path / "again") == hashes(tmp_path / "whole")
    after = [path.stat().st_mtime_ns for path in sorted((tmp_path / "again").rglob("documents/*"))]
    assert read == after


def fails_at_the_last(text: str) -> str | None:
    if "Title 2" in text:
        raise RuntimeError("power cut")
    return None


def fails(texts: Callable[[], Iterator[tuple[str, str]]]) -> Mapping[str, str]:
    raise RuntimeError("power cut")


def test_a_build_that_ended_while_shards_got_their_names_goes_on(tmp_path: Path) -> None:
    files = [
        file
        for number in range(2)
        for file in write_lines(tmp_path / f"{number}.jsonl", [abstract(number, prose(number))])
    ]
    plan = pubmed_plan(tmp_path, pubmed=tuple(files), task_bytes=1)
    first = build(plan, tmp_path / "out")
    before = hashes(tmp_path / "out")
    last = tmp_path / "out" / "ssl_pubmed" / "train-00001-of-00002.parquet"
    last.rename(tmp_path / "out" / "work" / "ssl_pubmed" / "shards" / "000_00001.parquet")

    assert build(plan, tmp_path / "out") == first
    assert hashes(tmp_path / "out") == before


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_workers(everything: TextPlan, tmp_path: Path) -> None:
    files = [
        file
        for number in range(3)
        for file in write_lines(tmp_path / f"{number}.jsonl", [abstract(number, prose(number))])
    ]
    plan = replace(everything, subsets=SUBSETS[:2], pubmed=tuple(files), task_bytes=1)

    for workers in (1, 3):
        build_texts(plan, tmp_path / str(workers), tmp_path / f"work-{workers}", workers)

    assert hashes(tmp_path / "1") == hashes(tmp_path / "3")
    assert len(hashes(tmp_path / "1")) == 4


def test_slurm_gets_all_stages_in_a_chain_and_the_next_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    log = tmp_path / "submitted"
    sbatch.write_text(
        f'#!/bin/sh\nfor script; do :; done\ncat "$script" >> {log}\n'
        f"echo Submitted batch job $(grep -c job-name= {log})\n"
    )
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}{os.pathsep}{os.environ['PATH']}")
    plan = pubmed_plan(tmp_path, abstract(1, prose(1)))
    options = {"time": "1:00:00", "partition": "cpu"}

    with pytest.raises(ProteinLMError, match=r"Slurm has the jobs of ssl_pubmed\. Run the same"):
        build_texts(plan, tmp_path / "out", tmp_path / "work", 1, "slurm", options)

    scripts = log.read_text()
    stages = re.findall(r"job-name=ssl_pubmed-(\d)", scripts)
    assert list(dict.fromkeys(stages)) == list("123456789")
    assert scripts.count("--dependency=afterok:") >= 8
    build_texts(plan, tmp_path / "out", tmp_path / "work", 1)
    report = build_texts(plan, tmp_path / "out", tmp_path / "work", 1, "slurm", options)
    assert report.subsets["ssl_pubmed"].kept == 1


def test_a_subset_without_input_is_refused() -> None:
    with pytest.raises(UsageError, match="No input for the subset ssl_pmc"):
        build(TextPlan(subsets=("ssl_pmc",)), Path("nowhere"))
    with pytest.raises(UsageError, match="Known are ssl_uniprot"):
        build(TextPlan(subsets=("ssl_books",)), Path("nowhere"))


@pytest.mark.parametrize(
    ("license_name", "allowed"),
    [
        ("CC0-1.0", True),
        ("CC0", True),
        ("CC-BY-4.0", True),
        ("CC BY 4.0", True),
        ("cc-by", True),
        ("CC-BY-NC-4.0", False),
        ("CC-BY-SA-4.0", False),
        ("CC-BY-4.0 AND CC-BY-NC-4.0", False),
        ("public-domain", False),
        ("unknown (PubMed abstract)", False),
    ],
)
def test_only_cc0_and_cc_by_may_be_published(license_name: str, allowed: bool) -> None:
    assert is_free(license_name) is allowed
