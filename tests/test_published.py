"""The published protocols are rebuilt to the byte, their faults included."""

import ast
import importlib.util
import math
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from proteinlm_ext import opencompass
from proteinlm_ext.benchmark import load_sample
from proteinlm_ext.errors import MissingDependencyError
from proteinlm_ext.extract import INVALID
from proteinlm_ext.opencompass import first_option_postprocess
from proteinlm_ext.published import (
    extract_opencompass,
    extract_paper,
    extract_scienceeval,
    keep_first_six,
    load_opencompass,
    opencompass_filter,
    opencompass_prompt,
    paper_filter,
    paper_prompt,
    scienceeval_filter,
    scienceeval_prompt,
    score_published,
)
from proteinlm_ext.scoring import mean_answered

Doc = dict[str, Any]
Prompt = Callable[[Doc], str]
Filter = Callable[[Any, Any], list[list[str]]]

REGISTRY = "opencompass.registry"
INSTALL = "pip install --no-deps opencompass==0.5.4"


def wheel_version() -> str | None:
    try:
        return version("opencompass")
    except PackageNotFoundError:
        return None


needs_wheel = pytest.mark.skipif(wheel_version() != "0.5.4", reason=f"needs: {INSTALL}")


# ---- Prompts --------------------------------------------------------------------------------

# Two options, with a colon, braces and the text "nan" among them.
TWO: Doc = {
    "id": "two",
    "question": "What does {x} in f(x): x -> {} stand for?",
    "choices": ["Ligand: concentration: in {x} nM", "nan"],
    "answer": 0,
}
FOUR: Doc = {
    "id": "four",
    "question": "Which ion does carbonic anhydrase hold?",
    "choices": ["Zn: Zn2+", "Fe{2}+", "Mg:Ca", "none: "],
    "answer": 0,
}
SIX: Doc = {
    "id": "six",
    "question": "Which residue is charged at pH 7?",
    "choices": ["Alanine", "Leucine", "Lysine", "Glycine", "Serine", "Proline"],
    "answer": 2,
}
SEVEN: Doc = {
    "id": "seven",
    "question": "Which is the seventh day?",
    "choices": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
    "answer": 6,
}
TEN: Doc = {
    "id": "ten",
    "question": "Which β-barrel is “TIM”?",
    "choices": ["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"],
    "answer": 5,
}
DOCS = [TWO, FOUR, SIX, SEVEN, TEN]

# The six-option question in full, as each source would have sent it.
PAPER_SIX = (
    "\n"
    "Answer the multiple-choice question based solely on the provided context. \n"
    "If you are still unsure about the answer, output option 7.\n"
    "Select only ONE correct option by its number. Start your response with 'The correct option "
    'is\' followed by the option number ONLY. eg: "The correct option is Option X."\n'
    "Think step by step.\n"
    "    \n"
    " Question: \n"
    "Which residue is charged at pH 7?\n"
    " Options: \n"
    "option 1: Alanine\n"
    "option 2: Leucine\n"
    "option 3: Lysine\n"
    "option 4: Glycine\n"
    "option 5: Serine\n"
    "option 6: Proline\n"
    "\n"
    "The correct option is:"
)
OPENCOMPASS_SIX = (
    "Answer the following multiple choice question. There is only one correct answer. The last "
    "line of your response should be in the format 'Answer: $LETTER' (without quotes), where "
    "LETTER is the letter among A through F.\n"
    "\n"
    "Question: Which residue is charged at pH 7?\n"
    "Answer Choices: \n"
    "A. Alanine\n"
    "B. Leucine\n"
    "C. Lysine\n"
    "D. Glycine\n"
    "E. Serine\n"
    "F. Proline\n"
)
SCIENCEEVAL_SIX = (
    "Which residue is charged at pH 7?\n"
    "Please choose one of the following options to answer this question\n"
    "A:Alanine\n"
    "B:Leucine\n"
    "C:Lysine\n"
    "D:Glycine\n"
    "E:Serine\n"
    "F:Proline\n"
    "The final option is to package with $\\boxed{}$"
)

PAPER_HEAD, PAPER_TAIL = PAPER_SIX.split(" Question: \n")[0], "\nThe correct option is:"
OPENCOMPASS_HEAD = OPENCOMPASS_SIX.split("F.\n")[0]
SCIENCEEVAL_ASK = "\nPlease choose one of the following options to answer this question\n"
SCIENCEEVAL_TAIL = "The final option is to package with $\\boxed{}$"

