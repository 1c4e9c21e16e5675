"""A request as the endpoints see it, and what they answer."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hub.store import RefusedError, Repo

if TYPE_CHECKING:
    from hub.server import Hub

DATE = "2026-01-01T00:00:00.000Z"


@dataclass(slots=True)
class Reply:
    """What the server sends."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


def reply_json(data: Any, status: int = 200) -> Reply:
    """Answer with JSON."""
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(data).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request as an endpoint sees it; the fields with defaults are parts of the URL."""

    hub: "Hub"
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    kind: str = "models"
    name: str = ""
    revision: str = "main"
    path: str = ""

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def user(self) -> str | None:
        """Whose token was sent, None without one.

        Raises:
            RefusedError: The token is nobody's.
        """
        sent = self.headers.get("authorization")
        known = {f"Bearer {self.hub.token(user)}": user for user in self.hub.users}
        if sent is not None and sent not in known:
            raise RefusedError(401, self.hub.of_bad_tokens)
        return known.get(sent or "")

    def may_write(self, owner: str) -> bool:
        """Tell whether the token is of the owner, or of a member of that organisation."""
        return self.user is not None and owner in (self.user, *self.hub.users[self.user])

    @property
    def repo(self) -> Repo:
        """Find the repository; a private one is not there for others."""
        mine = self.may_write(self.name.split("/")[0])
        repo = self.hub.repos.get((self.kind.removesuffix("s"), self.name))
        if repo is None or (repo.private and not mine):
            raise RefusedError(404, f"There is no {self.kind}/{self.name}.", "RepoNotFound")
        return repo

    @property
    def readable_repo(self) -> Repo:
        """Find a repository whose files the token may read; of a gated one, no stranger's may."""
        repo = self.repo
        if repo.gated and not self.may_write(self.name.split("/")[0]):
            raise RefusedError(403, f"Access to {self.name} is restricted.", "GatedRepo")
        return repo

    @property
    def own_repo(self) -> Repo:
        """Find a repository that the token may write to."""
        repo = self.repo
        if not self.may_write(self.name.split("/")[0]):
            raise RefusedError(403, f"The token has no right to write to {self.name}.")
        return repo

    @property
    def stored_repo(self) -> Repo:
        """Find the repository of an address at the storage, to which no token goes."""
        if self.headers.get("authorization"):
            raise RefusedError(400, "A token was sent to the storage.")
        return self.hub.repos[self.kind.removesuffix("s"), self.name]
