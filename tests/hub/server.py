"""The Hub as a server on loopback; HEAD is GET without the body.

Large files are at another origin (`localhost` instead of 127.0.0.1), as on the real Hub: a client
that follows there with its token is refused.
"""

import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self, cast
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from hub.call import Call, Reply, reply_json
from hub.faults import Faults
from hub.routes import ROUTES
from hub.store import RefusedError, Repo, check_name, make_file


class Request(NamedTuple):
    """A line of the log; `status` is 0 where the connection was dropped."""

    method: str
    path: str
    status: int
    route: str


def check_front_matter(text: str) -> list[str]:
    """Return what is wrong with a card's YAML; the Hub refuses no more than that."""
    block = re.match(r"---\r?\n(.*?)\n---\s*(\n|$)", text, re.DOTALL)
    try:
        front = yaml.safe_load(block[1]) if block else {}
    except yaml.YAMLError as error:
        return [f"no YAML: {error}"]
    return [] if isinstance(front, dict) else ["the front matter is no mapping"]


class Hub:
    """A Hub with users and their organisations; it runs in a with block.

    `requests` is every request in its order. Tokens are `token(user)`.
    """

    def __init__(
        self,
        users: Mapping[str, list[str]] | None = None,
        check_card: Callable[[str], list[str]] = check_front_matter,
        port: int = 0,
    ) -> None:
        self.users = {"alice": ["acme"]} if users is None else dict(users)
        self.check_card = check_card
        self.repos: dict[tuple[str, str], Repo] = {}
        self.requests: list[Request] = []
        self.faults = Faults()
        self.retry_after = 0  # seconds, of 429
        self.of_bad_tokens = "Invalid credentials in Authorization header"
        self.inject = self.faults.inject
        self.lock = threading.RLock()
        self._server = _Server(self, port)
        self.port = self._server.server_port
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.storage = f"http://localhost:{self.port}"
        self._homes: list[str] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for home in self._homes:
            shutil.rmtree(home, ignore_errors=True)

    def token(self, user: str) -> str:
        """Return the access token of a user."""
        return "hf_" + (re.sub(r"[^A-Za-z]", "", user) * 34)[:34]

    def environment(self, user: str | None = None) -> dict[str, str]:
        """Return variables for a client in a process of its own, with an empty cache."""
        self._homes.append(tempfile.mkdtemp(prefix="hub-home-"))
        token = {"HF_TOKEN": self.token(user)} if user else {}
        return token | {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": self._homes[-1],
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }

    def add(
        self,
        kind: str,
        name: str,
        files: Mapping[str, bytes],
        *,
        private: bool = False,
        oid: str | None = None,
    ) -> str:
        """Put files into a repository, which is made if need be; return the commit.

        With `oid` the commit is called so, as one that a program has pinned.
        """
        repo = self.repos.get((kind, name)) or self.create(kind, name, private=private)
        changes = {
            path: make_file(data, lfs=repo.is_large("main", path, len(data)))
            for path, data in files.items()
        }
        return repo.commit("main", changes, "seed", oid=oid)

    def create(self, kind: str, name: str, *, private: bool) -> Repo:
        """Make a repository with the Hub's own first commit."""
        check_name(name)
        repo = Repo(kind=kind, name=name, private=private, check_card=self.check_card)
        self.repos[kind, name] = repo
        return repo

    def repo(self, kind: str, name: str) -> Repo:
        """Return a repository."""
        return self.repos[kind, name]

    def answer(self, handler: "_Handler", body: bytes) -> Reply | None:
        """Do what a request asks, or fail it if a fault is planned, and log it.

        None means that the connection is to be dropped.
        """
        route, reply, fault = "?", reply_json({"error": "This is not served."}, 501), None
        url = urlsplit(handler.path)
        method = handler.command.replace("HEAD", "GET")
        for name, wanted, pattern, endpoint in ROUTES:
            match = re.fullmatch(pattern, url.path)
            if match is None or method != wanted:
                continue
            route, fault = name, self.faults.take(name)
            if isinstance(fault, int):
                reply = reply_json({"error": "An injected fault."}, fault)
                reply.headers.update({"Retry-After": str(self.retry_after)} if fault == 429 else {})
            elif fault == "gated":
                reply = reply_json({"error": "Restricted."}, 403)
                reply.headers["X-Error-Code"] = "GatedRepo"
            elif fault != "drop_before":
                parts = {key: unquote(part) for key, part in match.groupdict().items() if part}
                headers = {key.lower(): value for key, value in handler.headers.items()}
                query = parse_qs(url.query)
                call = Call(hub=self, query=query, headers=headers, body=body, **parts)
                reply = _try(endpoint, call)
                if fault == "html":
                    reply = Reply(200, {"Content-Type": "text/html"}, b"<html>Log in</html>")
            break
        dropped = fault in ("drop_before", "drop_after")
        status = 0 if dropped else reply.status
        self.requests.append(Request(handler.command, handler.path, status, route))
        return None if dropped else reply


def _try(endpoint: Callable[[Call], Reply], call: Call) -> Reply:
    try:
        return endpoint(call)
    except RefusedError as refused:
        reply = reply_json({"error": str(refused)}, refused.status)
        said = {"X-Error-Message": str(refused), "X-Error-Code": refused.code}
        reply.headers.update({key: value for key, value in said.items() if value})
        return reply


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.hub = hub


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # Else each body waits 40 ms for the client to confirm its head.
    wbufsize = -1  # Head and body in one packet.

    def do_GET(self) -> None:
        size = self.headers.get("Content-Length")
        if size is None and self.headers.get("Transfer-Encoding"):
            self.send_error(411)
            return
        body = self.rfile.read(int(size or 0))
        hub = cast("_Server", self.server).hub
        with hub.lock:
            reply = hub.answer(self, body)
        # Outside of the lock: a client may ask for more before it has read all of this.
        self.send(reply) if reply else self.drop()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for key, value in (reply.headers | {"Content-Length": str(len(reply.body))}).items():
            self.send_header(key, value.replace("\n", " "))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: Any) -> None:
        """Keep the output quiet; the Hub has its own log."""
