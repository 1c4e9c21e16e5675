"""The endpoints that only read: repositories, trees, files, pull requests."""

import hashlib
import re
from typing import Any
from urllib.parse import parse_qs

from hub.call import DATE, Call, Reply, reply_json
from hub.store import File, PullRequest, RefusedError


def get_harnesses(_: Call) -> Reply:
    """List no coding agents; clients ask once a day to know what they run in."""
    return reply_json({"standardEnvVars": [], "harnesses": {}})


def who_am_i(call: Call) -> Reply:
    """Name the user and the organisations."""
    if call.user is None:
        raise RefusedError(401, "Invalid username or password.")
    orgs = [{"type": "org", "name": org, "id": org} for org in call.hub.users[call.user]]
    token = {"type": "access_token", "accessToken": {"role": "write", "displayName": "test"}}
    return reply_json(
        {"type": "user", "name": call.user, "id": call.user, "orgs": orgs, "auth": token}
    )


def get_info(call: Call) -> Reply:
    """Describe a repository."""
    repo, commit = call.repo, call.repo.at(call.revision)
    known = {"sha": commit.oid, "private": repo.private, "gated": repo.gated, "disabled": False}
    counts = {"downloads": 0, "likes": 0, "createdAt": DATE, "lastModified": DATE, "tags": []}
    siblings = [{"rfilename": path} for path in commit.files]
    names = {"id": repo.name, "_id": repo.name, "author": repo.name.split("/")[0]}
    return reply_json(names | known | counts | {"siblings": siblings})


def get_refs(call: Call) -> Reply:
    """List branches and tags, and pull requests if asked for."""
    repo = call.repo

    def named(prefix: str, refs: dict[str, str]) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": prefix + name, "targetCommit": oid} for name, oid in refs.items()
        ]

    requests = {name: oid for name, oid in repo.refs.items() if name.startswith("refs/pr/")}
    branches = {name: oid for name, oid in repo.refs.items() if name not in requests}
    found = {"branches": named("refs/heads/", branches), "converts": []}
    found |= {"tags": named("refs/tags/", repo.tags)}
    asked = "include_prs" in call.query
    return reply_json(found | ({"pullRequests": named("", requests)} if asked else {}))


def list_commits(call: Call) -> Reply:
    """List the history, newest first."""
    repo = call.repo
    found = [repo.history[oid] for oid in repo.commits(call.revision)]
    return reply_json(
        [
            {"id": at.oid, "title": at.title, "message": "", "authors": [], "date": DATE}
            for at in found
        ]
    )


def _entry(path: str, file: File) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "oid": file.oid, "size": len(file.data)}
    large = {"oid": file.sha256, "size": len(file.data), "pointerSize": 130}
    return entry | ({"lfs": large} if file.lfs else {})


def _entries(call: Call) -> dict[str, dict[str, Any]]:
    """Return files and folders by path; a folder is named after the files below it."""
    files = call.repo.at(call.revision).files
    found = {path: _entry(path, file) for path, file in files.items()}
    for path in files:
        for n in range(1, path.count("/") + 1):
            folder = "/".join(path.split("/")[:n])
            below = "".join(f.oid for p, f in files.items() if p.startswith(f"{folder}/"))
            oid = hashlib.sha1(below.encode(), usedforsecurity=False).hexdigest()
            found[folder] = {"type": "directory", "path": folder, "oid": oid, "size": 0}
    return dict(sorted(found.items()))


def get_tree(call: Call) -> Reply:
    """List a folder, with all below it if `recursive` is asked for."""
    entries = _entries(call)
    if call.path and entries.get(call.path, {}).get("type") != "directory":
        raise RefusedError(404, f"There is no folder {call.path!r}.", "EntryNotFound")
    prefix = f"{call.path}/" if call.path else ""
    deep = call.query.get("recursive", [""])[0].lower() in ("true", "1")
    found = [entry for path, entry in entries.items() if path.startswith(prefix)]
    return reply_json([e for e in found if deep or "/" not in e["path"].removeprefix(prefix)])


def get_paths_info(call: Call) -> Reply:
    """Describe the paths of a form, or of JSON; one that is not there is left out."""
    is_json = "json" in call.headers.get("content-type", "")
    paths = call.json["paths"] if is_json else parse_qs(call.body.decode()).get("paths", [])
    entries = _entries(call)
    return reply_json([entries[path] for path in paths if path in entries])


def get_file(call: Call) -> Reply:
    """Send a file or a range of it; a large one is at the storage."""
    commit = call.readable_repo.at(call.revision)
    if (file := commit.files.get(call.path)) is None:
        raise RefusedError(404, f"There is no file {call.path!r}.", "EntryNotFound")
    headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{file.oid}"'}
    if not file.lfs:
        return _send(call, file.data, headers)
    place = f"{call.hub.storage}/storage/{call.kind}/{call.name}/{file.sha256}"
    size = str(len(file.data))
    headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": size, "Location": place}
    return Reply(302, headers)


def _send(call: Call, data: bytes, headers: dict[str, str]) -> Reply:
    headers["Accept-Ranges"] = "bytes"
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers.get("range", ""))
    if asked is None:
        return Reply(headers=headers, body=data)
    start, size = int(asked[1]), len(data)
    part = data[start : int(asked[2] or size) + 1]
    given = f"{start}-{start + len(part) - 1}" if part else "*"
    headers["Content-Range"] = f"bytes {given}/{size}"
    return Reply(206 if part else 416, headers, part)


def get_stored(call: Call) -> Reply:
    """Send a large file."""
    repo, sha256 = call.stored_repo, call.path
    if sha256 not in repo.uploaded:
        found = [f for at in repo.history.values() for f in at.files.values()]
        data = next(file.data for file in found if file.sha256 == sha256)
    else:
        data = repo.uploaded[sha256]
    return _send(call, data, {"ETag": f'"{sha256}"'})


def list_discussions(call: Call) -> Reply:
    """List the pull requests."""
    found = [_describe(call, *numbered) for numbered in call.repo.pull_requests.items()]
    wanted = call.query.get("status", ["all"])[0]
    found = [one for one in found if wanted in ("all", one["status"])]
    return reply_json({"discussions": found, "count": len(found), "start": 0})


def get_discussion(call: Call) -> Reply:
    """Describe a pull request."""
    number = int(call.path)
    found = _describe(call, number, call.repo.pull_requests[number])
    return reply_json(
        found | {"changes": {"base": "refs/heads/main"}, "filesWithConflicts": [], "events": []}
    )


def _describe(call: Call, number: int, request: PullRequest) -> dict[str, Any]:
    repo = {"name": call.name, "type": call.kind.removesuffix("s")}
    who = {"author": {"name": request.author}, "createdAt": DATE, "isPullRequest": True}
    return who | {"num": number, "title": request.title, "status": request.status, "repo": repo}
