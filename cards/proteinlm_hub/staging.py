"""A clean folder of what is to be published: files of the allow-list, rows that may be passed on.

Nothing is taken because it happens to lie there, and what lies there beside is refused: a folder
with a stray `.env` or pickle in it is not what somebody meant to publish. Links are not followed.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow.compute
import pyarrow.parquet

from proteinlm_ext.errors import ProteinLMError
from proteinlm_ext.paths import describe_file, hash_file, hash_json
from proteinlm_hub import dataset_card
from proteinlm_hub.base_licences import check_repo_name
from proteinlm_hub.front_matter import read_front_matter, stated_licence
from proteinlm_hub.metadata import require_valid
from proteinlm_hub.render import CARD, PULL_REQUEST, check_folder, read_card, write_card
from proteinlm_hub.scan import allowed, require_clean
from proteinlm_hub.scan_rows import RIGHTS, free_rows

MANIFEST, README = "manifest.json", "README.md"
LICENCE_REASON = "not_redistributable"  # as a reason beside those of a build
_pa, _pc, _pq = (cast("Any", m) for m in (pyarrow, pyarrow.compute, pyarrow.parquet))
_NO_TABLE: tuple[type[Exception], ...] = (_pa.ArrowException,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What is to be published, and how many rows of the source are not.

    `files` has the size in bytes by path and `hashes` the sha256, `rows_left_out` rows by
    configuration and split.
    """

    folder: Path
    kind: str
    repo_type: str
    files: Mapping[str, int]
    hashes: Mapping[str, str]
    rows_left_out: Mapping[str, Mapping[str, int]]
    digest: str


def stage(folder: Path, kind: str, out: Path, repo_id: str | None = None) -> Staged:
    """Copy what may be published into a new folder, with its card and manifest.

    Args:
        folder: A built dataset, a model with its card, an overlay, or a folder with a card.
        kind: dataset, model, overlay or card.
        out: Made here.
        repo_id: Where it is published, for the card of a dataset.

    Raises:
        ProteinLMError: A file is missing, a link, not what the manifest says, or not of those that
            are published.
    """
    found = sorted(_walk(folder))
    for name in found:
        if (folder / name).is_symlink() or not (folder / name).is_file():
            what = "link, which is not followed" if (folder / name).is_symlink() else "special file"
            raise ProteinLMError(f"{folder / name} is a {what}. Put the file itself there.")
    _require_kind(folder, kind, found)
    chosen = _choose(folder, kind, found)
    if kind != "card":
        _refuse_others(folder, kind, set(found) - {*chosen, README, CARD, MANIFEST})
    try:
        for name in chosen:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, out / name)
        dropped = _finish(out, kind, repo_id)
    except OSError as error:
        raise ProteinLMError(f"{folder} cannot be copied: {error}") from error
    except (KeyError, TypeError, *_NO_TABLE) as error:
        raise ProteinLMError(
            f"{folder} is not as `proteinlm data` made it: {type(error).__name__}: {error}"
        ) from error
    files = {name: (out / name).stat().st_size for name in sorted(_walk(out))}
    hashes = {name: hash_file(out / name) for name in files}
    return Staged(
        folder=out,
        kind=kind,
        repo_type="model" if read_card(out).get("kind") == "model" else "dataset",
        files=files,
        hashes=hashes,
        rows_left_out=dropped,
        digest=hash_json(hashes),
    )


def _finish(out: Path, kind: str, repo_id: str | None) -> dict[str, dict[str, int]]:
    """Take out rows that may not be passed on, and write what says of the rest."""
    if kind == "model":
        files = {name: describe_file(out / name) for name in sorted(_walk(out))}
        write_json(out / MANIFEST, {"format": 1, "files": files})
    if kind != "dataset":
        return {}
    dropped = _keep_free_rows(out)
    write_card(out, dataset_card.collect(out, repo=repo_id))
    return dropped


def check_staged(staged: Staged, repo_id: str, *, allow_answers: bool = False) -> None:
    """Refuse what must not be published: secrets, wrong metadata, a card that is not its card.json.

    Raises:
        ProteinLMError: All that is wrong of the first kind found.
    """
    require_clean(staged.folder, staged.kind, allow_answers=allow_answers)
    if faults := [*check_folder(staged.folder), *_other_files(staged)]:
        raise ProteinLMError("\n  ".join(faults))
    require_valid(staged.folder, staged.kind)
    said = str(read_card(staged.folder).get("repo") or "")
    if "/" in said and said != repo_id:
        raise ProteinLMError(
            f"The card is of {said}: `proteinlm card model --repo {repo_id}` makes it again."
        )
    front, _ = read_front_matter((staged.folder / README).read_text(encoding="utf-8"))
    if faults := check_repo_name(repo_id, front.get("base_model", ()), stated_licence(front)):
        raise ProteinLMError("\n  ".join(faults))


