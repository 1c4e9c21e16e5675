"""Repositories in memory: commits named after their content, branches, tags, pull requests.

Stricter than the clients are: whatever a Hub could let pass silently is refused here.
"""

import fnmatch
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

ATTRIBUTES = "".join(
    f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n"
    for suffix in ("arrow", "bin", "gguf", "gz", "npz", "parquet", "pt", "safetensors", "zip")
)
LARGEST_REGULAR = 10_000_000  # bytes; what is larger goes by LFS whatever its name
TOKEN = re.compile(rb"\bhf_[A-Za-z]{34}\b")
PART = r"[A-Za-z0-9](?:[\w.-]{0,94}[\w])?"


class RefusedError(Exception):
    """An answer other than success; the clients choose their exceptions by `code`."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True, slots=True)
class File:
    """A file's bytes, its sha256, git's name for it (of the pointer, by LFS)."""

    data: bytes
    sha256: str
    oid: str
    lfs: bool


def make_file(data: bytes, *, lfs: bool) -> File:
    """Hash as git and git-lfs do."""
    sha256 = hashlib.sha256(data).hexdigest()
    stored = data
    if lfs:
        head = "version https://git-lfs.github.com/spec/v1"
        stored = f"{head}\noid sha256:{sha256}\nsize {len(data)}\n".encode()
    return File(data, sha256, _sha1(b"blob %d\0" % len(stored), stored), lfs)


def _sha1(*parts: bytes) -> str:
    return hashlib.sha1(b"".join(parts), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Commit:
    """The files after a commit, by path."""

    oid: str
    parent: str | None
    title: str
    files: Mapping[str, File]


def make_commit(parent: Commit | None, title: str, files: Mapping[str, File]) -> Commit:
    """Name it after its content, title and history; there is no clock in it."""
    tree = sorted((path, file.oid) for path, file in files.items())
    above = parent.oid if parent else None
    oid = _sha1(json.dumps([above, title, tree]).encode())
    return Commit(oid, above, title, dict(sorted(files.items())))


@dataclass(slots=True, kw_only=True)
class PullRequest:
    """`status` is draft, open or merged."""

    title: str
    author: str
    status: str = "open"


@dataclass(slots=True, kw_only=True)
class Repo:
    """A repository; `uploaded` has the large files that were sent to it, by sha256."""

    kind: str
    name: str
    private: bool = False
    gated: str | bool = False
    check_card: Callable[[str], list[str]] = lambda _: []
    refs: dict[str, str] = field(default_factory=dict[str, str])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    pull_requests: dict[int, PullRequest] = field(default_factory=dict[int, PullRequest])
    history: dict[str, Commit] = field(default_factory=dict[str, Commit])
    uploaded: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def __post_init__(self) -> None:
        attributes = {".gitattributes": make_file(ATTRIBUTES.encode(), lfs=False)}
        self._record("main", make_commit(None, "initial commit", attributes))

    def at(self, revision: str = "main") -> Commit:
        """Find a branch, a tag, a pull request's `refs/pr/N`, or a commit by its full name."""
        revision = {"HEAD": "main"}.get(revision, revision).removeprefix("refs/heads/")
        oid = self.refs.get(revision) or self.tags.get(revision) or revision
        if oid not in self.history:
            raise RefusedError(
                404, f"{self.name} has no revision {revision!r}.", "RevisionNotFound"
            )
        return self.history[oid]

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Return the bytes of each file."""
        return {path: file.data for path, file in self.at(revision).files.items()}

    def commits(self, revision: str = "main") -> list[str]:
        """Return the names of the commits, newest first."""
        found, oid = list[str](), self.at(revision).oid
        while oid:
            found.append(oid)
            oid = self.history[oid].parent
        return found

    def is_large(self, revision: str, path: str, size: int, sample: bytes = b"") -> bool:
        """Tell whether a file goes by LFS: by .gitattributes, its size, or as binary."""
        attributes = self.at(revision).files.get(".gitattributes")
        lines = attributes.data.decode().splitlines() if attributes else []
        patterns = [line.split()[0] for line in lines if "filter=lfs" in line]
        return size > LARGEST_REGULAR or b"\0" in sample or _matches(path, patterns)

    def is_ignored(self, revision: str, path: str, gitignore: str | None) -> bool:
        """Tell whether the .gitignore that is sent, or that is there, names the path."""
        there = self.at(revision).files.get(".gitignore")
        text = gitignore if gitignore is not None else there.data.decode() if there else ""
        return _matches(path, [line for line in text.split() if not line.startswith("#")])

    def commit(
        self,
        ref: str,
        changes: Mapping[str, File | None],
        title: str,
        *,
        parent: str | None = None,
        oid: str | None = None,
    ) -> str:
        """Change files, None deletes one; all of it or nothing.

        Raises:
            RefusedError: The parent is not the head, nothing would change, or a path, a card or a
                deletion is wrong.
        """
        if ref not in self.refs:
            raise RefusedError(404, f"{ref!r} is no branch.", "RevisionNotFound")
        head = self.at(ref)
        if parent not in (None, head.oid):
            message = f"A commit has happened since. Please refresh and try again ({head.oid})."
            raise RefusedError(412, message)
        if not title:
            raise RefusedError(400, "A commit needs a summary.")
        files = dict(head.files)
        for path, file in changes.items():
            pure = PurePosixPath(path)
            if pure.is_absolute() or {"..", ".git"} & {*pure.parts} or str(pure) != path:
                raise RefusedError(400, f"{path!r} is no path in a repository.")
            if file is not None:
                files[path] = file
            elif files.pop(path, None) is None:
                raise RefusedError(404, f"There is no {path!r} to delete.", "EntryNotFound")
        leaks = [path for path, file in changes.items() if file and TOKEN.search(file.data)]
        if leaks:
            raise RefusedError(400, f"{leaks[0]} holds a token.")
        if files == head.files:
            raise RefusedError(400, "An empty commit.")
        if (card := changes.get("README.md")) and (
            faults := self.check_card(card.data.decode("utf-8", "replace"))
        ):
            raise RefusedError(400, f"README.md: {'; '.join(faults)}")
        made = make_commit(head, title, files)
        return self._record(ref, replace(made, oid=oid) if oid else made)

    def open_pull_request(self, title: str, author: str, status: str = "open") -> int:
        """Open one at the head of main; its commits go to `refs/pr/N`."""
        number = len(self.pull_requests) + 1
        self.pull_requests[number] = PullRequest(title=title, author=author, status=status)
        self.refs[f"refs/pr/{number}"] = self.at().oid
        return number

    def merge(self, number: int) -> str:
        """Move main to a pull request's head, if nothing happened on main since."""
        head = self.at(f"refs/pr/{number}").oid
        if self.at().oid not in self.commits(head):
            raise RefusedError(409, "main has moved on since this pull request was opened.")
        self.refs["main"] = head
        self.pull_requests[number].status = "merged"
        return head

    def create_branch(self, name: str, start: str) -> None:
        """Make a branch; one that is there is not moved."""
        if name in self.refs:
            raise RefusedError(409, f"Reference {name!r} already exists.")
        if name.startswith("refs/"):
            raise RefusedError(400, f"{name!r} is no name of a branch.")
        self.refs[name] = self.at(start).oid

    def create_tag(self, name: str, revision: str) -> None:
        """Make a tag; one that is there is not moved."""
        if name in self.tags:
            raise RefusedError(409, f"Tag {name!r} already exists.")
        if name in self.refs or not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", name) or ".." in name:
            raise RefusedError(400, f"{name!r} is no name for a tag.")
        self.tags[name] = self.at(revision).oid

    def _record(self, ref: str, commit: Commit) -> str:
        self.history[commit.oid] = commit
        self.refs[ref] = commit.oid
        return commit.oid


def check_name(name: str) -> None:
    """Refuse what is no OWNER/NAME.

    Raises:
        RefusedError: It is none.
    """
    if not re.fullmatch(f"{PART}/{PART}", name) or "--" in name or ".." in name:
        raise RefusedError(400, f"{name!r} is no valid OWNER/NAME.")


def _matches(path: str, patterns: Iterable[str]) -> bool:
    names = (path, PurePosixPath(path).name)
    return any(fnmatch.fnmatch(name, pattern) for name in names for pattern in patterns)
