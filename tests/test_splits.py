"""Every row goes to one split or away for one reason, and no split gives another away."""

import itertools
import random

import pyarrow.parquet as pq
import pytest
from sequences import mutated, random_protein
from staged import Said, write_part

from proteinlm_sft.recipe import check_recipe
from proteinlm_sft.splits import decide


def recipe(**given):
    split = {"clusterer": "linclust"} | given.pop("split", {})  # the faster one
    return check_recipe({"uniprot": ["x"], "split": split, **given}, "test")


def decided(tmp_path, *parts, contaminated=(), threads=1, **given):
    """Return {row id in order: (split, reason)} and the clusters."""
    work = tmp_path / f"work{next(_number)}"
    folders = [write_part(work / f"part{n}", part) for n, part in enumerate(parts)]
    found = decide(folders, contaminated, recipe(**given), work / "decisions", threads)
    outcome, clusters = [], []
    for part, file in zip(parts, found.files, strict=True):
        proteins = list(dict.fromkeys(row.accession for row in part))
        ordered = sorted(part, key=lambda row: proteins.index(row.accession))
        for row, said in zip(ordered, pq.read_table(file).to_pylist(), strict=True):
            outcome.append((row.id, said["split"], said["reason"]))
            clusters.append(said["cluster"])
    assert sum(count[3] for count in found.counts) == len(outcome)
    return outcome, clusters


_number = itertools.count()


def reasons(outcome):
    return {name: reason for name, _, reason in outcome}


def strangers(count, **given):
    chance = random.Random(3)
    return [
        Said(f"P{n:05d}", random_protein(chance, 120), f"Does thing number {n}.", **given)
        for n in range(count)
    ]


def test_the_second_file_with_an_accession_is_dropped_whole(tmp_path):
    first = strangers(3)
    second = [Said("P00001", first[1].sequence, "Something else.", config="ptm")]

    outcome, _ = decided(tmp_path, first, second, split={"by": "none"})

    assert reasons(outcome)["ptm:P00001"] == "duplicate_accession"
    assert reasons(outcome)["function:P00001"] is None


def test_the_same_text_of_the_same_sequence_is_one_row(tmp_path):
    one, other = strangers(2)
    twin = Said("Q1", one.sequence, "DOES thing, number 0")

    outcome, _ = decided(tmp_path, [one, other, twin], split={"by": "none"})

    assert reasons(outcome) == {
        "function:P00000": None, "function:P00001": None, "function:Q1": "exact_duplicate",
    }  # fmt: skip


def test_the_same_text_of_nearly_the_same_sequence_is_one_row(tmp_path):
    one, other = strangers(2)
    chance = random.Random(4)
    near = Said("Q1", mutated(chance, one.sequence, 0.03), one.text)
    near_but_new = Said("Q2", mutated(chance, one.sequence, 0.03), "Says something new.")
    far = Said("Q3", other.sequence, one.text)

    outcome, _ = decided(
        tmp_path, [one, other, near, near_but_new, far], split={"test": 0.001, "validation": 0.001}
    )

    assert reasons(outcome)["function:Q1"] == "near_duplicate"
    assert reasons(outcome)["function:Q2"] is None
    assert reasons(outcome)["function:Q3"] is None


def test_the_papers_mode_keeps_duplicates(tmp_path):
    one = strangers(1)[0]

    outcome, _ = decided(tmp_path, [one, Said("Q1", one.sequence, one.text)], mode="paper")

    assert [split for _, split, _ in outcome] == ["train", "train"]
    assert set(reasons(outcome).values()) == {None}


