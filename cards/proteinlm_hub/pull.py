"""Fetch what `proteinlm push` published, and verify every file against its manifest."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from proteinlm_ext.errors import ProteinLMError
from proteinlm_ext.paths import hash_file
from proteinlm_hub.base_licences import check_repo_name
from proteinlm_hub.hub_errors import HubErrors, explain
from proteinlm_hub.push_plan import ATTRIBUTES, require_name
from proteinlm_hub.render import CARD, check_folder, read_card
from proteinlm_hub.staging import MANIFEST, README, read_listed


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
    if faults := check_repo_name(repo_id, (), ""):
        raise ProteinLMError(faults[0])
    if out.is_symlink() or out.resolve() == Path.cwd():
        raise ProteinLMError(f"{out} is a link, or the folder that you are in. Choose another.")
    repo: dict[str, Any] = {"repo_id": repo_id, "repo_type": kind}
    try:
        info = api.repo_info(**repo, revision=revision)
        require_name(info.id, repo_id)
        commit = str(info.sha)
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
            notes = made / ".cache"  # the client's own
            shutil.rmtree(notes / "huggingface", ignore_errors=True)
            if notes.is_dir() and not any(notes.iterdir()):
                notes.rmdir()
            try:
                files, size = verify(made)
            except ProteinLMError as error:  # its folder is gone in a moment
                raise ProteinLMError(f"{repo_id}: {str(error).replace(f'{made}/', '')}") from error
            made.replace(out)
    except HubErrors as error:
        raise explain(error, repo_id, api.endpoint) from error
    except OSError as error:
        raise ProteinLMError(f"{out} cannot be written: {error}") from error
    return Pulled(commit=commit, files=files, size=size)


def verify(folder: Path) -> tuple[int, int]:
    """Compare a folder with its manifest; return the number of files and their bytes.

    The card of a dataset names the manifest, so the manifest cannot list the card: it has to be
    what its card.json makes, and that has to be of this manifest.

    Raises:
        ProteinLMError: There is no manifest, or files are missing, changed or not in it.
    """
    listed = read_listed(folder)
    found = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    cards = {README, CARD} - listed.keys()
    extra = found.keys() - listed.keys() - {MANIFEST, *cards}
    changed = [
        name
        for name, said in listed.items()
        if name in found and hash_file(found[name]) != said["sha256"]
    ]
    faults = {"missing": listed.keys() - found.keys(), "changed": changed, "not listed": extra}
    said = [f"{what}: {', '.join(sorted(names))}" for what, names in faults.items() if names]
    if not said and cards:
        said = check_folder(folder)
        if read_card(folder).get("manifest_sha256") != hash_file(folder / MANIFEST):
            said.append(f"the card is not of this {MANIFEST}")
    if said or not listed:
        raise ProteinLMError(f"It is not what {MANIFEST} lists. {'; '.join(said) or 'No file is'}")
    return len(listed), sum(found[name].stat().st_size for name in listed)


def _require_same(api: HfApi, repo: dict[str, Any], commit: str, out: Path) -> None:
    if out.is_dir():
        found = api.verify_repo_checksums(**repo, revision=commit, local_dir=out)
        missing = set(found.missing_paths) - {ATTRIBUTES}
        if not (found.mismatches or found.extra_paths or missing):
            return
    raise ProteinLMError(f"{out} holds other files than {commit[:12]}. Choose another folder.")
