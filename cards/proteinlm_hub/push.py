"""Publish a folder: one commit on the head that the plan saw, verified, tagged, visible last.

Whatever goes wrong on the way, the branch has the old files or the new ones. A lost reply or an
overloaded Hub means: compare again, and do what is missing.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from proteinlm_ext.errors import ProteinLMError
from proteinlm_hub.base_licences import check_repo_name
from proteinlm_hub.hub_errors import HubErrors, explain, is_transient, retry_after
from proteinlm_hub.push_plan import MAIN, Plan, describe, make_plan, renew_manifest
from proteinlm_hub.staging import Staged, check_staged, stage

TRIES = 6
LONGEST_WAIT = 300  # seconds: the window of the Hub's rate limit
_REF = re.compile(r"(?!.*\.\.)[\w-][\w.-]*(/[\w-][\w.-]*)*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


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
    _check_names(order)
    try:
        staged = stage(order.folder, order.kind, work, order.repo_id)
        check_staged(staged, order.repo_id, allow_answers=order.allow_answers)
    except ProteinLMError as error:
        raise ProteinLMError(str(error).replace(str(work), str(order.folder))) from error
    try:
        plan = make_plan(api, staged, order.repo_id, order.revision)
        if plan.head is None and (order.create_pr or order.kind == "card"):
            raise ProteinLMError(f"There is no {staged.repo_type} {order.repo_id} to change.")
        if order.kind == "card" and plan.head is not None:
            staged = renew_manifest(api, staged, order.repo_id, plan.head)
            plan = make_plan(api, staged, order.repo_id, order.revision)
    except HubErrors as error:
        raise explain(error, order.repo_id, api.endpoint) from error
    _refuse_moved_tag(order.tag, plan)
    if order.revision in plan.tags:
        raise ProteinLMError(f"{order.revision} is a tag, which is never moved; name a branch.")
    return Ready(order=order, staged=staged, plan=plan)


def _check_names(order: Order) -> None:
    if faults := check_repo_name(order.repo_id, (), ""):
        raise ProteinLMError(faults[0])
    for what, name in (("branch", order.revision), ("tag", order.tag)):
        if name is not None and (not _REF.fullmatch(name) or _COMMIT.fullmatch(name)):
            raise ProteinLMError(f"{name!r} is no name for a {what}.")
    if order.tag in (MAIN, order.revision):
        raise ProteinLMError(f"{order.tag} is a branch; a tag needs another name.")


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
    sent: list[str] = []
    for tried in range(1, TRIES + 1):
        try:
            return _attempt(api, ready, sent)
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
    order, plan = ready.order, ready.plan
    lines = [describe(plan, ready.staged, f"{order.repo_id}, {order.revision}, on {api.endpoint}")]
    if ready.tag is not None and ready.tag not in plan.tags:
        lines.append(f"then the tag {ready.tag}")
    if order.private is False and plan.private is not False:
        lines.append("then it becomes public, with every commit that it has")
    if order.private and plan.private is False:
        lines.append("before that it becomes private")
    return "\n".join(lines)


def _attempt(api: HfApi, ready: Ready, sent: list[str]) -> Outcome:
    """Do what is missing; every step is one that may have been done by an earlier attempt.

    `sent` gets the head that each commit was sent for.
    """
    order, staged, repo = ready.order, ready.staged, ready.repo
    plan = make_plan(api, staged, order.repo_id, order.revision)
    if plan.head is None:
        api.create_repo(**repo, private=True, exist_ok=True)
        plan = make_plan(api, staged, order.repo_id, order.revision)
    if plan.head is None:
        raise ProteinLMError(f"{order.repo_id} was created but cannot be read with this token.")
    _refuse_stale(ready, plan)
    _refuse_moved_tag(order.tag, plan)
    if order.private and not plan.private:
        api.update_repo_settings(**repo, private=True)
    if not plan.has_branch:
        api.create_branch(**repo, branch=order.revision, revision=plan.head, exist_ok=True)
    commit, pull_request = plan.head, None
    if not plan.is_empty and order.create_pr and (found := _find_pull_request(api, ready)):
        commit, pull_request = found
    elif not plan.is_empty:
        sent.append(plan.head)
        commit, pull_request = _commit(api, ready, plan)
        _verify(api, ready, commit)
    tag = _set_tag(api, ready, plan, commit)
    private = bool(order.private or plan.private)
    if order.private is False and plan.private:
        api.update_repo_settings(**repo, private=False)
        private = False
    url = pull_request or f"{_page(api, ready)}/tree/{order.revision}"
    return Outcome(url=url, commit=commit, commits=int(bool(sent)), tag=tag, private=private)


def _page(api: HfApi, ready: Ready) -> str:
    kind = "datasets/" if ready.staged.repo_type == "dataset" else ""
    return f"{api.endpoint}/{kind}{ready.order.repo_id}"


def _commit(api: HfApi, ready: Ready, plan: Plan) -> tuple[str, str | None]:
    """Make the one commit; large files that the Hub has already are not sent again.

    Returns:
        The commit, and the address of a pull request.
    """
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
    except JSONDecodeError:
        raise
    except ValueError as error:  # a card or a large file that the Hub refuses
        raise ProteinLMError(f"The Hub refuses the commit: {error}") from error
    return made.oid, made.pr_url


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


def _refuse_stale(ready: Ready, plan: Plan) -> None:
    """Refuse a head, or a visibility, other than that of the plan that was shown.

    After a commit of ours whose reply was lost, the plan is empty. A repository that was just
    created has nothing that could be overwritten.
    """
    shown, order = ready.plan, ready.order
    moved = plan.head != shown.head and (shown.head or plan.changed or plan.deleted)
    if moved and not plan.is_empty:
        raise ProteinLMError(
            f"Somebody else committed meanwhile: the head was {shown.head}, now it is {plan.head}. "
            "Look at it, and push again."
        )
    if shown.private is not False and not plan.private and order.private is not False:
        raise ProteinLMError(
            f"{order.repo_id} is public meanwhile. Push again if that is meant to be."
        )


def _refuse_moved_tag(tag: str | None, plan: Plan) -> None:
    there = plan.tags.get(tag or "")
    if there and (there != plan.head or not plan.is_empty):
        raise ProteinLMError(
            f"The tag {tag} exists, at {there[:12]}, and a tag is never moved. Choose another."
        )


def _verify(api: HfApi, ready: Ready, commit: str) -> None:
    there = make_plan(api, ready.staged, ready.order.repo_id, commit)
    if bad := sorted({*there.added, *there.changed, *there.deleted}):
        raise ProteinLMError(
            f"Commit {commit[:12]} does not hold what was sent: {', '.join(bad)}. It has no tag, "
            "and nothing was made public. Push again to repair it."
        )


def _set_tag(api: HfApi, ready: Ready, plan: Plan, commit: str) -> str | None:
    """Set the tag if it is not there; one by content that is elsewhere has to hold that."""
    tag = ready.tag
    if tag is None or plan.tags.get(tag) == commit:
        return tag
    if tag not in plan.tags:
        api.create_tag(**ready.repo, tag=tag, revision=commit)
    elif not make_plan(api, ready.staged, ready.order.repo_id, tag).is_empty:
        raise ProteinLMError(
            f"The tag {tag} is there and holds other files. Choose one with --tag."
        )
    return tag
