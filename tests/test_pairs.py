"""Pairs of abstracts in two languages: one document each, the direction drawn by the id."""

import contextlib
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proteinlm_sft.entry import Rejected, SourceError
from proteinlm_sft.pairs import Pair, read_pairs_jsonl, read_pairs_tsv

ENGLISH, CHINESE = "The shell protein is hard.", "壳蛋白很硬。"


def pair(identifier: str) -> Pair:
    return Pair(id=identifier, english=ENGLISH, chinese=CHINESE, license="CC-BY-4.0", source="")


def tsv(*rows: str, header: str = "id\tenglish\tchinese\tlicense") -> io.BytesIO:
    return io.BytesIO("\n".join((header, *rows)).encode() + b"\n")


def test_tsv_and_json_lines_give_the_same_pairs() -> None:
    line = f'{{"id": "a", "english": "{ENGLISH}", "chinese": "{CHINESE}", "license": "CC-BY-4.0"}}'

    from_tsv = list(read_pairs_tsv(tsv(f"a\t{ENGLISH}\t{CHINESE}\tCC-BY-4.0"), "a.tsv"))
    from_json = list(read_pairs_jsonl(io.BytesIO(line.encode()), "a.jsonl"))

    assert from_tsv == from_json == [pair("a")]


def test_both_directions_occur_and_an_id_keeps_its_own() -> None:
    pairs = [pair(str(number)) for number in range(200)]
    english_first = [item for item in pairs if item.direction == "en-zh"]

    assert 70 < len(english_first) < 130
    assert all(item.text == f"{ENGLISH}\n\n{CHINESE}" for item in english_first)
    assert {item.text for item in pairs if item.direction == "zh-en"} == {f"{CHINESE}\n\n{ENGLISH}"}


def test_a_quoted_cell_may_hold_tabs_and_line_breaks() -> None:
    (found,) = read_pairs_tsv(tsv(f'a\t"One\ttwo\nthree"\t{CHINESE}\tCC0-1.0'), "a.tsv")

    assert isinstance(found, Pair)
    assert found.english == "One\ttwo\nthree"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"\t{ENGLISH}\t{CHINESE}\tCC0", "no_id"),
        (f"a\t{ENGLISH}\t\tCC0", "one_language"),
        (f"a\t{CHINESE}\t{ENGLISH}\tCC0", "wrong_language"),
    ],
)
def test_a_pair_that_is_none_is_rejected(row: str, reason: str) -> None:
    (found,) = read_pairs_tsv(tsv(row), "a.tsv")

    assert isinstance(found, Rejected)
    assert found.reason == reason


def test_a_missing_column_is_named() -> None:
    with pytest.raises(SourceError, match=r"a\.tsv: the header lacks the column\(s\) license"):
        list(read_pairs_tsv(tsv(header="id\tenglish\tchinese"), "a.tsv"))


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (tsv(f"a\t{ENGLISH}\t{CHINESE}"), "line 2 has 3 cells"),
        (io.BytesIO(tsv(f"a\t{ENGLISH}\t{CHINESE}\tx").getvalue() + b"b\t\xff"), "line 3"),
        (tsv('a\t"never closed'), "cannot be read"),
        (tsv(), "no pair"),
        (io.BytesIO(b""), "header lacks"),
    ],
)
def test_a_broken_table_is_refused(data: io.BytesIO, line: str) -> None:
    with pytest.raises(SourceError, match=line):
        list(read_pairs_tsv(data, "a.tsv"))


@given(place=st.integers(0, 90), cut=st.integers(0, 8), junk=st.binary(max_size=6))
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_give_pairs_or_an_error_of_ours(place: int, cut: int, junk: bytes) -> None:
    data = tsv(f"a\t{ENGLISH}\t{CHINESE}\tCC0").getvalue()
    damaged = data[:place] + junk + data[place + cut :]

    with contextlib.suppress(SourceError):
        for item in read_pairs_tsv(io.BytesIO(damaged), "a"):
            assert isinstance(item, Pair | Rejected)
