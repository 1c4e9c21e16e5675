"""MMseqs2: clusters and hits of sequences that we relate on purpose."""

import random

import pytest
from sequences import mutated, random_protein

from proteinlm_ext.errors import MissingDependencyError, ProteinLMError
from proteinlm_sft import mmseqs


@pytest.fixture
def families(tmp_path):
    """Ten families of three: a protein, a copy with 10% changed, one with 60% changed."""
    chance = random.Random(1)
    lines = []
    for family in range(10):
        first = random_protein(chance, 250)
        lines += [
            f">{family}_{share}\n{mutated(chance, first, share)}\n" for share in (0.0, 0.1, 0.6)
        ]
    path = tmp_path / "all.fasta"
    path.write_text("".join(lines))
    return path


def clusters_of(path):
    return {
        member: representative
        for representative, member in (line.split() for line in path.read_text().splitlines())
    }


def test_close_copies_share_a_cluster_and_strangers_do_not(families, tmp_path):
    mmseqs.cluster(families, tmp_path / "c.tsv", identity=0.8, coverage=0.8, threads=1)
    clusters = clusters_of(tmp_path / "c.tsv")

    assert len(clusters) == 30
    for family in range(10):
        assert clusters[f"{family}_0.0"] == clusters[f"{family}_0.1"]
        assert clusters[f"{family}_0.6"] == f"{family}_0.6"


def test_threads_do_not_change_a_byte(families, tmp_path):
    for threads in (1, 2):
        out = tmp_path / f"c{threads}.tsv"
        mmseqs.cluster(families, out, identity=0.3, coverage=0.8, threads=threads)

    assert (tmp_path / "c1.tsv").read_bytes() == (tmp_path / "c2.tsv").read_bytes()


def test_a_search_tells_how_alike_the_best_hits_are(families, tmp_path):
    chance = random.Random(1)
    first = random_protein(chance, 250)
    (tmp_path / "q.fasta").write_text(f">q\n{mutated(chance, first, 0.05)}\n")

    mmseqs.search(tmp_path / "q.fasta", families, tmp_path / "hits.tsv", identity=0.3, threads=1)
    hits = {target: identity for _, target, identity in mmseqs.read_hits(tmp_path / "hits.tsv")}

    assert hits["0_0.0"] == pytest.approx(0.95, abs=0.02)
    assert all(target.startswith("0_") for target in hits)


@pytest.mark.parametrize("linear", [True, False])
def test_peptides_without_a_kmer_are_in_no_cluster_and_have_no_hit(tmp_path, linear):
    (tmp_path / "short.fasta").write_text(">a\nMKTAY\n>b\nMWWWY\n")

    mmseqs.cluster(
        tmp_path / "short.fasta", tmp_path / "c.tsv", identity=0.3, coverage=0.8, threads=1,
        linear=linear,
    )  # fmt: skip
    mmseqs.search(
        tmp_path / "short.fasta", tmp_path / "short.fasta", tmp_path / "h.tsv", identity=0.3,
        threads=1,
    )  # fmt: skip

    assert set(clusters_of(tmp_path / "c.tsv")) <= {"a", "b"}
    assert list(mmseqs.read_hits(tmp_path / "h.tsv")) == []


def test_a_failure_carries_what_mmseqs_said(tmp_path):
    (tmp_path / "no.fasta").write_text("no fasta at all")

    with pytest.raises(ProteinLMError, match=r"mmseqs easy-cluster failed with \d+: .+"):
        mmseqs.cluster(
            tmp_path / "no.fasta", tmp_path / "c.tsv", identity=0.3, coverage=0.8, threads=1
        )


def test_a_missing_mmseqs_is_told_with_the_way_to_install_it(monkeypatch):
    monkeypatch.setenv("PATH", "")

    with pytest.raises(MissingDependencyError, match="apt-get install mmseqs2"):
        mmseqs.version()
