"""A model that looks up: `--model retrieval --model_args data=DIR`.

Its answer to a protein is the training output of the nearest training protein (`neighbours`); with
no hit, the most frequent training output of the config. It reads no output of a held-out split.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet
from lm_eval.api.model import LM

from proteinlm_ext.errors import UsageError
from proteinlm_ext.neighbours import Neighbour, nearest, shards

pq = cast("Any", pyarrow.parquet)

_NO_PROBABILITIES = (
    "The retrieval model looks answers up and has no probabilities: name tasks of the tag "
    "proteinlm_sft_answers, such as proteinlm_sft_function."
)


class RetrievalLM(LM):
    """Answers the documents of `proteinlm_sft_*` from the train split of a built dataset."""

    def __init__(self, data: str | None = None, **_: Any) -> None:
        """Take the dataset's folder; lm-eval's other model arguments have no effect.

        Raises:
            UsageError: No folder is given, or it is none.
        """
        super().__init__()
        if not data or not Path(str(data)).expanduser().is_dir():
            raise UsageError(
                f"The retrieval model needs the folder of a built dataset, not data={data!r}: "
                "--model_args data=DIR, the DIR of --metadata '{\"sft_data\": DIR}'."
            )
        self._folder = Path(str(data)).expanduser()

    def generate_until(self, requests: Any, **_: Any) -> list[str]:
        """Return the training output of each document's nearest training protein.

        Of several rows of that protein (an enzyme has one an EC number) the first by id speaks.

        Raises:
            UsageError: A document is of another task, or of another dataset than the model's.
        """
        docs = [request.doc for request in requests]
        if any(not isinstance(doc.get(name), str) for doc in docs for name in ("id", "config")):
            raise UsageError(
                "The retrieval model answers the tasks proteinlm_sft_* only: their documents have "
                "`id` and `config`."
            )
        answers: dict[tuple[str, str], str] = {}
        for config in sorted({doc["config"] for doc in docs}):
            asked = [doc for doc in docs if doc["config"] == config]
            answers |= self._answers(config, asked)
        return [answers[doc["config"], doc["id"]] for doc in docs]

    def loglikelihood(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
        """Refuse: a lookup has no probabilities."""
        del requests
        raise UsageError(_NO_PROBABILITIES)

    def loglikelihood_rolling(self, requests: Any, **_: Any) -> list[float]:
        """Refuse, as `loglikelihood` does."""
        del requests
        raise UsageError(_NO_PROBABILITIES)

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
        return "retrieval"

    def _answers(
        self, config: str, docs: Sequence[Mapping[str, Any]]
    ) -> dict[tuple[str, str], str]:
        """Return the answers to the documents of one config, by config and id."""
        neighbours = self._neighbours(config, docs)
        outputs: dict[str, str] = {}
        for path in shards(self._folder, config, "train"):
            table = pq.read_table(path, columns=["id", "output"])
            outputs |= dict(zip(*(column.to_pylist() for column in table.columns), strict=True))
        counts = Counter(outputs.values())
        frequent = min(counts, key=lambda output: (-counts[output], output))
        return {
            (config, doc["id"]): outputs[neighbours[doc["id"]].id]
            if doc["id"] in neighbours
            else frequent
            for doc in docs
        }

    def _neighbours(self, config: str, docs: Sequence[Mapping[str, Any]]) -> dict[str, Neighbour]:
        """Return the neighbours of the held-out split that the documents are from.

        Rows of two datasets can share ids, but not the split and the neighbours, too.
        """
        asked = {doc["id"] for doc in docs}
        for split in ("test", "validation"):
            if asked <= _ids(self._folder, config, split):
                neighbours = nearest(self._folder, config, split)
                if all(_agrees(doc, neighbours.get(doc["id"])) for doc in docs):
                    return neighbours
        raise UsageError(
            f"The documents of {config} are not the held-out rows of {self._folder}. Give the "
            "tasks and the model the same dataset: data=DIR in --model_args, and sft_data in "
            "--metadata."
        )


def _ids(folder: Path, config: str, split: str) -> set[str]:
    files = (folder / config).glob(f"{split}-*.parquet")
    return {row for path in files for row in pq.read_table(path, columns=["id"])["id"].to_pylist()}


def _agrees(doc: Mapping[str, Any], neighbour: Neighbour | None) -> bool:
    """Tell whether a document that names its neighbour names this one."""
    if "neighbour" not in doc:
        return True
    said = doc["neighbour"]
    return (said and said["accession"]) == (neighbour and neighbour.accession)