PAPER_BODIES = [
    " Question: \nWhat does {x} in f(x): x -> {} stand for?\n Options: \n"
    "option 1: Ligand: concentration: in {x} nM\noption 2: nan\n",
    " Question: \nWhich ion does carbonic anhydrase hold?\n Options: \n"
    "option 1: Zn: Zn2+\noption 2: Fe{2}+\noption 3: Mg:Ca\noption 4: none: \n",
    " Question: \nWhich residue is charged at pH 7?\n Options: \n"
    "option 1: Alanine\noption 2: Leucine\noption 3: Lysine\noption 4: Glycine\n"
    "option 5: Serine\noption 6: Proline\n",
    " Question: \nWhich is the seventh day?\n Options: \n"
    "option 1: Mon\noption 2: Tue\noption 3: Wed\noption 4: Thu\noption 5: Fri\noption 6: Sat\n"
    "option 7: Sun\n",
    " Question: \nWhich β-barrel is “TIM”?\n Options: \n"
    "option 1: i\noption 2: ii\noption 3: iii\noption 4: iv\noption 5: v\noption 6: vi\n"
    "option 7: vii\noption 8: viii\noption 9: ix\noption 10: x\n",
]
OPENCOMPASS_BODIES = [
    "B.\n\nQuestion: What does {x} in f(x): x -> {} stand for?\nAnswer Choices: \n"
    "A. in {x} nM\nB. nan\n",
    "D.\n\nQuestion: Which ion does carbonic anhydrase hold?\nAnswer Choices: \n"
    "A. Zn2+\nB. Fe{2}+\nC. Mg:Ca\nD. \n",
    "F.\n\nQuestion: Which residue is charged at pH 7?\nAnswer Choices: \n"
    "A. Alanine\nB. Leucine\nC. Lysine\nD. Glycine\nE. Serine\nF. Proline\n",
    "G.\n\nQuestion: Which is the seventh day?\nAnswer Choices: \n"
    "A. Mon\nB. Tue\nC. Wed\nD. Thu\nE. Fri\nF. Sat\nG. Sun\n",
    "J.\n\nQuestion: Which β-barrel is “TIM”?\nAnswer Choices: \n"
    "A. i\nB. ii\nC. iii\nD. iv\nE. v\nF. vi\nG. vii\nH. viii\nI. ix\nJ. x\n",
]
SCIENCEEVAL_LINES = [
    "A:Ligand: concentration: in {x} nM\nB:nan\nC:nan\nD:nan\nE:nan\nF:nan\n",
    "A:Zn: Zn2+\nB:Fe{2}+\nC:Mg:Ca\nD:none: \nE:nan\nF:nan\n",
    "A:Alanine\nB:Leucine\nC:Lysine\nD:Glycine\nE:Serine\nF:Proline\n",
    "A:Mon\nB:Tue\nC:Wed\nD:Thu\nE:Fri\nF:Sat\n",
    "A:i\nB:ii\nC:iii\nD:iv\nE:v\nF:vi\n",
]


def sample_docs() -> list[Doc]:
    return [question.to_doc() for question in load_sample().questions]


def raw_row(doc: Doc) -> Doc:
    """The row as the Hub has it, which is what the sources read."""
    return {
        "question": doc["question"],
        "options": [f"option {n}: {text}" for n, text in enumerate(doc["choices"], start=1)],
        "answer": f"option {doc['answer'] + 1}",
    }


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (paper_prompt, PAPER_SIX),
        (opencompass_prompt, OPENCOMPASS_SIX),
        (scienceeval_prompt, SCIENCEEVAL_SIX),
    ],
)
def test_a_six_option_question_is_asked_to_the_byte(prompt: Prompt, expected: str) -> None:
    assert prompt(SIX).encode() == expected.encode()


@pytest.mark.parametrize(("doc", "body"), [*zip(DOCS, PAPER_BODIES, strict=True)])
def test_paper_prompt_is_exact_for_every_number_of_options(doc: Doc, body: str) -> None:
    assert paper_prompt(doc) == PAPER_HEAD + body + PAPER_TAIL


@pytest.mark.parametrize(("doc", "body"), [*zip(DOCS, OPENCOMPASS_BODIES, strict=True)])
def test_opencompass_prompt_is_exact_for_every_number_of_options(doc: Doc, body: str) -> None:
    assert opencompass_prompt(doc) == OPENCOMPASS_HEAD + body


@pytest.mark.parametrize(("doc", "lines"), [*zip(DOCS, SCIENCEEVAL_LINES, strict=True)])
def test_scienceeval_prompt_is_exact_for_every_number_of_options(doc: Doc, lines: str) -> None:
    assert scienceeval_prompt(doc) == doc["question"] + SCIENCEEVAL_ASK + lines + SCIENCEEVAL_TAIL


@pytest.mark.parametrize("doc", sample_docs(), ids=lambda doc: doc["id"])
def test_paper_prompt_joins_the_lines_of_the_file_as_they_are(doc: Doc) -> None:
    row = raw_row(doc)
    lines = "".join(option + "\n" for option in row["options"])
    body = f" Question: \n{row['question']}\n Options: \n{lines}"
    assert paper_prompt(doc) == PAPER_HEAD + body + PAPER_TAIL


@pytest.mark.parametrize("doc", [*DOCS, *sample_docs()], ids=lambda doc: doc["id"])
def test_paper_prompt_ends_without_a_blank_after_the_colon(doc: Doc) -> None:
    assert paper_prompt(doc).endswith("\n\nThe correct option is:")