def test_an_enzyme_keeps_its_first_accessions_in_the_drawn_order(tmp_path):
    rows = [
        Said(row.accession, row.sequence, row.text, "enzyme_cot", None, enzyme="1.1.1.1", draw=draw)
        for row, draw in zip(strangers(4), (2**63 + 5, 3, 1, 2**64 - 1), strict=True)
    ]

    outcome, _ = decided(tmp_path, rows, split={"by": "none"}, accessions_per_enzyme=2)

    kept = [name.split(":")[1] for name, _, reason in outcome if reason is None]
    assert kept == ["P00001", "P00002"]
    assert set(reasons(outcome).values()) == {None, "over_accessions_per_enzyme"}


def test_a_contaminated_row_is_dropped(tmp_path):
    outcome, _ = decided(
        tmp_path, strangers(2), contaminated=["function:P00001"], split={"by": "none"}
    )

    assert reasons(outcome) == {"function:P00000": None, "function:P00001": "contaminated"}


def test_a_family_lies_in_one_split(tmp_path):
    chance = random.Random(5)
    rows = []
    for family, one in enumerate(strangers(20)):
        rows += [
            Said(f"Q{family:03d}{n}", mutated(chance, one.sequence, 0.2), f"Is {family} {n}.")
            for n in range(3)
        ]

    outcome, clusters = decided(
        tmp_path, rows, split={"validation": 0.2, "test": 0.2, "clusterer": "cluster"}
    )

    splits = {}
    for (name, split, _), cluster in zip(outcome, clusters, strict=True):
        splits.setdefault(name[9:13], set()).add((split, cluster))
    assert all(len(found) == 1 for found in splits.values())
    assert {split for _, split, _ in outcome} == {"train", "validation", "test"}


def test_the_seed_decides_and_nothing_else(tmp_path):
    rows, halves = strangers(30), {"validation": 0.3, "test": 0.3}
    first, _ = decided(tmp_path, rows, split=halves)
    again, _ = decided(tmp_path, rows, split=halves, threads=2)
    other, _ = decided(tmp_path, rows, split=halves, seed=7)

    assert first == again
    assert first != other


def test_validation_and_test_hold_experimental_rows_alone(tmp_path):
    rows = strangers(30, experimental=False)
    outcome, _ = decided(tmp_path, rows, split={"validation": 0.3, "test": 0.3})
    asked, _ = decided(tmp_path, rows, split={"validation": 0.3, "test": 0.3, "evidence": "any"})

    for _, split, reason in outcome:
        assert reason == (None if split == "train" else "not_experimental")
    assert set(reasons(asked).values()) == {None}


def test_a_source_without_evidence_keeps_its_held_out_rows(tmp_path):
    rows = strangers(30, experimental=None)
    outcome, _ = decided(tmp_path, rows, split={"validation": 0.3, "test": 0.3})

    assert set(reasons(outcome).values()) == {None}


def test_the_same_words_stay_in_one_split(tmp_path):
    chance = random.Random(6)
    rows = [
        Said(f"P{n:05d}", random_protein(chance, 100), "Homodimer." if n % 2 else f"Binds {n}.")
        for n in range(60)
    ]

    outcome, _ = decided(tmp_path, rows, split={"validation": 0.3, "test": 0.3})

    where = {split for name, split, reason in outcome if reason is None and int(name[-1]) % 2}
    gone = {split for _, split, reason in outcome if reason == "shared_output"}
    assert where == {"train"}
    assert gone == {"validation", "test"}


def test_a_neighbour_across_the_clusters_is_excluded(tmp_path):
    """Half of a long protein: too short for the cluster's coverage, and yet the same."""
    chance = random.Random(8)
    rows = []
    for n in range(40):
        whole = random_protein(chance, 300)
        rows += [
            Said(f"L{n:05d}", whole, f"Long {n}."),
            Said(f"S{n:05d}", whole[:120], f"Short {n}."),
        ]

    outcome, _ = decided(tmp_path, rows, split={"validation": 0.3, "test": 0.3})

    stays = {name.split(":")[1]: split for name, split, reason in outcome if reason is None}
    excluded = [name for name, _, reason in outcome if reason == "similar_to_train"]
    assert excluded
    for n in range(40):
        pair = {stays.get(f"L{n:05d}"), stays.get(f"S{n:05d}")}
        assert not ("train" in pair and pair & {"validation", "test"})


