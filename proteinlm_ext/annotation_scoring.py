"""How an answer about a protein is scored: what the YAML of tasks/proteinlm_sft names.

Texts are compared without the wording of the template that every right answer shares: the fixed
opening alone lifts ROUGE and BLEU of a wrong answer. An empty answer is wrong, never dropped.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from string import Formatter
from typing import Any

from proteinlm_ext.annotation_terms import disease_names, overlap_f1, tissue_terms
from proteinlm_ext.enzyme_numbers import score_numbers
from proteinlm_sft.templates import ENZYME, FIELDS

NUM_ORDERS = 4  # n-grams of BLEU


def score_text(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
    """Score one answer as a text.

    Args:
        doc: A document with `config` and `output`.
        results: One text, the answer.

    Returns:
        `rougeL`: F1 of the longest common subsequence of words (rouge_score, no stemming).
        `bleu`: the counts that `corpus_bleu` adds up. `has_opening`: whether the answer has any of
        the template's fixed words. `empty_rate`: whether it says nothing beside them.
    """
    (answer,) = results
    reference, prediction = (strip_template(doc["config"], t) for t in (doc["output"], answer))
    return {
        "rougeL": _rouge().score(reference, prediction)["rougeL"].fmeasure,
        "bleu": _bleu_counts(reference, prediction),
        "has_opening": float(any(part in answer for part in _literals(doc["config"]))),
        "empty_rate": float(not prediction),
    }


def score_disease(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
    """Score one answer by the diseases that it names, and as a text.

    `term_f1` is None, not counted, where the reference names no disease in UniProtKB's form.
    """
    found, right = (
        disease_names(strip_template(doc["config"], t)) for t in (*results, doc["output"])
    )
    return {"term_f1": overlap_f1(found, right), **score_text(doc, results)}


def score_tissue(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
    """Score one answer by the tissues that it names, and as a text."""
    found, right = (
        tissue_terms(strip_template(doc["config"], t)) for t in (*results, doc["output"])
    )
    return {"term_f1": overlap_f1(found, right), **score_text(doc, results)}


def score_enzyme(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
    """Score one answer by the EC number that it gives (`enzyme_numbers`), and as a text."""
    return {**score_numbers(doc, results[0]), **score_text(doc, results)}


def score_loss(
    doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]
) -> dict[str, float | tuple[float, int]]:
    """Score the likelihood of the right output, in nats per UTF-8 byte of it.

    Bytes, unlike tokens, are the same for every tokenizer; lm-eval tells a scorer no token count.
    The output is whole, opening included, without the stop token. With a chat template lm-eval
    counts the line break before the answer, which is certain, as part of it.

    Returns:
        `nats_per_byte`: (nats, bytes), for `total_ratio`: the sum over all rows divided by theirs.
        `row_nats_per_byte`: of this row alone; its mean weighs every row alike, and can be paired.
    """
    ((log_likelihood, _),) = results
    num_bytes = len(doc["output"].encode())
    return {
        "nats_per_byte": (-log_likelihood, num_bytes),
        "row_nats_per_byte": -log_likelihood / num_bytes,
    }


def strip_template(config: str, text: str) -> str:
    """Return what an answer says, without the first of each fixed part of the template."""
    for literal in _literals(config):
        text = text.replace(literal, "\n", 1)
    return text.strip()


def total_ratio(pairs: Sequence[Sequence[float]]) -> float:
    """Return the sum of the first values divided by that of the second."""
    return sum(first for first, _ in pairs) / sum(second for _, second in pairs)


def corpus_bleu(counts: Sequence[Sequence[int]]) -> float:
    """Return sacrebleu's corpus BLEU-4 (0 to 100, 13a tokens) from the counts of the answers."""
    return bleu_of_sums([sum(column) for column in zip(*counts, strict=True)])


def bleu_of_sums(sums: Sequence[int]) -> float:
    """Return BLEU of n-gram matches, n-grams, and the lengths of answers and references."""
    from sacrebleu.metrics.bleu import BLEU

    matches, totals = list(sums[:NUM_ORDERS]), list(sums[NUM_ORDERS : 2 * NUM_ORDERS])
    return float(BLEU.compute_bleu(matches, totals, *sums[-2:], smooth_method="exp").score)


def _bleu_counts(reference: str, prediction: str) -> list[int]:
    import sacrebleu

    score = sacrebleu.corpus_bleu([prediction], [[reference]])
    return [*score.counts, *score.totals, score.sys_len, score.ref_len]


@cache
def _literals(config: str) -> tuple[str, ...]:
    """Return the fixed parts of a config's answer, in their order."""
    answer = (ENZYME if config == ENZYME.config else FIELDS[config]).answer
    parts = [literal.strip(" .\n") for literal, *_ in Formatter().parse(answer)]
    return tuple(part for part in parts if part)


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"])
