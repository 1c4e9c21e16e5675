"""Rows for the benchmarks of training: the lengths of real ones, in words of our own."""

import json
from pathlib import Path
from typing import Any

import numpy as np

# Lengths of the 3,656 training rows of seven configs, built from a part of Swiss-Prot and split by
# similarity: residues of the sequence, words of the answer with its template.
SHARES = (0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 1)
RESIDUES = (5, 29, 37, 63, 85, 146, 234, 335, 449, 548, 770, 1082, 1476, 2068, 2555, 4391)
WORDS = (8, 12, 14, 14, 16, 22, 27, 34, 47, 68, 112, 176, 238, 338, 440, 1118)
AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
VOCABULARY = (
    "binds the ion of zinc in its active site and hydrolyses peptide bonds transfers a methyl "
    "group to lysine residues forms a homodimer with calmodulin located at the mitochondrial "
    "membrane expressed during sporulation is required for transcription phosphorylates tyrosine "
    "kinase receptors catalyzes reduction by NADPH interacts through disulfide bridges when heat "
    "shock induces ubiquitination"
)


def draw_rows(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Return rows of random residues and words; the two lengths are drawn apart from each other."""
    from proteinlm_sft.templates import FIELDS, fill_answer, protein_input

    draw = np.random.default_rng(seed)
    residues = np.interp(draw.random(count), SHARES, RESIDUES).round().astype(int)
    words = np.interp(draw.random(count), SHARES, WORDS).round().astype(int)
    rows: list[dict[str, Any]] = []
    for number, (length, size) in enumerate(zip(residues, words, strict=True)):
        config = [*FIELDS][number % len(FIELDS)]
        template = len(fill_answer(config, "").split())
        answer = " ".join(draw.choice(VOCABULARY.split(), max(1, size - template)))
        rows.append(
            {
                "id": str(number),
                "instruction": FIELDS[config].instruction,
                "input": protein_input("".join(draw.choice([*AMINO_ACIDS], length))),
                "output": fill_answer(config, answer),
            }
        )
    return rows


def sample_rows(folder: Path, count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Return training rows of a built dataset, drawn from all its configs."""
    import pyarrow.parquet as pq

    columns = ["id", "instruction", "input", "output"]
    found = [
        row
        for file in sorted(folder.glob("*/train-*.parquet"))
        if set(columns) <= set(pq.read_schema(file).names)
        for row in pq.read_table(file, columns=columns).to_pylist()
    ]
    chosen = np.random.default_rng(seed).permutation(len(found))[:count]
    return [found[number] for number in sorted(chosen.tolist())]


def save_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