@pytest.mark.parametrize("doc", [*DOCS, *sample_docs()], ids=lambda doc: doc["id"])
def test_scienceeval_always_has_the_six_lines_a_to_f(doc: Doc) -> None:
    prompt = scienceeval_prompt(doc)
    lines = prompt.removeprefix(doc["question"]).split("\n")[2:-1]
    assert [line.split(":")[0] for line in lines] == list("ABCDEF")
    texts = [line.partition(":")[2] for line in lines]
    real = min(len(doc["choices"]), 6)
    assert texts == doc["choices"][:real] + ["nan"] * (6 - real)


@pytest.mark.parametrize(
    ("choice", "kept"),
    [
        ("no colon", "no colon"),
        ("pH: 7", "7"),
        ("a: b: c", "c"),
        ("a:b", "a:b"),
        ("a:\tb", "a:\tb"),
        ("ends: ", ""),
        (": starts", "starts"),
        ("12:30: noon", "noon"),
        ("full width： stays", "full width： stays"),
    ],
)
def test_opencompass_cuts_an_option_at_its_last_colon_and_blank(choice: str, kept: str) -> None:
    doc = {"question": "Q", "choices": [choice, "other"], "answer": 1}
    assert opencompass_prompt(doc).endswith(f"Answer Choices: \nA. {kept}\nB. other\n")


@pytest.mark.parametrize("count", range(2, 11))
def test_opencompass_names_a_through_the_last_letter(count: int) -> None:
    doc = {"question": "Q", "choices": [str(n) for n in range(count)], "answer": 0}
    assert f"among A through {'ABCDEFGHIJ'[count - 1]}.\n" in opencompass_prompt(doc)


@pytest.mark.parametrize("prompt", [paper_prompt, opencompass_prompt, scienceeval_prompt])
def test_a_prompt_leaves_its_document_as_it_was(prompt: Prompt) -> None:
    doc = {**TWO, "choices": list(TWO["choices"])}
    assert prompt(doc) == prompt(doc)
    assert doc == TWO


@pytest.mark.parametrize("prompt", [paper_prompt, opencompass_prompt, scienceeval_prompt])
@pytest.mark.parametrize("doc", [SIX, SEVEN])
def test_a_prompt_does_not_depend_on_the_key(prompt: Prompt, doc: Doc) -> None:
    keys = range(len(doc["choices"]))
    assert len({prompt({**doc, "answer": key}) for key in keys}) == 1


def test_keep_first_six_drops_only_rows_with_gold_beyond_six() -> None:
    golds = [0, 5, 6, 3, 9, 5, 7]
    rows = [{"id": str(n), "choices": ["x"] * 10, "answer": gold} for n, gold in enumerate(golds)]
    kept = keep_first_six(Dataset.from_list(rows))
    assert list(kept["id"]) == ["0", "1", "3", "5"]
    assert list(kept["answer"]) == [0, 5, 3, 5]


def test_keep_first_six_keeps_long_questions_whose_gold_is_among_the_six() -> None:
    kept = keep_first_six(Dataset.from_list([TEN, SEVEN, TWO]))
    assert list(kept["id"]) == ["ten", "two"]
    assert list(kept[0]["choices"]) == TEN["choices"]


def test_keep_first_six_changes_nothing_the_second_time() -> None:
    once = keep_first_six(Dataset.from_list(DOCS))
    assert keep_first_six(once).to_list() == once.to_list()


# ---- The wheel's own prompt -------------------------------------------------------------------


@cache
def wheel_tree(name: str) -> ast.Module:
    path = distribution("opencompass").locate_file(f"opencompass/{name}")
    return ast.parse(Path(str(path)).read_text(encoding="utf-8"))


def wheel_query() -> str:
    tree = wheel_tree("configs/datasets/ProteinLMBench/ProteinLMBench_gen_a67965.py")
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "QUERY_TEMPLATE"
    )
    return str(ast.literal_eval(value))


def wheel_function(name: str, function: str) -> Callable[..., Any]:
    """Execute one function of the wheel's file, and nothing else of it."""
    found = [
        node
        for node in wheel_tree(name).body
        if isinstance(node, ast.FunctionDef) and node.name == function
    ]
    names: dict[str, Any] = {}
    exec(compile(ast.Module(found, []), name, "exec"), names)  # noqa: S102
    read: Callable[..., Any] = names[function]
    return read


@needs_wheel
@pytest.mark.parametrize("doc", [*DOCS, *sample_docs()], ids=lambda doc: doc["id"])
def test_opencompass_prompt_is_what_the_wheel_itself_would_send(doc: Doc) -> None:
    item = wheel_function("datasets/ProteinLMBench.py", "_parse")(raw_row(doc))
    # OpenCompass fills in a template by replacing each name in turn.
    prompt = wheel_query()
    for name in ("question", "start", "end"):
        prompt = prompt.replace(f"{{{name}}}", item[name])
    assert opencompass_prompt(doc) == prompt


@needs_wheel
@pytest.mark.parametrize("doc", [*DOCS, *sample_docs()], ids=lambda doc: doc["id"])
def test_the_wheels_label_is_the_letter_that_we_score_against(doc: Doc) -> None:
    label = wheel_function("datasets/ProteinLMBench.py", "_parse")(raw_row(doc))["label"]
    assert score_published(doc, [label])["acc"] == 1


