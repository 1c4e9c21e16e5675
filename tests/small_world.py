"""All that `runs/protein-smollm2.sh` asks for, at toy size: proteins, questions, a model, a Hub."""

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from sequences import random_protein
from tiny_models import save_model, save_tokenizer
from trained import TEMPLATE
from uniprot_entries import Disease, Protein, Remark, accession, to_flat

from proteinlm_ext.paths import data_file

ENTRIES, QUESTIONS = 30, 20
EVIDENCE = ("ECO:0000269|PubMed:10000001",)
RELEASE = "CC   Release of 27-Nov-2024\n//\n"
ENZYME = """\
ID   1.1.1.{number}
DE   Sample dehydrogenase {number}.
CA   Sample {number} + H(2)O = sampled sample {number}.
CC   -!- Acts on sample {number}.
//
"""


def save_proteins(folder: Path) -> None:
    """Write `proteins.dat` and `enzyme.dat`: every protein has all seven annotations."""
    draw = random.Random(8)
    entries = [
        Protein(
            accession=accession(number),
            entry_name=f"S{number}_TESTE",
            enzymes=((f"1.1.1.{1 + number}", EVIDENCE),),
            remarks=(
                Remark(text=f"Carries sample {number}.", evidence=EVIDENCE),
                Remark(topic="SUBUNIT", text=f"Forms ring {number}.", evidence=EVIDENCE),
                Remark(topic="TISSUE SPECIFICITY", text=f"In organ {number}.", evidence=EVIDENCE),
                Remark(topic="INDUCTION", text=f"By heat {number}.", evidence=EVIDENCE),
                Remark(topic="PTM", text=f"Cut at site {number}.", evidence=EVIDENCE),
                Disease(
                    name=f"Sample loss {number}", acronym="SL", mim="600001",
                    description=f"Loss of sample {number}.", evidence=EVIDENCE,
                ),
            ),
            sequence=random_protein(draw, 40),
        )
        for number in range(ENTRIES)
    ]  # fmt: skip
    (folder / "proteins.dat").write_bytes(b"".join(map(to_flat, entries)))
    (folder / "enzyme.dat").write_text(
        RELEASE + "".join(ENZYME.format(number=1 + number) for number in range(ENTRIES))
    )


def save_questions(folder: Path) -> None:
    """Write `questions.json`, the first of the bundled ones."""
    rows = json.loads(data_file("sample.json").read_text(encoding="utf-8"))
    (folder / "questions.json").write_text(json.dumps(rows[:QUESTIONS]))


def save_hub(root: Path) -> None:
    """Write what lm-eval asks the Hub for: a subject of MMLU, and GSM8K, invented."""
    subject = [
        {"question": f"What is {n} and {n}?", "subject": "virology", "answer": n % 4,
         "choices": [str(2 * n + k - n % 4) for k in range(4)]}
        for n in range(QUESTIONS)
    ]  # fmt: skip
    sums = [{"question": f"Add {n} to {n}.", "answer": f"Twice {n}.\n#### {2 * n}"}
            for n in range(QUESTIONS)]  # fmt: skip
    _save_repo(root / "datasets/cais/mmlu", "virology", {"test": subject, "dev": subject[:5]})
    _save_repo(root / "datasets/openai/gsm8k", "main", {"test": sums, "train": sums[:8]})


def _save_repo(folder: Path, config: str, splits: dict[str, list[dict[str, object]]]) -> None:
    (folder / config).mkdir(parents=True)
    front = ["---", "configs:", f"- config_name: {config}", "  data_files:"]
    for split, rows in splits.items():
        front += [f"  - split: {split}", f"    path: {config}/{split}-*"]
        pq.write_table(pa.Table.from_pylist(rows), folder / config / f"{split}-0.parquet")
    (folder / "README.md").write_text("\n".join([*front, "---", ""]))


def save_world(folder: Path) -> dict[str, str]:
    """Write all of it and return the variables with which the script finds it."""
    save_proteins(folder)
    save_questions(folder)
    save_hub(folder / "hub")
    save_model(folder / "tiny", "llama", max_position_embeddings=8192)
    save_tokenizer(folder / "tiny", chat_template=TEMPLATE)
    few_steps = "train.max_steps=4 run.save_steps=2 run.eval_steps=2"
    return {
        "WORK": str(folder / "work"),
        "UNIPROT": str(folder / "proteins.dat"),
        "ENZYME": str(folder / "enzyme.dat"),
        "PROTEINLM_DATA": str(folder / "questions.json"),
        "SPLIT": "{by: similarity, validation: 0.2, test: 0.2}",
        "BASE": str(folder / "tiny"),
        "BASE_ID": "acme/tiny",
        "NAME": "tiny-protein",
        "OWNER": "acme",
        "CPT": f"{few_steps} train.lr=1e-4 data.validation.rows=4",
        "SFT": f"{few_steps} train.lr=0.03 train.max_length=1024",
        "GENERAL": "mmlu_virology",
        "GENERATED": "proteinlm_sft_answers,gsm8k",
        "LIMIT": "2",
    }
