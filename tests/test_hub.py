"""The loopback Hub serves the real clients unmodified, and is stricter than they are."""

import base64
import io
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from http.client import HTTPConnection, HTTPResponse, RemoteDisconnected
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub.clients import run_client
from hub.server import Hub
from serve_hub import add_folders

from proteinlm_ext.benchmark import HUB_FILE, HUB_REPO, HUB_REVISION
from proteinlm_ext.paths import data_file, tasks_dir

HUB = Path(__file__).parent / "hub"
CARD = """---
configs:
- config_name: codons
  data_files:
  - {split: train, path: codons/train-*}
  - {split: test, path: codons/test-*}
- config_name: numbers
  data_files:
  - {split: test, path: numbers/*.parquet}
---
Two tables.
"""
ROWS: dict[str, list[dict[str, Any]]] = {
    "codons/train-0.parquet": [{"residue": "A", "codons": ["GCT", "GCC"]}],
    "codons/test-0.parquet": [{"residue": "M", "codons": ["ATG"]}, {"residue": "X", "codons": []}],
    "numbers/all.parquet": [{"place": place, "square": place**2} for place in range(50)],
}


def to_parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def tiny_files(card: str = CARD) -> dict[str, bytes]:
    tables = {path: to_parquet(rows) for path, rows in ROWS.items()}
    return {"README.md": card.encode(), **tables}


@pytest.fixture
def hub() -> Iterator[Hub]:
    """Serve a data set and models; alice is in acme, bob is not, and nobody is us."""
    with Hub(users={"alice": ["acme"], "bob": []}) as started:
        started.add("dataset", "us/tiny", tiny_files())
        started.add("model", "us/small", {"config.json": b"{}"})
        started.add("model", "acme/mine", {"a.txt": b"a", ".gitignore": b"*.log\n"})
        started.add("model", "acme/other", {"w.bin": b"large"})
        yield started


def ask(
    hub: Hub,
    method: str,
    path: str,
    body: Any = None,
    *,
    user: str | None = "alice",
    token: str | None = None,
    **headers: str,
) -> HTTPResponse:
    """Ask without any client of the Hub."""
    connection = HTTPConnection("127.0.0.1", hub.port, timeout=10)
    token = token or (hub.token(user) if user else None)
    sent = {"Authorization": f"Bearer {token}"} if token else {}
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.request(method, path, data, sent | headers)
    return connection.getresponse()


def lines(*operations: tuple[str, Any], parent: str | None = None) -> bytes:
    """Write the body of a commit."""
    head = {"key": "header", "value": {"summary": "change", "parentCommit": parent}}
    written = [head, *({"key": key, "value": value} for key, value in operations)]
    return "\n".join(json.dumps(line) for line in written).encode()