# ---- What models write ------------------------------------------------------------------------

# (response, what the paper's rule reads: the first run of digits)
PAPER_OUTPUTS = [
    ("3", "3"),
    (" 3", "3"),
    ("\n\n 4", "4"),
    ("Option 3", "3"),
    ("The correct option is Option 3.", "3"),
    ('"The correct option is Option 2."', "2"),
    ("Option 10", "10"),
    ("option 10: the RING finger", "10"),
    ("option 7", "7"),  # "not sure", which is right for the two questions with gold 7
    ("I am still unsure, so option 7.", "7"),
    ("**Option 4**", "4"),
    ("Option\u00a06", "6"),
    ("option #1", "1"),
    ("Option5", "5"),
    ("选项3", "3"),
    (r"\boxed{5}", "5"),
    ("option 2\noption 3", "2"),
    ("Options 3 and 4", "3"),
    ("Option 3, not 2", "3"),
    ("It is not 2 but 3", "2"),
    ("option 2: It binds 4 ions", "2"),
    ("6\n\nExplanation: residues 1 to 90", "6"),
    ("none of the 6", "6"),
    ("Option 8", "8"),
    ("0", "0"),
    ("-2", "2"),
    ("2.5 angstrom, hence option 4", "2"),
    ("1,000 residues, so option 4", "1"),
    ("03", "03"),  # compared as text, so wrong for gold 3
    ("345", "345"),
    # The fault: any number before the answer is the answer.
    ("The 3 domains bind RNA, so option 5", "3"),
    ("p53 is mutated: option 4", "53"),
    ("IL-6 is secreted; Option 1.", "6"),
    ("EC 3.4.21.4 is trypsin; Option 1.", "3"),
    ("Ca2+ is bound: option 5", "2"),
    ("the 5'-UTR: option 1", "5"),
    ("Of options 1-6, option 4 fits", "1"),
    ("<think>2 of the 6 fit.</think> option 5", "2"),
    ("Step 1. Look at the fold. Option 4.", "1"),
    # Digits of other scripts are digits to Python; they never equal the key.
    ("３", "３"),
    ("٣", "٣"),
    # No digit.
    ("", INVALID),
    ("   \n", INVALID),
    ("C", INVALID),
    ("Option X.", INVALID),
    ("three", INVALID),
    ("Option III", INVALID),
    ("③", INVALID),
    ("x²", INVALID),
    ("The correct option is", INVALID),
    ("I am not sure.", INVALID),
]

# (response, what ScienceEval's rule reads: the last box after the thinking)
SCIENCEEVAL_OUTPUTS = [
    (r"\boxed{C}", "C"),
    (r"$\boxed{C}$", "C"),
    (r"$$\boxed{C}$$", "C"),
    (r"\(\boxed{C}\)", "C"),
    (r"**$\boxed{C}$**", "C"),
    (r"The final option is $\boxed{A}$.", "A"),
    (r"The final option is $\boxed{F}$", "F"),
    (r"\boxed {B}", "B"),
    (r"\boxed{ B }", "B"),
    ("\\boxed{\nD\n}", "D"),
    ("\\boxed\n{D}", "D"),
    ("\\boxed{\tE\t}", "E"),
    (r"\\boxed{C}", "C"),
    (r"\boxed{\text{C}}", "C"),
    (r"$\boxed{\text{C}}$", "C"),
    (r"\boxed{ \text{C} }", "C"),
    (r"\boxed{\text{C }}", "C"),
    (r"First \boxed{A}, but finally \boxed{B}", "B"),
    (r"\boxed{A}\boxed{D}", "D"),
    (r"\boxed{A} \boxed{B} \boxed{A}", "A"),
    ("\\boxed{A}\n\nThe other options B to F are wrong.", "A"),
    ("<think>\\boxed{A}</think>\n\n$\\boxed{B}$", "B"),
    ("Maybe \\boxed{A}.\n</think>\nSo $\\boxed{E}$.", "E"),
    (r"I first thought \boxed{G}, now \boxed{C}", "C"),
    # Faults: the first closing brace ends the box, and its inside may be an unclosed \text{.
    (r"\boxed{\text{C}: the loop}", "C"),
    (r"\boxed{\text{C} or \text{D}}", "C"),
    ("\\boxed{B} or \\boxed{C\nD}", "B"),  # no line end in the middle of a box
    (r"\boxed{B} and \boxed{C", "B"),  # a box left open is no box
    (r"\boxed{B} and \fbox{C}", "B"),
    # A box that is not exactly one of A-F.
    (r"\boxed{G}", INVALID),
    (r"\boxed{J}", INVALID),
    (r"\boxed{c}", INVALID),
    (r"\boxed{A, B}", INVALID),
    (r"\boxed{AB}", INVALID),
    (r"\boxed{A and B}", INVALID),
    (r"\boxed{}", INVALID),
    (r"$\boxed{}$", INVALID),
    (r"\boxed{ }", INVALID),
    (r"\boxed{C.}", INVALID),
    (r"\boxed{(C)}", INVALID),
    (r"\boxed{C: the loop}", INVALID),
    (r"\boxed{option C}", INVALID),
    (r"\boxed{3}", INVALID),
    (r"\boxed{Ｃ}", INVALID),
    (r"\boxed{$C$}", INVALID),
    (r"\boxed{**C**}", INVALID),
    (r"\boxed{\textbf{C}}", INVALID),
    (r"\boxed{\mathrm{C}}", INVALID),
    (r"\boxed{\boxed{C}}", INVALID),
    (r"\boxed{{C}}", INVALID),
    (r"\boxed{\text{}}", INVALID),
    (r"\boxed{\text{the loop}}", INVALID),
    (r"\boxed{C} is my choice, not \boxed{nan}", INVALID),  # the last box counts, read or not
    (r"\boxed{B}, or rather \boxed{}", INVALID),
    # No box after the thinking.
    ("", INVALID),
    ("C", INVALID),
    ("Answer: C", INVALID),
    ("$C$", INVALID),
    ("boxed{C}", INVALID),
    (r"\boxed C", INVALID),
    (r"\boxed(C)", INVALID),
    (r"\Boxed{C}", INVALID),
    (r"\boxed{C", INVALID),
    ("\\boxed{C\nD}", INVALID),
    ("<think>It is \\boxed{A}.</think>\n\nThe answer is A.", INVALID),
    ("It is \\boxed{A}.</think>", INVALID),
    ("<think>\\boxed{A}</think>\\boxed{H}", INVALID),
]

