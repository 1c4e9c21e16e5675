"""Annotations of genes and proteins, from PubTator text and BioC alike."""

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proteinlm_sft.bioc import (
    Annotated,
    Mention,
    read_bioc_json,
    read_bioc_xml,
    read_pubtator,
)
from proteinlm_sft.entry import Rejected, SourceError

Reader = Callable[[BinaryIO, str], Iterator[Annotated | Rejected]]

TITLE, ABSTRACT = "On SmpA.", "Shells need SmpA and calcium."
PUBTATOR = (
    f"9|t|{TITLE}\n9|a|{ABSTRACT}\n9\t3\t7\tSmpA\tGene\t4242\n9\t26\t33\tcalcium\tChemical\tD1\n"
    "9\t21\t25\tSmpA\tGene\t4242\n9\tAssociation\t4242\tD1\n\n"
)


def annotation(offset: int, text: str, kind: str = "Gene") -> dict[str, Any]:
    return {
        "infons": {"identifier": "4242", "type": kind},
        "text": text,
        "locations": [{"offset": offset, "length": len(text)}],
    }


def bioc(*annotations: dict[str, Any]) -> dict[str, Any]:
    passages = [
        {"offset": 0, "text": TITLE, "annotations": [annotation(3, "SmpA")]},
        {"offset": 100, "text": ABSTRACT, "annotations": list(annotations)},
    ]
    return {"id": "9", "passages": passages}


def as_json(document: dict[str, Any], key: str = "documents") -> bytes:
    return json.dumps({"source": "test", key: [document]}).encode()


def as_xml(document: dict[str, Any]) -> bytes:
    text = f"<collection><document><id>{document['id']}</id>"
    for passage in document["passages"]:
        text += f"<passage><offset>{passage['offset']}</offset><text>{passage['text']}</text>"
        for item in passage["annotations"]:
            infons = "".join(f'<infon key="{k}">{v}</infon>' for k, v in item["infons"].items())
            (place,) = item["locations"]
            text += (
                f'<annotation>{infons}<location offset="{place["offset"]}" '
                f'length="{place["length"]}"/><text>{item["text"]}</text></annotation>'
            )
        text += "</passage>"
    return (text + "</document></collection>").encode()


EXPECTED = Annotated(
    pmid="9",
    text=f"{TITLE}\n{ABSTRACT}",
    mentions=(Mention(3, "SmpA", "gene", "4242"), Mention(21, "SmpA", "gene", "4242")),
)
MENTIONS = (annotation(112, "SmpA"), annotation(121, "calcium", "Chemical"))


@pytest.mark.parametrize(
    ("reader", "data"),
    [
        (read_pubtator, PUBTATOR.encode()),
        (read_bioc_json, as_json(bioc(*MENTIONS))),
        (read_bioc_json, as_json(bioc(*MENTIONS), "PubTator3")),
        (read_bioc_xml, as_xml(bioc(*MENTIONS))),
    ],
    ids=["pubtator", "json", "pubtator3", "xml"],
)
def test_all_formats_give_the_same_genes_at_the_same_places(reader: Reader, data: bytes) -> None:
    assert list(reader(io.BytesIO(data), "a")) == [EXPECTED]


def test_a_mention_that_is_not_at_its_offset_is_counted_and_left_out() -> None:
    data = as_json(bioc(annotation(113, "SmpA"), annotation(-1, "SmpA"), *MENTIONS))

    (found,) = read_bioc_json(io.BytesIO(data), "a.json")

    assert isinstance(found, Annotated)
    assert found.mentions == EXPECTED.mentions
    assert found.misplaced == 2


def test_records_are_parted_by_empty_lines_and_the_last_needs_none() -> None:
    data = PUBTATOR + PUBTATOR.replace("9|", "10|").rstrip()

    found = list(read_pubtator(io.BytesIO(data.encode()), "a.pubtator"))

    assert [item.pmid for item in found if isinstance(item, Annotated)] == ["9", "10"]


def test_a_document_without_an_id_is_rejected() -> None:
    (found,) = read_bioc_json(io.BytesIO(as_json(bioc() | {"id": ""})), "a.json")

    assert isinstance(found, Rejected)
    assert found.reason == "no_pmid"


@pytest.mark.parametrize(
    ("reader", "data"),
    [
        (read_pubtator, b""),
        (read_pubtator, b"9|t|On \xff\n"),
        (read_pubtator, b"a free line\n"),
        (read_bioc_json, b""),
        (read_bioc_json, as_json(bioc())[:-30]),
        (read_bioc_json, b'{"documents": [{"id": "9"}]}'),
        (read_bioc_json, b'{"documents": ["text"]}'),
        (read_bioc_xml, as_xml(bioc())[:-30]),
        (read_bioc_xml, b"<collection/>"),
        (read_bioc_xml, as_xml(bioc()).replace(b"<offset>100<", b"<offset>far<")),
    ],
)
def test_a_broken_file_is_refused(reader: Reader, data: bytes) -> None:
    with pytest.raises(SourceError, match=r"a\.file"):
        list(reader(io.BytesIO(data), "a.file"))


@pytest.mark.parametrize(
    ("reader", "data"),
    [
        (read_pubtator, PUBTATOR.encode()),
        (read_bioc_json, as_json(bioc(*MENTIONS))),
        (read_bioc_xml, as_xml(bioc(*MENTIONS))),
    ],
    ids=["pubtator", "json", "xml"],
)
@given(place=st.integers(0, 700), cut=st.integers(0, 8), junk=st.binary(max_size=6))
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_give_annotations_or_an_error_of_ours(
    reader: Reader, data: bytes, place: int, cut: int, junk: bytes
) -> None:
    damaged = data[:place] + junk + data[place + cut :]

    with contextlib.suppress(SourceError):
        for item in reader(io.BytesIO(damaged), "a"):
            assert isinstance(item, Annotated | Rejected)
