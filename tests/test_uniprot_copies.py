"""The flat files that the speed of a build is measured on."""

import gzip
import re
import runpy
from collections import Counter
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from Bio import SwissProt
from Bio.SeqUtils.CheckSum import crc64
from conftest import ROOT

MODULE = runpy.run_path(str(ROOT / "benchmarks" / "uniprot_copies.py"))
make_copies = MODULE["make_copies"]
# https://www.uniprot.org/help/accession_numbers
ACCESSION = re.compile(r"[OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9]([A-Z][A-Z0-9]{2}[0-9]){1,2}")
ENTRIES = """\
ID   ABC1_FICTA              Reviewed;         {length} AA.
AC   P00001; P00002;
AC   P00003;
DT   01-JAN-2001, integrated into UniProtKB/Swiss-Prot.
DT   01-JAN-2001, sequence version 1.
DT   01-JAN-2020, entry version 7.
DE   RecName: Full=Invented protein 1;
OS   Mus ficta.
OC   Eukaryota.
OX   NCBI_TaxID=1;
CC   -!- FUNCTION: Binds nothing. {{ECO:0000269|PubMed:1}}.
PE   1: Evidence at protein level;
SQ   SEQUENCE   {length} AA;  7064 MW;  F43F49C7A6E78CEE CRC64;
{lines}//
"""


def entry(sequence: str) -> str:
    groups = [sequence[i : i + 10] for i in range(0, len(sequence), 10)]
    lines = "".join(f"     {' '.join(groups[i : i + 6])}\n" for i in range(0, len(groups), 6))
    return ENTRIES.format(length=len(sequence), lines=lines)


SEQUENCES = ["MKTAYIAKQR" * 13 + "WW", "ACDEFGHIKL" * 6, "M" * 7 + "KR"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.dat.gz"
    path.write_bytes(gzip.compress("".join(map(entry, SEQUENCES)).encode()))
    return path


def parse(paths: list[Path]) -> list[Any]:
    records: list[Any] = []
    for path in paths:
        with gzip.open(path, "rt") as stream:
            records += SwissProt.parse(stream)
    return records


def test_copies_parse_and_have_accessions_and_names_of_their_own(
    source: Path, tmp_path: Path
) -> None:
    records = parse(make_copies(source, tmp_path / "out", 3, 60_000))
    accessions = [record.accessions for record in records]
    assert all(len(found) == 1 and ACCESSION.fullmatch(found[0]) for found in accessions)
    assert len(records) > 60
    assert len({found[0] for found in accessions}) == len(records)
    assert all(record.entry_name == f"{record.accessions[0]}_FICTA" for record in records)


def test_residues_are_those_of_the_original_in_another_order_with_their_checksum(
    source: Path, tmp_path: Path
) -> None:
    records = parse(make_copies(source, tmp_path / "out", 2, 20_000))
    for record, sequence in zip(records, cycle(SEQUENCES)):
        assert Counter(record.sequence) == Counter(sequence)
        assert record.seqinfo[0] == record.sequence_length == len(sequence)
        assert f"CRC-{record.seqinfo[2]}" == crc64(record.sequence)
        assert record.comments == ["FUNCTION: Binds nothing. {ECO:0000269|PubMed:1}."]
    long = [record.sequence for record in records if len(record.sequence) == len(SEQUENCES[0])]
    assert len(set(long)) == len(long) > 5
    assert SEQUENCES[0] not in long


def test_the_size_is_met_and_shared_among_the_files(source: Path, tmp_path: Path) -> None:
    paths = make_copies(source, tmp_path / "out", 4, 40_000)
    sizes = [len(gzip.decompress(path.read_bytes())) for path in paths]
    assert len(sizes) == 4
    assert all(10_000 <= size < 11_000 for size in sizes)


def test_the_same_seed_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    def write(name: str, seed: int) -> list[bytes]:
        return [p.read_bytes() for p in make_copies(source, tmp_path / name, 2, 9_000, seed)]

    assert write("a", 1) == write("b", 1)
    assert write("a", 1) != write("c", 2)


def test_blocks_may_end_within_an_entry(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [path.read_bytes() for path in make_copies(source, tmp_path / "a", 1, 9_000)]
    monkeypatch.setitem(make_copies.__globals__, "_BLOCK", 53)
    assert [path.read_bytes() for path in make_copies(source, tmp_path / "b", 1, 9_000)] == whole


@pytest.mark.parametrize("text", ["", entry("MK")[:-3]])
def test_a_source_that_ends_within_an_entry_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "source.dat.gz"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(SystemExit, match="does not end in //"):
        make_copies(path, tmp_path / "out", 1, 1_000)


def test_accessions_stay_valid_and_distinct_to_the_last() -> None:
    numbers = [*range(5_000), 36**4 * 10 * 26 * 10 - 1]
    found = [MODULE["make_accession"](number).decode() for number in numbers]
    assert len(set(found)) == len(numbers)
    assert all(map(ACCESSION.fullmatch, found))
    assert found[-1] == "A0AZZ9ZZZ9"