def test_a_split_by_date_excludes_the_same_peptide_in_train(tmp_path):
    old = Said("P1", "MKTAY", "Old words.", created="2019-01-01")
    new = Said("P2", "MKTAY", "New words.", created="2024-06-01")
    fresh = Said("P3", "MWWWY", "Fresh words.", created="2024-06-01")
    middle = Said("P4", "MCCCY", "Middle words.", created="2023-06-01")

    outcome, _ = decided(
        tmp_path,
        [old, new, fresh, middle],
        split={"by": "date", "validation_from": "2023-01-01", "test_from": "2024-01-01"},
    )

    assert outcome == [
        ("function:P1", "train", None),
        ("function:P2", "test", "similar_to_train"),
        ("function:P3", "test", None),
        ("function:P4", "validation", None),
    ]


def test_a_split_by_random_draws_proteins_one_by_one_and_keeps_their_relatives(tmp_path):
    chance = random.Random(9)
    rows = []
    for family, one in enumerate(strangers(10)):
        for n in range(6):
            name, near = f"Q{family:03d}{n}", mutated(chance, one.sequence, 0.3)
            rows += [
                Said(name, near, "Same words."),
                Said(name, near, f"Binds {family} {n}.", config="ptm"),
            ]
    halves = {"by": "random", "validation": 0.3, "test": 0.3}

    outcome, clusters = decided(tmp_path, rows, split=halves)
    other, _ = decided(tmp_path, rows, split=halves, seed=7)

    families, accessions = {}, {}
    for name, split, _ in outcome:
        accession = name.split(":")[1]
        families.setdefault(accession[:4], set()).add(split)
        accessions.setdefault(accession, set()).add(split)
    assert all(len(splits) == 1 for splits in accessions.values())
    assert sum(len(splits) > 1 for splits in families.values()) > 5
    assert {split for _, split, _ in outcome} == {"train", "validation", "test"}
    assert set(reasons(outcome).values()) == {None}
    assert set(clusters) == {None}
    assert outcome != other


def test_a_split_by_random_drops_duplicates_and_keeps_the_rule_on_evidence(tmp_path):
    chance = random.Random(10)
    guessed = strangers(20, experimental=False)
    twin = Said("Q1", guessed[0].sequence, guessed[0].text)
    near = Said("Q2", mutated(chance, guessed[1].sequence, 0.03), guessed[1].text)
    split = {"by": "random", "validation": 0.3, "test": 0.3}

    outcome, _ = decided(tmp_path, [*guessed, twin, near], split=split)
    every, _ = decided(tmp_path, [*guessed, twin, near], split=split | {"evidence": "any"})

    gone = {"function:Q1": "exact_duplicate", "function:Q2": "near_duplicate"}
    for name, where, reason in outcome:
        rule = None if where == "train" else "not_experimental"
        assert reason == gone.get(name, rule)
    assert {where for _, where, _ in outcome} > {"test"}
    assert {name: reason for name, _, reason in every if reason} == gone


def test_a_split_by_random_that_keeps_duplicates_needs_no_mmseqs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    split = {"by": "random", "validation": 0.3, "test": 0.3}

    outcome, _ = decided(tmp_path, strangers(30), mode="paper", split=split)

    assert {where for _, where, _ in outcome} == {"train", "validation", "test"}
    assert not recipe(mode="paper", split=split).needs_mmseqs
    assert recipe(split=split).needs_mmseqs


@pytest.mark.parametrize("by", ["none", "similarity", "random"])
def test_a_part_without_rows_is_no_trouble(tmp_path, by):
    outcome, _ = decided(tmp_path, [], strangers(2), split={"by": by})

    assert len(outcome) == 2
