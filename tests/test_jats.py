"""Articles of PMC become text by section, with a licence and without citations."""

import contextlib
import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proteinlm_sft.entry import Rejected, SourceError
from proteinlm_sft.inputs import find_inputs, open_input
from proteinlm_sft.jats import Article, read_jats, read_pmc_jsonl

META = """<front><journal-meta><journal-title-group><journal-title>Shell Research</journal-title>
</journal-title-group></journal-meta><article-meta><article-id pub-id-type="pmc">77</article-id>
<article-id pub-id-type="doi">10.1/shell</article-id><title-group><article-title>The <italic>smpA
</italic> protein<xref ref-type="fn" rid="n1">*</xref></article-title></title-group>
<pub-date><year>2012</year></pub-date><pub-date><year>2011</year></pub-date>
<permissions>{permissions}</permissions><abstract><p>In short.</p></abstract>
<abstract abstract-type="graphical"><p>A picture.</p></abstract></article-meta></front>"""
CC_BY = '<license xlink:href="http://creativecommons.org/licenses/by/4.0/"><license-p/></license>'


def article(body: str, permissions: str = CC_BY, back: str = "") -> bytes:
    meta = META.format(permissions=permissions)
    return (
        '<article xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'xmlns:mml="http://www.w3.org/1998/Math/MathML">{meta}<body>{body}</body>{back}</article>'
    ).encode()


def read_one(data: bytes) -> Article:
    (found,) = read_jats(io.BytesIO(data), "a.nxml")
    assert isinstance(found, Article)
    return found


def body_text(body: str) -> str:
    return read_one(article(body)).text.split("In short.\n\n", 1)[1]


def test_an_article_is_title_abstract_and_sections_with_headings() -> None:
    body = (
        "<sec><title>Introduction</title><p>One.</p><sec><title>Aim</title><p>Two.</p></sec></sec>"
    )

    found = read_one(article(body))

    assert found.text == (
        "The smpA protein*\n\nAbstract\n\nIn short.\n\nIntroduction\n\nOne.\n\nAim\n\nTwo."
    )
    assert (found.pmcid, found.doi, found.year) == ("PMC77", "10.1/shell", "2011")
    assert (found.journal, found.title) == ("Shell Research", "The smpA protein*")


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("known [<xref ref-type='bibr'>1</xref>, <xref ref-type='bibr'>2</xref>].", "known."),
        ("known [<xref ref-type='bibr'>1</xref>]-[<xref ref-type='bibr'>3</xref>].", "known."),
        (
            "known<sup><xref ref-type='bibr'>1</xref>,<xref ref-type='bibr'>2</xref></sup>.",
            "known.",
        ),
        ("known (see <xref ref-type='bibr'>Roe, 2001</xref>).", "known."),
        ("as <xref ref-type='bibr'>Roe (2001)</xref> found", "as Roe (2001) found"),
        ("see <xref ref-type='fig'>Figure 1</xref>.", "see Figure 1."),
        ("Ca<sup>2+</sup>, CO<sub>2</sub>, 10<sup>-3</sup>", "Ca(2+), CO2, 10(-3)"),
        ("the 19<sup>th</sup> (n = 3) [sic]", "the 19th (n = 3) [sic]"),
    ],
)
def test_citations_go_and_other_marks_stay(marked: str, expected: str) -> None:
    assert body_text(f"<p>{marked}</p>") == expected


def test_a_table_and_a_figure_leave_their_captions() -> None:
    body = (
        "<p>Before.<fig><label>Figure 1</label><caption><title>Shells.</title><p>Two of them.</p>"
        "</caption><graphic/></fig></p><table-wrap><label>Table 1.</label><caption><p>Sizes.</p>"
        "</caption><table><tr><td>42</td></tr></table><table-wrap-foot><p>cm</p></table-wrap-foot>"
        "</table-wrap>"
    )

    assert body_text(body) == "Before.\n\nFigure 1. Shells. Two of them.\n\nTable 1. Sizes."


def test_formulas_are_tex_or_letters_or_nothing() -> None:
    tex = r"\documentclass{minimal} \begin{document} $$E = mc^2$$ \end{document}"
    body = (
        f"<p>With <inline-formula><tex-math>{tex}</tex-math></inline-formula> and <inline-formula>"
        "<mml:math><mml:mi>k</mml:mi> <mml:mo>=</mml:mo> <mml:mn>3</mml:mn></mml:math>"
        "</inline-formula> it is<disp-formula><label>1</label><mml:math><mml:mi>x</mml:mi>"
        "</mml:math></disp-formula>done.</p>"
    )

    assert body_text(body) == "With $E = mc^2$ and k=3 it is\ndone."