# (response, number of options, what `first_option_postprocess` reads, worked out from its list of
# patterns: the first pattern that matches wins, wherever in the text it does)
OPENCOMPASS_OUTPUTS = [
    ("Answer: C", 6, "C"),
    ("The loop binds RNA.\n\nAnswer: C", 6, "C"),
    ("The loop binds RNA.\n\nAnswer: C\n\n", 6, "C"),
    ("**Answer: C**", 6, "C"),
    ("**Answer:** C", 6, "C"),
    ("ANSWER : D", 6, "D"),
    ("Answer: B\nOn reflection:\nAnswer: D", 6, "D"),
    ("C", 6, "C"),
    ("(C)", 6, "C"),
    ("C. The loop is longer", 6, "C"),
    (r"$\boxed{D}$", 6, "D"),
    ("The answer is C because B is too short", 6, "C"),
    ("The answer is (C).", 6, "C"),
    ("The answer is **C**", 6, "C"),
    ("The answer is option D, as said.", 6, "D"),
    ("The correct answer is option F, as said.", 6, "F"),
    (r"The correct answer is: the longer loop, so \boxed{E}.", 6, "E"),
    ("The answer to the question is E since it is acidic", 6, "E"),
    # Chinese cues.
    ("答案是C", 6, "C"),
    ("答案：D", 6, "D"),
    ("答案: E", 6, "E"),
    ("答案为 B。", 6, "B"),
    ("答案选项为C", 6, "C"),
    ("答案应该是F，不是A", 6, "F"),
    ("选择 E", 6, "E"),
    ("因此选B，不选A", 6, "B"),
    ("故选C。", 6, "C"),
    ("A和B都不对，C是正确的。", 6, "C"),
    ("与A不同，选项 D 正确", 6, "D"),
    ("只有A是错的，所以答案应该是B", 6, "B"),
    # The order of the patterns, not of the text, decides.
    ("Answer: A, though one might say B.", 6, "B"),
    ("Unsure. Either A or B.", 6, "B"),
    ("A, B", 6, "B"),
    ("<think>The answer is A.</think>\nD is right!", 6, "A"),
    # The last resort: any letter of the range anywhere.
    ("A protein kinase does it.", 6, "A"),
    ("Option C is right!", 6, "C"),
    ("Based on the passage, option C is right!", 6, "B"),
    ("Answer: Cysteine", 6, "C"),
    ("Answer: $C", 6, "A"),  # the A of "Answer", and so below
    ("Answer: b", 6, "A"),
    ("Answer: C", 2, "A"),
    ("Answer: 3", 6, "A"),
    ("Elastase needs zinc", 6, "E"),
    ("I Don't know", 6, "D"),
    ("1. Elastase", 6, "E"),
    ("10 residues, mostly Cys and Asp", 6, "A"),  # after a "1", the first letter of the range
    # The range is that of the question.
    ("G", 7, "G"),
    ("J", 10, "J"),
    ("I do not know.", 10, "I"),
    ("G", 6, INVALID),
    ("G protein-coupled receptors", 6, INVALID),
    ("I do not know.", 6, INVALID),
    ("answer: alanine", 6, INVALID),
    ("答案：Ｃ", 6, INVALID),
    ("None of these", 6, INVALID),
    ("option 3", 6, INVALID),
    ("", 6, INVALID),
    (" \n ", 6, INVALID),
]


