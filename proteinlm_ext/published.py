r"""The published protocols: prompt, extraction and denominator of each, to compare like with like.

The prompt strings are interface constants, quoted verbatim from their sources; the extraction
rules are our own code for the published rules (OpenCompass's is its own function). Where a source
kept a fault of its data, the fault is rebuilt from the clean row.

| protocol    | prompt from (all Apache-2.0)                                  | published score   |
|-------------|---------------------------------------------------------------|-------------------|
| paper       | tsynbio/ProteinLMDataset d8586e22                             | `acc`, all rows   |
|             | benchmark/benchmark_your_model.py                             |                   |
| opencompass | open-compass/opencompass a5acc4b, also PyPI 0.5.4             | `acc`, all rows   |
|             | configs/datasets/ProteinLMBench, datasets/ProteinLMBench.py   |                   |
| scienceeval | ScienceOne-AI/ScienceEval 1683e49                             | `acc_answered`,   |
|             | benchmarks/ProteinLMBench                                     | rows with gold A-F|

`acc` counts every row and an unreadable answer as wrong; `acc_answered` leaves unreadable ones out.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from proteinlm_ext.benchmark import load_for_harness
from proteinlm_ext.extract import INVALID
from proteinlm_ext.opencompass import first_option_postprocess
from proteinlm_ext.questions import LETTERS

# --- paper --------------------------------------------------------------------------------------

PAPER_PROMPT = (
    "\nAnswer the multiple-choice question based solely on the provided context. \n"
    "If you are still unsure about the answer, output option 7.\n"
    "Select only ONE correct option by its number. Start your response with "
    "'The correct option is' followed by the option number ONLY. "
    'eg: "The correct option is Option X."\n'
    "Think step by step.\n    "
)


def paper_prompt(doc: Mapping[str, Any]) -> str:
    """Return the paper's prompt, which ends "The correct option is:"."""
    options = "".join(f"option {n}: {text}\n" for n, text in enumerate(doc["choices"], start=1))
    return (
        f"{PAPER_PROMPT}\n Question: \n{doc['question']}\n Options: \n{options}"
        "\nThe correct option is:"
    )


def extract_paper(text: str) -> str:
    r"""Return the first run of digits (`\d+`), as the paper does: "The 3 domains" reads as 3."""
    match = re.search(r"\d+", text)
    return match[0] if match else INVALID


def names_chat_model(name: str) -> bool:
    """Tell whether the paper ran a model of this name with its chat template (Yi: never)."""
    return ("chat" in name or "Chat" in name) and "Yi" not in name


# --- opencompass --------------------------------------------------------------------------------

OPENCOMPASS_QUERY = (
    "Answer the following multiple choice question. There is only one correct answer. "
    "The last line of your response should be in the format 'Answer: $LETTER' (without quotes), "
    "where LETTER is the letter among {start} through {end}.\n{question}"
)


def opencompass_prompt(doc: Mapping[str, Any]) -> str:
    """Return OpenCompass's user turn, with its fault: an option is cut at its last ": "."""
    choices = "".join(
        f"{letter}. {f'option: {text}'.split(': ')[-1]}\n"
        for letter, text in zip(LETTERS, doc["choices"], strict=False)
    )
    return OPENCOMPASS_QUERY.format(
        start="A",
        end=LETTERS[len(doc["choices"]) - 1],
        question=f"\nQuestion: {doc['question']}\nAnswer Choices: \n{choices}",
    )


def load_opencompass(**metadata: Any) -> dict[str, Any]:
    """Return the benchmark for lm-eval, once the original scorer is known to be there.

    Raises:
        MissingDependencyError: Before a model runs for hours, not after.
    """
    first_option_postprocess()
    return load_for_harness(**metadata)


def extract_opencompass(text: str, num_options: int) -> str:
    """Return the letter that the original function finds, or "[invalid]"."""
    return first_option_postprocess()(text, LETTERS[:num_options]) or INVALID


# --- scienceeval --------------------------------------------------------------------------------

SCIENCEEVAL_LETTERS = LETTERS[:6]
# Matches what the source's expression matches, without its cubic time in blanks:
# [\$]?\\boxed\s*\{\s*(.*?)\s*\}[\$]?
_BOXED = re.compile(r"\\boxed\s*+\{\s*+(?:([^\s}](?:[^}\n]*[^\s}])?)\s*+)?\}")


def scienceeval_prompt(doc: Mapping[str, Any]) -> str:
    """Return ScienceEval's user turn: always six lines, padded with the text "nan"."""
    texts = [*doc["choices"], *["nan"] * 6][:6]
    lines = "".join(
        f"{letter}:{text}\n" for letter, text in zip(SCIENCEEVAL_LETTERS, texts, strict=True)
    )
    return (
        f"{doc['question']}\nPlease choose one of the following options to answer this question\n"
        f"{lines}The final option is to package with $\\boxed{{}}$"
    )


def keep_first_six(dataset: Any) -> Any:
    """Leave out the rows whose right option is beyond the sixth: 942 of the 944 remain."""
    return dataset.select([row for row, gold in enumerate(dataset["answer"]) if gold < 6])


def extract_scienceeval(text: str) -> str:
    r"""Return the content of the last `\boxed{}` after `</think>` if it is one of A-F.

    The source skips items whose server gave no separate reasoning, and items cut off by length.
    lm-eval hands over plain text: without any `</think>` it is read whole, and a `<think>` left
    open is not counted.
    """
    thought, closed, answer = text.partition("</think>")
    if not closed and "<think>" in thought:
        return INVALID
    boxed = _BOXED.findall(answer if closed else text)
    content = boxed[-1].replace("\\text{", "") if boxed else ""
    return content if content in tuple(SCIENCEEVAL_LETTERS) else INVALID


# --- what the task YAML names -------------------------------------------------------------------


def _each(
    responses: Sequence[Sequence[str]],
    docs: Sequence[Mapping[str, Any]],
    extract: Callable[[str, Mapping[str, Any]], str],
) -> list[list[str]]:
    """Apply `extract(text, doc)` to every response; a missing one (None) counts as empty."""
    return [
        [extract(text or "", doc) for text in texts]
        for texts, doc in zip(responses, docs, strict=True)
    ]


def paper_filter(resps: Sequence[Sequence[str]], docs: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Read each response by the paper's rule."""
    return _each(resps, docs, lambda text, _: extract_paper(text))


def opencompass_filter(
    resps: Sequence[Sequence[str]], docs: Sequence[dict[str, Any]]
) -> list[list[str]]:
    """Read each response by OpenCompass's rule."""
    return _each(resps, docs, lambda text, doc: extract_opencompass(text, len(doc["choices"])))


def scienceeval_filter(
    resps: Sequence[Sequence[str]], docs: Sequence[dict[str, Any]]
) -> list[list[str]]:
    """Read each response by ScienceEval's rule."""
    return _each(resps, docs, lambda text, _: extract_scienceeval(text))


def score_published(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float | None]:
    """Score one answer, a letter or the paper's number, under both denominators."""
    (answer,) = results
    correct = float(answer in (LETTERS[doc["answer"]], str(doc["answer"] + 1)))
    invalid = answer == INVALID
    return {
        "acc": correct,
        "acc_answered": None if invalid else correct,
        "invalid_rate": float(invalid),
    }
