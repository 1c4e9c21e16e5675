"""Make a UniProt flat file as large as wanted from a small one: new accessions, shuffled residues.

Every copy of an entry has an accession and an entry name of its own, its residues in another order
and the CRC64 of those; all other lines are those of the original. Same seed, same bytes.

    python benchmarks/uniprot_copies.py uniprot_sprot.dat.gz --out FOLDER [--files 16] [--mb 1000]
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from Bio.SeqUtils.CheckSum import crc64
from isal import igzip
from tqdm import tqdm

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# The digits of A0A[A-Z0-9]{2}[0-9][A-Z][A-Z0-9]{2}[0-9], from the last to the first.
_DIGITS = (_LETTERS[:10], _LETTERS, _LETTERS, _LETTERS[10:], _LETTERS[:10], _LETTERS, _LETTERS)
_HEAD = re.compile(rb"ID   [A-Z0-9]+_([A-Z0-9]+) *(.*\n)(?:AC   .*\n)+")
_SEQUENCE = re.compile(rb"^(SQ   .*; +)[0-9A-F]{16}( CRC64;\n)((?:     .*\n)+)//\n", re.MULTILINE)
_BLOCK = 1 << 22


def main() -> None:
    """Write the files and say how large they are."""
    parser = argparse.ArgumentParser(description="Make a large UniProt flat file.")
    parser.add_argument("source", type=Path, help="flat file, gzip")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--files", type=int, default=16, help="how many (16)")
    parser.add_argument("--mb", type=float, default=1000, help="in all, decompressed (1000)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    paths = make_copies(options.source, options.out, options.files, options.mb * 1e6, options.seed)
    stored = sum(path.stat().st_size for path in paths)
    print(f"{len(paths)} files in {options.out}, {stored / 1e6:.0f} MB as gzip")


def make_copies(source: Path, out: Path, files: int, size: float, seed: int = 1) -> list[Path]:
    """Write gzip files of `size` bytes in all, up to the end of the last entry of each."""
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"copies-{number:02}.dat.gz" for number in range(files)]
    entries, number = repeat_entries(source), 0
    with tqdm(total=int(size), unit="B", unit_scale=True, desc="Copies", disable=None) as bar:
        for file, path in enumerate(paths):
            chance = np.random.default_rng([seed, file])
            # No name and no date: the bytes depend on the entries alone.
            with path.open("wb") as raw, igzip.IGzipFile("", "wb", 1, raw, mtime=0) as packed:
                written = 0
                while written < size / files:
                    copy = copy_entry(next(entries), number, chance)
                    written += packed.write(copy)
                    bar.update(len(copy))
                    number += 1
    return paths


def repeat_entries(source: Path) -> Iterator[bytes]:
    """Give the entries of a flat file over and over, `//` included."""
    while True:
        with igzip.open(source) as stream:
            entries, rest = [], b""
            while block := stream.read(_BLOCK):
                *entries, rest = (rest + block).split(b"\n//\n")
                for entry in entries:
                    yield entry + b"\n//\n"
        if rest or not entries:
            raise SystemExit(f"{source} does not end in //")


def copy_entry(entry: bytes, number: int, chance: np.random.Generator) -> bytes:
    """Return an entry under the accession of a number, its residues shuffled."""
    accession = make_accession(number)
    head, old = _HEAD.match(entry), _SEQUENCE.search(entry)
    if head is None or old is None:
        raise SystemExit(f"No ID, AC or SQ line in an entry that begins {entry[:40]!r}")
    residues = np.frombuffer(old[3].translate(None, b" \n"), np.uint8)
    sequence = chance.permutation(residues).tobytes()
    return b"".join(
        (
            b"ID   %-24s" % (accession + b"_" + head[1]),
            head[2],
            b"AC   %s;\n" % accession,
            entry[head.end() : old.start()],
            old[1],
            crc64(sequence.decode()).removeprefix("CRC-").encode(),
            old[2],
            *(wrap_residues(sequence[i : i + 60]) for i in range(0, len(sequence), 60)),
            b"//\n",
        )
    )


def wrap_residues(residues: bytes) -> bytes:
    """Return one line of up to 60 residues in groups of ten."""
    return b"     %s\n" % b" ".join(residues[i : i + 10] for i in range(0, len(residues), 10))


def make_accession(number: int) -> bytes:
    """Return a UniProt accession, another for every number below 3.3 thousand million."""
    letters = ""
    for digits in _DIGITS:
        number, digit = divmod(number, len(digits))
        letters = digits[digit] + letters
    return f"A0A{letters}".encode()


if __name__ == "__main__":
    main()
