"""Writes invented proteins as UniProtKB does: flat file, XML and TSV from one description.

The three forms agree as UniProt's own do, so a test can ask that their readers agree.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import lxml.etree
from Bio.SeqUtils.CheckSum import crc64

from proteinlm_sft.entry import Comment, Entry, EnzymeNumber

NAMESPACE = "http://uniprot.org/uniprot"
COPYRIGHT = (
    f"CC   {'-' * 75}\n"
    "CC   Copyrighted by the UniProt Consortium, see https://www.uniprot.org/terms\n"
    "CC   Distributed under the Creative Commons Attribution (CC BY 4.0) License\n"
    f"CC   {'-' * 75}\n"
)
TSV_HEADINGS = {
    "FUNCTION": "Function [CC]",
    "SUBUNIT": "Subunit structure",
    "TISSUE SPECIFICITY": "Tissue specificity",
    "INDUCTION": "Induction",
    "DOMAIN": "Domain [CC]",
    "PTM": "Post-translational modification",
    "DISEASE": "Involvement in disease",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One CC block. `text` ends in a full stop; evidence is like `ECO:0000269|PubMed:1`."""

    topic: str = "FUNCTION"
    text: str
    evidence: tuple[str, ...] = ()
    molecule: str = ""

    def wording(self) -> str:
        """Return the text of the block without its topic."""
        return _molecule(self.molecule) + _sentence(self.text, self.evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disease:
    """A CC DISEASE block; without a name it is a note alone."""

    name: str = ""
    acronym: str = ""
    mim: str = ""
    description: str = ""
    evidence: tuple[str, ...] = ()
    note: str = ""
    note_evidence: tuple[str, ...] = ()
    molecule: str = ""
    topic: str = "DISEASE"

    def wording(self) -> str:
        """Return the text of the block without its topic."""
        mim = f" [MIM:{self.mim}]" if self.mim else ""
        head = f"{self.name} ({self.acronym}){mim}: "
        said = [head + _sentence(self.description, self.evidence)] if self.name else []
        said += ["Note=" + _sentence(self.note, self.note_evidence)] if self.note else []
        return _molecule(self.molecule) + " ".join(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protein:
    """What the three forms are written from. The first gene is the name, the rest are synonyms.

    `enzymes` are EC numbers with their evidence. The remarks come in UniProt's order of topics.
    """

    accession: str = "P00001"
    secondary_accessions: tuple[str, ...] = ()
    entry_name: str = "SAMP_TESTE"
    reviewed: bool = True
    name: str = "Sample protein"
    short_names: tuple[str, ...] = ()
    alternative_names: tuple[str, ...] = ()
    genes: tuple[str, ...] = ("smp1",)
    organism: str = "Testudo exempli (Model tortoise)"
    taxon_id: int = 999001
    lineage: tuple[str, ...] = ("Eukaryota", "Metazoa", "Exempla")
    keywords: tuple[str, ...] = ("Cytoplasm",)
    enzymes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    created: str = "2005-03-01"
    modified: str = "2024-11-27"
    fragment: bool = False
    remarks: tuple[Remark | Disease, ...] = (
        Remark(text="Holds the sample together.", evidence=("ECO:0000269|PubMed:10000001",)),
    )
    sequence: str = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEV"

    def entry(self) -> Entry:
        """Return what a reader should make of it."""
        return Entry(
            accession=self.accession,
            secondary_accessions=self.secondary_accessions,
            entry_name=self.entry_name,
            reviewed=self.reviewed,
            names=(self.name, *self.short_names, *self.alternative_names),
            genes=self.genes,
            organism=self.organism,
            taxon_id=self.taxon_id,
            lineage=self.lineage,
            keywords=self.keywords,
            enzyme_numbers=tuple(
                EnzymeNumber(number, tuple(dict.fromkeys(tag.split("|")[0] for tag in tags)))
                for number, tags in self.enzymes
            ),
            created=self.created,
            modified=self.modified,
            fragment=self.fragment,
            comments=tuple(Comment(remark.topic, remark.wording()) for remark in self.remarks),
            sequence=self.sequence,
        )


def accession(number: int) -> str:
    """Return a valid accession, another one for each number below 100,000."""
    return f"P{number:05}"


def to_flat(protein: Protein) -> bytes:
    """Return the entry as in `uniprot_sprot.dat`, with its `//`."""
    kind, section = ("Reviewed", "Swiss-Prot") if protein.reviewed else ("Unreviewed", "TrEMBL")
    length = len(protein.sequence)
    synonyms = f" Synonyms={', '.join(protein.genes[1:])};" if protein.genes[1:] else ""
    lines = [
        f"ID   {protein.entry_name:<24}{kind};{length:>12} AA.",
        *_wrap("AC   ", "; ".join((protein.accession, *protein.secondary_accessions)) + ";"),
        f"DT   {_date(protein.created)}, integrated into UniProtKB/{section}.",
        f"DT   {_date(protein.created)}, sequence version 1.",
        f"DT   {_date(protein.modified)}, entry version 7.",
        *_description(protein),
        *(_wrap("GN   ", f"Name={protein.genes[0]};{synonyms}") if protein.genes else ()),
        *_wrap("OS   ", f"{protein.organism}."),
        *_wrap("OC   ", "; ".join(protein.lineage) + "."),
        f"OX   NCBI_TaxID={protein.taxon_id};",
        "RN   [1]",
        "RP   NUCLEOTIDE SEQUENCE.",
        "RL   Submitted (JAN-2005) to the EMBL/GenBank/DDBJ databases.",
    ]
    for remark in protein.remarks:
        text = f"-!- {remark.topic}: {remark.wording()}"
        lines += _wrap("CC   ", text, "CC       ")
    lines += [*COPYRIGHT.splitlines(), "DR   EMBL; AB000001; BAA00001.1; -; mRNA."]
    lines += ["PE   1: Evidence at protein level;"]
    if protein.keywords:
        lines += _wrap("KW   ", "; ".join(protein.keywords) + ".")
    checksum = crc64(protein.sequence).removeprefix("CRC-")
    lines += [
        f"FT   CHAIN           1..{length}",
        f'FT                   /note="{protein.name}"',
        f"SQ   SEQUENCE   {length} AA;  {length * 110} MW;  {checksum} CRC64;",
    ]
    for start in range(0, length, 60):
        tens = re.findall(".{1,10}", protein.sequence[start : start + 60])
        lines.append("     " + " ".join(tens))
    return ("\n".join(lines) + "\n//\n").encode()


def to_xml(proteins: Sequence[Protein], namespace: str = NAMESPACE) -> bytes:
    """Return a document like `uniprot_sprot.xml`."""
    root = lxml.etree.Element("uniprot", xmlns=namespace)
    for protein in proteins:
        _xml_entry(root, protein)
    _child(root, "copyright", "Distributed under the CC BY 4.0 License")
    return lxml.etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def to_tsv(proteins: Sequence[Protein]) -> bytes:
    """Return a table as the REST service exports it, with all columns that a reader knows."""
    rows = [_row(protein) for protein in proteins]
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def _description(protein: Protein) -> list[str]:
    names = [
        f"RecName: Full={protein.name};" if protein.reviewed else f"SubName: Full={protein.name};"
    ]
    names += [f"         Short={name};" for name in protein.short_names]
    for number, tags in protein.enzymes:
        evidence = f" {{{', '.join(tags)}}}" if tags else ""
        names.append(f"         EC={number}{evidence};")
    names += [f"AltName: Full={name};" for name in protein.alternative_names]
    names += ["Flags: Fragment;"] if protein.fragment else []
    return [f"DE   {name}" for name in names]


def _sentence(text: str, evidence: tuple[str, ...]) -> str:
    return f"{text} {{{', '.join(evidence)}}}." if evidence else text


def _molecule(molecule: str) -> str:
    return f"[{molecule}]: " if molecule else ""


def _date(iso: str) -> str:
    return date.fromisoformat(iso).strftime("%d-%b-%Y").upper()


def _wrap(first: str, text: str, others: str = "") -> list[str]:
    """Break lines after column 80 as UniProt does: at blanks and after hyphens within words."""
    lines: list[str] = []
    prefix = first
    while len(prefix + text) > 80:
        breaks = list(re.finditer(r"(?<!-) |(?<=[^ ]-)(?=[^ ])", text))
        fitting = [at for at in breaks if len(prefix) + at.start() <= 80]
        at = (fitting or breaks)[-1 if fitting else 0]
        lines.append(prefix + text[: at.start()])
        prefix, text = others or first, text[at.end() :]
    return [*lines, prefix + text]


def _child(parent: Any, tag: str, text: str | None = None, **attributes: str) -> Any:
    child = lxml.etree.SubElement(parent, tag, {k: v for k, v in attributes.items() if v})
    child.text = text
    return child


def _xml_entry(root: Any, protein: Protein) -> None:
    keys: dict[str, str] = {}

    def keyed(tags: tuple[str, ...]) -> str:
        return " ".join(keys.setdefault(tag, str(len(keys) + 1)) for tag in tags)

    dataset = "Swiss-Prot" if protein.reviewed else "TrEMBL"
    dates = {"created": protein.created, "modified": protein.modified}
    entry = _child(root, "entry", dataset=dataset, version="7", **dates)
    for number in (protein.accession, *protein.secondary_accessions):
        _child(entry, "accession", number)
    _child(entry, "name", protein.entry_name)
    names = _child(entry, "protein")
    first = _child(names, "recommendedName" if protein.reviewed else "submittedName")
    _child(first, "fullName", protein.name)
    for name in protein.short_names:
        _child(first, "shortName", name)
    for number, tags in protein.enzymes:
        _child(first, "ecNumber", number, evidence=keyed(tags))
    for name in protein.alternative_names:
        _child(_child(names, "alternativeName"), "fullName", name)
    if protein.genes:
        gene = _child(entry, "gene")
        for position, name in enumerate(protein.genes):
            _child(gene, "name", name, type="synonym" if position else "primary")
    _xml_organism(entry, protein)
    for remark in protein.remarks:
        _xml_comment(entry, remark, keyed)
    for keyword in protein.keywords:
        _child(entry, "keyword", keyword, id="KW-9999")
    for tag, key in keys.items():
        _xml_evidence(entry, tag, key)
    checksum = crc64(protein.sequence).removeprefix("CRC-")
    sizes = {"length": str(len(protein.sequence)), "mass": "1", "checksum": checksum}
    single = "single" if protein.fragment else ""
    _child(entry, "sequence", protein.sequence, fragment=single, **sizes)


def _xml_organism(entry: Any, protein: Protein) -> None:
    organism = _child(entry, "organism")
    scientific, *others = re.split(r" \((?=[^()]*\)$)", protein.organism)
    _child(organism, "name", scientific, type="scientific")
    for name in others:
        _child(organism, "name", name.removesuffix(")"), type="common")
    _child(organism, "dbReference", type="NCBI Taxonomy", id=str(protein.taxon_id))
    lineage = _child(organism, "lineage")
    for taxon in protein.lineage:
        _child(lineage, "taxon", taxon)


def _xml_comment(entry: Any, remark: Remark | Disease, keyed: Any) -> None:
    kind = remark.topic if remark.topic == "PTM" else remark.topic.lower()
    if isinstance(remark, Remark):
        comment = _child(entry, "comment", type=kind)
        if remark.molecule:
            _child(comment, "molecule", remark.molecule)
        _child(comment, "text", remark.text, evidence=keyed(remark.evidence))
        return
    comment = _child(entry, "comment", type=kind, evidence=keyed(remark.evidence))
    if remark.molecule:
        _child(comment, "molecule", remark.molecule)
    if remark.name:
        disease = _child(comment, "disease", id="DI-99999")
        _child(disease, "name", remark.name)
        _child(disease, "acronym", remark.acronym)
        _child(disease, "description", remark.description)
        if remark.mim:
            _child(disease, "dbReference", type="MIM", id=remark.mim)
    if remark.note:
        _child(comment, "text", remark.note, evidence=keyed(remark.note_evidence))


def _xml_evidence(entry: Any, tag: str, key: str) -> None:
    code, _, reference = tag.partition("|")
    evidence = _child(entry, "evidence", type=code, key=key)
    if reference.startswith("Ref."):
        _child(evidence, "source", ref=reference.removeprefix("Ref."))
    elif reference:
        database, _, number = reference.partition(":")
        _child(_child(evidence, "source"), "dbReference", type=database, id=number)


def _row(protein: Protein) -> dict[str, str]:
    brackets = [f"({name})" for name in protein.short_names]
    brackets += [f"(EC {number})" for number, _ in protein.enzymes]
    brackets += [f"({name})" for name in protein.alternative_names]
    comments = {
        heading: "; ".join(
            f"{topic}: {remark.wording()}" for remark in protein.remarks if remark.topic == topic
        )
        for topic, heading in TSV_HEADINGS.items()
    }
    return {
        "Entry": protein.accession,
        "Reviewed": "reviewed" if protein.reviewed else "unreviewed",
        "Entry Name": protein.entry_name,
        "Protein names": " ".join((protein.name, *brackets)),
        "Gene Names": " ".join(protein.genes),
        "Organism": protein.organism,
        "Organism (ID)": str(protein.taxon_id),
        "Taxonomic lineage": ", ".join(f"{taxon} (no rank)" for taxon in protein.lineage),
        "EC number": "; ".join(number for number, _ in protein.enzymes),
        "Keywords": ";".join(protein.keywords),
        **comments,
        "Date of creation": protein.created,
        "Date of last modification": protein.modified,
        "Fragment": "fragment" if protein.fragment else "",
        "Length": str(len(protein.sequence)),
        "Sequence": protein.sequence,
    }
