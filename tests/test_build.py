"""A build: the same rows from every format, the same bytes however it ran, nothing half-written."""

import errno
import gzip
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from datasets import load_dataset
from sequences import random_protein
from uniprot_entries import Disease, Protein, Remark, accession, to_flat, to_tsv, to_xml

from proteinlm_ext.errors import MissingDependencyError, ProteinLMError, UsageError
from proteinlm_hub.metadata import check_card
from proteinlm_hub.render import read_card, to_files
from proteinlm_sft.build import build
from proteinlm_sft.entry import SourceError
from proteinlm_sft.manifest import summary
from proteinlm_sft.recipe import check_recipe

EXPERIMENT = ("ECO:0000269|PubMed:10000001",)
ENZYMES = b"""CC   -----------------------------------------------------------------------
CC   Release of 03-May-2023
CC   -----------------------------------------------------------------------
//
ID   1.1.1.901
DE   sample dehydrogenase.
CA   sample + NAD(+) = exemplar + NADH.
CC   -!- Acts on samples alone.
//
"""


def proteins(count, first=0, seed=1):
    chance = random.Random(seed)
    return [
        Protein(
            accession=accession(first + number),
            entry_name=f"S{first + number}_TESTE",
            enzymes=(("1.1.1.901", EXPERIMENT),) if number % 4 == 0 else (),
            remarks=(
                Remark(text=f"Carries sample {first + number} (PubMed:7).", evidence=EXPERIMENT),
                Remark(text="Lacks activity.", evidence=EXPERIMENT, molecule="Isoform 2"),
                Remark(topic="SUBUNIT", text=f"Forms ring {number}.", evidence=EXPERIMENT),
                Disease(
                    name=f"Sample loss {number}", acronym="SL", mim="600001",
                    description="Samples are lost.", evidence=EXPERIMENT, note="Rare.",
                ),
            ),
            sequence=random_protein(chance, 80),
        )
        for number in range(count)
    ]  # fmt: skip


@pytest.fixture
def source(tmp_path):
    """Three flat files of ten proteins, and an ENZYME file."""
    folder = tmp_path / "in"
    folder.mkdir()
    for part in range(3):
        flat = b"".join(map(to_flat, proteins(10, part * 10, seed=part)))
        (folder / f"part{part}.dat.gz").write_bytes(gzip.compress(flat))
    (tmp_path / "enzyme.dat").write_bytes(ENZYMES)
    return folder


def recipe(source, **given):
    split = given.pop("split", {"by": "none"})
    return check_recipe(
        {
            "uniprot": [str(source)],
            "enzyme": str(source.parent / "enzyme.dat"),
            "decontaminate": "none",
            "split": split,
            **given,
        },
        "test",
    )


