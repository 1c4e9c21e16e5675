"""Whatever fails at whatever write: main has the old files or the new ones, and a re-run is enough.

The writes are those of a clean push, by its log; each is made to fail in each way.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hub.server import Hub
from huggingface_hub import HfApi
from published import READS, client
from published import evaluations as evaluations
from published import folders as folders
from published import online as online

from proteinlm_ext.errors import ProteinLMError
from proteinlm_hub.push import Order, Outcome, Ready, publish
from proteinlm_hub.push_plan import make_plan, renew_manifest
from proteinlm_hub.staging import Staged, stage

pytestmark = pytest.mark.usefixtures("online")

FAULTS = (503, 429, 500, 409, "drop_before", "drop_after", "html", 412)
# From nothing, and from a repository with other files; a card alone has a model to be of.
STARTS = [
    *((kind, "empty", "public") for kind in ("dataset", "model", "overlay")),
    *((kind, "old", "public") for kind in ("dataset", "model", "overlay", "card")),
    ("overlay", "old", "private"),
    ("overlay", "old", "branch"),
    ("overlay", "old", "pull request"),
]
MODES: dict[str, dict[str, Any]] = {
    "public": {"private": False},
    "private": {"private": True},
    "branch": {"revision": "next"},
    "pull request": {"create_pr": True},
}
NAMES = (f"acme/lamps-{number}" for number in itertools.count())
Files = dict[str, bytes]


class Write(NamedTuple):
    """The n-th request of a route that a clean push makes."""

    route: str
    nth: int


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub(users={"alice": ["acme"]}) as started:
        yield started


@pytest.fixture(scope="module")
def staged(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Staged]:
    place = tmp_path_factory.mktemp("staged")
    return {kind: stage(folder, kind, place / kind) for kind, folder in folders.items()}


class Scene:
    """A repository of its own, brought to where a push starts."""

    def __init__(
        self, hub: Hub, staged: dict[str, Staged], kind: str, start: str, mode: str
    ) -> None:
        self.hub, self.name, self.kind, self.mode = hub, next(NAMES), kind, mode
        self.ref = {"branch": "next", "pull request": "refs/pr/1"}.get(mode, "main")
        self.repo_type = staged[kind].repo_type
        model = {
            name: (staged["model"].folder / name).read_bytes() for name in staged["model"].files
        }
        olds: dict[str, Files] = {"empty": {}, "old": {"README.md": b"old", "gone.txt": b"gone"}}
        self.old = {**model, "README.md": b"old"} if kind == "card" else olds[start]
        if self.old:
            hub.add(self.repo_type, self.name, self.old, private=mode != "private")
        self.ready = self.prepare(client(hub), staged[kind])
        made = self.ready.staged
        new = {name: (made.folder / name).read_bytes() for name in made.files}
        self.new = {**self.old, **new} if kind == "card" else new

    def prepare(self, api: HfApi, staged: Staged) -> Ready:
        """Return what `push.prepare` would of a folder that is staged already."""
        settings = {"kind": self.kind, "repo_id": self.name, **MODES[self.mode]}
        order = Order(folder=staged.folder, **settings)
        plan = make_plan(api, staged, self.name, order.revision)
        if self.kind == "card" and plan.head:
            staged = renew_manifest(api, staged, self.name, plan.head)
            plan = make_plan(api, staged, self.name)
        return Ready(order=order, staged=staged, plan=plan)

    def push(self) -> Outcome:
        """Publish; no wait takes time."""
        return publish(client(self.hub), self.ready, wait=lambda _: None)

    def files(self, revision: str = "main") -> Files:
        """Return what is there, but for the Hub's own file."""
        files = self.hub.repo(self.repo_type, self.name).files(revision)
        return {name: data for name, data in files.items() if name != ".gitattributes"}

    def history(self, ref: str) -> list[Files]:
        """Return the files at every commit of a branch."""
        commits = self.hub.repo(self.repo_type, self.name).commits(ref)
        return [self.files(commit) for commit in commits]


def clean_writes(
    hub: Hub, staged: dict[str, Staged], kind: str, start: str, mode: str
) -> list[Write]:
    scene = Scene(hub, staged, kind, start, mode)
    before = len(hub.requests)
    scene.push()
    seen = Counter[str]()
    found: list[Write] = []
    for request in hub.requests[before:]:
        if request.method not in READS:
            found.append(Write(request.route, seen[request.route]))
            seen[request.route] += 1
    return found


def cases(writes: list[Write]) -> Iterator[tuple[Write, Any]]:
    for write in writes:
        for fault in FAULTS:
            # The answers to a stale parent, and to one of two commits at the same time.
            if fault not in (409, 412) or write.route == "commit":
                yield write, fault


@pytest.mark.parametrize(("kind", "start", "mode"), STARTS)
def test_each_fault_at_each_write_leaves_the_old_or_the_new_and_a_rerun_is_enough(
    hub: Hub, staged: dict[str, Staged], kind: str, start: str, mode: str
) -> None:
    writes = clean_writes(hub, staged, kind, start, mode)
    assert {"commit", "preupload", "validate"} <= {write.route for write in writes}
    for write, fault in cases(writes):
        scene = Scene(hub, staged, kind, start, mode)
        hub.inject(write.route, fault, skip=write.nth)
        check(scene, fault, f"{kind} from {start}, {mode}: {fault} at {write}")


def check(scene: Scene, fault: Any, case: str) -> None:
    before = scene.history("main") if scene.old else [{}]
    if fault == 412:
        with pytest.raises(ProteinLMError, match="Somebody else committed"):
            scene.push()
        assert scene.files() == scene.old, case
    else:
        assert scene.push().commits == 1, case
        assert scene.files(scene.ref) == scene.new, case
    outcome = scene.push()
    assert scene.files(scene.ref) == scene.new, case
    history = scene.history(scene.ref)
    assert [tree for tree in history if tree not in (*before, scene.new, {})] == [], case
    assert history.count(scene.new) == 1, case
    repo = scene.hub.repo(scene.repo_type, scene.name)
    assert repo.private is (scene.mode != "public"), case
    assert len(repo.pull_requests) == (scene.mode == "pull request"), case
    if scene.ref != "main":
        assert scene.history("main") == before, case
    assert (outcome.tag is None) == (scene.ref != "main" or scene.kind == "card"), case
    if outcome.tag:
        assert scene.files(outcome.tag) == scene.new, case


def test_there_are_more_than_forty_cases(hub: Hub, staged: dict[str, Staged]) -> None:
    number = sum(len([*cases(clean_writes(hub, staged, *start))]) for start in STARTS)
    assert number >= 40
