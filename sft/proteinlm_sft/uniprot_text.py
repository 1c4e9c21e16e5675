"""One UniProtKB entry as a text document: the paper's sections and wording, cleaned.

The wording is that of tsynbio/ProteinLMDataset, ssl/Uniprot/uniprot_1_insert_Uniprot.py, its
grammar included. Ours leaves out a section without text and puts one empty line between sections.
"""

import hashlib

from proteinlm_sft.cleaning import clean_text
from proteinlm_sft.entry import Entry
from proteinlm_sft.templates import spell

_INTRODUCTION = (
    "Introduction:\nThe protein with UniProt accession number {accession}, known as {name}, is a "
    "protein of {length} amino acids found in {organism}."
)
_SEQUENCE = "The sequence of {name} with UniProt accession is as follow:\n{sequence}"
_SECTIONS = {
    "FUNCTION": "Function:\nThe functions of {name} are as follows: {text}",
    "SUBUNIT": "Subunit Structure:\nRegarding the subunit composition of {name}, the details are "
    "as follows: {text}",
    "TISSUE SPECIFICITY": "Tissue Specificity:\nIn terms of tissue specificity, {name} exhibits "
    "the following characteristics: {text}",
    "INDUCTION": "Induction:\nConcerning the induction of {name}, it is observed that: {text}",
    "DOMAIN": "Domain:\nRegarding the domain structure of {name}, it is detailed as follows: "
    "{text}",
    "PTM": "Post-translational Modifications (PTM):\nThe post-translational modifications (PTMs) "
    "of {name} are as follows: {text}",
    "DISEASE": "Disease Association:\nIn relation to disease association, {name} is linked with "
    "the following conditions: {text}",
}


def is_held_out(entry: Entry, holdout: frozenset[str]) -> bool:
    """Tell whether an entry is in validation or test: by accession or by sha256 of its sequence."""
    digest = hashlib.sha256(entry.sequence.encode("ascii")).hexdigest()
    return not holdout.isdisjoint((entry.accession, *entry.secondary_accessions, digest))


def uniprot_text(entry: Entry) -> str:
    """Return the document of an entry; "" where it has no section beyond name and sequence."""
    name = entry.names[0] if entry.names else entry.entry_name
    blocks: dict[str, list[str]] = {}
    for comment in entry.comments:
        blocks.setdefault(comment.topic, []).append(comment.text)
    # Joined, not formatted twice: a text may hold braces.
    sections = [
        wording.format(name=name, text="") + text
        for topic, wording in _SECTIONS.items()
        if (text := clean_text(blocks.get(topic, ())).text)
    ]
    if not sections:
        return ""
    introduction = _INTRODUCTION.format(
        accession=entry.accession,
        name=name,
        length=len(entry.sequence),
        organism=entry.organism,
    )
    sequence = _SEQUENCE.format(name=name, sequence=spell(entry.sequence))
    return "\n\n".join((introduction, sequence, *sections))
