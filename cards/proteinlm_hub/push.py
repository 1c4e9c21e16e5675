"""Publish a folder: one commit on the head that the plan saw, verified, tagged, visible last.

Whatever goes wrong on the way, the branch has the old files or the new ones. A lost reply or an
overloaded Hub means: compare again, and do what is missing.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from proteinlm_ext.errors import ProteinLMError
from proteinlm_hub.hub_errors import HubErrors, explain, is_transient, retry_after
from proteinlm_hub.push_plan import MAIN, Plan, describe, make_plan, renew_manifest
from proteinlm_hub.staging import Staged, check_staged, stage

TRIES = 6
LONGEST_WAIT = 32  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a command line asks for; `private` None leaves a repository that exists as it is."""

    folder: Path
    kind: str
    repo_id: str
    revision: str = MAIN
    create_pr: bool = False
    tag: str | None = None
    message: str | None = None
    private: bool | None = None
    allow_answers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What has passed every check: the staged files and the plan that was shown."""

    order: Order
    staged: Staged
    plan: Plan

    @property
    def message(self) -> str:
        """The title of the commit; by the content, so that a pull request is found again."""
        return self.order.message or f"{self.order.kind}: content {self.staged.digest[:12]}"

    @property
    def tag(self) -> str | None:
        """The tag to set: a release of main has one by its content, a card alone is none."""
        if self.order.create_pr or self.order.revision != MAIN or self.order.kind == "card":
            return self.order.tag
        return self.order.tag or f"content-{self.staged.digest[:12]}"

    @property
    def repo(self) -> dict[str, Any]:
        """The repository, as the arguments of the Hub's client."""
        return {"repo_id": self.order.repo_id, "repo_type": self.staged.repo_type}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Where it is. `commits` is how many were made for it: none if it was there already."""

    url: str
    commit: str
    commits: int
    tag: str | None = None
    private: bool


def prepare(api: HfApi, order: Order, work: Path) -> Ready:
    """Stage, scan, check and plan; nothing is sent but reads.

    Args:
        api: The Hub.
        order: What to publish, and where.
        work: An empty folder for the staged files.

    Raises:
        ProteinLMError: Something must not be published, the Hub refuses, or a tag would move.
    """
    staged = stage(order.folder, order.kind, work, order.repo_id)
    check_staged(staged, order.repo_id, allow_answers=order.allow_answers)
    try:
        plan = make_plan(api, staged, order.repo_id, order.revision)
        if order.kind == "card" and plan.head is not None:
            staged = renew_manifest(api, staged, order.repo_id, plan.head)
            plan = make_plan(api, staged, order.repo_id, order.revision)
    except HubErrors as error:
        raise explain(error, order.repo_id, api.endpoint) from error
    if order.create_pr and plan.head is None:
        raise ProteinLMError(f"{order.repo_id} is not there, so no pull request can be opened.")
    _refuse_moved_tag(order.tag, plan)
    return Ready(order=order, staged=staged, plan=plan)


def publish(
    api: HfApi,
    ready: Ready,
    *,
    say: Callable[[str], None] = lambda _: None,
    wait: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Bring the Hub to what is staged, however often that has to be tried.

    Args:
        api: The Hub.
        ready: Of `prepare`.
        say: Told of each failure that is tried again.
        wait: Takes seconds.

    Raises:
        ProteinLMError: Somebody else committed meanwhile, the Hub refuses, or fails for too long.
    """
    commits: list[str] = []
    for tried in range(1, TRIES + 1):
        try:
            return _attempt(api, ready, commits)
        except HubErrors as error:
            found = explain(error, ready.order.repo_id, api.endpoint)
            if not is_transient(error):
                raise found from error
            if tried == TRIES:
                raise ProteinLMError(
                    f"Given up after {TRIES} tries. {found} What was sent is kept; "
                    "the same command goes on from there."
                ) from error
            seconds = min(max(2.0 ** (tried - 1), retry_after(error)), LONGEST_WAIT)
            say(f"{found} Comparing again in {seconds:.0f} s.")
            wait(seconds)
    raise AssertionError("unreachable")


def describe_ready(ready: Ready, api: HfApi) -> str:
    """Return the plan as text."""
    order = ready.order
    where = f"{order.repo_id}, {order.revision}, on {api.endpoint}"
    return describe(ready.plan, ready.staged, where)


