"""`prepare`: the sources of a recipe as packed shards of tokens, with a fingerprint.

Every row is drawn, spelled, tokenised and packed here, once; training maps the result. A killed
preparation goes on where it stood; the bytes do not depend on the number of workers.
"""

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.paths import write_text
from proteinlm_sft.workers import run_tasks
from proteinlm_train.base_model import load_tokenizer, locate, tokenizer_hashes
from proteinlm_train.recipe import Model, Recipe
from proteinlm_train.rows import RowFile, draw_copies, list_files, read_rows, to_conversation
from proteinlm_train.shards import ShardCounts, shard_file, write_shard
from proteinlm_train.tokens import Counts, Document, Tokenizing

FORMAT = 1
MANIFEST = "prepared.json"
TRAIN, VALIDATION = "train", "validation"
# A part is what one task tokenises and packs, at most so many rows and bytes of its file.
_PART_ROWS = 20_000
_PART_BYTES = 64 << 20
_BATCH = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some rows of one file; `copies` says how often each is taken."""

    split: str
    number: int
    file: RowFile
    rows: tuple[int, ...]
    copies: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker needs besides its part."""

    model: Model
    stage: str
    residues: str
    overlong: str
    max_length: int
    packing: str
    out: Path
    part: Part


def prepare(recipe: Recipe, out: Path, workers: int = 1) -> dict[str, Any]:
    """Make the shards of a recipe in `out`, or find them there, and return their manifest.

    Raises:
        UsageError: A source or the model is missing, or too many rows are too long.
        ProteinLMError: A row cannot be used.
    """
    tokenizer = load_tokenizer(recipe.model, locate(recipe.model), chat=recipe.stage == "sft")
    files = _files(recipe)
    parts = _parts(recipe, files)
    settings = _settings(recipe, files, tokenizer)
    digest = _sha256(settings)
    known = read_manifest(out)
    if known and known["plan"] == digest and _complete(out, known):
        return known
    _claim(out, digest)
    jobs = [
        Job(
            model=recipe.model, stage=recipe.stage, residues=recipe.data.residues,
            overlong=recipe.data.overlong, max_length=recipe.train.max_length,
            packing=recipe.packing, out=out, part=part,
        )
        for part in parts
    ]  # fmt: skip
    # Workers tokenise side by side; threads inside each would only wait for each other.
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if workers > 1 else "true"
    done = run_tasks(prepare_part, jobs, min(workers, max(len(jobs), 1)), "Tokenising")
    manifest = _manifest(recipe, files, parts, done, settings, digest)
    _refuse_losses(recipe, manifest)
    write_text(out / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return manifest


def prepare_part(job: Job) -> dict[str, Any]:
    """Tokenise, pack and write one part, unless it is there already; return its counts."""
    path = shard_file(job.out, job.part.split, job.part.number)
    report = path.with_suffix(".json")
    if path.is_file() and report.is_file():
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return found
    counts = Counts()
    documents, copies = _tokenise(job, counts)
    shard = write_shard(
        path, job.part.number, documents, copies, length=job.max_length, packing=job.packing
    )
    said = {
        "counts": dataclasses.asdict(counts) | {"longest": counts.longest[:5]},
        "shard": shard._asdict(),
    }
    write_text(report, json.dumps(said, sort_keys=True))
    return said


def read_manifest(out: Path) -> dict[str, Any] | None:
    """Return the manifest of prepared data, or None where there is none."""
    file = out / MANIFEST
    if not file.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProteinLMError(f"{file} cannot be read: {error}. Remove its folder.") from error
    return found if found.get("format") == FORMAT else None


def shards_of(out: Path, manifest: dict[str, Any], split: str) -> list[Path]:
    """Return the shards of a split that hold rows."""
    return [out / shard["name"] for shard in manifest["splits"][split]["shards"] if shard["rows"]]


def _tokenise(job: Job, counts: Counts) -> tuple[list[Document], list[int]]:
    splits = job.packing in ("bfd_split", "wrapped")
    tokenizing = Tokenizing(
        tokenizer=_tokenizer(job.model, job.stage),
        residues=job.residues,
        overlong=job.overlong,
        limit=None if splits else job.max_length,
    )
    wanted = dict(zip(job.part.rows, job.part.copies, strict=True))
    documents: list[Document] = []
    copies: dict[str, int] = {}
    batch: list[dict[str, Any]] = []

    def flush() -> None:
        if job.part.file.format == "text":
            done = tokenizing.texts([(row["id"], row["text"]) for row in batch], counts)
        else:
            chats = [(row["id"], *to_conversation(row, job.part.file.format)) for row in batch]
            done = tokenizing.conversations(chats, counts)
        documents.extend(done)
        batch.clear()

    for number, row in zip(job.part.rows, read_rows(job.part.file, job.part.rows), strict=True):
        row["id"] = str(row["id"])
        copies[row["id"]] = wanted[number]
        batch.append(row)
        if len(batch) == _BATCH:
            flush()
    flush()
    return documents, [copies[document.id] for document in documents]


@cache
def _tokenizer(model: Model, stage: str) -> Any:
    return load_tokenizer(model, locate(model), chat=stage == "sft")


def _files(recipe: Recipe) -> dict[str, list[RowFile]]:
    validation = recipe.data.validation
    found: dict[str, list[RowFile]] = {TRAIN: [], VALIDATION: []}
    for number, source in enumerate(recipe.data.sources):
        files = list_files(source, number, source.split)
        if not files:
            raise UsageError(
                f"data.sources.{number}: {source.path} has no rows in split {source.split}."
            )
        wrong = {
            file.format for file in files if (file.format == "text") != (recipe.stage == "cpt")
        }
        if wrong:
            raise UsageError(
                f"data.sources.{number}: {source.path} has {', '.join(wrong)} rows, which stage "
                f"{recipe.stage} does not read. Choose other configs or another stage."
            )
        found[TRAIN] += files
        if validation.kind == "split":
            found[VALIDATION] += list_files(source, number, validation.split)
    if validation.kind == "split" and not found[VALIDATION]:
        raise UsageError(
            f"data.validation: no source has a split {validation.split}. Set data.validation.from "
            "to train (rows set aside) or none."
        )
    return found


def _parts(recipe: Recipe, files: dict[str, list[RowFile]]) -> list[Part]:
    """Decide how often every row is taken, and cut the files into parts."""
    data = recipe.data
    copies = {
        TRAIN: [
            _by_file(draw_copies(source, _count(files[TRAIN], number), data.seed, number),
                     [file for file in files[TRAIN] if file.source == number])
            for number, source in enumerate(data.sources)
        ],
    }  # fmt: skip
    train = [taken for group in copies[TRAIN] for taken in group]
    held_out = [np.zeros(file.rows, dtype=np.int16) for file in files[VALIDATION]]
    validation_files = files[VALIDATION]
    if data.validation.kind == "train":
        validation_files = files[TRAIN]
        held_out = [np.zeros_like(taken) for taken in train]
    if data.validation.kind != "none":
        sizes = [len(taken) for taken in held_out]
        draw = np.random.default_rng([data.seed, len(data.sources)])
        chosen = draw.permutation(sum(sizes))[: data.validation.rows]
        flat = np.zeros(sum(sizes), dtype=np.int16)
        flat[chosen] = 1
        held_out = np.split(flat, np.cumsum(sizes)[:-1])
    if data.validation.kind == "train":
        for taken, aside in zip(train, held_out, strict=True):
            taken[aside > 0] = 0
    return [
        *_cut(TRAIN, files[TRAIN], train),
        *_cut(VALIDATION, validation_files, held_out),
    ]


def _count(files: Sequence[RowFile], source: int) -> int:
    return sum(file.rows for file in files if file.source == source)


def _by_file(copies: Any, files: Sequence[RowFile]) -> list[Any]:
    return np.split(copies, np.cumsum([file.rows for file in files])[:-1])


def _cut(split: str, files: Sequence[RowFile], copies: Sequence[Any]) -> list[Part]:
    parts: list[Part] = []
    for file, taken in zip(files, copies, strict=True):
        rows = np.flatnonzero(taken)
        each = max(1, file.path.stat().st_size // max(file.rows, 1))
        size = int(min(_PART_ROWS, max(256, _PART_BYTES // each)))
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            parts.append(
                Part(
                    split=split, number=len(parts), file=file, rows=tuple(some.tolist()),
                    copies=tuple(taken[some].tolist()),
                )
            )  # fmt: skip
    return parts


def _settings(recipe: Recipe, files: dict[str, list[RowFile]], tokenizer: Any) -> dict[str, Any]:
    """Return all that decides the bytes of the shards."""
    return {
        "format": FORMAT,
        "stage": recipe.stage,
        "data": recipe.data.model_dump(
            mode="json", by_alias=True,
            exclude={"sources": {"__all__": {"path"}}, "streaming": True, "decontamination": True,
                     "max_overlong_share": True},
        ),
        "max_length": recipe.train.max_length,
        "packing": recipe.packing,
        "tokenizer": tokenizer_hashes(tokenizer),
        "files": {
            split: [(file.source, file.config, file.rows, file.sha256) for file in found]
            for split, found in files.items()
        },
    }  # fmt: skip


def _manifest(
    recipe: Recipe, files: dict[str, list[RowFile]], parts: Sequence[Part],
    done: Sequence[dict[str, Any]], settings: dict[str, Any], digest: str,
) -> dict[str, Any]:  # fmt: skip
    splits: dict[str, Any] = {}
    for split in (TRAIN, VALIDATION):
        said = [(part, one) for part, one in zip(parts, done, strict=True) if part.split == split]
        shards = [
            one["shard"] | {"name": shard_file(Path(), split, part.number).name}
            for part, one in said
        ]
        sums = {
            name: sum(shard[name] for shard in shards)
            for name in ShardCounts._fields if name != "sha256"
        }  # fmt: skip
        splits[split] = sums | {"shards": shards, "counts": _add_counts([one for _, one in said])}
    sources = [
        {
            "files": [
                {"config": file.config, "name": file.path.name, "split": file.split,
                 "rows": file.rows, "sha256": file.sha256}
                for split in (TRAIN, VALIDATION) for file in files[split] if file.source == number
            ],
            "train": _source_counts(number, parts, done),
        }
        for number in range(len(recipe.data.sources))
    ]  # fmt: skip
    shards = [shard["sha256"] for split in splits.values() for shard in split["shards"]]
    return {
        "format": FORMAT,
        "plan": digest,
        "fingerprint": _sha256([settings, shards]),
        "settings": settings,
        "sources": sources,
        "splits": splits,
    }


def _source_counts(
    number: int, parts: Sequence[Part], done: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    mine = [
        one for part, one in zip(parts, done, strict=True)
        if part.file.source == number and part.split == TRAIN
    ]  # fmt: skip
    sums = {name: sum(one["shard"][name] for one in mine) for name in ("tokens", "labels")}
    return _add_counts(mine) | sums


def _add_counts(done: Sequence[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = dataclasses.asdict(Counts())
    for one in done:
        for name, value in one["counts"].items():
            total[name] = total[name] + value
    total["longest"] = total["longest"][:5]
    return total


def _refuse_losses(recipe: Recipe, manifest: dict[str, Any]) -> None:
    counts = manifest["splits"][TRAIN]["counts"]
    if not manifest["splits"][TRAIN]["rows"]:
        raise UsageError(f"No row is left to train on: {counts['dropped']} were too long.")
    share = counts["dropped"] / max(counts["read"], 1)
    if share > recipe.data.max_overlong_share:
        raise UsageError(
            f"{counts['dropped']} of {counts['read']} rows ({share:.1%}) do not fit "
            f"train.max_length {recipe.train.max_length}, for example "
            f"{', '.join(counts['longest'])}; data.max_overlong_share is "
            f"{recipe.data.max_overlong_share:g}. Raise train.max_length, set data.overlong to "
            "crop_sequence, or raise the share."
        )


def _complete(out: Path, manifest: dict[str, Any]) -> bool:
    return all(
        (out / s["name"]).is_file()
        for split in manifest["splits"].values()
        for s in split["shards"]
    )


def _claim(out: Path, digest: str) -> None:
    """Remove shards of other settings; those of a killed preparation with these stay."""
    mark = out / "plan.txt"
    if out.is_dir() and (not mark.is_file() or mark.read_text(encoding="utf-8") != digest):
        if any(out.iterdir()) and not mark.is_file():
            raise UsageError(f"{out} holds files that are no prepared data. Choose another folder.")
        shutil.rmtree(out)
    (out / MANIFEST).unlink(missing_ok=True)
    write_text(mark, digest)


def _sha256(said: Any) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