def a_file(path: str, data: bytes = b"text") -> tuple[str, Any]:
    return "file", {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"}


def a_large_file(path: str, oid: str) -> tuple[str, Any]:
    return "lfsFile", {"path": path, "algo": "sha256", "oid": oid, "size": 3}


# huggingface_hub and datasets read what is there.


def test_load_dataset_gives_the_rows_of_each_config(hub: Hub) -> None:
    sha = hub.repo("dataset", "us/tiny").at().oid
    code = f"""if True:
        import json
        from datasets import load_dataset
        both = {{name: load_dataset("us/tiny", name) for name in ("codons", "numbers")}}
        rows = load_dataset(
            "us/tiny", "numbers", split="test", streaming=True, revision={sha!r}
        )
        print(json.dumps([
            *({{split: list(rows) for split, rows in both[name].items()}} for name in both),
            list(rows)
        ]))"""
    train, test, numbers = ROWS.values()
    expected = [{"train": train, "test": test}, {"test": numbers}, numbers]
    assert json.loads(run_client(hub, "-c", code)) == expected
    read = [(path, status) for _, path, status, route in hub.requests if route == "resolve"]
    assert (f"/datasets/us/tiny/resolve/{sha}/numbers/all.parquet", 302) in read
    # Streaming reads ranges; a download reads the whole.
    assert {status for _, _, status, route in hub.requests if route == "stored"} == {200, 206}


def test_the_client_raises_its_own_error_for_what_is_missing(hub: Hub) -> None:
    """RemoteEntryNotFoundError says that the Hub was asked; others, that a look-up failed."""
    hub.add("model", "bob/secret", {"a.txt": b"a"}, private=True)
    code = """if True:
        from huggingface_hub import HfApi, errors, hf_hub_download
        from pytest import raises
        tree = HfApi().list_repo_tree
        data = {"repo_type": "dataset"}
        with raises(errors.RemoteEntryNotFoundError):
            hf_hub_download("us/tiny", "codons", **data)
        with raises(errors.RemoteEntryNotFoundError):
            list(tree("us/tiny", "README.md", **data))
        with raises(errors.RepositoryNotFoundError):
            hf_hub_download("us/tiny", "README.md")
        with raises(errors.RepositoryNotFoundError):
            HfApi().model_info("gpt2")
        with raises(errors.RepositoryNotFoundError):
            HfApi().model_info("bob/secret")
        with raises(errors.RevisionNotFoundError):
            hf_hub_download("us/tiny", "README.md", revision="v1", **data)
        with raises(errors.RevisionNotFoundError):
            list(tree("us/tiny", revision="refs/pr/1", **data))"""
    run_client(hub, "-c", code, user="alice")
    assert [status for _, _, status, _ in hub.requests if status != 200] == [404] * 7


def test_a_snapshot_is_the_folder(hub: Hub) -> None:
    """The client compares git's hashes of its copy with those that the tree names."""
    code = """if True:
        import json
        from pathlib import Path
        from huggingface_hub import HfApi, hf_hub_download, snapshot_download
        api, data = HfApi(), {"repo_type": "dataset"}
        folder = snapshot_download("us/tiny", **data)
        checked = api.verify_repo_checksums("us/tiny", local_dir=folder, **data)
        branch, = api.list_repo_refs("us/tiny", **data).branches
        known = api.get_paths_info("us/tiny", ["README.md", "codons", "none"], **data)
        print(json.dumps({
            "checked": checked.checked_count, "wrong": checked.mismatches,
            "sha": Path(folder).name, "branch": [branch.name, branch.target_commit],
            "known": [i.path for i in known],
            "folder": [i.path for i in api.list_repo_tree("us/tiny", "codons", **data)],
            "files": [i.rfilename for i in api.dataset_info("us/tiny").siblings],
            "titles": [c.title for c in api.list_repo_commits("us/tiny", **data)],
            "model": Path(hf_hub_download("us/small", "config.json")).read_text(),
        }))"""
    sha = hub.repo("dataset", "us/tiny").at().oid
    assert json.loads(run_client(hub, "-c", code)) == {
        "checked": 5, "wrong": [], "sha": sha, "branch": ["main", sha],
        "known": ["README.md", "codons"],
        "folder": ["codons/test-0.parquet", "codons/train-0.parquet"],
        "files": sorted([".gitattributes", "README.md", *ROWS]),
        "titles": ["seed", "initial commit"], "model": "{}",
    }  # fmt: skip


def test_the_commit_is_named_after_the_content(hub: Hub) -> None:
    with Hub() as other:
        same = other.add("dataset", "us/tiny", tiny_files())
        changed = other.add("dataset", "us/more", tiny_files(CARD.replace("Two", "2")))
    assert same == hub.repo("dataset", "us/tiny").at().oid != changed


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=2-5", 2, 6),
        ("bytes=0-0", 0, 1),
        ("bytes=90-", 90, None),
        ("bytes=9-9999", 9, None),
    ],
)
def test_a_range_is_sent_alone(hub: Hub, wanted: str, start: int, stop: int | None) -> None:
    path = "/datasets/us/tiny/resolve/main/README.md"
    reply, text = ask(hub, "GET", path, Range=wanted), CARD.encode()
    assert (reply.status, reply.read()) == (206, text[start:stop])
    last = len(text[:stop]) - 1
    assert reply.headers["Content-Range"] == f"bytes {start}-{last}/{len(text)}"
    assert reply.headers["X-Repo-Commit"] == hub.repo("dataset", "us/tiny").at().oid


