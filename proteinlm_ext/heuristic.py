"""A model without knowledge: `--model heuristic --model_args rule=longest`.

It runs through the harness like any model, so its score is the one a model has to beat. The rules
are those of `baselines`; "logistic" is the choices-only model, fitted without the document's own
question.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.model import LM

from proteinlm_ext.baselines import LOGISTIC, MIN_QUESTIONS, RULES, out_of_fold_picks
from proteinlm_ext.errors import UsageError
from proteinlm_ext.questions import LETTERS, Question, content_hash


class HeuristicLM(LM):
    """Answers every document that has `choices` by one fixed rule."""

    def __init__(self, rule: str = "longest", **_: Any) -> None:
        """Take the rule; lm-eval's other model arguments (batch_size, device) have no effect.

        Raises:
            UsageError: There is no such rule.
        """
        super().__init__()
        if rule not in (*RULES, LOGISTIC):
            known = ", ".join((*RULES, LOGISTIC))
            raise UsageError(f"rule={rule!r} is unknown; the rules are {known}.")
        self._rule = rule

    def loglikelihood(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
        """Give 0 to the picked option of each document and -1 to the others."""
        scores: list[tuple[float, bool]] = []
        for request, pick in zip(requests, self._picks(requests), strict=True):
            picked = request.idx == pick
            scores.append((0.0 if picked else -1.0, picked))
        return scores

    def generate_until(self, requests: Any, **_: Any) -> list[str]:
        """Write the answer in every form that a generative task of ours may read."""
        texts: list[str] = []
        for pick in self._picks(requests):
            letter = LETTERS[pick]
            texts.append(
                f"The correct option is {pick + 1}. $\\boxed{{{letter}}}$\nAnswer: {letter}"
            )
        return texts

    def loglikelihood_rolling(self, *_: Any, **__: Any) -> list[float]:
        """Refuse: a rule has no probabilities."""
        raise UsageError("The heuristic model answers multiple-choice documents only.")

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Join the messages; the text is never read."""
        del add_generation_prompt
        return "\n".join(message["content"] for message in chat_history)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Have no template."""
        del chat_template

    @property
    def tokenizer_name(self) -> str:
        """Name what stands for a tokenizer in lm-eval's request cache."""
        return "heuristic"

    def _picks(self, requests: Sequence[Any]) -> list[int]:
        """Return the picked position for each request's document."""
        if self._rule == LOGISTIC:
            return _logistic_picks(requests)
        rule = RULES[self._rule]
        return [
            rule(str(request.doc.get("question", "")), _choices(request.doc))
            for request in requests
        ]


def _logistic_picks(requests: Sequence[Any]) -> list[int]:
    """Fit the choices-only model on the documents of each task and pick out of fold, seed 0.

    So a run over a whole file equals the first repeat of that file's audit. Rotations of a question
    share its id, and with it the fold. Under --limit fewer documents are there to learn from.
    """
    docs: defaultdict[Any, dict[Any, Mapping[str, Any]]] = defaultdict(dict)
    for request in requests:
        docs[request.task_name][request.doc_id] = request.doc
    picks: dict[Any, dict[Any, int]] = {}
    for task, by_id in docs.items():
        questions = [_to_question(doc) for doc in by_id.values()]
        if len({question.id for question in questions}) < MIN_QUESTIONS:
            raise UsageError(
                f"rule={LOGISTIC} learns from the documents of {task}; at least {MIN_QUESTIONS} "
                f"questions are needed, not {len(questions)}. Raise --limit."
            )
        picks[task] = dict(zip(by_id, out_of_fold_picks(questions, seed=0), strict=True))
    return [picks[request.task_name][request.doc_id] for request in requests]


def _to_question(doc: Mapping[str, Any]) -> Question:
    """Read a document of ours or of another task of lm-eval's, whose content is its id."""
    choices, answer = _choices(doc), doc.get("answer")
    if not isinstance(answer, int):
        raise UsageError(f"rule={LOGISTIC} needs documents with an integer `answer`.")
    known = str(doc.get("id") or content_hash(str(doc.get("question", "")), choices))
    asked = str(doc.get("question", ""))
    return Question(id=known, row_hash="", question=asked, choices=tuple(choices), answer=answer)


def _choices(doc: Mapping[str, Any]) -> list[str]:
    choices = doc.get("choices")
    if not isinstance(choices, list):
        raise UsageError("The heuristic model needs documents with a list of `choices`.")
    return [str(choice) for choice in choices]  # pyright: ignore
