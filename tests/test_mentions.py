"""Sequences come into a text after the first mention of a protein, and never by a doubtful name."""

import hashlib
import io
from collections import Counter
from pathlib import Path

import pytest
from uniprot_entries import Protein

from proteinlm_sft.bioc import Mention
from proteinlm_sft.entry import SourceError
from proteinlm_sft.mentions import (
    INSERTIONS,
    LONGEST_SEQUENCE,
    Dictionary,
    Insertion,
    annotated_mentions,
    build_dictionary,
    find_mentions,
    insert_sequences,
    load_dictionary,
    read_gene_ids,
)

SHELLIN = Protein(accession="P00001", name="Shellin-1", short_names=("ShellA1",), sequence="MKT")
GUARD = Protein(accession="P00002", name="Shell guard protein", sequence="MAA")


def dictionary(*proteins: Protein, holdout: frozenset[str] = frozenset()) -> Dictionary:
    return build_dictionary([protein.entry() for protein in proteins], holdout)


def insert(known: Dictionary, text: str) -> tuple[str, tuple[Insertion, ...], Counter[str]]:
    counts: Counter[str] = Counter()
    return *insert_sequences(known, text, find_mentions(known, text), counts), counts


def found_names(known: Dictionary, text: str) -> list[str]:
    return [name for _, name, _ in find_mentions(known, text)]


def test_the_sequence_follows_the_first_mention_alone_and_is_recorded() -> None:
    known = dictionary(SHELLIN, GUARD)

    text, insertions, _ = insert(known, "Both Shellin-1 and shell guard protein. Shellin-1 binds.")

    assert text == (
        "Both Shellin-1 <seq> M K T </seq> and shell guard protein <seq> M A A </seq>. "
        "Shellin-1 binds."
    )
    assert insertions == (
        Insertion("P00001", "Shellin-1", 5),
        Insertion("P00002", "shell guard protein", 19),
    )


def test_two_names_of_one_protein_bring_its_sequence_once() -> None:
    text, insertions, _ = insert(dictionary(SHELLIN), "Shellin-1 (ShellA1) is hard.")

    assert text.count("<seq>") == 1
    assert len(insertions) == 1


@pytest.mark.parametrize(
    "text",
    [
        "anti-Shellin-1 serum",
        "Shellin-12 is another",
        "preShellin-1",
        "Shellin-1-like",
        "Shellin-1(3-9)",
        "SHELLIN-1 in capitals",
    ],
)
def test_a_part_of_a_longer_name_is_no_mention(text: str) -> None:
    assert found_names(dictionary(SHELLIN), text) == []


@pytest.mark.parametrize("text", ["(Shellin-1)", "Shellin-1, hard", "Shellin-1", "so: shellin-1."])
def test_punctuation_ends_a_name(text: str) -> None:
    assert len(found_names(dictionary(SHELLIN), text)) == 1


def test_of_overlapping_names_the_longest_counts() -> None:
    long = Protein(accession="P00003", name="Shell guard protein kinase 2", sequence="MCC")

    names = found_names(dictionary(GUARD, long), "The Shell guard protein kinase 2 acts.")

    assert names == ["Shell guard protein kinase 2"]


def test_a_longer_name_that_does_not_stand_alone_hides_no_shorter_one() -> None:
    long = Protein(accession="P00003", name="Shell guard protein X", sequence="MCC")

    assert found_names(dictionary(GUARD, long), "Shell guard protein Xa.") == [
        "Shell guard protein"
    ]


def test_names_of_two_sequences_are_out_upper_and_lower_case_alike() -> None:
    other = Protein(accession="P00004", name="SHELLIN-1", sequence="MTT")

    known = dictionary(SHELLIN, other)

    assert found_names(known, "Shellin-1 and SHELLIN-1") == []
    assert known.counts["ambiguous"] == 1
    assert found_names(known, "ShellA1") == ["ShellA1"]


def test_a_name_of_two_entries_with_one_sequence_is_kept() -> None:
    twin = Protein(accession="P00004", name="Shellin-1", sequence="MKT")

    assert found_names(dictionary(SHELLIN, twin), "Shellin-1") == ["Shellin-1"]


@pytest.mark.parametrize(
    ("name", "reason"), [("Shl1", "short"), ("A-b-C(1)", "short"), ("Shellin", "plain_word")]
)
def test_a_short_name_or_plain_word_is_refused_and_counted(name: str, reason: str) -> None:
    known = dictionary(Protein(name=name))

    assert found_names(known, f"The {name} acts.") == []
    assert known.counts == {reason: 1, "ambiguous": 0, "held_out": 0, "usable": 0}


