"""The two SIFTS tables, in the layout that PDBe publishes."""

import io

import pytest

from proteinlm_sft.entry import SourceError
from proteinlm_sft.sifts import read_sifts_enzymes, read_sifts_pubmed

COMMENT = "# 2023/05/03 - 10:00 | PDB: 18.23 | UniProt: 2023.02\n"
ENZYMES = COMMENT + (
    "PDB,CHAIN,ACCESSION,EC_NUMBER\n"
    "1abc,A,P12345,9.1.1.2\n"
    "1abc,B,P12345,9.1.1.2\n"
    "2abc,A,P12345,'9.1.1.1\n"
    "2abc,B,P67890,9.1.1.-\n"
    "2abc,C,P00000,?\n"
)
PUBMED = COMMENT + "PDB,ORDINAL,PUBMED_ID\n1abc,0,123\n1abc,1,45\n2abc,0,123\n3abc,0,null\n"


def test_an_accession_has_each_number_once_and_chains_without_one_are_passed_over():
    found = read_sifts_enzymes(io.BytesIO(ENZYMES.encode()), "pdb_chain_enzyme.csv")
    assert found == {"P12345": ("9.1.1.1", "9.1.1.2"), "P67890": ("9.1.1.-",)}


def test_the_articles_of_all_pdb_entries_are_given():
    found = read_sifts_pubmed(io.BytesIO(PUBMED.encode()), "pdb_pubmed.csv")
    assert found == {"123", "45"}


def test_windows_line_ends_are_no_fault():
    windows = ENZYMES.replace("\n", "\r\n").encode()
    assert read_sifts_enzymes(io.BytesIO(windows), "x")["P67890"] == ("9.1.1.-",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns"),
        (PUBMED, "columns"),
        (ENZYMES.replace(",", "\t"), "columns"),
        (COMMENT + "PDB,CHAIN,ACCESSION,EC_NUMBER\n", "no row"),
        (ENZYMES + "3abc,A,P1", "row 6 has 3 of 4"),
        (ENZYMES + "3abc,A,\u00e9,1.1.1.1", "UTF-8"),
    ],
)
def test_another_table_or_a_cut_one_is_refused(text: str, message: str):
    with pytest.raises(SourceError, match=message):
        read_sifts_enzymes(io.BytesIO(text.encode("latin-1")), "pdb_chain_enzyme.csv")
    with pytest.raises(SourceError, match="columns"):
        read_sifts_pubmed(io.BytesIO(ENZYMES.encode()), "pdb_pubmed.csv")
