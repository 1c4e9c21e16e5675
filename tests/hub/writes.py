"""The endpoints that change something, or prepare a change."""

import base64
import hashlib
import json
from typing import Any

from hub.call import Call, Reply, reply_json
from hub.store import File, RefusedError, Repo, check_name, make_file


def validate_card(call: Call) -> Reply:
    """Check a card as the commit will."""
    faults = call.hub.check_card(call.json["content"])
    found = {"errors": [{"message": fault} for fault in faults], "warnings": []}
    return reply_json(found, 400 if faults else 200)


def create_repo(call: Call) -> Reply:
    """Make a repository, public unless asked otherwise as on the real Hub."""
    asked, user = call.json, call.user
    if user is None:
        raise RefusedError(401, "Log in to create a repository.")
    owner = asked.get("organization") or user
    name, kind = f"{owner}/{asked['name']}", asked.get("type") or "model"
    check_name(name)
    if not call.may_write(owner):
        raise RefusedError(403, f"You may not create a repository of {owner}.")
    url = f"{call.hub.endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}"
    if (kind, name) in call.hub.repos:
        return reply_json({"url": url, "error": "You already created this repository."}, 409)
    call.hub.create(kind, name, private=_is_private(asked) or False)
    return reply_json({"url": url, "name": name, "id": name})


def _is_private(asked: dict[str, Any]) -> bool | None:
    visibility = asked.get("visibility")
    return asked.get("private") if visibility is None else visibility == "private"


def change_settings(call: Call) -> Reply:
    """Set visibility and gate."""
    repo, private = call.own_repo, _is_private(call.json)
    repo.private = repo.private if private is None else private
    repo.gated = call.json.get("gated", repo.gated)
    return reply_json({"private": repo.private, "gated": repo.gated})


def plan_upload(call: Call) -> Reply:
    """Say which files go by LFS, which are ignored, and what is there of each."""
    repo = call.repo if "create_pr" in call.query else _writable(call)
    there = repo.at(call.revision).files
    found: list[dict[str, Any]] = []
    for file in call.json["files"]:
        path, sample = file["path"], base64.b64decode(file["sample"])
        large = repo.is_large(call.revision, path, file["size"], sample)
        known = there.get(path)
        oid = {"oid": known.sha256 if known.lfs else known.oid} if known else {}
        ignored = repo.is_ignored(call.revision, path, call.json.get("gitIgnore"))
        mode = "lfs" if large else "regular"
        found.append({"path": path, "uploadMode": mode, "shouldIgnore": ignored} | oid)
    return reply_json({"files": found})


def plan_storage(call: Call) -> Reply:
    """Say where large files go; those that are there need no upload."""
    repo = call.repo
    if call.user is None:
        raise RefusedError(401, "Log in to upload.")
    kind = call.kind if call.kind.endswith("s") else f"{call.kind}s"
    found: list[dict[str, Any]] = []
    for file in call.json["objects"]:
        place = f"{call.hub.storage}/storage/{kind}/{call.name}/{file['oid']}"
        verify = f"{call.hub.endpoint}/api/{kind}/{call.name}/lfs-verify"
        actions = {"upload": {"href": place, "header": {}}, "verify": {"href": verify}}
        found.append(file | ({} if file["oid"] in repo.uploaded else {"actions": actions}))
    return reply_json({"transfer": "basic", "objects": found})


def put_stored(call: Call) -> Reply:
    """Take a large file, if it is what it is said to be."""
    repo = call.stored_repo
    if hashlib.sha256(call.body).hexdigest() != call.path:
        raise RefusedError(400, "The bytes are not those of the sha256.")
    repo.uploaded[call.path] = call.body
    return Reply()


def verify_upload(call: Call) -> Reply:
    """Confirm that a large file has arrived whole."""
    asked, uploaded = call.json, call.repo.uploaded
    if len(uploaded.get(asked["oid"], b"")) != asked["size"]:
        raise RefusedError(404, f"{asked['oid']} was not uploaded.")
    return Reply()


