"""What a push would change: the staged files against those on the Hub, by their hashes."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.sha import git_hash

from proteinlm_ext.errors import ProteinLMError
from proteinlm_ext.paths import describe_file, hash_file
from proteinlm_hub.render import read_card
from proteinlm_hub.scan import allowed
from proteinlm_hub.staging import (
    MANIFEST,
    README,
    Staged,
    read_manifest,
    write_json,
)

MAIN = "main"
ATTRIBUTES = ".gitattributes"  # the Hub's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is added, changed, the same (sizes in bytes by path) and deleted.

    `head` is the commit compared with, None where there is no repository. `tags` has commits.
    """

    private: bool | None = None
    head: str | None = None
    has_branch: bool = True
    tags: Mapping[str, str]
    added: Mapping[str, int]
    changed: Mapping[str, int]
    same: Mapping[str, int]
    deleted: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the Hub has all of it already, and nothing else."""
        return not (self.added or self.changed or self.deleted)


def make_plan(api: HfApi, staged: Staged, repo_id: str, revision: str = MAIN) -> Plan:
    """Compare the staged files with a branch; a branch that is not there yet starts at main.

    Raises:
        HfHubHTTPError: The Hub refuses the token, or fails.
        ProteinLMError: The repository has another name now, or makes the Hub drop files.
    """
    repo: dict[str, Any] = {"repo_id": repo_id, "repo_type": staged.repo_type}
    has_branch = True
    try:
        info = api.repo_info(**repo, revision=revision)
    except RevisionNotFoundError:
        if revision == MAIN:
            raise
        info, has_branch = api.repo_info(**repo, revision=MAIN), False
    except RepositoryNotFoundError as error:
        if error.response.status_code != 404:  # a bad token, or conditions to be accepted
            raise
        return Plan(tags={}, added=staged.files, changed={}, same={})
    require_name(info.id, repo_id)
    tree = api.list_repo_tree(**repo, recursive=True, revision=info.sha)
    remote = {file.path: file for file in tree if isinstance(file, RepoFile)}
    if ignoring := [name for name in remote if Path(name).name == ".gitignore"]:
        raise ProteinLMError(
            f"{repo_id} has a {ignoring[0]}, by which the Hub drops files in silence: delete it."
        )
    found: dict[str, dict[str, int]] = {"added": {}, "changed": {}, "same": {}}
    for name, size in staged.files.items():
        there = remote.get(name)
        equal = there is not None and there.size == size and _is(staged, name, there)
        found["same" if equal else "changed" if there else "added"][name] = size
    gone = remote.keys() - staged.files.keys() - {ATTRIBUTES}
    if staged.kind == "card":  # touches nothing else
        gone = {name for name in gone if allowed(name, "card") and name != MANIFEST}
    refs = api.list_repo_refs(**repo).tags
    tags = {tag.ref.removeprefix("refs/tags/"): tag.target_commit for tag in refs}
    return Plan(
        private=info.private,
        head=info.sha,
        has_branch=has_branch,
        tags=tags,
        deleted=tuple(sorted(gone)),
        **found,
    )


def renew_manifest(api: HfApi, staged: Staged, repo_id: str, head: str) -> Staged:
    """Return a card together with the repository's manifest, which lists the card's files anew.

    Args:
        api: The Hub.
        staged: Of kind card.
        repo_id: The repository that the card is of.
        head: The commit that is built on.

    Raises:
        ProteinLMError: The card is of other data or weights than the repository has.
    """
    with tempfile.TemporaryDirectory() as work:
        try:
            api.hf_hub_download(
                repo_id, MANIFEST, repo_type=staged.repo_type, revision=head, local_dir=work
            )
        except EntryNotFoundError as error:
            raise ProteinLMError(
                f"{repo_id} has no {MANIFEST}, so nothing tells whether the card is of what it "
                "holds. Push the whole folder."
            ) from error
        manifest, sha256 = read_manifest(Path(work)), hash_file(Path(work) / MANIFEST)
    card, files = read_card(staged.folder), manifest["files"]
    of_others = [
        name
        for name, file in card.get("files", {}).items()
        if file["sha256"] != files.get(name, {}).get("sha256")
    ]
    if card.get("manifest_sha256", sha256) != sha256 or of_others:
        raise ProteinLMError(
            f"The card is not of what {repo_id} holds at {head[:12]}. Push the whole folder."
        )
    if README not in files:  # of a dataset: the card names the manifest, not the other way round
        return staged
    kept = {name: file for name, file in files.items() if not allowed(name, "card")}
    mine = {name: describe_file(staged.folder / name) for name in staged.files}
    path = staged.folder / MANIFEST
    write_json(path, {**manifest, "files": kept | mine})
    return replace(
        staged,
        files={**staged.files, MANIFEST: path.stat().st_size},
        hashes={**staged.hashes, MANIFEST: hash_file(path)},
    )


def require_name(now: str, repo_id: str) -> None:
    """Refuse a repository that was renamed: the Hub would send its old name there.

    Raises:
        ProteinLMError: It was.
    """
    if now != repo_id:
        raise ProteinLMError(f"{repo_id} is called {now} now. Use that name.")


def describe(plan: Plan, staged: Staged, where: str) -> str:
    """Return the plan as text, with sizes."""
    state = "there is none: it is created, private"
    if plan.head is not None:
        state = f"{'private' if plan.private else 'public'}, at {plan.head[:12]}"
    lines = [f"{staged.repo_type} {where} ({state})"]
    for config, splits in staged.rows_left_out.items():
        rows = ", ".join(f"{rows} of {split}" for split, rows in splits.items())
        lines.append(f"  rows left out for their licence: {config}: {rows}")
    for mark, files in (("+", plan.added), ("~", plan.changed)):
        lines += [f"  {mark} {name}  {size:,} bytes" for name, size in files.items()]
    lines += [f"  - {name}" for name in plan.deleted]
    sizes = [*plan.added.values(), *plan.changed.values()]
    lines.append(
        f"{len(plan.added)} added, {len(plan.changed)} changed, {len(plan.same)} the same, "
        f"{len(plan.deleted)} deleted; {sum(sizes):,} bytes to send"
    )
    return "\n".join(lines)


def _is(staged: Staged, name: str, there: RepoFile) -> bool:
    if there.lfs is not None:
        return staged.hashes[name] == there.lfs.sha256
    return git_hash((staged.folder / name).read_bytes()) == there.blob_id
