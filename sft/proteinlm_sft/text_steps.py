"""Small datatrove blocks: what is dropped by its text, what is listed, and the final columns."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import xxhash
from datatrove.data import Document
from datatrove.pipeline.dedup import MinhashConfig, MinhashDedupSignature
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter, ParquetWriter
from datatrove.utils.word_tokenizers import WhitespaceTokenizer

from proteinlm_hub.scan_rows import is_free
from proteinlm_sft.cleaning import normalise

SHORTEST_TEXT = 100
_SEQUENCE = re.compile(r" ?<seq>[^<]*</seq>")
SCHEMA = cast("Any", pa).schema(
    {
        "id": pa.string(),
        "text": pa.string(),
        "source": pa.string(),
        "license": pa.string(),
        "redistributable": pa.bool_(),
        "release": pa.string(),
        "pmid": pa.string(),
        "pmcid": pa.string(),
        "doi": pa.string(),
        "accessions": pa.list_(pa.string()),
        "details": pa.string(),
        "tokens": pa.int32(),
    }
)


class LeftOut(JsonlWriter):
    """Lists what a step dropped: id, reason and subset, one line each."""

    def __init__(self, folder: Path, config: str, reason: str = "") -> None:
        """Write to a folder; `reason` is for steps that give none."""
        super().__init__(str(folder), compression=None)
        self.config, self.reason = config, reason

    def _default_adapter(self, document: Document) -> dict[str, Any]:
        said = document.metadata
        reason = said.get("reason") or said.get("filter_reason") or self.reason
        line = {"id": document.id, "config": self.config, "reason": reason}
        return line | ({"detail": said["detail"]} if said.get("detail") else {})


class Stored(JsonlReader):
    """Reads back what the task of the same rank stored; it may have stored nothing."""

    def __init__(self, folder: Path) -> None:
        """Read from a folder with one file a task."""
        super().__init__(str(folder), compression=None, add_file_path=False)

    def run(
        self,
        data: Any = None,  # noqa: ARG002 - datatrove's signature
        rank: int = 0,
        world_size: int = 1,  # noqa: ARG002
    ) -> Iterator[Document]:
        """Give the documents of the task with this rank."""
        name = f"{rank:05d}.jsonl"
        yield from self.read_files_shard([name] if self.data_folder.isfile(name) else [])


class TextFilter(BaseFilter):
    """Drops empty and short texts, and those that a check of the benchmark gives a reason for."""

    name = "Texts"

    def __init__(self, left_out: LeftOut, contaminated: Callable[[str], str | None] | None) -> None:
        """Keep where dropped texts are listed, and the check."""
        super().__init__(left_out)
        self.contaminated = contaminated

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Return True, or False and the reason."""
        if not doc.text:
            return False, "empty"
        if len(doc.text) < SHORTEST_TEXT:
            return False, "short"
        reason = self.contaminated(doc.text) if self.contaminated else None
        return (False, reason) if reason else True


class IdFilter(BaseFilter):
    """Drops documents by id, each for its own reason."""

    name = "Ids"

    def __init__(self, left_out: LeftOut, reasons: Mapping[str, str]) -> None:
        """Keep where dropped texts are listed, and the reason for each id."""
        super().__init__(left_out)
        self.reasons = dict(reasons)

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Return True, or False and the reason."""
        return (False, self.reasons[doc.id]) if doc.id in self.reasons else True


class Shards(ParquetWriter):
    """Writes the columns of the dataset."""

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        """Write to a folder, a new file after so many bytes."""
        super().__init__(str(folder), compression="zstd", schema=SCHEMA, max_file_size=shard_bytes)

    def _default_adapter(self, document: Document) -> dict[str, Any]:
        said = document.metadata
        return {
            "id": document.id,
            "text": document.text,
            "redistributable": is_free(said["license"]),
            "details": json.dumps(said["details"], sort_keys=True, ensure_ascii=False),
            "tokens": said.get("token_count"),
        } | {name: said[name] for name in SCHEMA.names if name in said and name not in _OWN_COLUMNS}


_OWN_COLUMNS = ("id", "text", "redistributable", "details", "tokens")


class NearSignature(MinhashDedupSignature):
    """MinHash of a text, or of what is said around the sequences in it.

    Two abstracts that mention one protein are no near-duplicates for its sequence's sake; two
    entries of one family with nearly the same sequence and text are.
    """

    def __init__(self, folder: Path, config: MinhashConfig, *, sequences: bool) -> None:
        """Write signatures to a folder; `sequences` tells whether they count."""
        super().__init__(str(folder), config, language=cast("Any", WhitespaceTokenizer()))
        self.sequences = sequences

    def get_shingles(self, text: str) -> Any:
        """Return a hash of each n-gram of words as a column: sums of hashes, in one pass of numpy.

        datatrove joins and hashes each n-gram by itself, which takes five times as long.
        """
        words = normalise(text if self.sequences else _SEQUENCE.sub("", text)).split()
        hashes = np.fromiter(map(_word_hash, words), np.uint64, len(words))
        count = max(len(words) - self.config.n_grams + 1, 0)
        factors = np.random.RandomState(self.config.seed).randint(
            1, 1 << 62, self.config.n_grams, dtype=np.uint64
        )
        shingles = np.zeros(count, np.uint64)
        for place, factor in enumerate(factors):
            shingles += hashes[place : place + count] * (2 * factor + 1)  # wraps around, as meant
        return shingles.reshape(-1, 1)


@lru_cache(1 << 17)
def _word_hash(word: str) -> int:
    return xxhash.xxh64_intdigest(word.encode())