def bytes_of(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(folder, config, split="train"):
    cache = str(folder.parent / "cache" / folder.name)
    return load_dataset(str(folder), config, split=split, cache_dir=cache).to_list()


def test_a_build_makes_rows_with_their_sources(source, tmp_path):
    manifest = build(recipe(source, release="2025_03"), tmp_path / "out", 1)

    row = rows_of(tmp_path / "out", "function")[0]
    assert row["output"] == (
        "The determined function(s) of the protein include(s): Carries sample 0.\n"
        "Isoform 2: Lacks activity."
    )
    assert row["id"] == "function:P00000"
    assert row["evidence"] == ["ECO:0000269"]
    assert row["experimental"] is True
    assert row["references"] == ["PubMed:7", "PubMed:10000001"]
    assert row["release"] == "2025_03"
    assert row["source"] == "UniProtKB/Swiss-Prot"
    assert row["license"] == "CC-BY-4.0"
    assert row["split"] == "train"
    sequence = row["input"].split("<seq> ")[1].removesuffix(" </seq>").replace(" ", "")
    assert row["sequence_length"] == len(sequence) == 80
    assert row["sequence_sha256"] == hashlib.sha256(sequence.encode()).hexdigest()
    disease = rows_of(tmp_path / "out", "disease")[0]
    assert disease["mim"] == ["MIM:600001"]
    assert "MIM:" not in disease["output"]
    enzyme = rows_of(tmp_path / "out", "enzyme_cot")[0]
    assert enzyme["id"] == "enzyme_cot:P00000:1.1.1.901"
    assert enzyme["source"] == "UniProtKB/Swiss-Prot + ENZYME"
    assert manifest["configs"]["function"] == {"read": 30, "kept": {"train": 30}, "left_out": {}}
    assert manifest["configs"]["enzyme_cot"]["kept"] == {"train": 9}
    assert manifest["entries"]["entries"] == 30
    assert "function" in summary(manifest)


def test_the_manifest_names_inputs_and_shards_by_hash_and_no_folder(source, tmp_path):
    build(recipe(source), tmp_path / "out", 1)

    text = (tmp_path / "out" / "manifest.json").read_text()
    said = json.loads(text)
    stored = (source / "part1.dat.gz").read_bytes()
    assert said["inputs"][1]["sha256"] == hashlib.sha256(stored).hexdigest()
    assert said["nomenclature"]["enzyme"]["release"] == "03-May-2023"
    for name, record in said["files"].items():
        assert record["sha256"] == bytes_of(tmp_path / "out")[name]
    assert str(tmp_path) not in text
    assert str(tmp_path) not in (tmp_path / "out" / "README.md").read_text()


def test_the_three_formats_of_an_entry_give_the_same_rows(tmp_path):
    entries = proteins(6)
    forms = {
        "flat.dat": b"".join(map(to_flat, entries)),
        "xml.xml": to_xml(entries),
        "table.tsv": to_tsv(entries),
    }
    found = []
    for name, content in forms.items():
        (tmp_path / name).write_bytes(content)
        given = {"uniprot": [str(tmp_path / name)], "decontaminate": "none"}
        build(check_recipe(given | {"split": {"by": "none"}}, "t"), tmp_path / f"of_{name}", 1)
        found.append(
            [rows_of(tmp_path / f"of_{name}", one) for one in ("function", "subunit", "disease")]
        )

    assert found[0] == found[1] == found[2]
    assert len(found[0][0]) == 6


def test_the_papers_mode_is_the_papers_template_letter_by_letter(source, tmp_path):
    build(recipe(source, mode="paper"), tmp_path / "out", 1)

    row = rows_of(tmp_path / "out", "function")[0]
    assert row["output"] == (
        "The determined function(s) of the protein include(s): FUNCTION: Carries sample 0 . "
        "; FUNCTION: [Isoform 2]: Lacks activity. "
    )
    enzyme = rows_of(tmp_path / "out", "enzyme_cot")[0]
    assert enzyme["input"].startswith("<seq>M ")
    assert enzyme["source"] == "UniProtKB/Swiss-Prot + ENZYME, not the paper's IUBMB pages"
    assert row["instruction"] == (
        "The sequence of the protein is as follows. Please analyze the sequence and describe the "
        "functions of this protein."
    )
    assert row["input"].startswith(
        "Presented here is a sequence of amino acids in a protein: <seq> M "
    )


@pytest.mark.parametrize("by", ["none", "similarity"])
def test_workers_do_not_change_a_byte(source, tmp_path, by):
    plan = recipe(source, split={"by": by, "clusterer": "linclust", "test": 0.2}, shard_megabytes=1)
    build(plan, tmp_path / "one", 1)
    build(plan, tmp_path / "two", 2)

    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    assert len(bytes_of(tmp_path / "one")) >= 7


def test_views_for_trainers_are_columns(source, tmp_path):
    build(recipe(source, views=["messages", "prompt_completion"]), tmp_path / "out", 1)

    row = rows_of(tmp_path / "out", "subunit")[0]
    asked = f"{row['instruction']}\n{row['input']}"
    assert row["prompt"] == [{"role": "user", "content": asked}]
    assert row["completion"] == [{"role": "assistant", "content": row["output"]}]
    assert row["messages"] == row["prompt"] + row["completion"]


def test_what_is_left_out_is_listed_with_its_reason(source, tmp_path):
    extra = Protein(accession="P99998", entry_name="T_X", reviewed=False)
    broken = to_flat(Protein(accession="P99999", entry_name="B_X")).replace(
        b"MKTAYIAKQR", b"MKTAYI*KQR"
    )
    (source / "z.dat").write_bytes(to_flat(extra) + broken + to_flat(proteins(1)[0]))

    manifest = build(recipe(source), tmp_path / "out", 1)

    with gzip.open(tmp_path / "out" / "left_out.jsonl.gz", "rt") as lines:
        listed = [json.loads(line) for line in lines]
    assert manifest["entries"]["dropped.unreviewed"] == 1
    assert [one["accession"] for one in listed if "accession" in one] == ["P99999"]
    assert {one["id"] for one in listed if one.get("reason") == "duplicate_accession"} == {
        "function:P00000", "subunit:P00000", "disease:P00000", "enzyme_cot:P00000:1.1.1.901",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("exclude", "reason"),
    [
        ({"keywords": ["Cytoplasm"]}, "excluded_keyword"),
        ({"taxa": ["Metazoa"]}, "excluded_taxon"),
        ({"taxa": [999001]}, "excluded_taxon"),
    ],
)
def test_a_recipe_can_leave_proteins_out(source, tmp_path, exclude, reason):
    manifest = build(recipe(source, exclude=exclude), tmp_path / "out", 1)

    assert manifest["entries"][f"dropped.{reason}"] == 30
    assert manifest["recipe"]["exclude"] == {"keywords": [], "taxa": []} | exclude


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda flat: gzip.compress(flat)[:-30], "truncated gzip"),
        (lambda flat: flat[:-3], "no // at its end"),
        (lambda flat: b"", "is empty"),
        (lambda flat: flat.replace(b"Carries", b"Carri\xff"), "UTF-8"),
        (lambda flat: b"<uniprot><entry>", "xml"),
    ],
)
def test_a_damaged_input_stops_the_build_and_leaves_no_dataset(source, tmp_path, damage, said):
    flat = b"".join(map(to_flat, proteins(3, 50)))
    (source / "part9.dat").write_bytes(damage(flat))

    with pytest.raises(SourceError, match=re.compile(f"part9.*{said}", re.IGNORECASE | re.DOTALL)):
        build(recipe(source), tmp_path / "out", 2)

    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not list((tmp_path / "out").glob("*/*.parquet"))

    (source / "part9.dat").write_bytes(flat)
    assert build(recipe(source), tmp_path / "out", 2)["entries"]["entries"] == 33