def _attempt(api: HfApi, ready: Ready, commits: list[str]) -> Outcome:
    """Do what is missing; every step is one that may have been done by an earlier attempt."""
    order, staged, repo = ready.order, ready.staged, ready.repo
    plan = make_plan(api, staged, order.repo_id, order.revision)
    _refuse_moved_tag(order.tag, plan)
    if plan.head is None:
        api.create_repo(**repo, private=True, exist_ok=True)
        plan = make_plan(api, staged, order.repo_id, order.revision)
    if order.private and not plan.private:
        api.update_repo_settings(**repo, private=True)
    if not plan.has_branch:
        api.create_branch(**repo, branch=order.revision, revision=plan.head, exist_ok=True)
    if plan.head is None:
        raise ProteinLMError(f"{order.repo_id} was created but cannot be read with this token.")
    commit, url = plan.head, f"{_page(api, ready)}/tree/{order.revision}"
    if not plan.is_empty and order.create_pr and (found := _find_pull_request(api, ready)):
        commit, url = found
    elif not plan.is_empty:
        _refuse_stale(ready.plan, plan)
        commit, url = _commit(api, ready, plan)
        commits.append(commit)
        _verify(api, ready, commit)
    tag = _set_tag(api, ready, plan, commit)
    private = bool(order.private or plan.private)
    if order.private is False and plan.private:
        api.update_repo_settings(**repo, private=False)
        private = False
    return Outcome(url=url, commit=commit, commits=len(commits), tag=tag, private=private)


def _page(api: HfApi, ready: Ready) -> str:
    kind = "datasets/" if ready.staged.repo_type == "dataset" else ""
    return f"{api.endpoint}/{kind}{ready.order.repo_id}"


def _commit(api: HfApi, ready: Ready, plan: Plan) -> tuple[str, str]:
    """Make the one commit; large files that the Hub has already are not sent again."""
    folder = ready.staged.folder
    operations: list[Any] = [
        CommitOperationAdd(name, str(folder / name)) for name in (*plan.added, *plan.changed)
    ]
    operations += [CommitOperationDelete(name) for name in plan.deleted]
    try:
        made = api.create_commit(
            ready.order.repo_id,
            repo_type=ready.staged.repo_type,
            operations=operations,
            commit_message=ready.message,
            revision=ready.order.revision,
            create_pr=ready.order.create_pr,
            parent_commit=plan.head,
        )
    except ValueError as error:  # a card or a large file that the Hub refuses
        raise ProteinLMError(f"The Hub refuses the commit: {error}") from error
    return made.oid, made.pr_url or f"{_page(api, ready)}/tree/{ready.order.revision}"


def _find_pull_request(api: HfApi, ready: Ready) -> tuple[str, str] | None:
    """Return commit and address of an open pull request that has this content already."""
    found = api.get_repo_discussions(
        **ready.repo, discussion_type="pull_request", discussion_status="open"
    )
    for request in found:
        if request.title == ready.message and request.git_reference is not None:
            plan = make_plan(api, ready.staged, ready.order.repo_id, request.git_reference)
            if plan.is_empty and plan.head is not None:
                return plan.head, f"{_page(api, ready)}/discussions/{request.num}"
    return None


def _refuse_stale(shown: Plan, plan: Plan) -> None:
    """Refuse a head other than that of the plan that was shown.

    After a commit of ours whose reply was lost, the plan is empty and does not come here. A
    repository that was just created has nothing that could be overwritten.
    """
    if plan.head != shown.head and (shown.head or plan.changed or plan.deleted):
        raise ProteinLMError(
            f"Somebody else committed meanwhile: the head was {shown.head}, now it is {plan.head}. "
            "Nothing was changed. Look at it, and push again."
        )


def _refuse_moved_tag(tag: str | None, plan: Plan) -> None:
    there = plan.tags.get(tag or "")
    if there and (there != plan.head or not plan.is_empty):
        raise ProteinLMError(
            f"The tag {tag} exists, at {there[:12]}, and a tag is never moved. Choose another."
        )


def _verify(api: HfApi, ready: Ready, commit: str) -> None:
    found = api.verify_repo_checksums(**ready.repo, revision=commit, local_dir=ready.staged.folder)
    wrong = [file["path"] for file in found.mismatches]
    if bad := sorted({*wrong, *found.extra_paths}):
        raise ProteinLMError(
            f"Commit {commit[:12]} does not hold what was sent: {', '.join(bad)}. It has no tag. "
            "A .gitignore in the repository makes the Hub drop files."
        )


def _set_tag(api: HfApi, ready: Ready, plan: Plan, commit: str) -> str | None:
    """Set the tag if it is not there; one by content that is elsewhere names the same files."""
    if ready.tag is not None and ready.tag not in plan.tags:
        api.create_tag(**ready.repo, tag=ready.tag, revision=commit)
    return ready.tag
