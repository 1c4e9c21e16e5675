"""The card of a dataset is made of its manifest and its Parquet files, and agrees with them."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from annotation_rows import protein_row, write_rows
from datasets import DatasetInfo, Features, load_dataset
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCardData

from proteinlm_ext.errors import ProteinLMError
from proteinlm_hub.dataset_card import collect, to_files
from proteinlm_hub.front_matter import read_front_matter
from proteinlm_hub.metadata import check_card
from proteinlm_sft.assemble import SCHEMA
from proteinlm_sft.manifest import describe_import
from proteinlm_sft.recipe import Exclude, Recipe, Split
from proteinlm_sft.released import ImportedConfig, ImportReport

GOLDEN = Path(__file__).parent / "golden" / "dataset_card.md"
SPLITS = (("train", "P", 4), ("validation", "Q", 1), ("test", "O", 2))  # rows of `function`
TEXTS = pa.schema({"id": pa.string(), "text": pa.string(), "license": pa.string()})


def protein(config: str, accession: str, split: str, licence: str = "CC-BY-4.0") -> dict[str, Any]:
    more = {"number": "1.1.1.1", "name": "Lampase"} if config == "enzyme_cot" else {}
    row = protein_row(config, accession, "Binds zinc.", **more)
    return row | {"license": licence, "split": split, "evidence": ["ECO:0000269"]}


def build(folder: Path, recipe: Recipe | None = None, licence: str = "CC-BY-4.0") -> Path:
    """Write a dataset of nine rows and the manifest that a build would write."""
    rows = {
        "function": {
            split: [protein("function", f"{letter}0000{n}", split, licence) for n in range(count)]
            for split, letter, count in SPLITS
        },
        "enzyme_cot": {"train": [protein("enzyme_cot", "P00010", "train")]},
    }  # fmt: skip
    write_rows(folder, rows)
    (folder / "ssl_uniprot").mkdir()
    path = folder / "ssl_uniprot" / "train-00000-of-00001.parquet"
    document = {"id": "uniprot:P00001", "text": "A lamp.", "license": "CC-BY-4.0"}
    pq.write_table(pa.Table.from_pylist([document], TEXTS), path)
    recipe = recipe or Recipe(name="Lamps", uniprot=("lamps.dat.gz",), release="2025_03")
    manifest = {
        "format": 1,
        "name": recipe.name,
        "recipe": recipe.model_dump(mode="json"),
        "versions": {"mmseqs2": "14", "proteinlm-ext": "0.1.0"},
        "inputs": [{"file": "lamps.dat.gz", "sha256": "1" * 64, "newest_entry": "2025-01-28"}],
        "nomenclature": {"enzyme": {"file": "e.dat", "sha256": "2" * 64, "release": "27"}},
        "entries": {"entries": 9, "function.no_comment": 2, "rows": 8},
        "contamination": {
            "questions": 8,
            "sha256": "3" * 64,
            "dropped": {"verbatim": 1, "near_duplicate": 0, "source": 0},
        },
        "configs": {
            "function": {
                "read": 9,
                "kept": {"train": 4, "validation": 1, "test": 2},
                "left_out": {"contaminated": {"train": 1}, "similar_to_train": {"test": 1}},
            },
            "enzyme_cot": {"read": 1, "kept": {"train": 1}, "left_out": {}},
            "ssl_uniprot": {
                "read": 2,
                "kept": {"train": 1},
                "left_out": {"held_out": {"train": 1}},
                "inputs": [{"file": "lamps.dat.gz", "sha256": "1" * 64, "bytes": 5}],
            },
        },
        # Sizes and hashes do not depend on the version of pyarrow here: the golden card has them.
        "files": {
            found.relative_to(folder).as_posix(): {
                "rows": pq.read_metadata(found).num_rows,
                "bytes": 1000 + number,
                "sha256": f"{number}" * 64,
            }
            for number, found in enumerate(sorted(folder.rglob("*.parquet")))
        },
    }
    names = ("contamination.jsonl", "left_out.jsonl.gz")
    lists = {name: {"bytes": 30, "sha256": "a" * 64} for name in names}
    return write_manifest(folder, manifest | {"lists": lists})


def write_manifest(folder: Path, manifest: dict[str, Any]) -> Path:
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    return folder


def readme(folder: Path) -> str:
    return to_files(collect(folder))["README.md"]


def test_the_card_is_the_golden_one(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    text = readme(build(tmp_path))
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_the_card_is_the_same_from_its_json_alone(tmp_path: Path) -> None:
    card = collect(build(tmp_path))
    assert to_files(json.loads(json.dumps(card))) == to_files(card)


def test_each_configuration_loads_with_the_features_and_counts_of_the_card(tmp_path: Path) -> None:
    folder = build(tmp_path / "lamps")
    text = readme(folder)
    (folder / "README.md").write_text(text, encoding="utf-8")
    front, _ = read_front_matter(text)
    assert [info["config_name"] for info in front["dataset_info"]] == [
        "enzyme_cot", "function", "ssl_uniprot",
    ]  # fmt: skip
    for info in front["dataset_info"]:
        loaded = load_dataset(str(folder), info["config_name"], cache_dir=str(tmp_path / "cache"))
        assert {split: len(rows) for split, rows in loaded.items()} == {
            split["name"]: split["num_examples"] for split in info["splits"]
        }
        path = next((folder / info["config_name"]).glob("*.parquet"))
        assert loaded["train"].features == Features.from_arrow_schema(pq.read_schema(path))
    default = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert len(default["train"]) == 4  # function


def test_features_are_written_as_push_to_hub_writes_them(tmp_path: Path) -> None:
    features = Features.from_arrow_schema(SCHEMA)
    oracle = DatasetCardData()
    DatasetInfosDict({"function": DatasetInfo(features=features)}).to_dataset_card_data(oracle)
    front, _ = read_front_matter(readme(build(tmp_path)))
    assert front["dataset_info"][1]["features"] == oracle["dataset_info"]["features"]


def test_the_card_passes_the_offline_checks(tmp_path: Path) -> None:
    folder = build(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, file in manifest["files"].items():
        file["bytes"] = (folder / name).stat().st_size
    text = readme(write_manifest(folder, manifest))
    (folder / "README.md").write_text(text, encoding="utf-8")
    assert check_card(text, folder, "dataset") == []


def test_one_row_of_another_licence_makes_the_licence_other(tmp_path: Path) -> None:
    front, _ = read_front_matter(readme(build(tmp_path / "free")))
    assert front["license"] == "cc-by-4.0"
    text = readme(build(tmp_path / "mixed", licence="unknown"))
    front, _ = read_front_matter(text)
    assert (front["license"], front["license_link"]) == ("other", "README.md")
    assert "| unknown | 7 |" in text
    assert "must not be published" in text


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (Split(by="similarity", identity=0.4), "hit in train at\nidentity 0.4 or above"),
        (Split(by="random"), "Similar\nproteins stand on both sides"),
        (
            Split(by="date", validation_from="2024-01-01", test_from="2025-01-01"),
            "validation from 2024-01-01, test from\n2025-01-01",
        ),
    ],
)
def test_the_card_says_how_the_splits_were_made(tmp_path: Path, split: Split, said: str) -> None:
    recipe = Recipe(name="Lamps", uniprot=("lamps.dat.gz",), split=split)
    assert said in readme(build(tmp_path, recipe))


def test_what_the_recipe_excluded_is_named(tmp_path: Path) -> None:
    exclude = Exclude(keywords=("Toxin",), taxa=("Viruses", 9606))
    recipe = Recipe(name="Lamps", uniprot=("lamps.dat.gz",), exclude=exclude)
    assert "left out proteins with Toxin, Viruses, 9606" in readme(build(tmp_path / "a", recipe))
    assert "No protein was left out for that reason" in readme(build(tmp_path / "b"))


def test_a_dataset_that_was_not_searched_for_questions_says_so(tmp_path: Path) -> None:
    folder = build(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["contamination"]
    assert "Not searched for questions" in readme(write_manifest(folder, manifest))


def test_an_imported_dataset_has_a_card_too(tmp_path: Path) -> None:
    write_rows(tmp_path, {"function": {"train": [protein("function", "P00001", "train")]}})
    config = ImportedConfig(
        config="function",
        file="sft_uniprot_Function.json",
        sha256="4" * 64,
        read=3,
        kept=1,
        faults=Counter(evidence_tag=1),
        left_out=Counter(duplicate=2),
        shards={"function/train-00000-of-00001.parquet": 1},
    )
    report = ImportReport(
        revisions={"tsynbio/ProteinLMBench": "5" * 40},
        configs=(config,),
        not_understood={"odd.bin": "neither a JSON list nor JSON Lines"},
    )
    describe_import(report, tmp_path)
    text = readme(tmp_path)
    assert check_card(text, tmp_path, "dataset") == []
    assert "| `function` | the same as an earlier row (`duplicate`) | 2 |" in text
    assert "| `function` | `evidence_tag` | 1 |" in text
    assert f"`tsynbio/ProteinLMBench` was read at revision `{'5' * 40}`" in text
    assert "`odd.bin` was not read" in text


@pytest.mark.parametrize(
    "key", ["configs", "files", "inputs", "name", "nomenclature", "recipe", "versions"]
)
def test_a_key_that_the_manifest_lacks_is_named(tmp_path: Path, key: str) -> None:
    folder = build(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest[key]
    with pytest.raises(ProteinLMError, match=rf"manifest\.json lacks {key}\."):
        collect(write_manifest(folder, manifest))


def test_a_key_that_a_configuration_lacks_is_named(tmp_path: Path) -> None:
    folder = build(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["configs"]["function"]["left_out"]
    with pytest.raises(ProteinLMError, match="lacks left_out"):
        collect(write_manifest(folder, manifest))


def test_a_dataset_without_a_row_has_no_card(tmp_path: Path) -> None:
    folder = build(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    with pytest.raises(ProteinLMError, match="it holds no row"):
        collect(write_manifest(folder, manifest | {"files": {}}))


def test_a_list_that_is_not_there_is_not_named(tmp_path: Path) -> None:
    folder = build(tmp_path)
    whole = readme(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["lists"]
    text = readme(write_manifest(folder, manifest))
    assert {"left_out.jsonl.gz", "contamination.jsonl"} <= set(re.findall(r"[\w.]+", whole))
    assert not {"left_out.jsonl.gz", "contamination.jsonl"} & set(re.findall(r"[\w.]+", text))


def test_a_folder_without_a_manifest_is_no_whole_dataset(tmp_path: Path) -> None:
    with pytest.raises(ProteinLMError, match=r"no whole dataset: .*manifest\.json"):
        collect(tmp_path)


def test_a_file_with_other_rows_than_the_manifest_says_is_refused(tmp_path: Path) -> None:
    folder = build(tmp_path)
    path = folder / "function" / "test-00000-of-00001.parquet"
    pq.write_table(pq.read_table(path).slice(0, 1), path)
    with pytest.raises(ProteinLMError, match=r"test-00000-of-00001\.parquet has 1 rows, .* says 2"):
        collect(folder)


@pytest.mark.parametrize("damage", ["gone", "garbage", "no license"])
def test_a_file_that_is_not_what_was_built_is_refused(tmp_path: Path, damage: str) -> None:
    folder = build(tmp_path)
    path = folder / "function" / "test-00000-of-00001.parquet"
    if damage == "gone":
        path.unlink()
    elif damage == "garbage":
        path.write_bytes(b"no Parquet")
    else:
        pq.write_table(pq.read_table(path).drop_columns(["license"]), path)
    with pytest.raises(ProteinLMError, match="no whole dataset"):
        collect(folder)


def test_a_manifest_that_is_not_written_yet_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = build(tmp_path)
    expected = collect(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").unlink()
    assert collect(folder, manifest) == expected
