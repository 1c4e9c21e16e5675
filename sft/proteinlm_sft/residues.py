"""What the readers of UniProtKB share: is this accession one, is this sequence the entry's own?"""

import re

from fastcrc import crc64 as _crc64

from proteinlm_sft.entry import ALPHABET, Rejected

# https://www.uniprot.org/help/accession_numbers
ACCESSION = re.compile(r"[OPQ]\d[A-Z\d]{3}\d|[A-NR-Z]\d(?:[A-Z][A-Z\d]{2}\d){1,2}", re.ASCII)
_RESIDUES = "".join(sorted(ALPHABET)).encode("ascii")
_ONES = (1 << 64) - 1


def crc64(sequence: bytes) -> str:
    """Return the checksum of a sequence as UniProtKB writes it: 16 hexadecimal digits.

    The polynomial x^64 + x^4 + x^3 + x + 1 of ISO 3309, reflected. fastcrc's `go_iso` starts from
    all ones and inverts the result; UniProtKB does neither.
    """
    return f"{_crc64.go_iso(sequence, _ONES) ^ _ONES:016X}"


def check_sequence(
    accession: str, sequence: bytes, lengths: tuple[str, ...], checksum: str | None
) -> Rejected | None:
    """Return why a sequence cannot be the entry's own, or None where all agrees.

    Args:
        accession: Of the entry, for the report.
        sequence: Residues without blanks.
        lengths: The digits of each length, in residues, that the entry gives.
        checksum: CRC64 that the entry gives, None where the format has none.
    """
    if not ACCESSION.fullmatch(accession):
        return Rejected(accession, "no accession", f"{accession!r} is not a UniProtKB accession")
    if not sequence:
        return Rejected(accession, "no sequence", "the entry has no residues")
    if strange := sequence.translate(None, _RESIDUES):
        shown = ascii(bytes(sorted(set(strange)))[:20])[1:]
        return Rejected(accession, "letters", f"not residues: {shown}")
    if any(length != str(len(sequence)) for length in lengths):
        stated = " and ".join(map(ascii, lengths))
        return Rejected(accession, "length", f"{len(sequence)} residues, the entry says {stated}")
    if checksum is not None and crc64(sequence) != checksum.upper():
        detail = f"CRC64 is {crc64(sequence)}, the entry says {checksum}"
        return Rejected(accession, "checksum", detail)
    return None
