"""Protein sequences that nobody annotated, for tests."""

import random

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


def random_protein(chance: random.Random, length: int) -> str:
    """Return a protein of random residues; any two are strangers to each other."""
    return "M" + "".join(chance.choices(RESIDUES, k=length - 1))


def mutated(chance: random.Random, sequence: str, share: float) -> str:
    """Return a copy with a share of its residues changed to others."""
    residues = list(sequence)
    for place in chance.sample(range(len(residues)), round(share * len(residues))):
        residues[place] = chance.choice(RESIDUES.replace(residues[place], ""))
    return "".join(residues)
