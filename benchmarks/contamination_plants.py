"""Texts that give a benchmark question away, for measuring what a contamination check finds.

Four ways: the question pasted, edited (10 to 20% of its words dropped, replaced or swapped with
the next), paraphrased by rule (synonyms, function words dropped, clauses moved), and a stretch of
a source article, for which the explanation stands in, with a sentence on the topic.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

Plant = Callable[[str, str, str, random.Random], str]

# Words of a line stand for each other.
_SYNONYMS = """
role function job | study work investigation | shows reveals demonstrates | show reveal demonstrate
binding association attachment | bind associate attach | binds associates attaches
interact associate | interaction contact | important essential vital | affects alters influences
affect alter influence | structure architecture fold | structural architectural
determine establish find | determined established found | used employed applied | use employ apply
using employing applying | increase raise | increases raises | increased raised
decrease reduce | decreases reduces | decreased reduced | researchers authors scientists
enzyme biocatalyst | contribute add | mechanism mode | change alteration | changes alterations
different distinct unlike | similar comparable alike | located situated | allows permits lets
allow permit let | involved implicated engaged | specific particular | obtained gained
performed conducted | purified isolated | expressed produced | expression production
activity action | regulation control | regulate control | regulates controls
inhibits blocks | inhibit block | inhibition blockade | formation assembly | forms makes
form make | required needed | requires needs | presence occurrence | absence lack
method approach | methods approaches | technique procedure | techniques procedures
main chief | primary principal | feature trait | features traits | suggests indicates
potential possible | region segment stretch | regions segments stretches
conformation arrangement | stability robustness | measured quantified | measure quantify
analysis examination | analyze examine | analyzed examined | observed seen noted
generated created | through via | because since | large big | small little | higher greater
lower smaller | significant marked | significantly markedly | process course | target aim
compared relative | mutation substitution | mutations substitutions | effect consequence
effects consequences | residues positions | protein polypeptide | proteins polypeptides
complex assembly | domain module | domains modules | typical usual | gives yields | give yield
best optimal | depend hinge | depends hinges | move travel | moves travels | carried transported
"""
_FUNCTION_WORDS = """
a an the of in to and is are was were be by for on with that which this these those as at from it
its their also can does do did how what why when where who
"""
_FILLERS = "however thus sample result level factor type group value model second often"
_WORD = re.compile(r"[^\W_]+")
_ABOUT_THE_EXAM = re.compile(
    r"(?:(?:according to|based on) )?the (?:provided |given )?"
    r"(?:document|text|paper|study|passage|article)(?: segment| summary)?"
    r"(?: (?:states|suggests|mentions|indicates|describes)(?: that)?)?,?"
    r"|[^.]*\boptions? \(?\d[^.]*\.?",
    re.IGNORECASE,
)


def _read_synonyms() -> Mapping[str, Sequence[str]]:
    groups = [group.split() for line in _SYNONYMS.splitlines() for group in line.split("|")]
    return MappingProxyType(
        {word: [other for other in group if other != word] for group in groups for word in group}
    )


SYNONYMS = _read_synonyms()


def verbatim(stem: str, gold: str, explanation: str, chance: random.Random) -> str:
    """Return the question and its right option as they are."""
    del explanation, chance
    return f"{stem} {gold}."


def edited(stem: str, gold: str, explanation: str, chance: random.Random) -> str:
    """Drop, replace or swap 10 to 20% of the words."""
    del explanation
    words = f"{stem} {gold}.".split()
    picked = chance.sample(range(len(words)), round(len(words) * chance.uniform(0.1, 0.2)))
    for place in sorted(picked, reverse=True):
        match chance.choice(("drop", "replace", "swap")):
            case "drop":
                del words[place]
            case "replace":
                words[place] = chance.choice(_FILLERS.split())
            case _:
                words[place : place + 2] = reversed(words[place : place + 2])
    return " ".join(words)


def paraphrased(stem: str, gold: str, explanation: str, chance: random.Random) -> str:
    """State the answer first, then what it answers, in other words and another order."""
    del explanation
    answer, asked = _reword(gold, chance), _reword(stem, chance)
    return f"{_turn(answer, 'where', chance)}. This concerns {_turn(asked, 'and', chance)}."


def source_article(stem: str, gold: str, explanation: str, chance: random.Random) -> str:
    """Return a reworded sentence of the topic and the explanation without its words on the exam.

    Where the explanation names less than half of the gold's words, a sentence with these in other
    words follows: an article that answers a question states the answer. Without an explanation
    there is no stand-in: "".
    """
    said = " ".join(_ABOUT_THE_EXAM.sub(" ", explanation).split())
    if " " not in said:
        return ""
    named = set(_WORD.findall(gold.casefold()))
    text = f"Here we turn to {' '.join(_reword(stem, chance))}. {said}"
    if len(named & set(_WORD.findall(said.casefold()))) * 2 < len(named):
        text += f" We found {' '.join(_reword(gold, chance))}."
    return text


PLANTS: Mapping[str, Plant] = MappingProxyType(
    {
        "verbatim": verbatim,
        "edited": edited,
        "paraphrased": paraphrased,
        "source article": source_article,
    }
)


def plant(text: str, host: str, chance: random.Random) -> str:
    """Return a text that stands between two sentences of another."""
    sentences = host.split(". ")
    place = chance.randrange(len(sentences) + 1)
    return ". ".join([*sentences[:place], text, *sentences[place:]])


def _reword(text: str, chance: random.Random) -> list[str]:
    """Replace what has a synonym and drop two thirds of the function words."""
    words: list[str] = []
    for word in text.rstrip("?. ").split():
        plain = word.lower().strip(",;:()")
        if plain in SYNONYMS:
            words.append(chance.choice(SYNONYMS[plain]))
        elif plain not in _FUNCTION_WORDS.split() or chance.random() > 2 / 3:
            words.append(word)
    return words


def _turn(words: Sequence[str], link: str, chance: random.Random) -> str:
    """Move the second half of a clause to its front, half of the time."""
    middle = len(words) // 2
    if chance.random() < 0.5 and middle:
        return " ".join([*words[middle:], link, *words[:middle]])
    return " ".join(words)
