"""A model that never reads the question: `--model heuristic --model_args rule=longest`.

It runs through the harness like any model, so its score is the one a model has to beat.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm_eval.api.model import LM

from proteinlm_ext.errors import UsageError
from proteinlm_ext.extract import LETTERS
from proteinlm_ext.scoring import longest, shortest


def _letter(position: int) -> Callable[[Sequence[str]], int]:
    """Return a rule that names one letter; a question without it gets its last option."""
    return lambda choices: min(position, len(choices) - 1)


RULES: dict[str, Callable[[Sequence[str]], int]] = {
    "longest": longest,
    "shortest": shortest,
    **{letter: _letter(position) for position, letter in enumerate(LETTERS)},
}


class HeuristicLM(LM):
    """Answers every document that has `choices` by one fixed rule."""

    def __init__(self, rule: str = "longest", **_: Any) -> None:
        """Take the rule; lm-eval's other model arguments (batch_size, device) have no effect.

        Raises:
            UsageError: There is no such rule.
        """
        super().__init__()
        if rule not in RULES:
            raise UsageError(f"rule={rule!r} is unknown; the rules are {', '.join(RULES)}.")
        self._rule = RULES[rule]

    def loglikelihood(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
        """Give 0 to the picked option of each document and -1 to the others."""
        scores: list[tuple[float, bool]] = []
        for request in requests:
            picked = request.idx == self._pick(request.doc)
            scores.append((0.0 if picked else -1.0, picked))
        return scores

    def generate_until(self, requests: Any, **_: Any) -> list[str]:
        """Write the answer in every form that a generative task of ours may read."""
        texts: list[str] = []
        for request in requests:
            pick = self._pick(request.doc)
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

    def _pick(self, doc: Mapping[str, Any]) -> int:
        choices = doc.get("choices")
        if not isinstance(choices, list):
            raise UsageError("The heuristic model needs documents with a list of `choices`.")
        return self._rule([str(choice) for choice in choices])  # pyright: ignore
