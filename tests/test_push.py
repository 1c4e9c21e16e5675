"""A push brings the Hub to what is staged by one commit, and shows beforehand what it will do."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hub.server import Hub
from huggingface_hub import HfApi
from published import api as api
from published import client, make_ready, make_weights, push, writes
from published import evaluations as evaluations
from published import folders as folders
from published import hub as hub
from published import online as online

from proteinlm_ext.commands import add_command
from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_hub.cli_push import add_push
from proteinlm_hub.push import TRIES, Order, describe_ready, publish
from proteinlm_hub.render import read_card, write_card
from proteinlm_train.record import list_artefacts

KINDS = ("dataset", "model", "overlay")
ATTRIBUTES = ".gitattributes"
LOAD = """
import json, sys
from datasets import load_dataset
for config in sys.argv[3:]:
    for split, rows in load_dataset(sys.argv[1], config, revision=sys.argv[2]).items():
        print(json.dumps([config, split, rows.to_list()]))
"""


def kind_of(kind: str) -> str:
    return "model" if kind == "model" else "dataset"


def content(hub: Hub, kind: str, revision: str = "main") -> dict[str, bytes]:
    files = hub.repo(kind_of(kind), "acme/lamps").files(revision)
    return {name: data for name, data in files.items() if name != ATTRIBUTES}


def read(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture
def order(folders: dict[str, Path]) -> Callable[..., Order]:
    def make(kind: str = "dataset", **more: Any) -> Order:
        return Order(**{"folder": folders[kind], "kind": kind, "repo_id": "acme/lamps", **more})

    return make


@pytest.fixture
def changed_model(folders: dict[str, Path], tmp_path: Path) -> Path:
    """Return a copy of the model with one file more and another tokenizer, and its card."""
    folder = shutil.copytree(folders["model"], tmp_path / "changed")
    (folder / "chat_template.jinja").write_text("{{ messages }}\n")
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    files = list_artefacts(folder, ["chat_template.jinja", "tokenizer.json"])
    write_card(folder, read_card(folder) | {"files": read_card(folder)["files"] | files})
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_push_is_one_commit_in_a_private_repository_with_a_tag(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path, kind: str
) -> None:
    outcome = push(api, order(kind), tmp_path)
    repo = hub.repo(kind_of(kind), "acme/lamps")
    assert content(hub, kind) == read(tmp_path / "staged0")
    assert repo.private
    assert (outcome.private, outcome.commits) == (True, 1)
    assert len(repo.commits("main")) == 2  # one of them by the Hub, when it was created
    assert outcome.tag
    assert content(hub, kind, outcome.tag) == content(hub, kind, outcome.commit)
    assert outcome.url.startswith(hub.endpoint)


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_push_of_the_same_writes_nothing(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path, kind: str
) -> None:
    first = push(api, order(kind), tmp_path)
    sent = len(hub.requests)
    again = push(api, order(kind), tmp_path)
    assert again == replace(first, commits=0)
    assert [
        request for request in hub.requests[sent:] if request.method not in ("GET", "HEAD")
    ] == []


def test_a_change_is_one_commit_of_what_changed(
    api: HfApi, hub: Hub, order: Callable[..., Order], changed_model: Path, tmp_path: Path
) -> None:
    push(api, order("model"), tmp_path)
    hub.add("model", "acme/lamps", {"old.txt": b"old"})
    ready = make_ready(api, order("model", folder=changed_model), tmp_path)
    assert set(ready.plan.added) == {"chat_template.jinja"}
    assert set(ready.plan.changed) == {
        "README.md", "card.json", "manifest.json", "tokenizer.json",
    }  # fmt: skip
    assert ready.plan.deleted == ("old.txt",)
    assert "adapter_model.safetensors" in ready.plan.same
    sent = len(hub.requests)
    before = len(hub.repo("model", "acme/lamps").commits("main"))
    publish(api, ready)
    assert content(hub, "model") == read(ready.staged.folder)
    assert ATTRIBUTES in hub.repo("model", "acme/lamps").files("main")
    assert len(hub.repo("model", "acme/lamps").commits("main")) == before + 1
    assert not [request for request in hub.requests[sent:] if request.route == "upload"]


def test_the_plan_says_what_is_sent_and_deleted_and_which_rows_are_not(
    api: HfApi, hub: Hub, order: Callable[..., Order], folders: dict[str, Path], tmp_path: Path
) -> None:
    hub.add("dataset", "acme/lamps", {"old.txt": b"old"}, private=True)
    ready = make_ready(api, order(), tmp_path)
    text = describe_ready(ready, api)
    size = (ready.staged.folder / "README.md").stat().st_size
    assert "(private, at " in text
    assert f"  + README.md  {size:,} bytes\n" in text
    assert "  - old.txt\n" in text
    assert "rows left out for their licence: ssl_pmc: 2 of train\n" in text
    total = sum(ready.staged.files.values())
    assert f"{len(ready.staged.files)} added, 0 changed, 0 the same, 1 deleted; {total:,}" in text


def test_planning_sends_nothing_but_reads(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    for kind in KINDS:
        make_ready(api, order(kind), tmp_path)
    assert writes(hub) == []
    assert hub.requests


def test_a_commit_that_came_meanwhile_stops_the_push(
    api: HfApi, hub: Hub, order: Callable[..., Order], changed_model: Path, tmp_path: Path
) -> None:
    push(api, order("model"), tmp_path)
    with pytest.raises(ProteinLMError, match="Somebody else committed meanwhile"):
        push(
            api,
            order("model", folder=changed_model),
            tmp_path,
            meanwhile=lambda: hub.add("model", "acme/lamps", {"README.md": b"theirs"}),
        )
    assert content(hub, "model")["README.md"] == b"theirs"


def test_a_commit_that_comes_at_the_last_moment_is_refused_by_the_hub(
    api: HfApi, hub: Hub, order: Callable[..., Order], changed_model: Path, tmp_path: Path
) -> None:
    push(api, order("model"), tmp_path)
    hub.inject("commit", 412)
    before = content(hub, "model")
    with pytest.raises(ProteinLMError, match="Somebody else committed to acme/lamps meanwhile"):
        push(api, order("model", folder=changed_model), tmp_path)
    assert content(hub, "model") == before
    assert [request.status for request in hub.requests if request.route == "commit"][-1] == 412


class Late(HfApi):
    """A client that lets something happen just before its commit."""

    happens: Callable[[], Any]

    def create_commit(self, *arguments: Any, **more: Any) -> Any:
        """Commit, late."""
        self.happens()
        return super().create_commit(*arguments, **more)


def test_a_commit_between_the_last_look_and_ours_is_not_overwritten(
    api: HfApi, hub: Hub, order: Callable[..., Order], changed_model: Path, tmp_path: Path
) -> None:
    push(api, order("model"), tmp_path)
    late = Late(endpoint=hub.endpoint, token=hub.token("alice"))
    late.happens = lambda: hub.add("model", "acme/lamps", {"README.md": b"theirs"})
    with pytest.raises(ProteinLMError, match="Somebody else committed to acme/lamps meanwhile"):
        push(late, order("model", folder=changed_model), tmp_path)
    assert content(hub, "model")["README.md"] == b"theirs"
    assert "chat_template.jinja" not in content(hub, "model")


class Forgetful(HfApi):
    """A client that commits all but the first file, as a Hub does that ignores it."""

    def create_commit(self, *arguments: Any, operations: Any, **more: Any) -> Any:
        """Commit less."""
        return super().create_commit(*arguments, operations=list(operations)[1:], **more)


def test_a_commit_that_lacks_a_file_gets_no_tag_and_stays_private(
    hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    forgetful = Forgetful(endpoint=hub.endpoint, token=hub.token("alice"))
    with pytest.raises(ProteinLMError, match=r"does not hold what was sent: README\.md\."):
        push(forgetful, order(private=False), tmp_path)
    repo = hub.repo("dataset", "acme/lamps")
    assert not repo.tags
    assert repo.private


def test_files_of_a_repository_that_appeared_meanwhile_are_not_overwritten(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    with pytest.raises(ProteinLMError, match="Somebody else committed meanwhile"):
        push(
            api,
            order(),
            tmp_path,
            meanwhile=lambda: hub.add("dataset", "acme/lamps", {"README.md": b"theirs"}),
        )
    assert content(hub, "dataset") == {"README.md": b"theirs"}


def test_a_tag_is_never_moved(
    api: HfApi, hub: Hub, order: Callable[..., Order], changed_model: Path, tmp_path: Path
) -> None:
    first = push(api, order("model", tag="v1"), tmp_path)
    assert push(api, order("model", tag="v1"), tmp_path) == replace(first, commits=0)
    sent = len(writes(hub))
    with pytest.raises(ProteinLMError, match=r"The tag v1 exists, at .* never moved"):
        make_ready(api, order("model", folder=changed_model, tag="v1"), tmp_path)
    assert len(writes(hub)) == sent
    push(api, order("model", folder=changed_model, tag="v2"), tmp_path)
    with pytest.raises(ProteinLMError, match="The tag v1 exists"):
        push(api, order("model", folder=changed_model, tag="v1"), tmp_path)
    assert dict(hub.repo("model", "acme/lamps").tags)["v1"] == first.commit


def test_a_tag_that_appears_meanwhile_stops_the_push(
    api: HfApi, hub: Hub, order: Callable[..., Order], changed_model: Path, tmp_path: Path
) -> None:
    push(api, order("model"), tmp_path)
    before = content(hub, "model")
    with pytest.raises(ProteinLMError, match="The tag v1 exists"):
        push(
            api,
            order("model", folder=changed_model, tag="v1"),
            tmp_path,
            meanwhile=lambda: api.create_tag("acme/lamps", tag="v1"),
        )
    assert content(hub, "model") == before
    with pytest.raises(ProteinLMError, match="The tag v2 exists"):
        push(
            api,
            order("model", tag="v2"),
            tmp_path,
            meanwhile=lambda: api.create_tag("acme/lamps", tag="v2", revision=first_commit(hub)),
        )


def first_commit(hub: Hub) -> str:
    return hub.repo("model", "acme/lamps").commits()[-1]


def test_going_back_to_older_content_keeps_the_tag_of_that_content(
    api: HfApi, order: Callable[..., Order], changed_model: Path, tmp_path: Path
) -> None:
    first = push(api, order("model"), tmp_path)
    second = push(api, order("model", folder=changed_model), tmp_path)
    third = push(api, order("model"), tmp_path)
    assert len({first.commit, second.commit, third.commit}) == 3
    assert first.tag == third.tag != second.tag


def test_a_foreign_namespace_is_refused_with_what_to_do(
    hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    with pytest.raises(ProteinLMError, match=r"no right to do this with acme/lamps.*--create-pr"):
        push(client(hub, "bob"), order(), tmp_path)
    assert [request.route for request in writes(hub)] == ["create"]


def test_a_token_that_the_hub_does_not_know_is_refused_before_anything_is_sent(
    hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    stranger = HfApi(endpoint=hub.endpoint, token="hf_" + "x" * 34)
    # The second is what the client takes for a repository that is not there.
    for said in (hub.of_bad_tokens, "Invalid username or password."):
        hub.of_bad_tokens = said
        with pytest.raises(ProteinLMError, match="does not know the token"):
            push(stranger, order(), tmp_path)
    assert writes(hub) == []


def test_a_private_repository_becomes_public_when_all_is_there(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    outcome = push(api, order(private=False), tmp_path)
    assert not outcome.private
    assert not hub.repo("dataset", "acme/lamps").private
    assert [r.route for r in writes(hub)][-3:] == ["commit", "tag", "settings"]
    sent = len(writes(hub))
    push(api, order(private=False), tmp_path)
    assert len(writes(hub)) == sent


def test_a_public_repository_stays_public_unless_private_is_asked_for(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    hub.add("dataset", "acme/lamps", {"README.md": b"old"})
    assert not push(api, order(), tmp_path).private
    assert not hub.repo("dataset", "acme/lamps").private
    sent = len(hub.requests)
    assert push(api, order(private=True), tmp_path).private
    assert hub.repo("dataset", "acme/lamps").private
    assert [r.route for r in hub.requests[sent:] if r.method == "PUT"] == ["settings"]


def test_an_upload_that_broke_off_goes_on_where_it_was(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    def be_killed(_: float) -> None:
        raise KeyboardInterrupt

    hub.inject("upload", 500, times=6, skip=3)  # the client itself tries six times
    with pytest.raises(KeyboardInterrupt):
        push(api, order(), tmp_path, wait=be_killed)
    assert content(hub, "dataset") == {}
    sent = len(hub.requests)
    push(api, order(), tmp_path)
    assert [request.status for request in hub.requests if request.route == "upload"][:3] == [
        200
    ] * 3
    files = list((tmp_path / "staged1").rglob("*.parquet"))
    assert len(files) == 4
    assert [request.status for request in hub.requests[sent:] if request.route == "upload"] == [200]
    assert content(hub, "dataset") == read(tmp_path / "staged1")


def test_a_hub_that_keeps_failing_is_given_up_with_growing_waits(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    hub.inject("commit", 503, times=1000)
    waits: list[float] = []
    with pytest.raises(ProteinLMError, match=f"Given up after {TRIES} tries.*503"):
        push(api, order(), tmp_path, wait=waits.append)
    assert waits == [1, 2, 4, 8, 16]
    assert content(hub, "dataset") == {}


@pytest.mark.parametrize(("asked", "waited"), [(3, [3, 3, 4]), (600, [300, 300, 300])])
def test_a_hub_that_asks_to_wait_is_waited_for(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path, asked: int, waited: list[int]
) -> None:
    hub.retry_after = asked
    hub.inject("commit", 429, times=3)
    waits: list[float] = []
    push(api, order(), tmp_path, wait=waits.append)
    assert waits == waited


def test_a_pull_request_is_opened_once_and_main_is_left_alone(
    api: HfApi, hub: Hub, order: Callable[..., Order], changed_model: Path, tmp_path: Path
) -> None:
    first = push(api, order("model"), tmp_path)
    before = content(hub, "model")
    asked = order("model", folder=changed_model, create_pr=True)
    opened = push(api, asked, tmp_path)
    assert content(hub, "model") == before
    assert (opened.commits, opened.tag) == (1, None)
    assert content(hub, "model", opened.commit) == read(tmp_path / "staged1")
    again = push(api, asked, tmp_path)
    assert (again.commits, again.commit, again.url) == (0, opened.commit, opened.url)
    assert hub.repo("model", "acme/lamps").commits("main")
    assert first.commit != opened.commit


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", 503])
def test_a_lost_reply_opens_no_second_pull_request(
    api: HfApi,
    hub: Hub,
    order: Callable[..., Order],
    changed_model: Path,
    tmp_path: Path,
    fault: Any,
) -> None:
    push(api, order("model"), tmp_path)
    sent = len(hub.requests)
    hub.inject("commit", fault)
    push(api, order("model", folder=changed_model, create_pr=True), tmp_path)
    tries = [request for request in hub.requests[sent:] if request.route == "commit"]
    assert len(tries) == (1 if fault == "drop_after" else 2)


def test_a_pull_request_needs_a_repository(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    with pytest.raises(ProteinLMError, match="There is no model acme/lamps to change"):
        push(api, order("model", create_pr=True), tmp_path)
    assert writes(hub) == []


def test_a_branch_starts_at_main_and_leaves_main_alone(
    api: HfApi, hub: Hub, order: Callable[..., Order], changed_model: Path, tmp_path: Path
) -> None:
    push(api, order("model"), tmp_path)
    before = content(hub, "model")
    outcome = push(api, order("model", folder=changed_model, revision="next"), tmp_path)
    assert content(hub, "model") == before
    assert content(hub, "model", "next") == read(tmp_path / "staged1")
    assert outcome.tag is None
    assert outcome.url.endswith("/tree/next")


def test_a_card_alone_touches_nothing_else_and_the_manifest_still_holds(
    api: HfApi, hub: Hub, order: Callable[..., Order], folders: dict[str, Path], tmp_path: Path
) -> None:
    push(api, order("model"), tmp_path)
    hub.add("model", "acme/lamps", {"README.md": b"older", "old.svg": b"<svg/>", "notes.txt": b"n"})
    sent = len(hub.requests)
    outcome = push(api, order("card"), tmp_path)
    expected = read(folders["model"])
    found = content(hub, "model")
    assert outcome.tag is None
    assert found.pop("notes.txt") == b"n"
    manifest = json.loads(found.pop("manifest.json"))
    assert found == {name: data for name, data in expected.items() if name in found}
    assert set(manifest["files"]) == set(found)
    assert not [request for request in hub.requests[sent:] if request.route == "upload"]
    assert push(api, order("card"), tmp_path).commits == 0


def test_the_card_of_another_build_of_the_same_files_is_refused(
    api: HfApi, order: Callable[..., Order], tmp_path: Path
) -> None:
    push(api, order(), tmp_path)
    theirs = tmp_path / "staged0"
    push(api, order("card", folder=theirs), tmp_path)
    write_card(theirs, read_card(theirs) | {"manifest_sha256": "0" * 64})
    with pytest.raises(ProteinLMError, match="The card is not of what acme/lamps holds"):
        push(api, order("card", folder=theirs), tmp_path)


def test_the_card_of_other_weights_is_refused(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    push(api, order("model"), tmp_path)
    files = json.loads(content(hub, "model")["manifest.json"])
    files["files"]["adapter_model.safetensors"]["sha256"] = "0" * 64
    weights = {"adapter_model.safetensors": make_weights(7)}
    hub.add("model", "acme/lamps", weights | {"manifest.json": json.dumps(files).encode()})
    with pytest.raises(ProteinLMError, match="The card is not of what acme/lamps holds"):
        push(api, order("card"), tmp_path)


def test_a_published_dataset_loads_row_by_row_as_it_was_built(
    api: HfApi, hub: Hub, order: Callable[..., Order], folders: dict[str, Path], tmp_path: Path
) -> None:
    outcome = push(api, order(), tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, "acme/lamps", outcome.tag or "", "function", "ssl_pmc"],
        env={**os.environ, **hub.environment("alice")},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {(c, split): rows for c, split, rows in map(json.loads, done.stdout.splitlines())}
    built = {
        (path.parent.name, path.name.split("-")[0]): pq.read_table(path).to_pylist()
        for path in folders["dataset"].glob("*/*.parquet")
        if path.parent.name != "ssl_pubmed"
    }
    built["ssl_pmc", "train"] = built["ssl_pmc", "train"][:1]
    assert loaded == built


@pytest.fixture
def command(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return a function that runs `push` or `pull` in process, as alice."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", hub.token("alice"))

    def run(*arguments: str) -> int:
        commands = argparse.ArgumentParser().add_subparsers()
        add_push(partial(add_command, commands))
        options = commands.choices[arguments[0]].parse_args(arguments[1:])
        return options.execute(options)

    return run


def test_without_yes_the_command_shows_the_plan_and_sends_nothing(
    command: Callable[..., int],
    hub: Hub,
    folders: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command("push", "dataset", str(folders["dataset"]), "acme/lamps") == 0
    shown = capsys.readouterr().out
    assert "+ README.md" in shown
    assert "Nothing was sent: this is a dry run." in shown
    assert writes(hub) == []


def test_with_yes_it_is_sent_and_the_outcome_told(
    command: Callable[..., int],
    hub: Hub,
    folders: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ("push", "model", str(folders["model"]), "acme/lamps", "--yes")
    assert command(*arguments) == 0
    assert "(one commit), tag content-" in capsys.readouterr().out
    assert command(*arguments, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["outcome"]["commits"] == 0
    assert said["plan"]["added"] == {}
    assert said["outcome"]["commit"] in hub.repo("model", "acme/lamps").tags.values()


def test_without_a_token_nothing_happens(
    command: Callable[..., int],
    hub: Hub,
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(ProteinLMError, match=r"There is no token\. Set HF_TOKEN"):
        command("push", "model", str(folders["model"]), "acme/lamps", "--yes")
    assert hub.requests == []


def test_a_trusted_publisher_without_a_token_is_told_why(
    command: Callable[..., int],
    hub: Hub,
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HF_OIDC_ID_TOKEN", "GITHUB_ACTIONS", "ACTIONS_ID_TOKEN_REQUEST_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_OIDC_RESOURCE", "acme/lamps")
    with pytest.raises(ProteinLMError, match="HF_OIDC_RESOURCE is set, but gives no token"):
        command("push", "model", str(folders["model"]), "acme/lamps", "--yes")
    assert hub.requests == []


def test_flags_that_contradict_each_other_are_refused(
    command: Callable[..., int], hub: Hub, folders: dict[str, Path]
) -> None:
    with pytest.raises(UsageError, match="does not go with"):
        command("push", "model", str(folders["model"]), "acme/l", "--create-pr", "--tag", "v1")
    with pytest.raises(SystemExit):
        command("push", "model", str(folders["model"]), "acme/l", "--public", "--private")
    assert hub.requests == []


def test_offline_mode_is_named(
    api: HfApi, order: Callable[..., Order], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ProteinLMError, match="HF_HUB_OFFLINE is set"):
        push(api, order(), tmp_path)
