"""Checks on sequences that the three readers of UniProtKB share."""

import pytest
from Bio.SeqUtils import CheckSum
from hypothesis import given
from hypothesis import strategies as st

from proteinlm_sft.entry import ALPHABET, Rejected
from proteinlm_sft.residues import ACCESSION, check_sequence, crc64

SEQUENCE = b"MKTAYIAKQRQISFVKSHFSRQ"


@given(st.text(sorted(ALPHABET), max_size=200))
def test_the_checksum_is_that_of_biopython(sequence: str) -> None:
    assert "CRC-" + crc64(sequence.encode()) == CheckSum.crc64(sequence)


def test_a_sequence_that_agrees_with_its_entry_passes() -> None:
    assert check_sequence("P12345", SEQUENCE, ("22", "22"), crc64(SEQUENCE)) is None
    assert check_sequence("P12345", SEQUENCE, ("22",), crc64(SEQUENCE).lower()) is None


def test_every_letter_of_the_alphabet_passes() -> None:
    sequence = "".join(sorted(ALPHABET)).encode()
    assert check_sequence("P12345", sequence, (), None) is None


@pytest.mark.parametrize(
    ("accession", "sequence", "lengths", "checksum", "reason", "detail"),
    [
        ("", SEQUENCE, (), None, "no accession", "''"),
        ("P1234", SEQUENCE, (), None, "no accession", "P1234"),
        ("P12345", b"", ("0",), None, "no sequence", "no residues"),
        ("P12345", b"MKTayi", ("6",), None, "letters", "aiy"),
        ("P12345", b"MK-T*", ("5",), None, "letters", "*-"),
        ("P12345", "MKTÄ".encode(), ("4",), None, "letters", "xc3"),
        ("P12345", SEQUENCE, ("22", "23"), None, "length", "22 residues"),
        ("P12345", SEQUENCE, ("",), None, "length", "22 residues"),
        ("P12345", SEQUENCE[::-1], ("22",), crc64(SEQUENCE), "checksum", crc64(SEQUENCE)),
        ("P12345", SEQUENCE, ("22",), "", "checksum", crc64(SEQUENCE)),
    ],
)
def test_a_sequence_that_disagrees_is_rejected_with_the_values(
    accession: str,
    sequence: bytes,
    lengths: tuple[str, ...],
    checksum: str | None,
    reason: str,
    detail: str,
) -> None:
    rejected = check_sequence(accession, sequence, lengths, checksum)
    assert isinstance(rejected, Rejected)
    assert (rejected.accession, rejected.reason) == (accession, reason)
    assert detail in rejected.detail


@pytest.mark.parametrize("accession", ["P12345", "Q9H0H5", "O00001", "A2BC19", "A0A023GPI8"])
def test_the_forms_of_accessions_that_uniprot_documents_are_known(accession: str) -> None:
    assert ACCESSION.fullmatch(accession)


@pytest.mark.parametrize("accession", ["P12345-2", "p12345", "12345P", "A0A023GPI", "P1234٥"])
def test_other_forms_are_not_accessions(accession: str) -> None:
    assert not ACCESSION.fullmatch(accession)