def test_an_entry_later_than_the_release_is_refused(source, tmp_path):
    with pytest.raises(SourceError, match="P00000 is of 2024-11-27, later than release 2023_04"):
        build(recipe(source, release="2023_04"), tmp_path / "out", 1)


def test_files_of_two_releases_are_refused(source, tmp_path):
    (source / "fetch.json").write_text(json.dumps({"release": "2025_03"}))
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.dat").write_bytes(to_flat(Protein(accession="P99999")))
    (other / "fetch.json").write_text(json.dumps({"release": "2025_02"}))

    with pytest.raises(SourceError, match=r"several releases are mixed: 2025_02 .*, 2025_03"):
        build(recipe(source, uniprot=[str(source), str(other)]), tmp_path / "out", 1)
    assert build(recipe(source), tmp_path / "out", 1)["recipe"]["release"] == "2025_03"


def test_a_built_dataset_has_a_card_that_its_card_json_makes_again(source, tmp_path):
    build(recipe(source), tmp_path / "out", 1)

    card = (tmp_path / "out" / "README.md").read_text()
    assert to_files(read_card(tmp_path / "out")) == {"README.md": card}
    assert check_card(card, tmp_path / "out", "dataset") == []
    manifest = (tmp_path / "out" / "manifest.json").read_bytes()
    assert f"manifest_sha256: {hashlib.sha256(manifest).hexdigest()}" in card


def test_a_finished_dataset_is_not_built_again_and_not_built_over(source, tmp_path):
    out = tmp_path / "out"
    first = build(recipe(source), out, 1)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}

    assert build(recipe(source), out, 1) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    with pytest.raises(UsageError, match="holds another dataset"):
        build(recipe(source, seed=7), out, 1)
    assert build(recipe(source, seed=7), out, 1, overwrite=True)["recipe"]["seed"] == 7


