"""The held-out rows of a dataset that `proteinlm data build` made, as lm-eval's documents.

`--metadata '{"sft_data": "DIR"}'` names the dataset. `sft_split` (default test) and `residues`
(spaced or joined, as the model was trained) may stand beside it.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, cast

from proteinlm_ext.enzyme_numbers import add_numbers, learn_names
from proteinlm_ext.errors import DataError, MissingDependencyError, UsageError
from proteinlm_sft.templates import ENZYME, prompt_completion
from proteinlm_train.tagged import respell

_COLUMNS = ("id", "accession", "instruction", "input", "output", "sequence_sha256")
_HOW = '--metadata \'{"sft_data": "DIR"}\', where DIR is a folder that `proteinlm data build` made'

logger = logging.getLogger("proteinlm_ext")


def load_for_harness(
    sft_config: str,
    sft_data: Any = None,
    sft_split: str = "test",
    residues: str = "spaced",
    provenance: dict[str, Any] | None = None,
    **_: Any,
) -> dict[str, Any]:
    """Return the rows of one config as lm-eval's dataset: `{"test": datasets.Dataset}`.

    Args:
        sft_config: Such as `function`; the task's YAML names it.
        sft_data: The dataset's folder.
        sft_split: The split that is read, whatever lm-eval calls it.
        residues: How sequences are spelled in the prompt: `spaced` or `joined`.
        provenance: The empty mapping of the task's metadata. What is filled in here, the hashes
            above all, stands in every output.
        _: lm-eval hands over all model_args, too.

    Raises:
        UsageError: No dataset is named, or a value is none of those above.
        DataError: The folder is no built dataset, or has no such rows.
    """
    if residues not in ("spaced", "joined"):
        raise UsageError(f'"residues" is {residues!r}; it takes "spaced" or "joined".')
    if not isinstance(sft_data, str) or not sft_data:
        raise UsageError(
            f"proteinlm_sft_{sft_config} reads a dataset of yours, and sft_data={sft_data!r} names "
            f"none. Add {_HOW}."
        )
    folder = Path(sft_data).expanduser()
    manifest, name = _read_manifest(folder)
    files = _shards(folder, sft_config, sft_split)
    rows = _read(files)
    if not rows:
        raise DataError(_no_rows(folder, sft_config, sft_split))
    if provenance is not None:
        provenance.update(_provenance(f"{name}/{sft_config}/{sft_split}", files, rows, manifest))
    docs = [_to_doc(row, sft_config, residues) for row in rows]
    if sft_config == ENZYME.config:
        add_numbers(docs, learn_names(_read(sorted((folder / sft_config).glob("*.parquet")))))
    _add_neighbours(docs, folder, sft_config, sft_split)

    from datasets import Dataset

    return {"test": Dataset.from_list(docs)}


def _to_doc(row: Mapping[str, Any], config: str, residues: str) -> dict[str, Any]:
    """Return a document: the row, and the training prompt as the model reads it."""
    spelled = {**row, "input": respell(row["input"], residues)}
    (message,) = prompt_completion(spelled)["prompt"]
    return {**spelled, "config": config, "prompt": message["content"]}


def _read_manifest(folder: Path) -> tuple[bytes, str]:
    """Return the manifest, which is written last, and the dataset's name in it."""
    try:
        content = (folder / "manifest.json").read_bytes()
        return content, str(json.loads(content).get("name", folder.name))
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            f"{folder} is no finished dataset: its manifest.json cannot be read ({error}). "
            f"Give {_HOW}."
        ) from error


def _shards(folder: Path, config: str, split: str) -> list[Path]:
    files = sorted((folder / config).glob(f"{split}-*.parquet"))
    if not files:
        raise DataError(_no_rows(folder, config, split))
    return files


def _no_rows(folder: Path, config: str, split: str) -> str:
    return (
        f"{folder} has no {split} rows of {config} ({config}/{split}-*.parquet). Leave "
        f"proteinlm_sft_{config} and proteinlm_sft_{config}_loss out of --tasks, or build the "
        "dataset with that split."
    )


def _read(files: Sequence[Path]) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    for path in files:
        try:
            table: Any = cast("Any", pq).read_table(path, columns=[*_COLUMNS])
        except (OSError, cast("type[Exception]", pa.ArrowException)) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(
                f"{path} cannot be read as rows of a built dataset ({reason}). Build it again, or "
                f"give {_HOW}."
            ) from error
        rows += table.to_pylist()
    return rows


def _provenance(
    source: str, files: Sequence[Path], rows: Sequence[Any], manifest: bytes
) -> dict[str, Any]:
    """Return source, counts and hashes; `sha256` is of the Parquet files, one after the other."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return {
        "source": source,
        "sha256": digest.hexdigest(),
        "questions": len(rows),
        "rows": len(rows),
        "complete": True,
        "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
    }


def _add_neighbours(docs: Sequence[dict[str, Any]], folder: Path, config: str, split: str) -> None:
    """Add to each document the nearest train protein of its config, or None where none is near.

    Without MMseqs2, or without a train split, the documents stay without the field.
    """
    from proteinlm_ext.neighbours import nearest

    try:
        found = nearest(folder, config, split)
    except (MissingDependencyError, UsageError) as error:
        _remark(f"No scores by identity to the training proteins: {error}")
        return
    for doc in docs:
        neighbour = found.get(doc["id"])
        doc["neighbour"] = asdict(neighbour) if neighbour else None


@cache
def _remark(text: str) -> None:
    """Say a thing once, however many tasks are loaded."""
    logger.warning(text)
