"""A built dataset of invented annotations, laid out as `proteinlm data build` does."""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sequences import random_protein

from proteinlm_sft.assemble import SCHEMA
from proteinlm_sft.templates import (
    ENZYME,
    FIELDS,
    enzyme_answer,
    enzyme_input,
    fill_answer,
    protein_input,
)

TEXTS = {
    "function": "Binds zinc and opens the gate of the vesicle.",
    "subunit": "Homotrimer; binds the gate keeper.",
    "disease": "Lamp fever (LMPF): A fever of lamps. Note: Caused by variants.",
    "ptm": "Phosphorylated on serine after heat.",
    "tissue_specificity": "Expressed in liver, brain and, at low levels, in skeletal muscles.",
    "induction": "By heat and by salt.",
}


def protein_row(
    config: str, accession: str, text: str, *, number: str = "", name: str = ""
) -> dict[str, Any]:
    """Return one row; that of `enzyme_cot` needs number and name, and `text` is its comment."""
    sequence = random_protein(random.Random(accession), 30)
    if config == ENZYME.config:
        output = enzyme_answer(text, name, "A + B = C", "clean")
        place = {"input": enzyme_input(sequence, "clean"), "id": f"{config}:{accession}:{number}"}
        instruction = ENZYME.instruction
    else:
        output = fill_answer(config, text)
        place = {"input": protein_input(sequence), "id": f"{config}:{accession}"}
        instruction = FIELDS[config].instruction
    digest = hashlib.sha256(sequence.encode()).hexdigest()
    said = {"instruction": instruction, "output": output, "accession": accession}
    return dict.fromkeys(SCHEMA.names) | said | place | {"sequence_sha256": digest}


ENZYMES = [
    protein_row("enzyme_cot", "P00010", "Slow. See also EC 2.7.7.7.", number="1.1.1.1",
                name="Lampase"),
    protein_row("enzyme_cot", "P00010", "", number="1.1.9.4", name="Wick reductase (NAD(+))"),
    protein_row("enzyme_cot", "P00011", "", number="1.1.1.9", name="Kettle--lid ligase"),
]  # fmt: skip


def write_rows(folder: Path, rows: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> Path:
    """Write rows by config and split, and a manifest."""
    for config, splits in rows.items():
        (folder / config).mkdir(parents=True, exist_ok=True)
        for split, members in splits.items():
            path = folder / config / f"{split}-00000-of-00001.parquet"
            pq.write_table(pa.Table.from_pylist([*members], SCHEMA), path)
    (folder / "manifest.json").write_text(json.dumps({"name": "lamps"}), encoding="utf-8")
    return folder


def write_all(folder: Path) -> Path:
    """Write a dataset with all seven configs: three rows of each in test, two in train."""
    rows = {
        config: {
            "test": [protein_row(config, f"P0000{n}", f"{text} {'Also. ' * n}") for n in range(3)],
            "train": [protein_row(config, f"Q0000{n}", text) for n in range(2)],
        }
        for config, text in TEXTS.items()
    }
    enzymes = {"test": ENZYMES, "train": [
        protein_row("enzyme_cot", "Q00012", "", number="2.3.1.4", name="Wax synthase"),
    ]}  # fmt: skip
    return write_rows(folder, rows | {"enzyme_cot": enzymes})
