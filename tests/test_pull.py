"""What was published is fetched whole and verified, or not at all."""

import shutil
from pathlib import Path

import pytest
from hub.server import Hub
from huggingface_hub import HfApi
from published import api as api
from published import evaluations as evaluations
from published import folders as folders
from published import hub as hub
from published import online as online
from published import push, writes

from proteinlm_ext.errors import ProteinLMError
from proteinlm_hub.pull import Pulled, pull, verify
from proteinlm_hub.push import Order, Outcome
from proteinlm_hub.render import read_card, write_card
from proteinlm_hub.staging import read_listed

REPO = "acme/lamps"
PARQUET = "ssl_pmc/train-00000-of-00001.parquet"


@pytest.fixture
def published(api: HfApi, folders: dict[str, Path], tmp_path: Path) -> dict[str, Outcome]:
    """Publish a dataset and a model under one name; staged0 and staged1 are what was sent."""
    return {
        kind: push(api, Order(folder=folders[kind], kind=kind, repo_id=REPO), tmp_path)
        for kind in ("dataset", "model")
    }


def read(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize(("kind", "staged"), [("dataset", "staged0"), ("model", "staged1")])
def test_what_was_published_comes_back_the_same(
    api: HfApi, published: dict[str, Outcome], tmp_path: Path, kind: str, staged: str
) -> None:
    found = pull(api, kind, REPO, tmp_path / "new" / "out")
    listed = read_listed(tmp_path / staged)
    assert read(tmp_path / "new" / "out") == read(tmp_path / staged)
    assert found == Pulled(
        commit=published[kind].commit,
        files=len(listed),
        size=sum(file["bytes"] for file in listed.values()),
    )
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_an_older_revision_is_fetched_by_its_tag(
    api: HfApi, hub: Hub, published: dict[str, Outcome], tmp_path: Path
) -> None:
    hub.add("model", REPO, {"README.md": b"newer"})
    found = pull(api, "model", REPO, tmp_path / "out", published["model"].tag)
    assert found.commit == published["model"].commit
    assert read(tmp_path / "out") == read(tmp_path / "staged1")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({PARQUET: b"other"}, f"changed: {PARQUET}"),
        ({"function/extra.parquet": b"x"}, "not listed: function/extra.parquet"),
        ({"manifest.json": b"{}"}, "acme/lamps: manifest.json is missing or no manifest"),
        ({"manifest.json": b'{"files": {}, "lists": 5}'}, "no manifest"),
        ({"manifest.json": b'{"files": {}, "lists": {"a": {}}}'}, "no manifest"),
        ({"manifest.json": b'{"files": {}}'}, "not listed: "),
        ({"README.md": b"other"}, r"README\.md is not what card\.json makes"),
        ({"README.md": b"other", "card.json": b"{}"}, "card.json has kind None"),
        ({".cache/evil.sh": b"x"}, r"not listed: \.cache/evil\.sh"),
    ],
)
def test_a_file_that_was_tampered_with_is_named_and_nothing_is_left(
    api: HfApi,
    hub: Hub,
    published: dict[str, Outcome],
    tmp_path: Path,
    files: dict[str, bytes],
    said: str,
) -> None:
    hub.add("dataset", REPO, files)
    with pytest.raises(ProteinLMError, match=said):
        pull(api, "dataset", REPO, tmp_path / "new" / "out")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_card_of_another_manifest_is_refused(
    published: dict[str, Outcome], tmp_path: Path
) -> None:
    folder = tmp_path / "staged0"
    write_card(folder, read_card(folder) | {"manifest_sha256": "0" * 64})
    with pytest.raises(ProteinLMError, match=r"the card is not of this manifest\.json"):
        verify(folder)


def test_a_manifest_that_lists_nothing_verifies_nothing(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"files": {}}')
    with pytest.raises(ProteinLMError, match=r"card\.json"):
        verify(tmp_path)


@pytest.mark.parametrize("name", ["foo bar", "a/b/c", "lamps"])
def test_what_is_no_name_is_refused(api: HfApi, tmp_path: Path, name: str) -> None:
    with pytest.raises(ProteinLMError, match=name):
        pull(api, "dataset", name, tmp_path / "out")


def test_a_place_that_cannot_be_written_is_named(
    api: HfApi, published: dict[str, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ProteinLMError, match=r"file/out cannot be written"):
        pull(api, "dataset", REPO, tmp_path / "file" / "out")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for out in (tmp_path / "link", Path()):
        with pytest.raises(ProteinLMError, match="is a link, or the folder that you are in"):
            pull(api, "dataset", REPO, out)


def test_a_missing_file_is_named(published: dict[str, Outcome], tmp_path: Path) -> None:
    (tmp_path / "staged0" / PARQUET).unlink()
    with pytest.raises(ProteinLMError, match=f"missing: {PARQUET}"):
        verify(tmp_path / "staged0")


def test_the_card_of_a_model_is_verified_too(published: dict[str, Outcome], tmp_path: Path) -> None:
    (tmp_path / "staged1" / "README.md").write_text("other")
    with pytest.raises(ProteinLMError, match=r"changed: README\.md"):
        verify(tmp_path / "staged1")


def test_a_folder_with_the_same_files_is_verified_and_left(
    api: HfApi, hub: Hub, published: dict[str, Outcome], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = pull(api, "dataset", REPO, out)
    sent = len(hub.requests)
    again = pull(api, "dataset", REPO, out)
    assert (again.commit, again.files, again.was_there) == (first.commit, first.files, True)
    assert not [r for r in hub.requests[sent:] if r.route == "resolve"]


@pytest.mark.parametrize("change", ["extra", "changed", "missing"])
def test_a_folder_with_other_files_is_left_alone(
    api: HfApi, published: dict[str, Outcome], tmp_path: Path, change: str
) -> None:
    out = shutil.copytree(tmp_path / "staged0", tmp_path / "out")
    if change == "missing":
        (out / "README.md").unlink()
    else:
        (out / ("README.md" if change == "changed" else "mine.txt")).write_text("mine")
    before = read(out)
    with pytest.raises(ProteinLMError, match="holds other files"):
        pull(api, "dataset", REPO, out)
    assert read(out) == before


def test_an_empty_folder_is_as_good_as_none(
    api: HfApi, published: dict[str, Outcome], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    pull(api, "dataset", REPO, tmp_path / "out")
    assert read(tmp_path / "out") == read(tmp_path / "staged0")


def test_a_repository_that_is_not_there_is_named(api: HfApi, tmp_path: Path) -> None:
    with pytest.raises(
        ProteinLMError, match="no such revision of acme/none, or no such repository"
    ):
        pull(api, "model", "acme/none", tmp_path / "out")


def test_a_repository_without_a_manifest_cannot_be_verified(
    api: HfApi, hub: Hub, tmp_path: Path
) -> None:
    hub.add("model", REPO, {"README.md": b"of somebody"})
    with pytest.raises(ProteinLMError, match=r"manifest\.json is missing"):
        pull(api, "model", REPO, tmp_path / "out")


def test_fetching_writes_nothing_to_the_hub(
    api: HfApi, hub: Hub, published: dict[str, Outcome], tmp_path: Path
) -> None:
    sent = len(writes(hub))
    pull(api, "model", REPO, tmp_path / "out")
    assert len(writes(hub)) == sent