def test_items_of_a_list_stand_on_lines_of_their_own() -> None:
    items = "<list-item><p>one</p></list-item><list-item><p>two</p></list-item>"
    body = f"<p>Three:<list>{items}</list></p>"

    assert body_text(body) == "Three:\none\ntwo"


def test_references_and_what_follows_the_body_are_left_out() -> None:
    references = "<ref-list><ref><mixed-citation>Roe</mixed-citation></ref></ref-list>"
    back = f"<back><ack><p>Thanks.</p></ack>{references}</back>"
    answer = "<sub-article><front-stub/><body><p>A letter.</p></body></sub-article>"

    found = read_one(article("<p>One.</p>", back=back + answer))

    assert found.text.endswith("One.")


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        (CC_BY, "CC-BY-4.0"),
        (CC_BY.replace("licenses/by/4.0", "licenses/by-nc-nd/3.0"), "CC-BY-NC-ND-3.0"),
        (CC_BY.replace("licenses/by/4.0", "publicdomain/zero/1.0"), "CC0-1.0"),
        (CC_BY.replace("licenses/by/4.0", "publicdomain/mark/1.0"), "public-domain"),
        ("<license><license-p>Creative Commons Attribution License</license-p></license>", "CC-BY"),
        (
            "<license><license-p>Creative Commons Attribution Non-Commercial Share-Alike"
            "</license-p></license>",
            "CC-BY-NC-SA",
        ),
        ("<license><license-p>Free to read.</license-p></license>", "unknown"),
        ("<copyright-statement>All rights reserved</copyright-statement>", "unknown"),
        (CC_BY + CC_BY.replace("/by/", "/by-nc/"), "CC-BY-4.0 AND CC-BY-NC-4.0"),
    ],
)
def test_the_licence_is_read_from_link_or_words(permissions: str, expected: str) -> None:
    assert read_one(article("<p>One.</p>", permissions)).license == expected


def test_a_set_of_articles_gives_each_of_them() -> None:
    one = article("<p>One.</p>")

    found = list(read_jats(io.BytesIO(b"<pmc-articleset>" + one + one + b"</pmc-articleset>"), "a"))

    assert [type(item) for item in found] == [Article, Article]


def test_an_article_without_any_id_is_rejected() -> None:
    data = article("<p>One.</p>").replace(b"pub-id-type", b"kind")

    (found,) = read_jats(io.BytesIO(data), "a.nxml")

    assert isinstance(found, Rejected)
    assert found.reason == "no_id"


@pytest.mark.parametrize("data", [b"", b"<PubmedArticleSet/>", article("<p>One.</p>")[:-20]])
def test_a_broken_file_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError, match=r"a\.nxml"):
        list(read_jats(io.BytesIO(data), "a.nxml"))


def test_json_lines_get_the_title_before_the_text_once() -> None:
    lines = (
        b'{"pmcid": "PMC1", "title": "Shells", "text": "They are hard."}\n'
        b'{"pmcid": "PMC2", "title": "Shells", "text": "Shells are hard.", "license": "CC0-1.0"}\n'
    )

    first, second = read_pmc_jsonl(io.BytesIO(lines), "a.jsonl")

    assert isinstance(first, Article)
    assert isinstance(second, Article)
    assert (first.text, first.license) == ("Shells\n\nThey are hard.", "unknown")
    assert (second.text, second.license) == ("Shells are hard.", "CC0-1.0")


@given(place=st.integers(0, 1300), cut=st.integers(0, 8), junk=st.binary(max_size=6))
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_give_articles_or_an_error_of_ours(place: int, cut: int, junk: bytes) -> None:
    data = article("<sec><title>A</title><p>One <sup>2+</sup>.</p></sec>")
    damaged = data[:place] + junk + data[place + cut :]

    with contextlib.suppress(SourceError):
        for item in read_jats(io.BytesIO(damaged), "a"):
            assert isinstance(item, Article | Rejected)


@pytest.fixture
def literature() -> Path:
    """Return the folder of real articles; it is not part of the project."""
    folder = Path(__file__).parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("PROTEINLM_TEST_DATA", folder)) / "literature"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder


def test_real_articles_come_without_loss(literature: Path) -> None:
    articles: list[Article | Rejected] = []
    for file in find_inputs([str(literature / "jats")]):
        with open_input(file) as source:
            articles += read_jats(source.stream, file.name)
    (lines,) = find_inputs([str(literature / "pmc_fulltext.jsonl.gz")])
    with open_input(lines) as source:
        texts = list(read_pmc_jsonl(source.stream, lines.name))

    assert len(articles) == 40
    for item in articles:
        assert isinstance(item, Article)
        assert item.title
        assert item.year
        assert item.doi
        assert len(item.text) > 1500
        assert not {"\ue000", "\ue001"} & set(item.text)
    assert len(texts) == 150
    assert all(isinstance(item, Article) and len(item.text) > 1000 for item in texts)