def test_a_folder_with_other_files_is_left_alone(source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")

    for overwrite in (False, True):
        with pytest.raises(UsageError, match=r"holds other files \(thesis\.tex\)"):
            build(recipe(source), tmp_path / "out", 1, overwrite=overwrite)
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"


def test_a_full_disk_is_told_and_what_was_finished_is_kept(source, tmp_path, monkeypatch):
    from proteinlm_sft.shards import Shards

    def full(*_args, **_more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Shards, "write", full)
    with pytest.raises(ProteinLMError, match=r"disk that holds .* is full"):
        build(recipe(source), tmp_path / "out", 1)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert (tmp_path / "out" / ".build" / "part-00002").is_dir()

    monkeypatch.undo()
    assert build(recipe(source), tmp_path / "out", 1)["entries"]["entries"] == 30


def test_a_build_without_mmseqs_stops_before_it_reads(source, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")

    with pytest.raises(MissingDependencyError, match=r"--split none"):
        build(recipe(source, split={}), tmp_path / "out", 1)
    assert not list((tmp_path / "out").glob(".build/part-*"))


def test_a_second_build_in_the_same_folder_is_refused(source, tmp_path):
    from filelock import FileLock

    (tmp_path / "out").mkdir()
    with (
        FileLock(tmp_path / "out" / ".build.lock"),
        pytest.raises(ProteinLMError, match="Another build works in"),
    ):
        build(recipe(source), tmp_path / "out", 1)


@pytest.mark.slow
def test_a_build_that_is_killed_five_times_ends_with_the_same_bytes(source, tmp_path):
    """Seeded moments of death; every start goes on with what is finished."""
    for part in range(3, 40):  # enough work for a build of a few seconds
        flat = b"".join(map(to_flat, proteins(60, part * 60, seed=part)))
        (source / f"part{part:02d}.dat").write_bytes(flat)
    command = [
        sys.executable, "-m", "proteinlm_ext", "data", "sft", "--uniprot", str(source),
        "--enzyme", str(source.parent / "enzyme.dat"), "--clusterer", "linclust",
        "--no_decontaminate", "--workers", "2", "--out",
    ]  # fmt: skip
    start = time.monotonic()
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    whole = time.monotonic() - start
    chance = random.Random(5)
    killed, resumed_parts = 0, []

    def parts():
        return len(list((tmp_path / "killed" / ".build").glob("part-*")))

    for wanted in (8, 16, 24, None, None):  # parts that are finished, then moments of time
        run = subprocess.Popen(
            [*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        limit = time.monotonic() + (60 if wanted else chance.uniform(0.25, 0.8) * whole)
        while run.poll() is None and time.monotonic() < limit and not 0 < (wanted or 0) <= parts():
            time.sleep(0.005)
        if run.poll() is None:
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
            killed += 1
        resumed_parts.append(parts())
    subprocess.run([*command, str(tmp_path / "killed")], check=True, capture_output=True)

    assert killed >= 3
    assert resumed_parts == sorted(resumed_parts) or resumed_parts[-1] == 0
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")


def test_an_accession_that_comes_again_in_one_file_is_dropped_and_listed(source, tmp_path):
    twice = [
        Protein(accession="P77777", remarks=(Remark(text=f"Says {n}.", evidence=EXPERIMENT),))
        for n in (1, 2)
    ]
    (source / "twice.dat").write_bytes(b"".join(map(to_flat, twice)))

    manifest = build(recipe(source), tmp_path / "out", 1)

    said = [row["output"] for row in rows_of(tmp_path / "out", "function")]
    assert sum("Says 1." in text for text in said) == 1
    assert not any("Says 2." in text for text in said)
    left = manifest["configs"]["function"]["left_out"]
    assert left == {"duplicate_accession": {"train": 1}}


def test_what_cannot_be_excluded_is_an_error_and_not_a_silence(source, tmp_path):
    plain = to_flat(Protein(accession="P99999", keywords=()))
    (tmp_path / "plain.dat").write_bytes(plain)
    given = {"exclude": {"keywords": ["toxin"]}, "uniprot": [str(tmp_path / "plain.dat")]}

    with pytest.raises(SourceError, match=r"plain\.dat has no keywords in any entry"):
        build(recipe(source, **given), tmp_path / "out", 1)
    with pytest.raises(UsageError, match="KW-0843: give the keyword's name"):
        recipe(source, exclude={"keywords": ["KW-0843"]})


def test_a_split_by_date_needs_dates(source, tmp_path):
    (source / "undated.tsv").write_bytes(
        b"Entry\tEntry Name\tOrganism\tSequence\tFunction [CC]\n"
        b"P99999\tA_B\tModel\tMKTAYIAKQR\tDoes things.\n"
    )
    split = {"by": "date", "validation_from": "2023-01-01", "test_from": "2024-01-01"}

    with pytest.raises(SourceError, match="P99999 has no date of creation"):
        build(recipe(source, split=split), tmp_path / "out", 1)


def test_a_split_by_random_says_in_the_manifest_and_the_card_that_it_leaks(source, tmp_path):
    halves = {"by": "random", "validation": 0.3, "test": 0.3}
    manifest = build(recipe(source, split=halves), tmp_path / "out", 1)
    other = build(recipe(source), tmp_path / "other", 1)

    assert manifest["recipe"]["split"]["by"] == "random"
    assert set(manifest["configs"]["function"]["kept"]) == {"train", "validation", "test"}
    assert "leaks on purpose" in manifest["leaks"]
    for text in (summary(manifest), (tmp_path / "out" / "README.md").read_text()):
        assert manifest["leaks"] in text
    assert "leaks" not in other