def test_the_script_prints_its_address_and_serves(tmp_path: Path) -> None:
    command = [sys.executable, str(HUB.with_name("serve_hub.py"))]
    assert subprocess.run([*command, str(tmp_path)], capture_output=True).returncode == 2
    model = tmp_path / "models" / "us" / "small"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    with subprocess.Popen([*command, str(tmp_path)], stdout=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout is not None
            endpoint = run.stdout.readline().strip().removeprefix("export HF_ENDPOINT=http://")
            connection = HTTPConnection(endpoint)
            connection.request("GET", "/us/small/resolve/main/config.json")
            assert connection.getresponse().read() == b"{}"
        finally:
            run.terminate()


# huggingface_hub, datasets, lm-eval and the JavaScript client publish.


def test_huggingface_hub_does_all_that_it_can(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\nText.\n")
    (folder / "sub" / "model.safetensors").write_bytes(bytes(range(200)))
    code = """if True:
        import json, sys
        from huggingface_hub import CommitOperationAdd as Add, CommitOperationDelete as Delete
        from huggingface_hub import HfApi, ModelCard
        api, repo, folder = HfApi(), "acme/all", sys.argv[1]
        assert api.whoami()["orgs"][0]["name"] == "acme"
        api.create_repo(repo, private=True)
        api.create_repo(repo, exist_ok=True)
        made = api.create_commit(
            repo, [Add("a.txt", b"a"), Add("b.bin", b"large"), Add("old/c.txt", b"c")],
            commit_message="first", parent_commit=api.model_info(repo).sha,
        )
        again = api.create_commit(
            repo, [Add("a.txt", b"a"), Add("b.bin", b"large")], commit_message="same"
        )
        assert again.oid == made.oid
        api.create_commit(
            repo, [Delete("a.txt"), Delete("old/", is_folder=True)], commit_message="less"
        )
        api.create_tag(repo, tag="v1", revision=made.oid)
        api.create_branch(repo, branch="next", revision="v1")
        api.upload_folder(repo_id=repo, folder_path=folder, revision="next")
        api.delete_branch(repo, branch="next")
        request = api.create_commit(
            repo, [Add("d.txt", b"d")], commit_message="asked for", create_pr=True
        )
        number = request.pr_num
        assert api.get_discussion_details(repo, number).status == "open"
        api.merge_pull_request(repo, number)
        assert [r.status for r in api.get_repo_discussions(repo)] == ["merged"]
        api.upload_folder(repo_id=repo, folder_path=folder)
        assert ModelCard.load(repo).data.license == "mit"
        checked = api.verify_repo_checksums(repo, local_dir=folder)
        assert (checked.mismatches, checked.extra_paths) == ([], [])
        api.update_repo_settings(repo, private=False, gated="auto")
        refs = api.list_repo_refs(repo, include_pull_requests=True)
        print(json.dumps([refs.tags[0].name, refs.tags[0].target_commit == made.oid,
                          [p.ref for p in refs.pull_requests]]))"""
    found = json.loads(run_client(hub, "-c", code, str(folder), user="alice"))
    assert found == ["v1", True, ["refs/pr/1"]]
    repo = hub.repo("model", "acme/all")
    assert (repo.private, repo.gated) == (False, "auto")
    files = repo.files()
    assert files.pop(".gitattributes")
    sent = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    whole = {name: path.read_bytes() for name, path in sent.items()}
    assert files == {**whole, "b.bin": b"large", "d.txt": b"d"}
    assert repo.files("v1")["old/c.txt"] == b"c"
    # A redirect goes to the storage, which refuses a token with 400; none is in an address.
    assert {status for _, _, status, route in hub.requests if route == "upload"} == {200}
    assert not any(hub.token("alice") in path for _, path, _, _ in hub.requests)


def test_datasets_pushes_configs_that_load_again(hub: Hub) -> None:
    code = """if True:
        from datasets import Dataset, load_dataset
        for name in ("one", "two"):
            rows = Dataset.from_dict({"name": [name], "n": [1]})
            rows.push_to_hub("acme/pushed", name, private=True)
        print(*(load_dataset("acme/pushed", n, split="train")[0] for n in ("one", "two")))"""
    printed = run_client(hub, "-c", code, user="alice")
    assert printed.strip() == "{'name': 'one', 'n': 1} {'name': 'two', 'n': 1}"
    assert hub.repo("dataset", "acme/pushed").private


def test_lm_eval_reads_the_pinned_benchmark_and_pushes_its_results(
    hub: Hub, tmp_path: Path
) -> None:
    """Invented questions stand for the benchmark, whose own bytes the kit would insist on."""
    data = data_file("sample.json").read_bytes()
    hub.add("dataset", HUB_REPO, {HUB_FILE: data}, oid=HUB_REVISION)
    code = f"""if True:
        from lm_eval.__main__ import cli_evaluate
        from proteinlm_ext import benchmark
        benchmark.HUB_SHA256 = {sha256(data).hexdigest()!r}
        cli_evaluate()"""
    run_client(
        hub, "-c", code, "run", "--model", "heuristic", "--model_args", "rule=longest",
        "--include_path", str(tasks_dir()), "--tasks", "proteinlmbench", "--log_samples",
        "--output_path", str(tmp_path), "--hf_hub_log_args",
        "hub_results_org=acme,push_results_to_hub=True,push_samples_to_hub=True,public_repo=False",
        user="alice",
    )  # fmt: skip
    path = f"/datasets/{HUB_REPO}/resolve/{HUB_REVISION}/{HUB_FILE}"
    assert path in [request.path for request in hub.requests]
    files = hub.repo("dataset", "acme/lm-eval-results-private").files()
    results = [name for name in files if "/results_" in name]
    samples = [name for name in files if "/samples_proteinlmbench_" in name]
    assert len(results) == len(samples) == 1
    scores = json.loads(files[results[0]])["results"]["proteinlmbench"]
    assert scores["acc,none"] == pytest.approx(10 / 60)
    assert len(files[samples[0]].splitlines()) == 60


def test_the_javascript_client_reads_and_writes(hub: Hub) -> None:
    if not (HUB / "node_modules").is_dir() or shutil.which("node") is None:
        pytest.skip("needs node, and `npm ci --prefix tests/hub`")
    command = ["node", str(HUB / "client.mjs"), hub.endpoint, hub.token("alice"), "acme/js"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    repo = hub.repo("model", "acme/js")
    assert json.loads(done.stdout) == {
        "me": "alice", "orgs": ["acme"], "private": True, "sha": repo.at().oid,
        "files": sorted([path, len(data)] for path, data in repo.files().items()),
        "weights": True,
    }  # fmt: skip
    assert set(repo.files()) == {".gitattributes", "config.json", "model.safetensors"}


API = "/api/models/us/small"
MINE = "/api/models/acme/mine"
UNKNOWN = sha256(b"never sent").hexdigest()


# What clients should never send is refused, and changes nothing.


@pytest.mark.parametrize(
    ("operations", "status"),
    [
        ([a_file("a.txt", b"a")], 400),
        ([], 400),
        ([("deletedFile", {"path": "none.txt"})], 404),
        ([("deletedFolder", {"path": "none/"})], 404),
        ([a_large_file("w.bin", UNKNOWN)], 400),
        ([a_large_file("w.bin", sha256(b"large").hexdigest())], 400),
        ([a_file("w.bin")], 400),
        ([a_file("b.txt", b"\0binary")], 400),
        ([a_file("../b.txt")], 400),
        ([a_file("/b.txt")], 400),
        ([a_file(".git/config")], 400),
        ([a_file("b.txt"), a_file("b.txt")], 400),
        ([a_file("b.txt", b"hf_" + b"abcdefghijklmnopq" * 2)], 400),
        ([a_file("README.md", b"---\na: [\n---\n")], 400),
        ([a_file("README.md", b"---\n- a\n---\n")], 400),
        ([("movedFile", {"path": "a.txt"})], 400),
    ],
    ids=lambda value: value[0][0] if isinstance(value, list) and value else str(value),
)
def test_a_wrong_commit(hub: Hub, operations: list[Any], status: int) -> None:
    before = hub.repo("model", "acme/mine").commits()
    assert ask(hub, "POST", f"{MINE}/commit/main", lines(*operations)).status == status
    assert hub.repo("model", "acme/mine").commits() == before


def test_a_commit_on_a_stale_parent(hub: Hub) -> None:
    old, new = hub.repo("model", "acme/mine").commits()[::-1]
    body = [lines(a_file("b.txt"), parent=parent) for parent in (old, new)]
    assert [ask(hub, "POST", f"{MINE}/commit/main", one).status for one in body] == [412, 200]


@pytest.mark.parametrize(
    ("user", "path", "status"),
    [("bob", MINE, 403), ("alice", API, 403), (None, MINE, 403), ("alice", API + "s", 404)],
)
def test_a_foreign_namespace(hub: Hub, user: str, path: str, status: int) -> None:
    body = lines(a_file("b.txt"))
    assert ask(hub, "POST", f"{path}/commit/main", body, user=user).status == status
    asked = {"name": "new", "organization": "us"}
    assert ask(hub, "POST", "/api/repos/create", asked).status == 403


def test_a_pull_request_is_its_authors(hub: Hub) -> None:
    made = ask(hub, "POST", f"{MINE}/commit/main?create_pr=1", lines(a_file("b")), user="bob")
    assert made.status == 200
    path, body = f"{MINE}/commit/refs%2Fpr%2F1", lines(a_file("c"))
    assert [ask(hub, "POST", path, body, user=user).status for user in (None, "bob")] == [
        403,
        200,
    ]
    assert ask(hub, "POST", f"{MINE}/discussions/1/merge", user="bob").status == 403
    assert "c" not in hub.repo("model", "acme/mine").files()
    assert ask(hub, "POST", f"{MINE}/discussions/1/merge").status == 200
    assert hub.repo("model", "acme/mine").files()["c"] == b"text"


@pytest.mark.parametrize("route", ["/api/whoami-v2", API, "/us/small/resolve/main/config.json"])
def test_a_bad_token(hub: Hub, route: str) -> None:
    assert ask(hub, "GET", route, token="hf_nobody").status == 401


def test_a_private_repository_is_not_there_for_others(hub: Hub) -> None:
    assert ask(hub, "PUT", f"{MINE}/settings", {"visibility": "private"}).status == 200
    found = [ask(hub, "GET", MINE, user=user).status for user in ("alice", "bob", None)]
    assert found == [200, 404, 404]


def test_the_files_of_a_gated_repository_are_not_for_strangers(hub: Hub) -> None:
    assert ask(hub, "PUT", f"{MINE}/settings", {"gated": "auto"}).status == 200
    path = "/acme/mine/resolve/main/a.txt"
    found = [ask(hub, "GET", path, user=user).status for user in ("alice", "bob", None)]
    assert found == [200, 403, 403]
    assert ask(hub, "GET", MINE, user="bob").status == 200


@pytest.mark.parametrize("name", ["a--b", "a..b", "-a", "a.", "a b", ""])
def test_a_wrong_name(hub: Hub, name: str) -> None:
    asked = {"name": name, "organization": "acme"}
    assert ask(hub, "POST", "/api/repos/create", asked).status == 400


def test_a_tag_and_a_branch_are_not_moved(hub: Hub) -> None:
    old = hub.repo("model", "acme/mine").commits()[1]
    for path, body in (("tag/main", {"tag": "v1"}), ("branch/next", {})):
        moved = path.replace("main", old)
        assert ask(hub, "POST", f"{MINE}/{path}", body).status == 200
        assert ask(hub, "POST", f"{MINE}/{moved}", body).status == 409
    assert hub.repo("model", "acme/mine").tags["v1"] != old
    assert ask(hub, "DELETE", f"{MINE}/tag/v1").status == 501
    for name in ("main", "a..b", "a b", ""):
        assert ask(hub, "POST", f"{MINE}/tag/main", {"tag": name}).status == 400
    for name in ("v1", old):
        path = f"{MINE}/commit/{name}"
        assert ask(hub, "POST", path, lines(a_file("b.txt"))).status == 404


def test_bytes_that_are_not_those_of_their_name(hub: Hub) -> None:
    name = sha256(b"abc").hexdigest()
    place = f"/storage/models/acme/mine/{name}"
    assert ask(hub, "PUT", place, b"abd", user=None).status == 400
    verify = {"oid": name, "size": 3}
    assert ask(hub, "POST", f"{MINE}/lfs-verify", verify).status == 404
    assert ask(hub, "PUT", place, b"abc", user=None).status == 200
    assert ask(hub, "POST", f"{MINE}/lfs-verify", verify).status == 200
    kind, said = a_large_file("w.bin", name)
    for size, status in ((999, 400), (3, 200)):
        body = lines((kind, said | {"size": size}))
        assert ask(hub, "POST", f"{MINE}/commit/main", body).status == status


def test_a_token_at_the_storage(hub: Hub) -> None:
    name = sha256(b"large").hexdigest()
    place = f"/storage/models/acme/other/{name}"
    found = [ask(hub, "GET", place, user=user).status for user in ("alice", None)]
    assert found == [400, 200]


def test_an_ignored_file_is_said_to_be_ignored(hub: Hub) -> None:
    sent = [{"path": path, "size": 1, "sample": "YQ=="} for path in ("x/a.log", "a.bin", "b")]
    reply = ask(hub, "POST", f"{MINE}/preupload/main", {"files": sent})
    found = json.loads(reply.read())["files"]
    assert [(f["shouldIgnore"], f["uploadMode"]) for f in found] == [
        (True, "regular"),
        (False, "lfs"),
        (False, "regular"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/us/small/resolve/main/config.json", 416), ("GET", "/api/quicksearch", 501)],
)
def test_what_is_not_served(hub: Hub, method: str, path: str, status: int) -> None:
    assert ask(hub, method, path, Range="bytes=9999-").status == status
    assert hub.requests[-1][:3] == (method, path, status)


# A fault is for the n-th request of a route, once or more often.


@pytest.mark.parametrize("fault", [412, 429, 500, 503])
def test_a_status_is_answered_and_nothing_is_done(hub: Hub, fault: Any) -> None:
    hub.inject("create", fault, skip=1)
    names = [{"name": name, "organization": "acme"} for name in ("one", "two", "two")]
    replies = [ask(hub, "POST", "/api/repos/create", name) for name in names]
    assert [reply.status for reply in replies] == [200, fault, 200]
    assert replies[1].headers["Retry-After"] == ("0" if fault == 429 else None)
    assert [request.status for request in hub.requests] == [200, fault, 200]


@pytest.mark.parametrize(("fault", "done"), [("drop_before", False), ("drop_after", True)])
def test_a_connection_is_dropped_before_or_after(hub: Hub, fault: Any, done: bool) -> None:
    hub.inject("create", fault)
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        ask(hub, "POST", "/api/repos/create", {"name": "one", "organization": "acme"})
    assert (("model", "acme/one") in hub.repos) == done
    assert hub.requests[-1].status == 0


def test_other_routes_are_spared(hub: Hub) -> None:
    hub.inject("commit", 503, times=2)
    assert ask(hub, "GET", API).status == 200


def test_tests_reach_loopback_alone() -> None:
    for connect in (socket.socket().connect, socket.socket().connect_ex):
        with pytest.raises(AssertionError, match=r"192\.0\.2\.1.*loopback only"):
            connect(("192.0.2.1", 80))  # set apart for documentation, by RFC 5737


@pytest.fixture
def real_hub(real_benchmark: Path) -> Iterator[Hub]:
    """Serve copies of public data sets; they are not part of the project."""
    root = real_benchmark.parents[1] / "hub"
    if not root.is_dir():
        pytest.skip(f"no data sets at {root}")
    with add_folders(Hub(), root) as started:
        yield started


@pytest.mark.slow
def test_lm_evals_own_task_runs_from_the_hub(real_hub: Hub, tmp_path: Path) -> None:
    output = run_client(
        real_hub, "-m", "proteinlm_ext", "eval", "--model", "heuristic",
        "--model_args", "rule=A", "--tasks", "mmlu_virology", "--limit", "10",
        "--output_path", str(tmp_path), "--json",
    )  # fmt: skip
    (path,) = json.loads(output)["sample_files"]
    samples = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    assert len(samples) == 10
    right = [sample["doc"]["answer"] == 0 for sample in samples]
    assert [sample["acc"] for sample in samples] == right
    assert 0 < sum(right) < 10


def test_a_generative_data_set_loads_from_the_hub(real_hub: Hub) -> None:
    code = """if True:
        from datasets import load_dataset
        rows = load_dataset("openai/gsm8k", "main", split="test")
        print(len(rows), *rows.column_names)"""
    assert run_client(real_hub, "-c", code).split() == ["1319", "question", "answer"]