def test_unreviewed_entries_give_no_names() -> None:
    assert dictionary(Protein(name="Shellin-1", reviewed=False)).counts["usable"] == 0


def test_a_protein_that_is_held_out_gives_no_name_but_makes_one_ambiguous() -> None:
    other = Protein(accession="P00004", name="Shellin-1", sequence="MTT")

    known = dictionary(GUARD, holdout=frozenset({"P00002"}))
    both = dictionary(SHELLIN, other, holdout=frozenset({"P00004"}))

    assert known.counts["held_out"] == 1
    assert found_names(known, "Shell guard protein") == []
    assert known.sequences == {}
    assert found_names(both, "Shellin-1") == []


@pytest.mark.parametrize(
    "held", ["P00001", "P00004", hashlib.sha256(b"MKT").hexdigest()], ids=["one", "twin", "sha256"]
)
def test_no_twin_of_a_protein_that_is_held_out_brings_its_sequence(held: str) -> None:
    twin = Protein(accession="P00004", name="Shellin-1", sequence="MKT")
    genes = {"1": "P00001", "4": "P00004"}

    known = build_dictionary([SHELLIN.entry(), twin.entry()], frozenset({held}), genes)

    assert found_names(known, "Shellin-1 and ShellA1") == []
    assert known.sequences == known.genes == {}


def test_only_so_many_proteins_are_put_into_a_text() -> None:
    proteins = [
        Protein(accession=f"P0000{number}", name=f"Shellin-{number}", sequence="MK" * number)
        for number in range(1, INSERTIONS + 3)
    ]
    text = ", ".join(protein.name for protein in proteins)

    changed, insertions, counts = insert(dictionary(*proteins), text)

    assert len(insertions) == changed.count("<seq>") == INSERTIONS
    assert counts == {"over_limit": 2}


def test_a_sequence_that_is_too_long_is_counted_and_passed_over() -> None:
    long = Protein(
        accession="P00003", name="Titanic shellin", sequence="M" * (LONGEST_SEQUENCE + 1)
    )

    text, insertions, counts = insert(dictionary(long), "Titanic shellin is long.")

    assert (text, insertions) == ("Titanic shellin is long.", ())
    assert counts == {"sequence_too_long": 1}


def test_annotations_name_a_protein_by_accession_gene_or_name() -> None:
    genes = read_gene_ids(io.BytesIO(b"P00002\tGeneID\t42\nP00002\tGene_Name\tsg\n"), "map.dat")
    known = build_dictionary([SHELLIN.entry(), GUARD.entry()], genes=genes)
    mentions = [
        Mention(0, "sn1", "gene", "P00001"),
        Mention(4, "guard", "gene", "42"),
        Mention(10, "shellin-1", "gene", "999"),
        Mention(20, "nothing", "gene", "999"),
        Mention(28, "Shellin-1", "protein", "P99999"),
    ]

    found = list(annotated_mentions(known, mentions))

    assert found == [(0, "sn1", "P00001"), (4, "guard", "P00002"), (10, "shellin-1", "P00001")]


def test_overlapping_annotations_give_the_first() -> None:
    mentions = [Mention(0, "Shellin-1 guard", "gene", "P00001"), Mention(8, "1", "gene", "P00002")]

    found = list(annotated_mentions(dictionary(SHELLIN, GUARD), mentions))

    assert found == [(0, "Shellin-1 guard", "P00001")]


def test_a_gene_with_two_accessions_is_left_out() -> None:
    data = b"P00001\tGeneID\t1\nP00002\tGeneID\t1\nP00001\tGeneID\t1\nP00002\tGeneID\t2\n"

    assert read_gene_ids(io.BytesIO(data), "map.dat") == {"2": "P00002"}


@pytest.mark.parametrize("data", [b"", b"P00001\tEMBL\tX\n", b"P00001\tGeneID\n"])
def test_a_table_without_gene_ids_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError, match=r"map\.dat"):
        read_gene_ids(io.BytesIO(data), "map.dat")


def test_a_dictionary_is_the_same_after_saving(tmp_path: Path) -> None:
    known = dictionary(SHELLIN, GUARD)
    known.save(tmp_path / "names")

    again = load_dictionary(tmp_path / "names")

    assert insert(again, "The ShellA1 binds.") == insert(known, "The ShellA1 binds.")
    assert again.counts == known.counts