@pytest.mark.parametrize(("text", "expected"), PAPER_OUTPUTS)
def test_the_paper_reads_the_first_run_of_digits(text: str, expected: str) -> None:
    assert extract_paper(text) == expected


@pytest.mark.parametrize(("text", "expected"), SCIENCEEVAL_OUTPUTS)
def test_scienceeval_reads_the_last_box_after_the_thinking(text: str, expected: str) -> None:
    assert extract_scienceeval(text) == expected


@needs_wheel
@pytest.mark.parametrize(("text", "count", "expected"), OPENCOMPASS_OUTPUTS)
def test_opencompass_reads_the_first_pattern_that_matches(
    text: str, count: int, expected: str
) -> None:
    assert extract_opencompass(text, count) == expected


def test_scienceeval_does_not_count_a_blank_inside_the_text_command() -> None:
    assert extract_scienceeval(r"\boxed{\text{ A}}") == INVALID


def test_scienceeval_reads_nothing_inside_a_thought_that_never_ends() -> None:
    assert extract_scienceeval(r"<think>Suppose \boxed{A}. Then the loop") == INVALID


def test_scienceeval_reads_an_open_box_with_a_long_tail_of_blanks_at_once() -> None:
    start = time.perf_counter()
    assert extract_scienceeval("\\boxed{" + " " * 1500) == INVALID
    assert time.perf_counter() - start < 0.3


# ScienceEval's own expression, to compare with on short texts.
SOURCE_BOX = r"[\$]?\\boxed\s*\{\s*(.*?)\s*\}[\$]?"
PIECES = ["\\boxed{", "\\boxed {", "\\text{C", "}", "$", " ", "\n", "A", "B", "G", "x", "{", ","]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_scienceeval_agrees_with_the_sources_expression(text: str) -> None:
    boxes = re.findall(SOURCE_BOX, text)
    content = boxes[-1].replace("\\text{", "") if boxes else None
    assert extract_scienceeval(text) == (content if content in tuple("ABCDEF") else INVALID)


@given(st.text())
def test_every_text_is_read_as_digits_or_a_letter_or_is_invalid(text: str) -> None:
    paper = extract_paper(text)
    assert paper == INVALID or (paper.isdecimal() and paper in text)
    assert extract_scienceeval(text) in {*"ABCDEF", INVALID}


@needs_wheel
@given(st.text(alphabet="ABGJ答案是选为：:. \n1x"), st.integers(2, 10))
def test_opencompass_reads_any_text_as_a_letter_of_the_question(text: str, count: int) -> None:
    assert extract_opencompass(text, count) in {*"ABCDEFGHIJ"[:count], INVALID}


# ---- Filters -----------------------------------------------------------------------------------

FILTERS = [
    pytest.param(paper_filter, "option 3", "3", id="paper"),
    pytest.param(opencompass_filter, "Answer: B", "B", id="opencompass", marks=needs_wheel),
    pytest.param(scienceeval_filter, r"$\boxed{B}$", "B", id="scienceeval"),
]


@pytest.mark.parametrize(("read", "said", "answer"), FILTERS)
def test_a_filter_keeps_the_shape_of_its_responses(read: Filter, said: str, answer: str) -> None:
    docs = [SIX, TWO, TEN, FOUR]
    assert read([[said], [said, "", said], [], ["?"]], docs) == [
        [answer],
        [answer, INVALID, answer],
        [],
        [INVALID],
    ]


@pytest.mark.parametrize(("read", "said", "answer"), FILTERS)
def test_a_missing_response_counts_as_empty_text(read: Filter, said: str, answer: str) -> None:
    docs = [SIX, SEVEN]
    missing = read([[None, said], [None]], docs)
    assert missing == read([["", said], [""]], docs)
    assert missing == [[INVALID, answer], [INVALID]]


@pytest.mark.parametrize(("read", "said", "answer"), FILTERS)
def test_a_filter_reads_no_responses_of_no_documents(read: Filter, said: str, answer: str) -> None:
    assert read([], []) == []


@pytest.mark.parametrize(("read", "said", "answer"), FILTERS)
def test_a_filter_refuses_more_documents_than_responses(
    read: Filter, said: str, answer: str
) -> None:
    with pytest.raises(ValueError, match="zip"):
        read([[said]], [SIX, SIX])


@needs_wheel
def test_opencompass_filter_reads_with_the_letters_of_each_question() -> None:
    responses = [["G"], ["G"], ["G"], ["C"]]
    expected = [[INVALID], ["G"], ["G"], [INVALID]]
    assert opencompass_filter(responses, [SIX, SEVEN, TEN, TWO]) == expected


def test_paper_and_scienceeval_filters_do_not_look_at_the_number_of_options() -> None:
    assert paper_filter([["option 9"]], [TWO]) == [["9"]]
    assert scienceeval_filter([[r"\boxed{F}"]], [TWO]) == [["F"]]


# ---- Scores ------------------------------------------------------------------------------------

RIGHT = {"acc": 1.0, "acc_answered": 1.0, "invalid_rate": 0.0}
WRONG = {"acc": 0.0, "acc_answered": 0.0, "invalid_rate": 0.0}
UNREAD = {"acc": 0.0, "acc_answered": None, "invalid_rate": 1.0}


