"""The benchmark's questions: where they come from, checked, with the hash of what was read.

The default is the Hub file at a pinned revision. `PROTEINLM_DATA=PATH`, or in lm-eval
`--metadata '{"data": "PATH"}'`, reads a local JSON, JSONL, Parquet or CSV file instead. The
functions that the task YAML names stand at the end.
"""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from proteinlm_ext.errors import DataError
from proteinlm_ext.formats import read_rows
from proteinlm_ext.paths import data_file, hash_file
from proteinlm_ext.questions import (
    SOFT_RULES,
    TRUNCATED,
    Defect,
    Question,
    parse_rows,
)
from proteinlm_ext.wording import note_oddities

# main of the dataset repository, committed 2024-05-23: 944 rows, the paper's benchmark.
HUB_REPO = "tsynbio/ProteinLMBench"
HUB_REVISION = "f1397963c7f727a4a2f00cdd691e6e219c36e992"
HUB_FILE = "ProteinLMBench.json"
HUB_SHA256 = "f2dce5c1b54e8ce73897a4af48ae8ba05507076d511b9d02d57cddf31c42ed96"

DATA_VARIABLE = "PROTEINLM_DATA"
_LOCAL_COPY = (
    f"Give a local copy instead: set {DATA_VARIABLE}=PATH, "
    'or pass --metadata \'{"data": "PATH"}\' (JSON, JSONL, Parquet or CSV).'
)

logger = logging.getLogger("proteinlm_ext")


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """The questions of one file, and what a result must say about that file."""

    questions: tuple[Question, ...]
    source: str
    """"hub", "sample", or the file's name."""
    sha256: str
    """Of the bytes that were read."""
    num_rows: int
    """Rows in the file; larger than the number of questions when rows were dropped on request."""
    dropped: tuple[Defect, ...] = ()
    reported: tuple[Defect, ...] = ()
    """Defects of the pinned Hub file that leave the row scoreable."""
    num_padding: int = 0

    def provenance(self) -> dict[str, Any]:
        """Return what goes into a results file: source, hash, counts, and whether it is whole."""
        return {
            "source": self.source,
            "sha256": self.sha256,
            "questions": len(self.questions),
            "rows": self.num_rows,
            "complete": not self.dropped,
            "dropped": [str(defect) for defect in self.dropped],
            "padding_removed": self.num_padding,
            # Not the value: it may quote an option, and results files circulate.
            "reported": [f"row {defect.row}: {defect.rule}" for defect in self.reported],
            "oddities": dict(sorted(note_oddities(self.questions).items())),
        }


def load_benchmark(data: str | None = None, *, truncated: str = "refuse") -> Benchmark:
    """Read the benchmark.

    Args:
        data: A local file; default `$PROTEINLM_DATA`, else the pinned file on the Hub.
        truncated: "refuse" or "drop" rows whose right option an export has cut off.

    Raises:
        DataError: The file is missing, unreadable or defective, or the Hub cannot be reached.
    """
    if truncated not in ("refuse", "drop"):
        raise DataError(f'"truncated" is {truncated!r}; it takes "refuse" or "drop".')
    return read_file(find_data(data), drop_truncated=truncated == "drop")


def find_data(data: str | None = None) -> Path:
    """Return the path of the benchmark's file, downloading the pinned one if none is named.

    Raises:
        DataError: `data` is no path, or the Hub cannot be reached.
    """
    path: Any = data or os.environ.get(DATA_VARIABLE)
    if not path:
        return _download()
    if not isinstance(path, str):  # lm-eval parses --metadata: data=3 arrives as a number
        raise DataError(f"data={path!r} is not a path. {_LOCAL_COPY}")
    return Path(path)


