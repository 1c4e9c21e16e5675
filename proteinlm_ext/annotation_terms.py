"""The diseases and the tissues that a text names, and how far two texts name the same.

A term overlap sees neither negation nor amount: "not in liver" and "in liver" agree.
"""

import re

# UniProtKB's form of a disease: `Name (ACRONYM): description`, at the start of a comment.
_DISEASE = re.compile(
    r"(?:^|\n|(?<=\. ))((?:(?!\. )[^\n:;]){3,200}) \([A-Za-z0-9][\w./-]*\)(?: \[MIM:\d+\])?:"
)

_SPLIT = re.compile(r"[^\w\s'/-]+|\s+-+\s+")
_WORD = re.compile(r"[a-z0-9][\w'/-]*")
# Words between the terms: articles and prepositions, and how UniProtKB speaks of expression.
_WORDS = """
a about abundance abundant abundantly after all almost already also although among an and any
appear appears are as associated at barely be been before being both but by can clearly confined
considerable considerably constitutive constitutively contain contains could detectable detected
detection different do does down-regulated during each either elevated enriched especially even
examined except exclusive exclusively express expressed expresses expressing expression extent
faint faintly few find first followed following for form forms found from had has have high higher
highest highly however if in including increased intermediate into is isoform isoforms it its least
less lesser level levels like limited little localized located low lower lowest lowly main mainly
major many marginally may mild mildly moderate moderately modest more most mostly mrna much name no
non nor not notably observed occur occurs of on only onto or other others over overexpressed
particular particularly predominantly preferentially present primarily produced prominent
prominently protein proteins rarely rather relatively restricted rna same secreted seen several
significant significantly similar slight slightly so some somewhat specific specifically strong
stronger strongest strongly subset such synthesized tested than that the their them then there
these they this those through throughout tissue tissues to together too trace transcript
transcripts under undetectable undetected unlike until up up-regulated upon variable variety
various very via was weak weaker weakly well were when where whereas which while with within
without
"""
_BETWEEN = frozenset(_WORDS.split())


def disease_names(text: str) -> frozenset[str]:
    """Return the diseases of UniProtKB's form `Name (ACRONYM):`, without acronym, normalised.

    Diseases that only a note or a description mentions are left out: they are not stated of the
    protein in a form that can be told from other words.
    """
    return frozenset(" ".join(re.findall(r"\w+", name.lower())) for name in _DISEASE.findall(text))


def tissue_terms(text: str) -> frozenset[str]:
    """Return the runs of words between punctuation and words such as "expressed", "in", "and".

    The candidate keywords of RAKE (Rose et al. 2010, doi 10.1002/9780470689646.ch1) with a list of
    words for this text; plural and singular count as one.
    """
    terms: set[str] = set()
    for part in _SPLIT.split(text.lower()):
        run: list[str] = []
        for word in [*_WORD.findall(part), "and"]:
            if word not in _BETWEEN and not word.isdigit():
                run.append(_singular(word))
            elif run:
                terms.add(" ".join(run))
                run = []
    return frozenset(terms)


def overlap_f1(found: frozenset[str], right: frozenset[str]) -> float | None:
    """Return the harmonic mean of precision and recall; None if there is nothing to find."""
    if not right:
        return None
    return 2 * len(found & right) / (len(found) + len(right))


def _singular(word: str) -> str:
    plural = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return word[:-1] if plural else word
