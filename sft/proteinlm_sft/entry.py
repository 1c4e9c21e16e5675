"""A UniProtKB entry as the three readers (flat file, XML, TSV) give it.

Comments keep the wording of the flat file, evidence tags included: `[Isoform 2]: Lacks activity.
{ECO:0000269|PubMed:1}.` Whatever a reader starts from, the same entry gives the same comments.
"""

from dataclasses import dataclass

from proteinlm_ext.errors import ProteinLMError

# IUPAC residues and the ambiguity codes that UniProtKB uses.
ALPHABET = frozenset("ACDEFGHIKLMNPQRSTVWYBJOUXZ")


class SourceError(ProteinLMError):
    """A source file that cannot be read to its end; nothing of it may be used."""


@dataclass(frozen=True, slots=True)
class Comment:
    """One CC block: its topic (`FUNCTION`) and its text on one line, evidence tags included."""

    topic: str
    text: str


@dataclass(frozen=True, slots=True)
class EnzymeNumber:
    """An EC number of an entry with the evidence codes of the assignment (`ECO:0000269`)."""

    number: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One protein. `created` and `modified` are ISO dates, or "" where the source has none.

    `comments` holds the topics in `TOPICS` alone, in the order of the source. `names` begins with
    the recommended (or submitted) full name; short and alternative names follow. `has_evidence`
    is False for a source without evidence tags, such as an old TSV export.
    """

    accession: str
    secondary_accessions: tuple[str, ...] = ()
    entry_name: str
    reviewed: bool
    names: tuple[str, ...]
    genes: tuple[str, ...] = ()
    organism: str
    taxon_id: int | None
    lineage: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    enzyme_numbers: tuple[EnzymeNumber, ...] = ()
    created: str = ""
    modified: str = ""
    fragment: bool = False
    comments: tuple[Comment, ...]
    sequence: str
    has_evidence: bool = True


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry that a reader could not trust: dropped, counted under `reason`, and listed."""

    accession: str
    reason: str
    detail: str


# The CC topics that the dataset uses; a reader skips the others.
TOPICS = (
    "FUNCTION",
    "SUBUNIT",
    "TISSUE SPECIFICITY",
    "INDUCTION",
    "DOMAIN",
    "PTM",
    "DISEASE",
)