def read_file(path: Path, *, drop_truncated: bool = False) -> Benchmark:
    """Read a local file; every defect is refused, with row, rule and value.

    Raises:
        DataError: As said. The pinned Hub file, known by its hash, is only reported on.
    """
    try:
        path = path.expanduser()
        content = path.read_bytes()
    except (OSError, RuntimeError, ValueError) as error:  # also ~nobody, and NUL in a name
        raise DataError(
            f"No benchmark file could be read at {path} ({error}). {_LOCAL_COPY}"
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    rows = read_rows(path, content)
    parsed, num_rows = parse_rows(rows), len(rows)
    allowed = SOFT_RULES if sha256 == HUB_SHA256 else frozenset[str]()
    dropped = tuple(d for d in parsed.defects if drop_truncated and d.rule == TRUNCATED)
    refused = [d for d in parsed.defects if d.rule not in allowed and d not in dropped]
    if refused:
        raise DataError(_refusal(path, refused, num_rows))
    if not parsed.questions:
        if num_rows == 0:
            raise DataError(f"{path} holds no rows.")
        raise DataError(f"{path}: all {num_rows} rows were dropped: {dropped[0]}")
    benchmark = Benchmark(
        questions=parsed.questions,
        source="hub" if sha256 == HUB_SHA256 else path.name,
        sha256=sha256,
        num_rows=num_rows,
        dropped=dropped,
        reported=tuple(d for d in parsed.defects if d.rule in allowed),
        num_padding=parsed.num_padding,
    )
    _report(benchmark)
    return benchmark


def load_sample() -> Benchmark:
    """Read the 60 bundled questions, which work offline."""
    return replace(read_file(data_file("sample.json")), source="sample")


def _download() -> Path:
    import httpx2
    import huggingface_hub

    try:
        path = huggingface_hub.hf_hub_download(
            HUB_REPO, HUB_FILE, repo_type="dataset", revision=HUB_REVISION
        )
    except (OSError, httpx2.HTTPError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{HUB_REPO} could not be read from the Hugging Face Hub ({reason}). {_LOCAL_COPY}"
        ) from error
    found = hash_file(Path(path))
    if found != HUB_SHA256:
        raise DataError(
            f"{path} has sha256 {found}, but {HUB_FILE} at revision {HUB_REVISION} has "
            f"{HUB_SHA256}. The download is damaged: delete that file and try again."
        )
    return Path(path)


def _refusal(path: Path, defects: Sequence[Defect], num_rows: int) -> str:
    shown = "\n".join(f"  {defect}" for defect in defects[:10])
    more = f"\n  ... and {len(defects) - 10} more" if len(defects) > 10 else ""
    hint = ""
    if any(defect.rule == TRUNCATED for defect in defects):
        hint = (
            "\nAn export with too few columns cuts answers off. Use a complete file, or pass"
            ' --metadata \'{"data": "PATH", "truncated": "drop"}\' to leave those rows out.'
        )
    return f"{path} has {len(defects)} defects in {num_rows} rows:\n{shown}{more}{hint}"


def _report(benchmark: Benchmark) -> None:
    """Say what was done to the file. Nothing is dropped or removed in silence."""
    if benchmark.dropped:
        logger.warning(
            "%s is incomplete: %d of %d questions; dropped as asked: %s",
            benchmark.source,
            len(benchmark.questions),
            benchmark.num_rows,
            "; ".join(map(str, benchmark.dropped)),
        )
    if benchmark.num_padding:
        logger.warning(
            '%s: removed %d trailing options that are padding ("nan" or empty)',
            benchmark.source,
            benchmark.num_padding,
        )
    oddities = note_oddities(benchmark.questions)
    if oddities or benchmark.reported:
        logger.info(
            "%s: kept as they are: %s",
            benchmark.source,
            dict(oddities + Counter(defect.rule for defect in benchmark.reported)),
        )


# What the task YAML names. lm-eval passes `metadata` as keywords, and with it all model_args
# (`revision`, `dtype`, ...): only `data` and `truncated` are read.


def load_for_harness(
    data: str | None = None,
    truncated: str = "refuse",
    provenance: dict[str, Any] | None = None,
    **_: Any,
) -> dict[str, Any]:
    """Return the benchmark as lm-eval's dataset: `{"test": datasets.Dataset}`.

    Args:
        data: As in `load_benchmark`.
        truncated: As in `load_benchmark`.
        provenance: The empty mapping of the task's `metadata`. lm-eval writes that metadata into
            its results, so what is filled in here (the hash above all) stands in every output.
    """
    return _to_dataset(load_benchmark(data, truncated=truncated), provenance)


def load_sample_for_harness(provenance: dict[str, Any] | None = None, **_: Any) -> dict[str, Any]:
    """Return the bundled sample as lm-eval's dataset."""
    return _to_dataset(load_sample(), provenance)


def _to_dataset(benchmark: Benchmark, provenance: Any) -> dict[str, Any]:
    from datasets import Dataset

    if isinstance(provenance, dict):
        provenance.update(benchmark.provenance())
    return {"test": Dataset.from_list([question.to_doc() for question in benchmark.questions])}
