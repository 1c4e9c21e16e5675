"""MMseqs2: clusters of similar sequences, and the search of one set against another.

Steinegger and Soeding, Nat Biotechnol 35:1026 (2017). Sequences are named by their key; very short
peptides (under about 14 residues) have no k-mer to be found by: they are in no cluster's file.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from proteinlm_ext.errors import MissingDependencyError, ProteinLMError

SENSITIVITY = 7.5
# A hit by chance once in a thousand searches; the default of MMseqs2.
EVALUE = 0.001


def version() -> str:
    """Return the version of the `mmseqs` on the PATH.

    Raises:
        MissingDependencyError: There is none.
    """
    if shutil.which("mmseqs") is None:
        raise MissingDependencyError(
            "Splits by similarity and nearest neighbours need MMseqs2, and no `mmseqs` is on the "
            "PATH. Install it with `apt-get install mmseqs2` or `conda install -c bioconda "
            "mmseqs2`. A dataset can be built without it with `--split none`."
        )
    return _mmseqs("version").stdout.strip()


def cluster(
    fasta: Path, out: Path, *, identity: float, coverage: float, threads: int, linear: bool = False
) -> None:
    """Cluster the sequences of a FASTA file; write `representative<TAB>member` lines to `out`.

    Args:
        fasta: Sequences of amino acids; the order decides ties, so keep it stable.
        out: The TSV file; it appears when it is whole.
        identity: Least share of identical residues in the alignment with the representative.
        coverage: Least share of both sequences that the alignment covers.
        threads: Threads of MMseqs2; the clusters do not depend on them.
        linear: `linclust`, linear in the number of sequences, for hundreds of millions.

    Raises:
        ProteinLMError: MMseqs2 failed; its own words are in the message.
    """
    work = _own_folder(out)
    command = "easy-linclust" if linear else "easy-cluster"
    found = _run(
        command, str(fasta), str(work / "result"), str(work / "tmp"),
        "--min-seq-id", str(identity), "-c", str(coverage), "--cov-mode", "0",
        "--threads", str(threads),
    )  # fmt: skip
    result = work / "result_cluster.tsv"
    if not found:
        result.write_bytes(b"")
    result.replace(out)
    shutil.rmtree(work)


def search(
    queries: Path,
    targets: Path,
    out: Path,
    *,
    identity: float,
    threads: int,
    columns: str = "query,target,fident",
) -> None:
    """Search FASTA against FASTA; write a line a hit to `out`, its `columns` apart by tabs.

    Every significant local alignment (E-value at most 0.001) with at least `identity` counts,
    however short a part of the protein it covers: a shared domain is a leak, too. `columns` are
    names of MMseqs2's `--format-output`; `read_hits` reads the three of the default.

    Raises:
        ProteinLMError: MMseqs2 failed; its own words are in the message.
    """
    work = _own_folder(out)
    found = _run(
        "easy-search", str(queries), str(targets), str(work / "hits"), str(work / "tmp"),
        "-s", str(SENSITIVITY), "-e", str(EVALUE), "--min-seq-id", str(identity),
        "--alignment-mode", "3", "--max-seqs", "1000",
        "--format-output", columns, "--threads", str(threads),
    )  # fmt: skip
    if not found:
        (work / "hits").write_bytes(b"")
    (work / "hits").replace(out)
    shutil.rmtree(work)


def read_hits(path: Path) -> Iterator[tuple[str, str, float]]:
    """Give (query, target, identity as a share) of each line that `search` wrote."""
    with path.open(encoding="ascii") as lines:
        for line in lines:
            query, target, identity = line.split("\t")
            yield query, target, float(identity)


def _own_folder(out: Path) -> Path:
    """Return a folder that no MMseqs2 of a killed build still writes to."""
    folder = out.with_name(f"{out.name}.{os.getpid()}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _run(command: str, *arguments: str) -> bool:
    """Run a workflow; return False where all sequences are too short to have a k-mer."""
    done = _mmseqs(command, *arguments, "-v", "1")
    said = (done.stderr + done.stdout).strip()
    if done.returncode and "No k-mer could be extracted" not in said:
        raise ProteinLMError(f"mmseqs {command} failed with {done.returncode}: {said[-600:]}")
    return not done.returncode


def _mmseqs(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["mmseqs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
