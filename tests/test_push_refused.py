"""What a push refuses: a repository, a name or a card that is not what it seems."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hub.server import Hub
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError
from published import api as api
from published import evaluations as evaluations
from published import folders as folders
from published import hub as hub
from published import make_ready, push, writes
from published import online as online
from test_push import changed_model as changed_model
from test_push import command as command
from test_push import order as order

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_hub.hub_errors import retry_after
from proteinlm_hub.push import Order, describe_ready, publish
from proteinlm_hub.render import read_card, write_card
from proteinlm_train.record import list_artefacts


def test_a_gitignore_in_the_repository_is_refused_before_anything_is_sent(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    hub.add("model", "acme/lamps", {".gitignore": b"*.safetensors\n"})
    with pytest.raises(ProteinLMError, match=r"acme/lamps has a \.gitignore"):
        make_ready(api, order("model"), tmp_path)
    assert writes(hub) == []


@pytest.mark.parametrize(
    ("files", "said"),
    [({}, "There is no model acme/lamps"), ({"README.md": b"theirs"}, "has no manifest.json")],
)
def test_a_card_needs_what_it_is_of(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path, files: Any, said: str
) -> None:
    if files:
        hub.add("model", "acme/lamps", files)
    with pytest.raises(ProteinLMError, match=said):
        make_ready(api, order("card"), tmp_path)
    assert writes(hub) == []


@pytest.mark.parametrize("there", ["nothing", "private"])
def test_a_repository_that_became_public_meanwhile_is_left_alone(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path, there: str
) -> None:
    if there == "private":
        hub.add("model", "acme/lamps", {"README.md": b"old"}, private=True)

    def publish_it() -> None:
        repo = hub.repos.get(("model", "acme/lamps"))
        repo = repo or hub.create("model", "acme/lamps", private=False)
        repo.private = False

    with pytest.raises(ProteinLMError, match="acme/lamps is public meanwhile"):
        push(api, order("model"), tmp_path, meanwhile=publish_it)
    assert [request.route for request in writes(hub)] == []


def test_a_tag_by_content_that_holds_something_else_is_no_success(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    hub.add("model", "acme/lamps", {"README.md": b"old"}, private=True)
    tag = str(make_ready(api, order("model"), tmp_path).tag)
    hub.repo("model", "acme/lamps").create_tag(tag, "main")
    with pytest.raises(ProteinLMError, match=f"The tag {tag} is there and holds other files"):
        push(api, order("model", private=False), tmp_path)
    assert hub.repo("model", "acme/lamps").private


def test_the_plan_says_which_tag_is_set_and_who_will_see_it(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    ready = make_ready(api, order("model", tag="release/1", private=False), tmp_path)
    text = describe_ready(ready, api)
    assert text.endswith(
        "then the tag release/1\nthen it becomes public, with every commit that it has"
    )
    publish(api, ready)
    again = make_ready(api, order("model", tag="release/1", private=True), tmp_path)
    assert describe_ready(again, api).endswith("to send\nbefore that it becomes private")
    assert publish(api, again).commits == 0


def test_a_repository_that_was_renamed_is_refused(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    hub.add("model", "acme/lights", {"README.md": b"old"})
    hub.repos["model", "acme/lamps"] = hub.repo("model", "acme/lights")
    with pytest.raises(ProteinLMError, match="acme/lamps is called acme/lights now"):
        make_ready(api, order("model"), tmp_path)


def test_a_gated_repository_is_there(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    hub.add("model", "acme/lamps", {"README.md": b"old"})
    hub.inject("info", "gated")
    with pytest.raises(ProteinLMError, match="acme/lamps is gated: accept its conditions at http"):
        make_ready(api, order("model"), tmp_path)


def test_a_page_of_a_proxy_is_not_taken_for_the_hub(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    hub.inject("info", "html")
    with pytest.raises(ProteinLMError, match="is not the Hub, or a proxy before it"):
        make_ready(api, order("model"), tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"repo_id": "lamps"}, "has no owner"),
        ({"repo_id": "acme/la mps"}, "is no name of a repository"),
        ({"repo_id": "a/b/c"}, "is no name of a repository"),
        ({"revision": ""}, "'' is no name for a branch"),
        ({"revision": "a..b"}, "'a..b' is no name for a branch"),
        ({"revision": "a" * 40}, "is no name for a branch"),
        ({"tag": "v 1"}, "'v 1' is no name for a tag"),
        ({"tag": "main"}, "main is a branch"),
        ({"tag": "next", "revision": "next"}, "next is a branch"),
    ],
)
def test_a_name_that_is_none_is_refused_first(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path, changes: Any, said: str
) -> None:
    with pytest.raises(ProteinLMError, match=said):
        make_ready(api, order("model", **changes), tmp_path)
    assert hub.requests == []
    assert not (tmp_path / "staged0").exists()


def test_a_tag_is_no_branch_to_push_to(
    api: HfApi, hub: Hub, order: Callable[..., Order], tmp_path: Path
) -> None:
    hub.add("model", "acme/lamps", {"README.md": b"old"})
    hub.repo("model", "acme/lamps").create_tag("v1", "main")
    with pytest.raises(ProteinLMError, match="v1 is a tag, which is never moved"):
        make_ready(api, order("model", revision="v1"), tmp_path)


def test_the_wait_is_what_a_limit_of_the_hub_asks_for() -> None:
    def failed(**headers: str) -> HfHubHTTPError:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = httpx2.Request("GET", "http://localhost")
        return HfHubHTTPError("", response=httpx2.Response(429, headers=named, request=request))

    assert retry_after(failed(retry_after="7")) == 7
    assert retry_after(failed(ratelimit='"api";r=0;t=280')) == 280
    assert retry_after(failed(ratelimit='"api";r=3;t=280')) == 0
    assert retry_after(failed(retry_after="Mon, 23 Nov 2026 07:28:00 GMT")) == 0


def test_a_change_of_the_same_size_is_seen(
    api: HfApi, order: Callable[..., Order], folders: dict[str, Path], tmp_path: Path
) -> None:
    push(api, order("model"), tmp_path)
    folder = shutil.copytree(folders["model"], tmp_path / "copy")
    (folder / "tokenizer.json").write_text("[]")
    assert len("[]") == (folders["model"] / "tokenizer.json").stat().st_size
    files = list_artefacts(folder, ["tokenizer.json"])
    write_card(folder, read_card(folder) | {"files": read_card(folder)["files"] | files})
    assert "tokenizer.json" in make_ready(api, order("model", folder=folder), tmp_path).plan.changed


def test_metadata_that_the_hub_would_not_know_are_refused(
    api: HfApi, hub: Hub, order: Callable[..., Order], folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(folders["model"], tmp_path / "copy")
    write_card(folder, read_card(folder) | {"languages": ["xx"]})
    with pytest.raises(ProteinLMError, match="'xx'"):
        make_ready(api, order("model", folder=folder), tmp_path)
    assert hub.requests == []


def test_another_pull_request_of_the_same_title_is_not_taken_for_ours(
    api: HfApi, hub: Hub, order: Callable[..., Order], changed_model: Path, tmp_path: Path
) -> None:
    push(api, order("model"), tmp_path)
    asked = order("model", folder=changed_model, create_pr=True)
    title = make_ready(api, asked, tmp_path).message
    theirs = CommitOperationAdd("notes.txt", b"theirs")
    api.create_commit("acme/lamps", [theirs], commit_message=title, create_pr=True)
    opened = push(api, asked, tmp_path)
    assert opened.commits == 1
    assert opened.url.endswith("/discussions/2")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--public", "--revision", "next"], "does not go with --revision"),
        (["--public", "--create-pr"], "does not go with"),
    ],
)
def test_flags_that_contradict_are_refused(
    command: Callable[..., int], words: list[str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        command("push", "model", "folder", "acme/lamps", *words)
