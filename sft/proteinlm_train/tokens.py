"""From a row to tokens: the chat template, the loss mask, the spelling of residues, the length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from jinja2 import TemplateError

from proteinlm_ext.errors import ProteinLMError
from proteinlm_train.encoding import encode
from proteinlm_train.residue_tokens import encode_texts, make_table
from proteinlm_train.tagged import count_residues, keep_residues, respell

_Row = tuple[str, list[Any], list[Any]]
"""Id, prompt and completion, messages each."""
_Rendered = tuple[list[int], int]
"""Tokens, and how many of them are context."""


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

    def conversations(self, rows: Sequence[_Row], counts: Counts) -> list[Document | None]:
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
        rendered: list[_Rendered | None] = [*self._render(spelled)]
        counts.read += len(rows)
        if self.limit is not None:
            self._fit(spelled, rendered, self.limit, counts)
        done: list[Document | None] = []
        for (key, _, _), fitting in zip(spelled, rendered, strict=True):
            if fitting is None:
                done.append(None)
                continue
            tokens, context = fitting
            if context >= len(tokens):
                raise ProteinLMError(
                    f"Row {key} has no token to learn from: its completion is empty, or the "
                    "chat template leaves it out. Remove the row or mend the template."
                )
            counts.kept += 1
            done.append(Document(key, encode(tokens, context)))
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
        framed = self.tokenizer.num_special_tokens_to_add() > 0
        found = self.tokenizer(closed)["input_ids"] if framed and closed else self._encode(closed)
        for (key, _), tokens in zip(rows, found, strict=True):
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

    def _render(self, rows: Sequence[_Row]) -> list[_Rendered]:
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
        asked = self._encode([prompt[cut:] for prompt, cut in zip(prompts, cuts, strict=True)])
        return [
            (head + tail, len(head) + _shared(tail, prompt))
            for head, tail, prompt in zip(heads, tails, asked, strict=True)
        ]

    def _say(self, key: str, messages: list[Any], *, asks: bool) -> str:
        try:
            return self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=asks
            )
        except TemplateError as error:
            raise ProteinLMError(f"Row {key}: the chat template refuses it: {error}") from error

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return encode_texts(self.tokenizer, self._table, texts)

    @cached_property
    def _table(self) -> Mapping[str, int] | None:
        return make_table(self.tokenizer)

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
        self, rows: Sequence[_Row], rendered: list[_Rendered | None], limit: int, counts: Counts
    ) -> None:
        """Replace rows that are too long by shorter ones, or None, as the policy says."""
        lengths = {n: len(one[0]) for n, one in enumerate(rendered) if one and len(one[0]) > limit}
        if self.overlong != "crop_sequence":
            for n, length in lengths.items():
                self._refuse(rows[n][0], length, counts)
                rendered[n] = None
            return
        counts.overlong += len(lengths)
        shorter = self._crop({n: rows[n] for n in lengths}, lengths, limit)
        for n in lengths:
            if n in shorter:
                tokens, context, cut = shorter[n]
                rendered[n] = tokens, context
                counts.cropped += 1
                counts.residues_cut += cut
            else:
                rendered[n] = None
                counts.dropped += 1
                counts.longest.append(rows[n][0])

    def _crop(
        self, rows: dict[int, _Row], lengths: dict[int, int], limit: int
    ) -> dict[int, tuple[list[int], int, int]]:
        """Return tokens, context and residues cut of the rows that fit without some residues.

        The length with one residue and with all of them says how many will fit; what is still too
        long then, where a token is no residue, is cut again.
        """
        found: dict[int, tuple[list[int], int, int]] = {}
        residues = {n: count_residues(prompt) for n, (_, prompt, _) in rows.items()}
        keep = dict.fromkeys(rows, 1)
        each = dict.fromkeys(rows, 0.0)
        while keep:
            shorter = {
                n: (key, keep_residues(prompt, keep[n], residues[n], self.residues), completion)
                for n, (key, prompt, completion) in rows.items()
                if n in keep
            }
            for n, (tokens, context) in zip(
                shorter, self._render([*shorter.values()]), strict=True
            ):
                over = len(tokens) - limit
                if not each[n] and over <= 0:
                    each[n] = (lengths[n] - len(tokens)) / (residues[n] - 1)
                    keep[n] += int(-over / each[n])
                elif over <= 0:
                    found[n] = tokens, context, residues[n] - count_residues(shorter[n][1])
                    del keep[n]
                else:
                    keep[n] -= max(1, int(over / each[n])) if each[n] else 1
                    if keep[n] < 1:
                        del keep[n]
        return found

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
        spelled = respell(text, self.residues)
        counts.respelled += spelled != text
        return spelled


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two sequences share from the first."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))
