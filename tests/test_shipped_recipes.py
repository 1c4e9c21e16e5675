"""The recipes that ship are valid and run; the rows that ship say what is in their sequences."""

import json
import re
from collections import Counter
from typing import Any

import pytest
from trained import shipped_recipe

from proteinlm_ext.paths import recipes_dir
from proteinlm_train.recipe_file import load_recipe

FOLDER = recipes_dir("train")
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
ISSUED = {
    "internlm3-8b-cpt-fsdp", "internlm3-8b-sft-fsdp", "llama-3.1-8b-lora", "paper-like-lora",
    "qwen3-8b-lora", "smollm2-135m-cpt", "smollm2-135m-sft", "smollm2-135m-smoke",
}  # fmt: skip
# What each motif is, and a word that only its answers use.
MOTIFS = {
    "zinc_finger": (r"C.{2,4}C.{12}H.{3,5}H", "C2H2"),
    "sequon": (r"N[^P][ST][^P]", "N-linked"),
    "signal_peptide": (r"^M[KR]{2,3}[AFILV]{10,14}A[GQS]A", "signal peptide"),
    "transmembrane": (r"[AFGILMVW]{19,}", "membrane"),
    "er_retention": (r"KDEL$", "KDEL"),
    "leucine_zipper": (r"L.{6}L.{6}L.{6}L", "leucine"),
    "p_loop": (r"[AG].{4}GK[ST]", "Walker A"),
    "rgd": (r"RGD", "RGD"),
    "metalloprotease": (r"HE..H", "HEXXH"),
    "serine_hydrolase": (r"G.S.G", "GXSXG"),
}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    lines = (FOLDER / "smoke_rows.jsonl").read_text(encoding="ascii").splitlines()
    return [json.loads(line) for line in lines]


def sequence_of(row: dict[str, Any]) -> str:
    return re.search(r"<seq> (.*) </seq>", row["input"])[1].replace(" ", "")


def test_every_promised_recipe_ships():
    assert set(NAMES) == ISSUED


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_is_valid_and_says_what_to_expect(name):
    path = FOLDER / f"{name}.yaml"
    text = path.read_text(encoding="ascii")

    assert load_recipe(path).name == name
    assert text.startswith("# yaml-language-server: $schema=recipe.schema.json\n")
    assert name in text.split("\nname:")[0]
    assert re.search(r"^# Memory", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_runs_two_steps_with_a_tiny_model(name, tmp_path, one_thread):
    from proteinlm_train.run import train

    folder = train(shipped_recipe(name, tmp_path))

    record = json.loads((folder / "training_run.json").read_text())
    assert record["status"] == "finished"
    assert record["steps"] == {"done": 2, "planned": 2}
    assert any((folder / "final").glob("*.safetensors"))


def test_there_are_200_rows_in_three_splits_with_20_of_each_motif(rows):
    assert Counter(row["split"] for row in rows) == {"train": 160, "validation": 20, "test": 20}
    assert Counter(row["motif"] for row in rows) == dict.fromkeys(MOTIFS, 20)
    for split in ("validation", "test"):
        assert {row["motif"] for row in rows if row["split"] == split} == set(MOTIFS)


def test_rows_are_unique_and_splits_share_no_sequence(rows):
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({row["accession"] for row in rows}) == len(rows)
    assert len({sequence_of(row) for row in rows}) == len(rows)


def test_rows_carry_the_columns_of_a_built_dataset_and_no_accession_of_a_real_protein(rows):
    assert {tuple(row) for row in rows} == {
        ("id", "accession", "field", "motif", "split", "instruction", "input", "output",
         "source", "license")
    }  # fmt: skip
    assert {(row["source"], row["license"]) for row in rows} == {("proteinlm-ext", "CC0-1.0")}
    assert all(re.fullmatch(r"SMOKE\d{3}", row["accession"]) for row in rows)


def test_instruction_and_input_are_those_of_the_templates(rows):
    from proteinlm_sft.templates import FIELDS, fill_answer, protein_input

    for row in rows:
        assert row["instruction"] == FIELDS[row["field"]].instruction
        assert row["input"] == protein_input(sequence_of(row))
        assert row["output"].startswith(fill_answer(row["field"], ""))


def test_sequences_have_20_kinds_of_residues_and_30_to_200_of_them(rows):
    for row in rows:
        assert re.fullmatch(r"M[ACDEFGHIKLMNPQRSTVWY]{29,199}", sequence_of(row))


def test_every_sequence_holds_its_motif_once_and_no_other(rows):
    for row in rows:
        sequence = sequence_of(row)
        found = {name: len(re.findall(form, sequence)) for name, (form, _) in MOTIFS.items()}
        assert found == dict.fromkeys(MOTIFS, 0) | {row["motif"]: 1}, row["id"]


def test_every_answer_speaks_of_the_motif_of_its_sequence_and_of_no_other(rows):
    for row in rows:
        named = [name for name, (_, word) in MOTIFS.items() if word in row["output"]]
        assert named == [row["motif"]], row["id"]
