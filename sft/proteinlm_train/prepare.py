"""`prepare`: the sources of a recipe as packed shards of tokens, with a fingerprint.

Every row is drawn, spelled, tokenised and packed here, once; training maps the result. A killed
preparation goes on where it stood; the bytes do not depend on the number of workers.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.paths import hash_json, write_text
from proteinlm_sft.workers import run_tasks
from proteinlm_train.base_model import load_tokenizer, locate, tokenizer_hashes
from proteinlm_train.parts import TRAIN, VALIDATION, Part, find_files, make_parts
from proteinlm_train.recipe import Model, Recipe
from proteinlm_train.rows import RowFile, read_rows, to_conversation
from proteinlm_train.shards import ShardCounts, shard_file, write_shard
from proteinlm_train.tokens import Counts, Document, Tokenizing

FORMAT = 2
MANIFEST = "prepared.json"
_BATCH = 512


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


def prepared_folder(recipe: Recipe) -> Path:
    """Return where a recipe's prepared data lie."""
    return Path(recipe.run.output_dir) / "prepared"


def prepare(
    recipe: Recipe, out: Path, workers: int = 1, *, replace: bool = False
) -> dict[str, Any]:
    """Make the shards of a recipe in `out`, or find them there, and return their manifest.

    Args:
        recipe: The recipe.
        out: Their folder.
        workers: Processes.
        replace: Other shards, which a run was trained on, may be replaced.

    Raises:
        UsageError: A source or the model is missing, too many rows are too long, or `out` holds
            the data of a run and may not be replaced.
        ProteinLMError: A row cannot be used.
    """
    tokenizer = load_tokenizer(recipe.model, locate(recipe.model), chat=recipe.stage == "sft")
    files = find_files(recipe)
    parts = make_parts(recipe, files)
    settings = _settings(recipe, files, tokenizer)
    digest = hash_json(settings)
    known = read_manifest(out)
    if known and known["plan"] == digest and _complete(out, known):
        _refuse_losses(recipe, known)
        return known
    _claim(out, digest, _changed(known, settings), replace=replace)
    jobs = [
        Job(
            model=recipe.model, stage=recipe.stage, residues=recipe.data.residues,
            overlong=recipe.data.overlong, max_length=recipe.train.max_length,
            packing=recipe.packing, out=out, part=part,
        )
        for part in parts
    ]  # fmt: skip
    if workers > 1:
        # Workers tokenise side by side; threads inside each would only wait for each other.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
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
        tokenizer=_tokenizer(job.model.model_dump_json(), job.stage),
        residues=job.residues,
        overlong=job.overlong,
        limit=None if splits else job.max_length,
    )
    form = job.part.file.format
    documents: list[Document] = []
    copies: list[int] = []
    rows = zip(read_rows(job.part.file, job.part.rows), job.part.copies, strict=True)
    while batch := list(islice(rows, _BATCH)):
        if form == "text":
            texts = [(str(row["id"]), row["text"]) for row, _ in batch]
            done = tokenizing.texts(texts, counts)
        else:
            chats = [(str(row["id"]), *to_conversation(row, form)) for row, _ in batch]
            done = tokenizing.conversations(chats, counts)
        for document, (_, times) in zip(done, batch, strict=True):
            if document is not None:
                documents.append(document)
                copies.append(times)
    return documents, copies


@cache
def _tokenizer(section: str, stage: str) -> Any:
    model = Model.model_validate_json(section)
    return load_tokenizer(model, locate(model), chat=stage == "sft")


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
            split: [[file.source, file.config, file.rows, file.sha256] for file in found]
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
        "fingerprint": hash_json([settings, shards]),
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


def _changed(known: dict[str, Any] | None, settings: dict[str, Any]) -> str:
    """Say what is not as it was prepared, in the words of a recipe."""
    words = {"files": "the files of data.sources", "tokenizer": "the tokenizer or chat template"}
    if known is None:
        return "the recipe, its sources or the tokenizer"
    before = known["settings"]
    return ", ".join(words.get(key, key) for key in settings if before.get(key) != settings[key])


def _claim(out: Path, digest: str, changed: str, *, replace: bool) -> None:
    """Remove shards of other settings; those of a killed preparation with these stay."""
    mark = out / "plan.txt"
    if out.is_dir() and (not mark.is_file() or mark.read_text(encoding="utf-8") != digest):
        if any(out.iterdir()) and not mark.is_file():
            raise UsageError(f"{out} holds files that are no prepared data. Choose another folder.")
        if (out.parent / "training_run.json").is_file() and not replace:
            raise UsageError(
                f"{out} holds the data of a run that began with something else: {changed}. Give "
                "another run.output_dir, or go on all the same with --force-resume, which the "
                "record will say."
            )
        shutil.rmtree(out)
    (out / MANIFEST).unlink(missing_ok=True)
    write_text(mark, digest)