def _other_files(staged: Staged) -> list[str]:
    """Return the files of which the card has another sha256, or which it lacks."""
    if staged.kind != "model":  # a card alone is compared with what the repository has
        return []
    listed = read_card(staged.folder)["files"]
    there = {name for name in staged.files if name != MANIFEST and not allowed(name, "card")}
    return [
        f"{name} is not the file that {CARD} lists: `proteinlm card` makes the card again"
        for name in sorted(listed.keys() | there)
        if name not in listed or staged.hashes.get(name) != listed[name]["sha256"]
    ]


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a folder's manifest.json; `files` of it has the sha256 of each by its path.

    Raises:
        ProteinLMError: There is none, or it is none.
    """
    try:
        said = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = [*said["files"].values(), *said.get("lists", {}).values()]
        if any(not isinstance(file["sha256"], str) for file in files):
            raise ValueError("a file has no sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProteinLMError(f"{folder / MANIFEST} is missing or no manifest: {error!r}") from error
    return said


def read_listed(folder: Path) -> dict[str, Any]:
    """Return what a manifest says of each file: the shards, or all of a model, and lists of ids.

    Raises:
        ProteinLMError: As `read_manifest`.
    """
    manifest = read_manifest(folder)
    return {**manifest["files"], **manifest.get("lists", {})}


def write_json(path: Path, data: Any) -> None:
    """Write a manifest as all of them are written: the same data gives the same bytes."""
    text = json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def _require_kind(folder: Path, kind: str, found: list[str]) -> None:
    """Refuse a folder of another kind, which its card tells."""
    wanted = {"dataset": "dataset", "overlay": "benchmark", "model": "model"}.get(kind)
    said = read_card(folder).get("kind") if wanted and CARD in found else wanted
    if said != wanted:
        raise ProteinLMError(f"{folder} holds a {said}, by its {CARD}, and no {wanted}.")


def _walk(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        raise ProteinLMError(f"{folder} is no folder.")
    for path in folder.rglob("*"):  # does not enter links to folders
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()


def _choose(folder: Path, kind: str, found: list[str]) -> list[str]:
    """Return the paths to take; those that a manifest lists have to be there, and its bytes."""
    needed = {"dataset": [MANIFEST], "overlay": [MANIFEST]}.get(kind, [README, CARD])
    if missing := [name for name in needed if name not in found]:
        made_by = "`proteinlm data build` or `card benchmark`" if MANIFEST in needed else "card"
        raise ProteinLMError(f"{folder} has no {missing[0]}, which {made_by} writes.")
    if kind not in ("dataset", "overlay"):
        chosen = [name for name in found if allowed(name, kind) and name != MANIFEST]
        _require_one_model(folder, chosen, kind)
        return chosen
    listed = read_listed(folder)
    for name, said in listed.items():
        if name not in found or hash_file(folder / name) != said["sha256"]:
            raise ProteinLMError(f"{folder / name} is not the file of {MANIFEST}: make it again.")
    return [*listed, MANIFEST]


def _refuse_others(folder: Path, kind: str, others: set[str]) -> None:
    """Refuse files that are not published; what is in them is said if it matters."""
    if others := {name for name in others if not name.startswith(f"{PULL_REQUEST}/")}:
        known = {name for name in _walk(folder) if name not in others}
        require_clean(folder, kind, skip=known)
        raise ProteinLMError(
            f"{folder} holds files that are not published: {', '.join(sorted(others)[:5])}. "
            f"{MANIFEST} does not list them: take them out."
        )


def _require_one_model(folder: Path, chosen: list[str], kind: str) -> None:
    weights = [name for name in chosen if name.endswith(".safetensors")]
    if kind == "model" and not weights:
        raise ProteinLMError(f"{folder} has no .safetensors: no weights that can be published.")
    adapters = [name for name in weights if Path(name).name.startswith("adapter_")]
    if adapters and adapters != weights:
        raise ProteinLMError(
            f"{folder} has an adapter and a whole model. Each goes into a repository of its own."
        )


def _keep_free_rows(out: Path) -> dict[str, dict[str, int]]:
    """Take out the rows that may not be passed on, from files and manifest; return how many."""
    manifest = read_manifest(out)
    dropped: dict[str, Counter[str]] = {}
    for name in sorted(manifest["files"]):
        config, split = name.split("/")[0], re.split("[-.]", Path(name).name)[0]
        if not (rows := _filter_file(out / name)):
            continue
        dropped.setdefault(config, Counter())[split] += rows
        file = manifest["files"].pop(name)
        if rows < file["rows"]:
            record = {"rows": file["rows"] - rows, **describe_file(out / name)}
            manifest["files"][name] = record
        else:
            (out / name).unlink()
    if not dropped:
        return {}
    for config, splits in dropped.items():
        said = manifest["configs"][config]
        for split, rows in splits.items():
            said["kept"][split] -= rows
        said["kept"] = {split: rows for split, rows in said["kept"].items() if rows}
        said["left_out"][LICENCE_REASON] = dict(splits)
        if not said["kept"]:
            del manifest["configs"][config]
    manifest["left_out_for_licence"] = found = {name: dict(of) for name, of in dropped.items()}
    write_json(out / MANIFEST, manifest)
    return found


def _filter_file(path: Path) -> int:
    """Rewrite a Parquet file without rows that may not be passed on; return how many those were."""
    source = _pq.ParquetFile(path)
    rights = [name for name in RIGHTS if name in source.schema_arrow.names]
    masks = [free_rows(source.read_row_group(n, rights)) for n in range(source.num_row_groups)]
    kept = sum(_pc.sum(mask).as_py() or 0 for mask in masks)
    if kept == source.metadata.num_rows:
        return 0
    # A dictionary would keep the values of rows that are taken out.
    schema = source.schema_arrow
    for n, field in enumerate(schema):
        if _pa.types.is_dictionary(field.type):
            schema = schema.set(n, field.with_type(field.type.value_type))
    temporary = path.with_suffix(".part")
    with _pq.ParquetWriter(temporary, schema, compression="zstd") as out:
        for n, mask in enumerate(masks):
            if len(part := source.read_row_group(n).filter(mask)):
                out.write_table(part.cast(schema))
    temporary.replace(path)
    return source.metadata.num_rows - kept
