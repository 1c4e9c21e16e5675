"""From a row to tokens: the chat template, the loss mask, the spelling of residues, the length.

One encoding for everything that follows: a token is its id, plus `CONTEXT` where it carries no
loss, plus `START` where a document begins. Four bytes hold all three.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from proteinlm_ext.errors import ProteinLMError
from proteinlm_sft.templates import spell

CONTEXT = 1 << 30
START = 1 << 29
_IDS = START - 1
_SEQUENCE = re.compile(r"<seq>\s*([A-Za-z*\s]*?)\s*</seq>")


class Document(NamedTuple):
    """One row as tokens in our encoding; `cut` residues were left out to make it fit."""

    id: str
    tokens: Any  # np.ndarray of uint32
    labels: int
    cut: int


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizing:
    """How rows become tokens; `crop` and `limit` are the length policy."""

    tokenizer: Any
    residues: str
    overlong: str
    limit: int | None
    """Longest document in tokens; None where documents are split by the packing."""

    def conversations(
        self, rows: Sequence[tuple[str, list[Any], list[Any]]], counts: Counts
    ) -> list[Document]:
        """Return prompt-completion rows as documents with the loss on the completion.

        The same tokens and labels as TRL's: the chat template with its defaults, and the cut where
        the tokens of the prompt and of the whole first differ.

        Args:
            rows: (id, prompt, completion), messages each.
            counts: Grows.

        Raises:
            ProteinLMError: A row has no label, or is too long where that is an error.
        """
        spelled = [
            (key, self._spell(prompt, counts), completion) for key, prompt, completion in rows
        ]
        done: list[Document] = []
        for row, (tokens, context) in zip(spelled, self._render(spelled), strict=True):
            cut = 0
            counts.read += 1
            if self.limit is not None and len(tokens) > self.limit:
                shorter = self._fit(row, len(tokens), counts)
                if shorter is None:
                    continue
                tokens, context, cut = shorter
            if context >= len(tokens):
                raise ProteinLMError(
                    f"Row {row[0]} has no token to learn from: its completion is empty, or the chat "
                    "template leaves it out. Remove the row or mend the template."
                )
            done.append(_document(row[0], tokens, context, cut))
        counts.kept += len(done)
        return done

    def texts(self, rows: Sequence[tuple[str, str]], counts: Counts) -> list[Document]:
        """Return texts as documents with the loss on every token and an end-of-sequence token.

        Raises:
            ProteinLMError: A text is too long where that is an error.
        """
        end = self.tokenizer.eos_token
        said = [self._canonical(text, counts) for _, text in rows]
        closed = [text if text.endswith(end) else text + end for text in said]
        done: list[Document] = []
        found = self.tokenizer(closed, return_attention_mask=False)["input_ids"] if closed else []
        for (key, _), tokens in zip(rows, found, strict=True):
            counts.read += 1
            if self.limit is not None and len(tokens) > self.limit:
                self._refuse(key, len(tokens), counts)
                continue
            done.append(_document(key, tokens, 0, 0))
        counts.kept += len(done)
        return done

    def _render(self, rows: Sequence[tuple[str, list[Any], list[Any]]]) -> list[tuple[Any, int]]:
        """Return the tokens of each row, and how many of them are context."""
        if not rows:
            return []
        template = self.tokenizer.apply_chat_template
        prompts = template(
            [prompt for _, prompt, _ in rows], tokenize=False, add_generation_prompt=True
        )
        wholes = template([prompt + completion for _, prompt, completion in rows], tokenize=False)
        found = self.tokenizer(
            wholes, add_special_tokens=False, return_offsets_mapping=True,
            return_attention_mask=False,
        )  # fmt: skip
        rendered: list[tuple[Any, int]] = []
        for prompt, whole, tokens, offsets in zip(
            prompts, wholes, found["input_ids"], found["offset_mapping"], strict=True
        ):
            shared = len(os.path.commonprefix([prompt, whole]))  # noqa: RUF071 - of strings
            ends = np.fromiter((end for _, end in offsets), np.int64, len(offsets))
            rendered.append((tokens, int(np.searchsorted(ends, shared, side="right"))))
        return rendered

    def _fit(
        self, row: tuple[str, list[Any], list[Any]], length: int, counts: Counts
    ) -> tuple[Any, int, int] | None:
        """Return a row with residues cut from the ends of its sequences until it fits, or None."""
        if self.overlong != "crop_sequence":
            self._refuse(row[0], length, counts)
            return None
        counts.overlong += 1
        assert self.limit is not None  # noqa: S101 - the caller looked
        residues = _residues(row[1])
        keep = residues
        while residues and keep > 1:
            # Spaced, a residue is a token; joined, fewer: cut in proportion and look again.
            keep -= max(1, (length - self.limit) * (1 if self.residues == "spaced" else 2))
            if keep < 1:
                break
            shorter = (row[0], _keep_residues(row[1], keep, residues, self.residues), row[2])
            tokens, context = self._render([shorter])[0]
            length = len(tokens)
            if length <= self.limit:
                counts.cropped += 1
                counts.residues_cut += residues - keep
                return tokens, context, residues - keep
        counts.dropped += 1
        counts.longest.append(row[0])
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

    def _spell(self, messages: list[Any], counts: Counts) -> list[Any]:
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


def decode(tokens: Any) -> dict[str, Any]:
    """Return encoded tokens as the trainer reads them: input_ids, labels (-100: no loss), lengths.

    Args:
        tokens: uint32 array of a packed row.

    Returns:
        `input_ids` and `labels` as int64 arrays, `seq_lengths` of the documents as a list.
    """
    ids = (tokens & _IDS).astype(np.int64)
    starts = np.flatnonzero(tokens & START)
    return {
        "input_ids": ids,
        "labels": np.where(tokens & CONTEXT, -100, ids),
        "seq_lengths": np.diff(np.append(starts, len(tokens))).tolist(),
    }


def _document(key: str, tokens: Any, context: int, cut: int) -> Document:
    encoded = np.asarray(tokens, dtype=np.uint32)
    encoded[:context] |= CONTEXT
    encoded[:1] |= START
    return Document(key, encoded, len(encoded) - context, cut)


def _spelled(sequence: str, residues: str) -> str:
    return spell(sequence) if residues == "spaced" else f"<seq> {sequence} </seq>"


def _residues(messages: Sequence[Any]) -> int:
    found = (m for message in messages for m in _SEQUENCE.finditer(message["content"]))
    return sum(len("".join(match[1].split())) for match in found)


def _keep_residues(messages: list[Any], keep: int, total: int, residues: str) -> list[Any]:
    """Cut every sequence at its end, in proportion to its length; tags and question stay."""

    def shorten(match: re.Match[str]) -> str:
        sequence = "".join(match[1].split())
        return _spelled(sequence[: len(sequence) * keep // total], residues)

    return [
        message | {"content": _SEQUENCE.sub(shorten, message["content"])} for message in messages
    ]
