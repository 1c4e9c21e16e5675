"""Every held-out row has the training protein that is nearest by sequence, or none."""

import random

import pyarrow.parquet as pq
import pytest
from annotated import row, write_dataset
from sequences import mutated, random_protein

from proteinlm_ext.errors import DataError, MissingDependencyError, UsageError
from proteinlm_ext.neighbours import Neighbour, nearest
from proteinlm_sft import mmseqs


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PROTEINLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "neighbours"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The neighbours of families that are strangers to each other: one search for all."""
    chance = random.Random(11)
    close, far, part, tied = (random_protein(chance, n) for n in (200, 1000, 400, 150))
    hidden = random_protein(chance, 150)
    tails = [random_protein(chance, 20) for _ in range(2)]
    folder = write_dataset(
        tmp_path_factory.mktemp("set"),
        train=[
            row("FAR", mutated(chance, far, 0.74)),
            row("NEAR", mutated(chance, close, 0.4)),
            row("NEARER", mutated(chance, close, 0.1)),
            row("PART", part[100:200]),
            row("TIED3", tied + tails[0]),
            row("TIED2", tied + tails[1]) | {"id": "function:TIED2:3"},
            row("TIED2", tied + tails[1]) | {"id": "function:TIED2:1"},
            row("SAME2", "MKTAY"),
            row("SAME1", "MKTAY"),
        ],
        validation=[row("HIDDEN", hidden)],
        test=[
            *(row(name, close) for name in ("close", "close_too")),
            row("far", far),
            row("part", part),
            row("tied", tied),
            row("peptide", "MKTAY"),
            row("other_peptide", "MWWWY"),
            row("hidden", hidden),
        ],
    )
    write_dataset(folder, "ptm", train=[row("OTHER", hidden, config="ptm")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROTEINLM_CACHE", str(tmp_path_factory.mktemp("cache")))
        return nearest(folder, "function")


def test_the_nearest_is_found_with_its_identity_and_coverage(found):
    near = found["function:close"]

    assert (near.id, near.accession) == ("function:NEARER", "NEARER")
    assert near.identity == pytest.approx(0.9, abs=0.02)
    assert near.coverage > 0.95


def test_rows_of_one_sequence_have_one_neighbour(found):
    assert found["function:close"] == found["function:close_too"]


def test_a_hit_below_every_threshold_of_a_split_counts(found):
    assert found["function:far"].accession == "FAR"
    assert found["function:far"].identity < 0.3


def test_the_coverage_is_that_of_the_held_out_protein(found):
    assert found["function:part"].identity == pytest.approx(1)
    assert found["function:part"].coverage == pytest.approx(0.25, abs=0.02)


def test_ties_go_to_the_first_accession_and_then_to_the_first_id(found):
    assert found["function:tied"].id == "function:TIED2:1"


def test_the_same_peptide_is_nearest_though_mmseqs_does_not_see_it(found):
    same = Neighbour(id="function:SAME1", accession="SAME1", identity=1, coverage=1)

    assert found["function:peptide"] == same


def test_rows_without_a_hit_in_the_configs_own_train_are_absent(found):
    """HIDDEN is in validation, and in the train split of another config."""
    names = ("close", "close_too", "far", "part", "peptide", "tied")

    assert list(found) == [f"function:{name}" for name in names]


@pytest.fixture
def searches(monkeypatch):
    """Let MMseqs2 find the first for the first, and note the searches."""
    noted = []

    def search(queries, targets, out, **_):
        noted.append(queries.read_text())
        out.write_text("0\t0\t0.812\t0.5\t77\n")

    monkeypatch.setattr(mmseqs, "search", search)
    return noted


def test_a_second_call_reads_what_the_first_found(tmp_path, cache, searches):
    folder = write_dataset(
        tmp_path / "set", train=[row("P1", "MKTAYW")], validation=[row("V1", "MKTAY")]
    )

    first = nearest(folder, "function", "validation")

    hit = Neighbour(id="function:P1", accession="P1", identity=0.812, coverage=0.5)
    assert first == nearest(folder, "function", "validation") == {"function:V1": hit}
    assert searches == [">0\nMKTAY\n"]
    assert len(list(cache.iterdir())) == 1


def test_other_rows_or_another_mmseqs_are_searched_anew(tmp_path, searches, monkeypatch):
    near, asked = row("P1", "MKTAYW"), row("Q1", "MKTAY")
    folder = write_dataset(tmp_path / "set", train=[near], test=[asked])
    nearest(folder, "function")
    write_dataset(folder, train=[row("P0", "MKTAYY"), near])

    assert nearest(folder, "function")["function:Q1"].accession == "P0"
    write_dataset(folder, test=[asked, row("Q2", "MWWWY")])
    nearest(folder, "function")
    monkeypatch.setattr(mmseqs, "version", lambda: "another")
    nearest(folder, "function")
    assert len(searches) == 4


def test_a_missing_split_is_told_with_what_makes_one(tmp_path):
    folder = write_dataset(tmp_path / "set", train=[row("P1", "MKTAY")])

    with pytest.raises(UsageError, match=r"no test split of function .*`proteinlm data build`"):
        nearest(folder, "function")


def test_rows_without_a_sequence_are_refused(tmp_path):
    bare = row("Q1", "MKTAY") | {"input": "Where is it?"}
    folder = write_dataset(tmp_path / "set", train=[row("P1", "MKTAY")], test=[bare])

    with pytest.raises(DataError, match="the input of function:Q1 holds no sequence"):
        nearest(folder, "function")


@pytest.mark.parametrize("broken", ["column", "file"])
def test_a_file_that_is_no_shard_of_ours_is_refused(tmp_path, broken):
    folder = write_dataset(tmp_path / "set", train=[row("P1", "MKTAY")], test=[row("Q", "MKTAY")])
    path = folder / "function" / "test-00000-of-00001.parquet"
    if broken == "column":
        pq.write_table(pq.read_table(path).drop_columns("accession"), path)
    else:
        path.write_bytes(b"cut off")

    with pytest.raises(DataError, match=r"test-00000-of-00001\.parquet cannot be read"):
        nearest(folder, "function")


def test_a_missing_mmseqs_is_told(tmp_path, monkeypatch):
    folder = write_dataset(tmp_path / "set", train=[row("P1", "MKTAY")], test=[row("Q", "MKTAY")])
    monkeypatch.setenv("PATH", "")

    with pytest.raises(MissingDependencyError, match="nearest neighbours need MMseqs2"):
        nearest(folder, "function")
