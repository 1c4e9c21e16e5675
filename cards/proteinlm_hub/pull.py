"""Fetch what `proteinlm push` published, and verify every file against its manifest."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from proteinlm_ext.errors import ProteinLMError
from proteinlm_hub.hub_errors import HubErrors, explain
from proteinlm_hub.push_plan import ATTRIBUTES
from proteinlm_hub.render import CARD
from proteinlm_hub.staging import MANIFEST, README, hash_file, read_listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What was fetched: the commit, and how many files and bytes the manifest vouches for."""

    commit: str
    files: int
    size: int
    was_there: bool = False


def pull(api: HfApi, kind: str, repo_id: str, out: Path, revision: str | None = None) -> Pulled:
    """Fetch a revision into a folder; it is there whole and verified, or not at all.

    Args:
        api: The Hub.
        kind: dataset or model.
        repo_id: OWNER/NAME.
        out: A new or empty folder, or one with the same files.
        revision: A branch, a tag or a commit; main by default.

    Raises:
        ProteinLMError: The Hub refuses, the folder holds other files, or a file is not that of the
            manifest.
    """
    repo: dict[str, Any] = {"repo_id": repo_id, "repo_type": kind}
    try:
        commit = str(api.repo_info(**repo, revision=revision).sha)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            _require_same(api, repo, commit, out)
            files, size = verify(out)
            return Pulled(commit=commit, files=files, size=size, was_there=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as work:
            made = Path(work) / "fetched"
            api.snapshot_download(
                **repo, revision=commit, local_dir=made, ignore_patterns=[ATTRIBUTES]
            )
            shutil.rmtree(made / ".cache", ignore_errors=True)  # the client's own notes
            files, size = verify(made)
            made.replace(out)
    except HubErrors as error:
        raise explain(error, repo_id, api.endpoint) from error
    return Pulled(commit=commit, files=files, size=size)


def verify(folder: Path) -> tuple[int, int]:
    """Compare a folder with its manifest; return the number of files and their bytes.

    Raises:
        ProteinLMError: There is no manifest, or files are missing, changed or not in it.
    """
    listed = read_listed(folder)
    found = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    # The card of a dataset names the manifest, so the manifest cannot list the card.
    extra = found.keys() - listed.keys() - {MANIFEST, README, CARD}
    changed = [
        name
        for name, said in listed.items()
        if name in found and hash_file(found[name]) != said["sha256"]
    ]
    faults = {"missing": listed.keys() - found.keys(), "changed": changed, "not listed": extra}
    if said := [f"{what}: {', '.join(sorted(names))}" for what, names in faults.items() if names]:
        raise ProteinLMError(f"{folder} is not what {MANIFEST} lists. {'; '.join(said)}")
    return len(listed), sum(found[name].stat().st_size for name in listed)


def _require_same(api: HfApi, repo: dict[str, Any], commit: str, out: Path) -> None:
    if out.is_dir():
        found = api.verify_repo_checksums(**repo, revision=commit, local_dir=out)
        missing = set(found.missing_paths) - {ATTRIBUTES}
        if not (found.mismatches or found.extra_paths or missing):
            return
    raise ProteinLMError(f"{out} holds other files than {commit[:12]}. Choose another folder.")
