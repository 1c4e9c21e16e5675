"""From a row to tokens: the chat template, the loss mask, the spelling of residues, the length."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from jinja2 import TemplateError

from proteinlm_ext.errors import ProteinLMError
from proteinlm_sft.templates import spell
from proteinlm_train.encoding import encode

_SEQUENCE = re.compile(r"<seq>\s*([A-Za-z*\s]*?)\s*</seq>")


class Document(NamedTuple):
    """One row as encoded tokens."""

    id: str
    tokens: Any  # np.ndarray of uint32, see `encoding`


@dataclass(slots=True)
class Counts:
    """What became of rows, by name; overlong rows are counted before the policy is applied."""

    read: int = 0
    kept: int = 0
    overlong: int = 0
    dropped: int = 0
    cropped: int = 0
    residues_cut: int = 0
    respelled: int = 0
    longest: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, kw_only=True)
class Tokenizing:
    """How rows become tokens; `overlong` and `limit` are the length policy."""

    tokenizer: Any
    residues: str
    overlong: str
    limit: int | None
    """Longest document in tokens; None where documents are split by the packing."""

    def conversations(
        self, rows: Sequence[tuple[str, list[Any], list[Any]]], counts: Counts
    ) -> list[Document | None]:
        """Return prompt-completion rows as documents with the loss on the completion.

        The same tokens and labels as TRL's: the chat template with its defaults, and the cut where
        the tokens of the prompt and of the whole first differ.

        Args:
            rows: (id, prompt, completion), messages each.
            counts: Grows.

        Returns:
            A document for each row, in order; None for a row that was dropped as too long.

        Raises:
            ProteinLMError: A row has no label, or is too long where that is an error.
        """
        spelled = [
            (key, self._spell(key, prompt, counts), self._spell(key, completion, counts))
            for key, prompt, completion in rows
        ]
        done: list[Document | None] = []
        for row, rendered in zip(spelled, self._render(spelled), strict=True):
            counts.read += 1
            fitting = rendered
            if self.limit is not None and len(rendered[0]) > self.limit:
                fitting = self._fit(row, len(rendered[0]), counts)
            if fitting is None:
                done.append(None)
                continue
            tokens, context = fitting
            if context >= len(tokens):
                raise ProteinLMError(
                    f"Row {row[0]} has no token to learn from: its completion is empty, or the "
                    "chat template leaves it out. Remove the row or mend the template."
                )
            counts.kept += 1
            done.append(Document(row[0], encode(tokens, context)))
        return done

    def texts(self, rows: Sequence[tuple[str, str]], counts: Counts) -> list[Document | None]:
        """Return texts as documents with the loss on every token and an end-of-sequence token.

        Args:
            rows: (id, text).
            counts: Grows.

        Returns:
            A document for each row, in order; None for a row that was dropped as too long.

        Raises:
            ProteinLMError: A text is empty, or too long where that is an error.
        """
        end = self.tokenizer.eos_token
        said = [self._canonical(text, counts) for _, text in rows]
        closed = [text if text.endswith(end) else text + end for text in said]
        done: list[Document | None] = []
        for (key, _), tokens in zip(rows, self._encode(closed, specials=True), strict=True):
            counts.read += 1
            if len(tokens) < 2:
                raise ProteinLMError(f"Row {key} has no token to learn from. Remove the row.")
            if self.limit is not None and len(tokens) > self.limit:
                self._refuse(key, len(tokens), counts)
                done.append(None)
                continue
            counts.kept += 1
            done.append(Document(key, encode(tokens, 0)))
        return done

    def _render(
        self, rows: Sequence[tuple[str, list[Any], list[Any]]]
    ) -> list[tuple[list[int], int]]:
        """Return the tokens of each row, and how many of them are context.

        Context is what the tokens of the prompt and of the whole share. An added token is never
        merged with its neighbours, so both are compared from the last one that they share.
        """
        prompts = [self._say(key, prompt, asks=True) for key, prompt, _ in rows]
        wholes = [
            self._say(key, prompt + completion, asks=False) for key, prompt, completion in rows
        ]
        cuts = [self._cut(*both) for both in zip(prompts, wholes, strict=True)]
        heads = self._encode([whole[:cut] for whole, cut in zip(wholes, cuts, strict=True)])
        tails = self._encode([whole[cut:] for whole, cut in zip(wholes, cuts, strict=True)])
        asked = [prompt[cut:] for prompt, cut in zip(prompts, cuts, strict=True)]
        few = sorted(set(asked))  # mostly one: the beginning of the assistant's turn
        tokens_of = dict(zip(few, self._encode(few), strict=True))
        return [
            (head + tail, len(head) + _shared(tail, tokens_of[prompt]))
            for head, tail, prompt in zip(heads, tails, asked, strict=True)
        ]

    def _say(self, key: str, messages: list[Any], *, asks: bool) -> str:
        try:
            return self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=asks
            )
        except TemplateError as error:
            raise ProteinLMError(f"Row {key}: the chat template refuses it: {error}") from error

    def _encode(self, texts: list[str], *, specials: bool = False) -> list[list[int]]:
        if not texts:
            return []
        return self.tokenizer(texts, add_special_tokens=specials, return_attention_mask=False)[
            "input_ids"
        ]

    def _cut(self, prompt: str, whole: str) -> int:
        """Return where the last added token begins that prompt and whole share, or 0."""
        anchor = self._anchor
        end = len(prompt)
        while anchor and (cut := prompt.rfind(anchor, 0, end)) > 0:
            end = cut + len(anchor)
            if whole.startswith(prompt[:end]):
                return cut
            end -= 1
        return 0

    @cached_property
    def _anchor(self) -> str | None:
        """The last added token of a rendered prompt, if the text may be cut before it."""
        if not self.tokenizer.is_fast:
            return None
        asked = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": "a"}], tokenize=False, add_generation_prompt=True
        )
        added = self.tokenizer.added_tokens_decoder.values()
        texts = [token.content for token in added]
        fit = [
            token.content for token in added
            if token.content in asked and not (token.lstrip or token.single_word)
            and sum(token.content in text for text in texts) == 1
        ]  # fmt: skip
        return max(fit, key=asked.rfind, default=None)

    def _fit(
        self, row: tuple[str, list[Any], list[Any]], length: int, counts: Counts
    ) -> tuple[list[int], int] | None:
        """Return a row with residues cut from the ends of its sequences until it fits, or None."""
        if self.overlong != "crop_sequence":
            self._refuse(row[0], length, counts)
            return None
        counts.overlong += 1
        fitting = self._crop(row, length, self.limit or 0)
        if fitting is None:
            counts.dropped += 1
            counts.longest.append(row[0])
            return None
        tokens, context, cut = fitting
        counts.cropped += 1
        counts.residues_cut += cut
        return tokens, context

    def _crop(
        self, row: tuple[str, list[Any], list[Any]], length: int, limit: int
    ) -> tuple[list[int], int, int] | None:
        """Return the tokens of a row that fits, how many are context, and the residues cut."""
        key, prompt, completion = row
        residues = _residues(prompt)
        one = _keep_residues(prompt, 1, residues, self.residues)
        ((least, _),) = self._render([(key, one, completion)])
        if len(least) > limit:
            return None
        each = (length - len(least)) / (residues - 1)
        keep = 1 + int((limit - len(least)) / each)
        while keep > 0:
            shorter = _keep_residues(prompt, keep, residues, self.residues)
            ((tokens, context),) = self._render([(key, shorter, completion)])
            if len(tokens) <= limit:
                return tokens, context, residues - _residues(shorter)
            keep -= max(1, int((len(tokens) - limit) / each))
        return None

    def _refuse(self, key: str, length: int, counts: Counts) -> None:
        counts.overlong += 1
        counts.dropped += 1
        counts.longest.append(key)
        if self.overlong == "error":
            raise ProteinLMError(
                f"Row {key} has {length} tokens, more than train.max_length {self.limit}. Raise "
                "train.max_length, or set data.overlong to drop or crop_sequence."
            )

    def _spell(self, key: str, messages: list[Any], counts: Counts) -> list[Any]:
        for message in messages:
            if not isinstance(message.get("content"), str):
                raise ProteinLMError(
                    f"Row {key}: the content of a message must be a text (got "
                    f"{message.get('content')!r:.60})."
                )
        return [
            message | {"content": self._canonical(message["content"], counts)}
            for message in messages
        ]

    def _canonical(self, text: str, counts: Counts) -> str:
        """Write every tagged sequence in one way: `<seq> M K </seq>`, or `<seq> MK </seq>`."""
        if "<seq>" not in text:
            return text
        spelled = _SEQUENCE.sub(lambda m: _spelled("".join(m[1].split()), self.residues), text)
        counts.respelled += spelled != text
        return spelled


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two sequences share from the first."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def _spelled(sequence: str, residues: str) -> str:
    return spell(sequence) if residues == "spaced" else f"<seq> {sequence} </seq>"


def _residues(messages: Sequence[Any]) -> int:
    found = (m for message in messages for m in _SEQUENCE.finditer(message["content"]))
    return sum(len("".join(match[1].split())) for match in found)


def _keep_residues(messages: list[Any], keep: int, total: int, residues: str) -> list[Any]:
    """Cut every sequence at its end, in proportion to its length; tags and question stay."""

    def shorten(match: re.Match[str]) -> str:
        sequence = "".join(match[1].split())
        return _spelled(sequence[: len(sequence) * keep // max(total, 1)], residues)

    return [
        message | {"content": _SEQUENCE.sub(shorten, message["content"])} for message in messages
    ]
