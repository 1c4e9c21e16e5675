"""What models write, and the letter a careful person would read in it."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proteinlm_ext.extract import (
    INVALID,
    extract_answer,
    extract_final_line,
    flexible_filter,
    strict_filter,
)
from proteinlm_ext.questions import LETTERS

# A six-option question in sentences, as the benchmark has them.
PROTEASE = (
    "Trypsin cleaves before proline",
    "Pepsin is inactive in the stomach",
    "Trypsin cleaves after lysine",
    "Chymotrypsin prefers aspartate",
    "Elastase needs a zinc ion",
    "Papain is a serine protease",
)
SPECIES = ("Homo sapiens", "C. elegans", "E. coli", "Saccharomyces cerevisiae", "Danio rerio")
ENZYMES = ("Trypsin", "Chymotrypsin", "Trypsin inhibitor", "Elastase")
CODES = ("K", "C", "R", "D")
NUMBERS = ("2", "3", "4", "5")
SHORT = ("Yes", "No", "pH", "Zn")
CHARGES = ("+1", "-1", "0", "+2")
CHINESE = ("胰蛋白酶", "胃蛋白酶", "弹性蛋白酶", "糜蛋白酶", "木瓜蛋白酶", "凝血酶")
TEN = ("SH2", "SH3", "PDZ", "WW", "PH", "FHA", "BRCT", "PTB", "kinase domain", "RING finger")

ECHO = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCDEF", PROTEASE, strict=True))

# (response, options, flexible reading, strict reading)
OUTPUTS = [
    # The asked-for form.
    ("Answer: C", PROTEASE, "C", "C"),
    ("Trypsin is basic-specific.\n\nAnswer: C", PROTEASE, "C", "C"),
    ("... so it follows.\nanswer: C.", PROTEASE, "C", "C"),
    ("Some work.\n\n**Answer: C**", PROTEASE, "C", "C"),
    ("Some work.\n\n**Answer:** C\n\n", PROTEASE, "C", "C"),
    ("Answer: (C)", PROTEASE, "C", "C"),
    ("Answer: **[C]**.", PROTEASE, "C", "C"),
    ("`Answer: $C$`", PROTEASE, "C", "C"),
    ("Ａｎｓｗｅｒ：Ｃ", PROTEASE, "C", "C"),
    ("Answer: B\nNo, wait.\nAnswer: C", PROTEASE, "C", "C"),
    (r"First I had \boxed{B}, but:" "\nAnswer: C", PROTEASE, "C", "C"),
    ("Answer: C\r\n", PROTEASE, "C", "C"),
    # Near the asked-for form.
    ("Answer: C. Trypsin cleaves after lysine", PROTEASE, "C", None),
    ("Answer: C) Trypsin cleaves after lysine", PROTEASE, "C", None),
    ("Answer: C - Trypsin cleaves after lysine", PROTEASE, "C", None),
    ("Answer: C Trypsin cleaves after lysine", PROTEASE, "C", None),
    ("Final Answer: C", PROTEASE, "C", None),
    ("The final answer: C", PROTEASE, "C", None),
    ("Answer: C\n\nExplanation: trypsin is basic-specific.", PROTEASE, "C", None),
    ("Answer:\nC", PROTEASE, "C", None),
    ("**Answer:**\n\n**C**", PROTEASE, "C", None),
    ("### Final Answer\n\n**C**", PROTEASE, "C", None),
    ("### Answer: C", PROTEASE, "C", None),
    ("answer: c", PROTEASE, "C", None),
    ('{"reasoning": "lysine", "answer": "C"}', PROTEASE, "C", None),
    ("<answer>C</answer>", PROTEASE, "C", None),
    ("Answer = C", PROTEASE, "C", None),
    # Numbers, where only an option can be meant.
    ("The correct option is 3.", PROTEASE, "C", None),
    ("The correct option is: **3**", PROTEASE, "C", None),
    ("The correct option is 3 residues long.", PROTEASE, None, None),
    ("The correct option is 9.", PROTEASE, None, None),
    ("The answer is 3.", PROTEASE, None, None),
    # LaTeX boxes.
    (r"\boxed{C}", PROTEASE, "C", None),
    (r"The answer is $\boxed{C}$.", PROTEASE, "C", None),
    (r"\[ \boxed{\text{C}} \]", PROTEASE, "C", None),
    (r"$\boxed{\mathrm{C}}$", PROTEASE, "C", None),
    (r"\boxed{\textbf{(C)}}", PROTEASE, "C", None),
    (r"\boxed{\textbf{\text{C}}}", PROTEASE, "C", None),
    (r"\boxed{\text{C. Trypsin cleaves after lysine}}", PROTEASE, "C", None),
    (r"\boxed{option 3}", PROTEASE, "C", None),
    (r"\boxed{\text{Option C}}", PROTEASE, "C", None),
    (r"\boxed{Trypsin cleaves after lysine}", PROTEASE, "C", None),
    (r"\boxed{A} is wrong; corrected: \boxed{C}", PROTEASE, "C", None),
    (r"\boxed{A, C}", PROTEASE, None, None),
    (r"\boxed{G}", PROTEASE, None, None),
    (r"The pH is \boxed{7.4}. The answer is C.", PROTEASE, "C", None),
    (r"The answer is \boxed{C", PROTEASE, None, None),
    (r"Answer: $\text{C}$", PROTEASE, "C", None),
    # English cues.
    ("The best answer here is C.", PROTEASE, "C", None),
    ("The answer to this question, given the data, is C.", PROTEASE, "C", None),
    ("C is the most likely answer.", PROTEASE, "C", None),
    ("**Answer: C**\n\nOption A is correct in that proline matters.", PROTEASE, "C", None),
    ("Answer: C<|im_end|>", PROTEASE, "C", None),
    ("The answer is C.", PROTEASE, "C", None),
    ("The correct answer is (C).", PROTEASE, "C", None),
    ("The correct answer is **C. Trypsin cleaves after lysine**.", PROTEASE, "C", None),
    ("Therefore, the correct option is **C**", PROTEASE, "C", None),
    ("Thus, the best choice is option C, because lysine is basic.", PROTEASE, "C", None),
    ("So the answer to the question is therefore C.", PROTEASE, "C", None),
    ("The answer would be 'C' here.", PROTEASE, "C", None),
    ("The answer should be: `C`", PROTEASE, "C", None),
    ("I choose C.", PROTEASE, "C", None),
    ("After weighing these, I'd go with C", PROTEASE, "C", None),
    ("My answer: **C**\n\nHope this helps!", PROTEASE, "C", None),
    ("Option C is correct because trypsin cuts after K and R.", PROTEASE, "C", None),
    ("Options A and B fail. Hence (C) is the correct answer.", PROTEASE, "C", None),
    ("C is the correct answer.", PROTEASE, "C", None),
    ("The answer is A because proline blocks it.", PROTEASE, "A", None),
    ("The answer is A, since proline blocks it.", PROTEASE, "A", None),
    ("The answer is C. because of lysine", PROTEASE, "C", None),
    ("The answer is option 3.", PROTEASE, "C", None),
    ("The correct answer is (3).", PROTEASE, "C", None),
    ("The correct answer is: Trypsin cleaves after lysine", PROTEASE, "C", None),
    ("The answer is trypsin cleaves after lysine, as K is basic.", PROTEASE, "C", None),
    ("The answer is C, not B.", PROTEASE, "C", None),
    ("The answer is B. Hmm, on reflection the answer is C.", PROTEASE, "C", None),
    ("The answer is C.\n\nNote that the answer is independent of pH.", PROTEASE, "C", None),
    ("The answer is not A.", PROTEASE, None, None),
    ("The answer is C. The answer is not A.", PROTEASE, "C", None),
    ("Option A is incorrect. Option C is correct.", PROTEASE, "C", None),
    ("Let me find the correct answer:\n" + ECHO, PROTEASE, None, None),
    (ECHO + "\n\nThe correct answer is C.", PROTEASE, "C", None),
    ("Answer: J", TEN, "J", "J"),
    ("The answer is I.", TEN, "I", None),
    ("The answer is I think uncertain.", TEN, None, None),
    # Several letters, none, or a letter the question has not.
    ("The answer is A or B.", PROTEASE, None, None),
    ("The answer is C and D.", PROTEASE, None, None),
    ("The answer is (A) before proline or (C) after lysine.", PROTEASE, None, None),
    ("Neither A nor C is correct.", PROTEASE, None, None),
    ("Answer: A, C", PROTEASE, None, None),
    ("Answer: A/B", PROTEASE, None, None),
    ("Answer: ACD", PROTEASE, None, None),
    ("The answer is either **A** or **B**.", PROTEASE, None, None),
    ("The answer is B. No: the answer is A or C.", PROTEASE, None, None),
    ("A and C are the correct answers; both A and C are correct.", PROTEASE, None, None),
    ("Answer: G", PROTEASE, None, None),
    ("Answer: C\nOn second thoughts:\nAnswer: G", PROTEASE, None, None),
    ("The answer is none of the above.", PROTEASE, None, None),
    ("I'm sorry, but I cannot determine the answer.", PROTEASE, None, None),
    ("As an AI, I can't help with that request.", PROTEASE, None, None),
    ("", PROTEASE, None, None),
    (" \n\t\n", PROTEASE, None, None),
    # A line of its own.
    ("C", PROTEASE, "C", None),
    ("c", PROTEASE, "C", None),
    ("(C)", PROTEASE, "C", None),
    ("**C**", PROTEASE, "C", None),
    ("[C]", PROTEASE, "C", None),
    ("`C`", PROTEASE, "C", None),
    ("$C$.", PROTEASE, "C", None),
    ("C。", PROTEASE, "C", None),
    ("Lysine is basic, so trypsin cuts there.\n\nC.", PROTEASE, "C", None),
    ("Lysine is basic, so trypsin cuts there.\nSo it's C.", PROTEASE, "C", None),
    ("option c", PROTEASE, "C", None),
    ("A: Trypsin cleaves after lysine", PROTEASE, "C", None),
    ("A: C", PROTEASE, None, None),
    ("C. Trypsin cleaves after lysine", PROTEASE, "C", None),
    ("C) Trypsin cuts at K", PROTEASE, "C", None),
    ("C: it cuts after basic residues", PROTEASE, "C", None),
    ("C) Trypsin cleaves after lysine\n\nIt prefers basic residues.", PROTEASE, "C", None),
    ("C\n\nTrypsin prefers basic residues.", PROTEASE, "C", None),
    ("G", PROTEASE, None, None),
    (ECHO, PROTEASE, None, None),
    # Marked letters, mentions and quotations.
    ("Given the specificity, **C** fits the data.", PROTEASE, "C", None),
    ("Given the specificity, it must be **C. Trypsin cleaves after lysine**!", PROTEASE, "C", None),
    ("The data fit (C) better than anything.", PROTEASE, "C", None),
    ("Between **A** and **C** it is hard to say.", PROTEASE, None, None),
    ("The evidence supports option 3 most strongly.", PROTEASE, "C", None),
    ("Everything points to choice C here.", PROTEASE, "C", None),
    ("I can rule out option B and little else.", PROTEASE, None, None),
    ("Options A and C remain.", PROTEASE, None, None),
    ("It comes down to option 2 against option 3.", PROTEASE, None, None),
    ("Clearly, trypsin cleaves after lysine in this peptide.", PROTEASE, "C", None),
    ("It must be the trypsin inhibitor.", ENZYMES, "C", None),
    ("Chymotrypsin, of course!", ENZYMES, "B", None),
    ("Trypsin or elastase.", ENZYMES, None, None),
    ("The answer is trypsin inhibitor.", ENZYMES, "C", None),
    ("It is not elastase.", ENZYMES, None, None),
    ("The pH matters.", SHORT, None, None),
    ("Answer: Yes", SHORT, "A", None),
    ("The answer is -1.", CHARGES, None, None),
    ("The answer is 3.", NUMBERS, "B", None),
    ("The answer is option 3.", NUMBERS, "C", None),
    ("Answer: K", CODES, "A", None),
    ("Answer: C", CODES, "C", "C"),
    ("Answer: A kinase", CODES, None, None),
    (
        "The correct answer is:\n\nA. Trypsin cleaves before proline\n\nC. is wrong.",
        PROTEASE,
        "A",
        None,
    ),
    # Biology that looks like a letter.
    ("This is phosphorylated by protein kinase C.", PROTEASE, None, None),
    ("It depends on vitamin A", PROTEASE, None, None),
    ("The patient had hepatitis B", PROTEASE, None, None),
    ("The answer is A protein that binds calcium.", PROTEASE, None, None),
    ("The answer is a protein that binds calcium.", PROTEASE, None, None),
    ("The answer is C-terminal amidation.", PROTEASE, None, None),
    ("The answer is G protein-coupled signalling.", TEN, None, None),
    ("The answer is B cell activation.", PROTEASE, None, None),
    ("The answer is E3 ligase activity.", PROTEASE, None, None),
    ("The answer is E. coli.", PROTEASE, None, None),
    ("Answer: E. coli", SPECIES, "C", None),
    ("The answer is C. elegans.", SPECIES, "B", None),
    ("The answer is B. C. elegans.", SPECIES, "B", None),
    ("C. elegans", SPECIES, "B", None),
    ("C. albicans is a yeast", PROTEASE, None, None),
    ("It was expressed in **E. coli**.", PROTEASE, None, None),
    ("Mutation of cysteine (C) abolishes activity.", PROTEASE, None, None),
    ("The answer is e.g. a kinase", PROTEASE, None, None),
    ("Answer: E.C. 3.4.21.4", PROTEASE, None, None),
    ("Figure (A) shows the complex (I) of the enzyme.", TEN, None, None),
    ("It is protein kinase C.", ("Protein kinase A", "Protein kinase C"), "B", None),
    ("Answer: vitamin D", ("Vitamin A", "Vitamin C", "Vitamin D", "Vitamin K"), "C", None),
    ("Vitamin C is correct in some contexts.", PROTEASE, None, None),
    ("The answer is C, and I am confident.", PROTEASE, "C", None),
    # Chinese.
    ("答案是C。", PROTEASE, "C", None),
    ("答案：C", PROTEASE, "C", None),
    ("答案为（C）", PROTEASE, "C", None),
    ("因此，正确答案是：**C**", PROTEASE, "C", None),
    ("正确选项为 C，因为胰蛋白酶切割赖氨酸之后的肽键。", PROTEASE, "C", None),
    ("答案应为C", PROTEASE, "C", None),
    ("答案应该是【C】", PROTEASE, "C", None),
    ("综上所述，故选C。", PROTEASE, "C", None),
    ("所以选 C", PROTEASE, "C", None),
    ("我选择 C 选项。", PROTEASE, "C", None),
    ("选项C正确，其余错误。", PROTEASE, "C", None),
    ("A选项错误，C选项是正确的。", PROTEASE, "C", None),
    ("正确答案：C. 弹性蛋白酶", CHINESE, "C", None),
    ("正确答案是弹性蛋白酶。", CHINESE, "C", None),
    ("应选选项3", PROTEASE, "C", None),
    ("答案是A或B。", PROTEASE, None, None),
    ("答案：ACD", PROTEASE, None, None),
    ("答案是A和C", PROTEASE, None, None),
    ("答案不是A。", PROTEASE, None, None),
    ("不选A。", PROTEASE, None, None),
    ("答案是B细胞受体。", PROTEASE, None, None),
    ("这道选择题考查弹性蛋白酶的性质。", CHINESE, "C", None),
    ("答案是Ｇ。", PROTEASE, None, None),
    # Reasoning traces.
    ("<think>Maybe A? The answer is A.</think>\n\nAnswer: C", PROTEASE, "C", "C"),
    ("<think>\nhm\n</think>\n\nThe correct answer is **C**.", PROTEASE, "C", None),
    ("The answer is A.</think>The answer is C.", PROTEASE, "C", None),
    ("<THINKING>The answer is A.</THINKING> C", PROTEASE, "C", None),
    ("<think>a</think>Answer: A<think>b</think>\nAnswer: C", PROTEASE, "C", "C"),
    ("<think>The answer is C. Let me double-check the", PROTEASE, None, None),
    ("Answer: C\n<think>But wait", PROTEASE, None, None),
    ("<think>\nAnswer: C", PROTEASE, None, None),
    ("<think>The answer is C.</think>", PROTEASE, None, None),
    ("<think>The answer is C.</think>\n\nI am not sure.", PROTEASE, None, None),
]


@pytest.mark.parametrize(("text", "choices", "flexible", "strict"), OUTPUTS)
def test_an_output_reads_as_a_careful_person_reads_it(
    text: str, choices: tuple[str, ...], flexible: str | None, strict: str | None
) -> None:
    """Both readings of each output in the table."""
    assert (extract_answer(text, choices), extract_final_line(text, choices)) == (flexible, strict)


@pytest.mark.parametrize("text", [text for text, _, _, strict in OUTPUTS if strict is None])
def test_an_output_that_does_not_end_in_the_form_is_decided_by_a_last_line_that_does(
    text: str,
) -> None:
    """Real outputs, rather than the random text of the property below."""
    closed = text + "</think>\nAnswer: D"
    assert extract_answer(closed, PROTEASE) == extract_final_line(closed, PROTEASE) == "D"


# Text rich in what the rules look for, mixed with arbitrary text; no think tags.
_PIECES = st.sampled_from((
    "Answer:", "the answer is ", "C", "A", "(B)", "**D**", "\\boxed{", "}", "\n", " ", " or ",
    "E. ", "coli", "option ", "3", "答案是", "选", " is correct", "I choose ", "G", "c", ".",
    *PROTEASE,
))  # fmt: skip
TEXTS = st.lists(_PIECES | st.text(max_size=8), max_size=12).map("".join)
CHOICES = st.lists(st.sampled_from([*PROTEASE, *ENZYMES, "", "A", "+"]) | st.text(), max_size=12)
LETTER = st.sampled_from(LETTERS[: len(PROTEASE)])


@settings(deadline=None)
@given(TEXTS, CHOICES)
def test_a_reading_is_a_letter_of_the_question_or_nothing(text: str, choices: list[str]) -> None:
    """Whatever the text and the options, and the same each time."""
    for read in (extract_answer, extract_final_line):
        letter = read(text, choices)
        assert letter is None or letter in tuple(LETTERS[: len(choices)])
        assert read(text, choices) == letter


@settings(deadline=None)
@given(TEXTS, CHOICES)
def test_a_strict_reading_is_also_the_flexible_reading(text: str, choices: list[str]) -> None:
    """The strict form comes before every other rule."""
    strict = extract_final_line(text, choices)
    assert strict is None or extract_answer(text, choices) == strict


@settings(deadline=None)
@given(TEXTS, LETTER)
def test_a_last_line_in_the_asked_form_decides_both_readings(text: str, letter: str) -> None:
    """Nothing before it matters once the thinking is closed."""
    said = f"{text}\nAnswer: {letter}"
    assert extract_answer(said, PROTEASE) == extract_final_line(said, PROTEASE) == letter


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_a_closed_thought_before_a_response_changes_nothing(thought: str, text: str) -> None:
    """Not even one that names an answer."""
    for tag in ("think", "Thinking"):
        said = f"<{tag}>{thought}</{tag}>\n{text}"
        assert extract_answer(said, PROTEASE) == extract_answer(text, PROTEASE)
        assert extract_final_line(said, PROTEASE) == extract_final_line(text, PROTEASE)


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_a_thought_left_open_has_no_answer(before: str, thought: str) -> None:
    """Neither inside it nor before it."""
    said = f"{before}\n<think>{thought}"
    assert extract_answer(said, PROTEASE) is extract_final_line(said, PROTEASE) is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.lists(TEXTS | st.none(), max_size=4), CHOICES), max_size=4))
def test_the_filters_keep_every_response_in_its_place(
    rows: list[tuple[list[str | None], list[str]]],
) -> None:
    """One reading each, and the invalid mark where there is none."""
    resps, docs = [row for row, _ in rows], [{"choices": choices} for _, choices in rows]
    for apply, read in ((strict_filter, extract_final_line), (flexible_filter, extract_answer)):
        assert apply(resps, docs) == [
            [read(text or "", choices) or INVALID for text in row] for row, choices in rows
        ]


def test_a_response_that_is_no_text_is_invalid() -> None:
    """As an API that failed may leave it."""
    docs = [{"choices": PROTEASE}]
    assert flexible_filter([[None, "C"]], docs) == [[INVALID, "C"]]
    assert strict_filter([[None, "Answer: C"]], docs) == [[INVALID, "C"]]


HOSTILE = (
    "(", "*", "**", "_", "`", "$", "[", "\\", "{", "<", " ", "\n", "-", ".", "A", "A ", "C, ",
    "**A", "answer is ", "Answer:", "answer:\n", "answer to ", "the answer is C protein ", "(A",
    "**A. ", "E. ",
    "\\boxed{", "\\boxed{}", "\\text{", "\\boxed{\\text{", "<think>", "</think>", "I choose ",
    "option ", "option 3 ", "Option A, ", "C is ", "\n- C ", "答案是", "选", "选项", "trypsin ",
    "not ", "trypsin cleaves ", "trypsin cleaves after lysine ", "Answer: A or ", "A\n", "A. x\n",
    "I choose **A. x ", "a1",
)  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_a_hostile_output_of_200_kb_is_read_in_under_two_seconds(unit: str) -> None:
    """No expression backtracks without bound."""
    text = unit * (200_000 // len(unit))
    start = time.perf_counter()
    extract_answer(text, PROTEASE)
    extract_final_line(text, PROTEASE)
    assert time.perf_counter() - start < 2