def _writable(call: Call) -> Repo:
    """Find a repository for writing to a revision; a pull request is its author's."""
    number = call.revision.removeprefix("refs/pr/")
    if number != call.revision:
        request = call.repo.pull_requests.get(int(number))
        if request is not None and request.author == call.user:
            return call.repo
    return call.own_repo


def commit(call: Call) -> Reply:
    """Make one commit of all lines, on a branch or as a pull request."""
    as_request = "create_pr" in call.query
    repo = call.repo if as_request else _writable(call)
    user = call.user
    if user is None:
        raise RefusedError(401, "Log in to commit.")
    lines = [json.loads(line) for line in call.body.splitlines()]
    head = lines[0]["value"]
    if lines[0]["key"] != "header":
        raise RefusedError(400, "The first line is no header.")
    changes = _read_changes(repo, call.revision, lines[1:])
    ref, found = call.revision, dict[str, Any]()
    parent = head.get("parentCommit")
    if as_request:
        before = {**repo.refs}, {**repo.pull_requests}
        number = repo.open_pull_request(head["summary"], user)
        ref = f"refs/pr/{number}"
        kind = "datasets/" if call.kind == "datasets" else ""
        found["pullRequestUrl"] = f"{call.hub.endpoint}/{kind}{call.name}/discussions/{number}"
        try:
            oid = repo.commit(ref, changes, head["summary"], parent=parent)
        except RefusedError:
            repo.refs, repo.pull_requests = before
            raise
    else:
        oid = repo.commit(ref, changes, head["summary"], parent=parent)
    found |= {"commitOid": oid, "commitUrl": f"{call.hub.endpoint}/{call.name}/commit/{oid}"}
    return reply_json(found | {"success": True})


def _read_changes(repo: Repo, revision: str, lines: list[Any]) -> dict[str, File | None]:
    changes: dict[str, File | None] = {}
    for line in lines:
        key, value = line["key"], line["value"]
        path = value["path"]
        if path in changes:
            raise RefusedError(400, f"{path!r} is in the commit twice.")
        if key == "file":
            data = base64.b64decode(value["content"], validate=True)
            if repo.is_large(revision, path, len(data), data[:512]):
                raise RefusedError(400, f"{path!r} has to go by LFS.")
            changes[path] = make_file(data, lfs=False)
        elif key == "lfsFile":
            if len(repo.uploaded.get(value["oid"], b"")) != value["size"]:
                raise RefusedError(400, f"{value['oid']} was not uploaded to {repo.name}.")
            changes[path] = make_file(repo.uploaded[value["oid"]], lfs=True)
        elif key == "deletedFile":
            changes[path] = None
        elif key == "deletedFolder":
            prefix = path.rstrip("/") + "/"
            below = [name for name in repo.at(revision).files if name.startswith(prefix)]
            if not below:
                raise RefusedError(404, f"There is no folder {path!r} to delete.", "EntryNotFound")
            changes |= dict.fromkeys(below)
        else:
            raise RefusedError(400, f"{key!r} is no operation.")
    return changes


def create_branch(call: Call) -> Reply:
    """Make a branch at main, or where is asked for."""
    call.own_repo.create_branch(
        call.revision, json.loads(call.body or b"{}").get("startingPoint", "main")
    )
    return Reply()


def delete_branch(call: Call) -> Reply:
    """Delete a branch, not main."""
    if call.revision == "main" or call.own_repo.refs.pop(call.revision, None) is None:
        raise RefusedError(
            404, f"There is no branch {call.revision!r} to delete.", "RevisionNotFound"
        )
    return Reply()


def create_tag(call: Call) -> Reply:
    """Set a tag; none is ever moved or deleted."""
    call.own_repo.create_tag(call.json["tag"], call.revision)
    return Reply()


def open_discussion(call: Call) -> Reply:
    """Open a pull request without commits, as a draft."""
    if call.user is None:
        raise RefusedError(401, "Log in to open a pull request.")
    number = call.repo.open_pull_request(call.json["title"], call.user, "draft")
    return reply_json({"num": number})


def merge(call: Call) -> Reply:
    """Merge a pull request."""
    call.own_repo.merge(int(call.path))
    return Reply()