@pytest.mark.parametrize(
    ("doc", "answer", "expected"),
    [
        # SIX has answer 2: "3" to the paper, "C" to the others.
        (SIX, "3", RIGHT),
        (SIX, "2", WRONG),
        (SIX, "03", WRONG),
        (SIX, "３", WRONG),
        (SIX, "33", WRONG),
        (SIX, "7", WRONG),  # "not sure" is an answer
        (SIX, "C", RIGHT),
        (SIX, "B", WRONG),
        (SIX, "c", WRONG),
        (SIX, INVALID, UNREAD),
        (SEVEN, "7", RIGHT),
        (SEVEN, "G", RIGHT),
        (SEVEN, "F", WRONG),
        ({**TEN, "answer": 9}, "10", RIGHT),
        ({**TEN, "answer": 9}, "J", RIGHT),
        ({**TEN, "answer": 9}, "1", WRONG),
        ({**TEN, "answer": 0}, "10", WRONG),
    ],
)
def test_an_answer_is_scored_under_both_denominators(
    doc: Doc, answer: str, expected: dict[str, float | None]
) -> None:
    assert score_published(doc, [answer]) == expected


@pytest.mark.parametrize("position", range(10))
def test_only_the_keys_letter_and_number_are_right(position: int) -> None:
    doc = {**TEN, "answer": position}
    right = [
        said
        for said in [*"ABCDEFGHIJ", *map(str, range(13))]
        if score_published(doc, [said])["acc"] == 1
    ]
    assert right == ["ABCDEFGHIJ"[position], str(position + 1)]


@pytest.mark.parametrize("results", [[], ["C", "C"]])
def test_a_document_has_exactly_one_answer(results: list[str]) -> None:
    with pytest.raises(ValueError, match="unpack"):
        score_published(SIX, results)


def column(scores: list[dict[str, float | None]], name: str) -> list[float | None]:
    return [score[name] for score in scores]


def test_unreadable_answers_are_wrong_in_acc_and_left_out_of_acc_answered() -> None:
    answers = ["C"] * 4 + ["A"] * 3 + [INVALID] * 3
    scores = [score_published(SIX, [answer]) for answer in answers]
    assert mean_answered(column(scores, "acc")) == 4 / 10
    assert mean_answered(column(scores, "acc_answered")) == 4 / 7
    assert mean_answered(column(scores, "invalid_rate")) == 3 / 10


def test_acc_answered_is_nan_when_nothing_was_answered() -> None:
    scores = [score_published(SIX, [INVALID]) for _ in range(3)]
    assert math.isnan(mean_answered(column(scores, "acc_answered")))
    assert mean_answered(column(scores, "acc")) == 0
    assert mean_answered(column(scores, "invalid_rate")) == 1
    assert math.isnan(mean_answered([]))


def test_a_mean_of_zero_is_not_mistaken_for_no_answers() -> None:
    scores = [score_published(SIX, [answer]) for answer in ("A", INVALID)]
    assert mean_answered(column(scores, "acc_answered")) == 0


@given(st.lists(st.sampled_from(["C", "A", INVALID]), min_size=1))
def test_acc_is_acc_answered_times_the_share_of_answers(answers: list[str]) -> None:
    scores = [score_published(SIX, [answer]) for answer in answers]
    acc = mean_answered(column(scores, "acc"))
    share = 1 - mean_answered(column(scores, "invalid_rate"))
    answered = mean_answered(column(scores, "acc_answered"))
    assert acc == pytest.approx(answered * share if share else 0)


@pytest.mark.parametrize(("read", "said", "answer"), FILTERS)
def test_responses_are_read_and_scored_from_end_to_end(
    read: Filter, said: str, answer: str
) -> None:
    doc = {**SIX, "answer": 2 if answer == "3" else 1}
    filtered = read([[said], ["?"], [None]], [doc] * 3)
    scores = [score_published(doc, row) for row in filtered]
    assert scores == [RIGHT, UNREAD, UNREAD]


# ---- The import of OpenCompass's function --------------------------------------------------------


@pytest.fixture
def fresh() -> Iterator[None]:
    """Forget the function that was found, before and after."""
    first_option_postprocess.cache_clear()
    yield
    first_option_postprocess.cache_clear()


