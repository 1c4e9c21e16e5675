"""A staged folder has what may be published and nothing else."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from published import FAKE_TOKEN, TEXTS, make_weights, write_model, write_texts
from published import evaluations as evaluations
from published import folders as folders

from proteinlm_ext.errors import ProteinLMError
from proteinlm_ext.paths import hash_file
from proteinlm_hub import dataset_card
from proteinlm_hub.render import read_card, write_card
from proteinlm_hub.staging import Staged, check_staged, stage

FREE = ["ssl_pmc:0"]
OWN = TEXTS.append(pa.field("source", pa.string()))


@pytest.fixture
def copies(folders: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """Return copies that may be changed."""
    return {
        kind: shutil.copytree(folder, tmp_path / "copies" / kind)
        for kind, folder in folders.items()
    }


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


@pytest.mark.parametrize("kind", ["dataset", "model", "overlay", "card"])
def test_a_staged_folder_passes_every_check(
    folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    staged = stage(folders[kind], kind, tmp_path / "out")
    check_staged(staged, "acme/lamps")
    assert set(staged.files) == names(tmp_path / "out")
    assert ("contamination.jsonl" in staged.files) == (kind == "dataset")
    assert staged.repo_type == ("model" if kind in ("model", "card") else "dataset")


@pytest.mark.parametrize("kind", ["dataset", "model", "overlay", "card"])
def test_the_same_folder_is_staged_to_the_same_bytes(
    folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    one, two = (stage(folders[kind], kind, tmp_path / name) for name in ("one", "two"))
    assert one.digest == two.digest
    for name in one.files:
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()


def test_rows_that_may_not_be_passed_on_are_left_out_and_counted(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    source = folders["dataset"]
    staged = stage(source, "dataset", tmp_path / "out")
    path = "ssl_pmc/train-00000-of-00001.parquet"
    assert staged.rows_left_out == {"ssl_pmc": {"train": 2}, "ssl_pubmed": {"train": 2}}
    kept = pq.read_table(staged.folder / path)
    assert kept["id"].to_pylist() == FREE
    assert kept.schema == pq.read_schema(source / path)
    assert not (staged.folder / "ssl_pubmed").exists() or not names(staged.folder / "ssl_pubmed")
    said = manifest(staged.folder)
    assert said["left_out_for_licence"] == staged.rows_left_out
    assert set(said["configs"]) == {"function", "ssl_pmc"}
    assert said["configs"]["ssl_pmc"] == {
        "read": 3,
        "kept": {"train": 1},
        "left_out": {"not_redistributable": {"train": 2}},
    }
    assert said["files"][path]["rows"] == 1
    assert said["files"][path]["sha256"] == hash_file(staged.folder / path)


def test_the_card_of_a_staged_dataset_is_of_the_rows_that_are_left(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    staged = stage(folders["dataset"], "dataset", tmp_path / "out")
    card = read_card(staged.folder)
    assert [config["name"] for config in card["configs"]] == ["function", "ssl_pmc"]
    assert card["manifest_sha256"] == hash_file(staged.folder / "manifest.json")
    assert "license: cc-by-4.0\n" in (staged.folder / "README.md").read_text()


def test_files_of_free_rows_alone_keep_their_bytes(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    staged = stage(folders["dataset"], "dataset", tmp_path / "out")
    for path in folders["dataset"].glob("function/*.parquet"):
        assert (staged.folder / "function" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("column", "value"), [("redistributable", False), ("source", "PubMed baseline")]
)
def test_a_row_that_says_so_is_not_free_whatever_its_licence(
    copies: dict[str, Path], tmp_path: Path, column: str, value: object
) -> None:
    path = copies["dataset"] / "ssl_pmc" / "train-00000-of-00001.parquet"
    row = {
        "id": "a",
        "text": "Lit.",
        "license": "CC-BY-4.0",
        "redistributable": None,
        "source": None,
    }
    table = pa.Table.from_pylist([row, row | {"id": "b", column: value}], OWN)
    replace_file(copies["dataset"], path, table)
    staged = stage(copies["dataset"], "dataset", tmp_path / "out")
    assert staged.rows_left_out["ssl_pmc"] == {"train": 1}
    assert pq.read_table(staged.folder / "ssl_pmc" / path.name)["id"].to_pylist() == ["a"]


def replace_file(folder: Path, path: Path, table: Any) -> None:
    pq.write_table(table, path)
    said = manifest(folder)
    file = said["files"][path.relative_to(folder).as_posix()]
    said["configs"][path.parent.name]["kept"] = {"train": len(table)}
    file |= {"sha256": hash_file(path), "rows": len(table)}
    (folder / "manifest.json").write_text(json.dumps(said))


@pytest.mark.parametrize("licence", ["CC-BY-SA-4.0", "CC-BY-NC-4.0", "ncc0", "CC-BY-4.0 AND x"])
def test_a_licence_that_begins_like_a_free_one_is_not_free(
    copies: dict[str, Path], tmp_path: Path, licence: str
) -> None:
    folder = copies["dataset"]
    path = folder / "ssl_pmc" / "train-00000-of-00001.parquet"
    shutil.rmtree(path.parent)
    write_texts(folder, "ssl_pmc", ["CC0", "cc by 4.0", licence])
    replace_file(folder, path, pq.read_table(path).drop_columns(["redistributable"]))
    assert stage(folder, "dataset", tmp_path / "out").rows_left_out["ssl_pmc"] == {"train": 1}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("dataset", "left_out.jsonl.gz"),
        ("dataset", "function/notes.parquet"),
        ("model", "optimizer.pt"),
        ("model", "training_args.bin"),
        ("model", "run.py"),
        ("overlay", "audit.jsonl"),
    ],
)
def test_what_is_not_published_is_refused_and_named(
    copies: dict[str, Path], tmp_path: Path, kind: str, name: str
) -> None:
    (copies[kind] / name).write_bytes(b"x")
    with pytest.raises(ProteinLMError, match=re.escape(name)):
        stage(copies[kind], kind, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_pull_request_of_an_overlay_is_not_published(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    staged = stage(folders["overlay"], "overlay", tmp_path / "out")
    assert (folders["overlay"] / "pull_request" / "eval.yaml").is_file()
    assert set(staged.files) == {*manifest(folders["overlay"])["files"], "manifest.json"}


@pytest.mark.parametrize("kind", ["dataset", "model", "overlay", "card"])
def test_a_link_is_refused_and_not_followed(
    copies: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    (copies[kind] / "vocab.json").symlink_to(tmp_path / "secret")
    with pytest.raises(ProteinLMError, match=r"vocab\.json is a link"):
        stage(copies[kind], kind, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["dataset", "overlay"])
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_file_that_is_not_that_of_the_manifest_is_refused(
    copies: dict[str, Path], tmp_path: Path, kind: str, damage: str
) -> None:
    path = next(copies[kind].glob("*/*.parquet"))
    path.unlink() if damage == "gone" else path.write_bytes(b"other")
    with pytest.raises(ProteinLMError, match=rf"{path.name} is not the file of manifest\.json"):
        stage(copies[kind], kind, tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("dataset", "manifest.json"), ("overlay", "manifest.json"), ("model", "card.json"),
     ("model", "README.md"), ("card", "card.json")],
)  # fmt: skip
def test_what_is_needed_and_missing_is_named(
    copies: dict[str, Path], tmp_path: Path, kind: str, name: str
) -> None:
    (copies[kind] / name).unlink()
    with pytest.raises(ProteinLMError, match=rf"has no {name}"):
        stage(copies[kind], kind, tmp_path / "out")


def test_a_manifest_that_is_none_is_refused(copies: dict[str, Path], tmp_path: Path) -> None:
    (copies["dataset"] / "manifest.json").write_text('{"files": {"a": {}}}')
    with pytest.raises(ProteinLMError, match=r"manifest\.json is missing or no manifest"):
        stage(copies["dataset"], "dataset", tmp_path / "out")


@pytest.mark.parametrize(("kind", "holds"), [("dataset", "benchmark"), ("model", "dataset")])
def test_a_folder_of_another_kind_is_named(
    folders: dict[str, Path], tmp_path: Path, kind: str, holds: str
) -> None:
    folder = folders["overlay"]
    if holds == "dataset":
        folder = shutil.copytree(folders["dataset"], tmp_path / "copy")
        write_card(folder, dataset_card.collect(folder))
    with pytest.raises(ProteinLMError, match=f"holds a {holds}, by its card.json, and no {kind}"):
        stage(folder, kind, tmp_path / "out")


def test_a_dictionary_keeps_no_text_that_was_taken_out(
    copies: dict[str, Path], tmp_path: Path
) -> None:
    path = copies["dataset"] / "ssl_pmc" / "train-00000-of-00001.parquet"
    table = pq.read_table(path)
    coded = table.set_column(1, "text", table["text"].dictionary_encode())
    replace_file(copies["dataset"], path, coded)
    stage(copies["dataset"], "dataset", tmp_path / "out")
    made = tmp_path / "out" / "ssl_pmc" / "train-00000-of-00001.parquet"
    assert pq.read_table(made)["id"].to_pylist() == FREE
    assert b"Lamp 1" not in made.read_bytes()
    assert pq.read_schema(made).field("text").type == pa.string()


@pytest.mark.parametrize("lost", ["configs", "rows"])
def test_a_manifest_that_lacks_something_is_no_traceback(
    copies: dict[str, Path], tmp_path: Path, lost: str
) -> None:
    path = copies["dataset"] / "manifest.json"
    said = json.loads(path.read_text())
    if lost == "rows":
        for file in said["files"].values():
            del file["rows"]
    else:
        del said["configs"]
    path.write_text(json.dumps(said))
    with pytest.raises(ProteinLMError, match=f"is not as `proteinlm data` made it: .*{lost}"):
        stage(copies["dataset"], "dataset", tmp_path / "out")


def test_what_is_no_file_is_refused(copies: dict[str, Path], tmp_path: Path) -> None:
    os.mkfifo(copies["model"] / "vocab.txt")
    with pytest.raises(ProteinLMError, match=r"vocab\.txt is a special file"):
        stage(copies["model"], "model", tmp_path / "out")


def test_a_file_that_came_after_the_card_is_refused(
    copies: dict[str, Path], tmp_path: Path
) -> None:
    (copies["model"] / "vocab.txt").write_text("a")
    with pytest.raises(ProteinLMError, match=r"vocab\.txt is not the file that card\.json lists"):
        check_staged(staged_model(copies, tmp_path), "acme/lamps")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProteinLMError, match="none is no folder"):
        stage(tmp_path / "none", "model", tmp_path / "out")


def test_the_manifest_of_a_model_has_every_file_but_itself(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    staged = stage(folders["model"], "model", tmp_path / "out")
    files = manifest(staged.folder)["files"]
    assert set(files) == set(staged.files) - {"manifest.json"}
    for name, said in files.items():
        assert said == {
            "bytes": (staged.folder / name).stat().st_size,
            "sha256": hash_file(staged.folder / name),
        }


def test_an_adapter_beside_a_whole_model_is_refused(
    copies: dict[str, Path], tmp_path: Path
) -> None:
    (copies["model"] / "model.safetensors").write_bytes(make_weights())
    with pytest.raises(ProteinLMError, match="Each goes into a repository of its own"):
        stage(copies["model"], "model", tmp_path / "out")


def test_a_model_without_weights_is_refused(copies: dict[str, Path], tmp_path: Path) -> None:
    (copies["model"] / "adapter_model.safetensors").unlink()
    with pytest.raises(ProteinLMError, match="no weights that can be published"):
        stage(copies["model"], "model", tmp_path / "out")


def test_a_card_brings_no_weights(folders: dict[str, Path], tmp_path: Path) -> None:
    staged = stage(folders["card"], "card", tmp_path / "out")
    assert {"README.md", "card.json", "loss.svg"} <= set(staged.files)
    assert not [name for name in staged.files if name.endswith((".safetensors", "config.json"))]


def staged_model(copies: dict[str, Path], tmp_path: Path) -> Staged:
    return stage(copies["model"], "model", tmp_path / "out")


def test_a_card_that_somebody_edited_is_refused(copies: dict[str, Path], tmp_path: Path) -> None:
    readme = copies["model"] / "README.md"
    readme.write_text(readme.read_text().replace("lamps", "lumps"))
    with pytest.raises(ProteinLMError, match=r"README\.md is not what card\.json makes"):
        check_staged(staged_model(copies, tmp_path), "acme/lamps")


def test_the_card_of_another_repository_is_refused(copies: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ProteinLMError, match=r"The card is of acme/lamps: .*--repo acme/other"):
        check_staged(staged_model(copies, tmp_path), "acme/other")


def test_the_card_of_a_dataset_says_where_it_is(folders: dict[str, Path], tmp_path: Path) -> None:
    staged = stage(folders["dataset"], "dataset", tmp_path / "out", "acme/lamps")
    check_staged(staged, "acme/lamps")
    assert 'load_dataset("acme/lamps", ' in (staged.folder / "README.md").read_text()


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_file_that_is_not_that_of_the_card_is_refused(
    copies: dict[str, Path], tmp_path: Path, damage: str
) -> None:
    path = copies["model"] / "tokenizer.json"
    path.write_text('{"version": "2.0"}') if damage == "changed" else path.unlink()
    with pytest.raises(ProteinLMError, match=r"tokenizer\.json is not the file that card\.json"):
        check_staged(staged_model(copies, tmp_path), "acme/lamps")


def test_a_secret_is_refused(copies: dict[str, Path], tmp_path: Path) -> None:
    (copies["model"] / "tokenizer.json").write_text(json.dumps({"t": FAKE_TOKEN}))
    with pytest.raises(ProteinLMError, match=r"tokenizer\.json") as caught:
        check_staged(staged_model(copies, tmp_path), "acme/lamps")
    assert FAKE_TOKEN not in str(caught.value)


def test_a_derivative_of_llama_has_its_name(evaluations: Path, tmp_path: Path) -> None:
    base, notice = "meta-llama/Llama-3.2-1B", "Llama 3.2 is licensed under the Llama 3.2 Community"
    beside = {"LICENSE": "The terms.\n", "NOTICE": f"{notice} License, Copyright.\n"}
    model = write_model(tmp_path / "made", evaluations, base, "llama3.2", beside)
    with pytest.raises(ProteinLMError, match="has to have a name that begins with 'Llama'"):
        check_staged(stage(model, "model", tmp_path / "out"), "acme/lamps")
    write_card(model, read_card(model) | {"repo": "acme/Llama-lamps"})
    check_staged(stage(model, "model", tmp_path / "renamed"), "acme/Llama-lamps")