@pytest.fixture
def no_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, REGISTRY, raising=False)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh: None) -> Path:
    """A package "opencompass" 0.5.4 in a folder; the path of its file of postprocessors."""
    spec = ModuleSpec("opencompass", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    package = ModuleType("opencompass")
    package.__spec__ = spec
    monkeypatch.setitem(sys.modules, "opencompass", package)
    monkeypatch.setattr("proteinlm_ext.opencompass.version", lambda _: "0.5.4")
    (tmp_path / "utils").mkdir()
    return tmp_path / "utils" / "text_postprocessors.py"


def answer_missing(name: str) -> str:
    raise PackageNotFoundError(name)


@needs_wheel
def test_the_original_function_of_the_wheel_is_used(fresh: None) -> None:
    function: Any = first_option_postprocess()
    path = Path(function.__code__.co_filename)
    package = Path(str(distribution("opencompass").locate_file("opencompass")))
    assert path.samefile(package / "utils" / "text_postprocessors.py")
    assert function.__name__ == "first_option_postprocess"
    assert function.__doc__ == "Find first valid option for text."


@needs_wheel
def test_the_function_is_loaded_only_once(fresh: None) -> None:
    assert first_option_postprocess() is first_option_postprocess()


@needs_wheel
def test_no_registry_is_left_behind_when_there_was_none(fresh: None, no_registry: None) -> None:
    first_option_postprocess()
    assert REGISTRY not in sys.modules


@needs_wheel
def test_a_registry_that_was_loaded_before_is_put_back(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ModuleType(REGISTRY)
    monkeypatch.setitem(sys.modules, REGISTRY, before)
    first_option_postprocess()
    assert sys.modules[REGISTRY] is before
    assert vars(before).get("TEXT_POSTPROCESSORS") is None


@needs_wheel
def test_nothing_of_opencompass_or_mmengine_is_imported(fresh: None, no_registry: None) -> None:
    before = set(sys.modules)
    first_option_postprocess()
    imported = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not imported & {"opencompass", "mmengine", "mmcv", "torch", "jieba"}
    assert "opencompass" not in sys.modules


def test_a_missing_wheel_is_refused_with_the_command_that_installs_it(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proteinlm_ext.opencompass.version", answer_missing)
    with pytest.raises(MissingDependencyError) as caught:
        first_option_postprocess()
    assert str(caught.value) == (
        "proteinlmbench_opencompass scores with OpenCompass's own function. "
        "Install its wheel, without its dependencies: pip install --no-deps opencompass==0.5.4"
    )


@pytest.mark.parametrize("found", ["0.5.3", "0.5.4.post1", "0.5.40", "0.6.0", "0.5.4rc1"])
def test_another_version_is_refused_with_the_command_that_installs_the_right_one(
    fresh: None, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    monkeypatch.setattr("proteinlm_ext.opencompass.version", lambda _: found)
    with pytest.raises(MissingDependencyError) as caught:
        first_option_postprocess()
    assert str(caught.value) == (
        f"proteinlmbench_opencompass is defined by opencompass 0.5.4, found {found}. "
        "Install it: pip install --no-deps opencompass==0.5.4"
    )


def test_a_refusal_is_not_remembered(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in.write_text("def first_option_postprocess(text, options): return options[-1]\n")
    with monkeypatch.context() as patch:
        patch.setattr("proteinlm_ext.opencompass.version", answer_missing)
        with pytest.raises(MissingDependencyError):
            first_option_postprocess()
    assert extract_opencompass("text", 4) == "D"


@pytest.mark.parametrize("spec", [None, ModuleSpec("opencompass", None)])
def test_a_package_without_a_folder_is_refused(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, spec: ModuleSpec | None
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    with pytest.raises(MissingDependencyError, match=f"damaged.*{re.escape(INSTALL)}$"):
        first_option_postprocess()


def test_a_package_without_its_postprocessors_is_refused(stand_in: Path) -> None:
    with pytest.raises(MissingDependencyError, match=re.escape(INSTALL)):
        first_option_postprocess()


@pytest.mark.usefixtures("no_registry")
def test_the_registry_is_put_back_even_if_the_file_fails(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.write_text("from opencompass.registry import NOT_THERE\n")
    with pytest.raises(ImportError):
        first_option_postprocess()
    assert REGISTRY not in sys.modules
    before = ModuleType(REGISTRY)
    monkeypatch.setitem(sys.modules, REGISTRY, before)
    with pytest.raises(ImportError):
        first_option_postprocess()
    assert sys.modules[REGISTRY] is before


def test_invalid_escapes_in_the_file_warn_nobody(stand_in: Path) -> None:
    stand_in.write_text(
        "from opencompass.registry import TEXT_POSTPROCESSORS\n"
        "@TEXT_POSTPROCESSORS.register_module('first', force=True)\n"
        "def first_option_postprocess(text, options): return options[0] if '\\s' else ''\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert extract_opencompass("text", 3) == "A"


def test_the_benchmark_is_not_even_read_without_the_wheel(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proteinlm_ext.opencompass.version", answer_missing)
    monkeypatch.setattr("proteinlm_ext.published.load_for_harness", lambda **_: pytest.fail("read"))
    with pytest.raises(MissingDependencyError, match=re.escape(INSTALL)):
        load_opencompass(data="nowhere.json")


def test_the_benchmark_is_read_once_the_function_is_there(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.write_text("def first_option_postprocess(text, options): return ''\n")
    monkeypatch.setattr("proteinlm_ext.published.load_for_harness", lambda **given: given)
    assert load_opencompass(data="x.json", dtype="auto") == {"data": "x.json", "dtype": "auto"}


def test_the_pinned_version_is_the_one_in_the_command() -> None:
    assert opencompass.VERSION == "0.5.4"
