"""Importing the released dataset: small files of our own in its raw layout."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pyarrow.parquet as pq
import pytest
from hub.clients import run_client
from hub.server import Hub
from hypothesis import given
from hypothesis import strategies as st
from serve_hub import read_files

from proteinlm_ext.benchmark import HUB_REVISION
from proteinlm_ext.errors import UsageError
from proteinlm_sft.cleaning import clean_text, paper_text
from proteinlm_sft.entry import SourceError
from proteinlm_sft.released import ImportReport, import_released
from proteinlm_sft.released_rows import mend_row, mend_text
from proteinlm_sft.templates import ENZYME, FIELDS, enzyme_answer, enzyme_input, fill_answer

BENCH, TEXTS = "tsynbio/ProteinLMBench", "tsynbio/ProteinLMDataset"
PROMPT = "Presented here is a sequence of amino acids in a protein: "


def row(config: str, sequence: str, *blocks: str) -> dict[str, str]:
    """Write a row as the paper's script does, from the blocks of an entry."""
    form = FIELDS[config]
    return {
        "instruction": form.instruction,
        "input": f"{PROMPT}<seq> {' '.join(sequence)} </seq>",
        "output": fill_answer(config, paper_text(form, blocks)),
    }


def enzyme_row(sequence: str, reaction: str) -> dict[str, str]:
    return {
        "instruction": ENZYME.instruction,
        "input": enzyme_input(sequence, "paper"),
        "output": enzyme_answer("Needs zinc.", "testase", reaction, "paper"),
    }


def pretty(rows: list[Any], **options: Any) -> str:
    """Write a list as the released files are: each row with indent 4, apart by comma and line."""
    return "[" + ",\n".join(json.dumps(each, indent=4, **options) for each in rows) + "]"


ROWS: dict[str, list[Any]] = {
    "sft/sft_uniprot_Function.json": [
        row("function", "MKV", "Binds copper. {ECO:0000269|PubMed:1}."),
        row("function", "MKL", "Binds zinc {ECO:0000250}, not iron. {ECO:0000305}.", "Cleaves it."),
        row("function", "MKV", "Binds copper. {ECO:0000269|PubMed:1}."),
    ],
    "sft/sft_uniprot_Subunit structure.json": [row("subunit", "MKV", "Homodimer (PubMed:1).")],
    "sft/sft_uniprot_Involvement in disease.json": [
        row("disease", "MKV", "A disease (AD) [MIM:1; MIM:2]: Of the eye.")
    ],
    "sft/sft_uniprot_Post-translational modification.json": [row("ptm", "MKV", "Cut in two.")],
    "sft/sft_uniprot_Tissue specificity.json": [
        row("tissue_specificity", "MKV", "In \u03b2 cells.")
    ],
    "sft/sft_uniprot_Induction.json": [row("induction", "MKV", "By heat.")],
    "sft/enzyme_CoT.json": [enzyme_row("MKV", "A + B = C."), enzyme_row("MKL", "A + B = C")],
}


def write_bench(folder: Path, **changes: str | None) -> Path:
    """Write the repository of the configs; changes are by a part of the file's name."""
    texts = {name: pretty(rows) for name, rows in ROWS.items()}
    texts["ProteinLMBench.json"] = "[]"
    texts["README.md"] = "---\nlicense: apache-2.0\n---\nNo configs here.\n"
    for part, text in changes.items():
        (name,) = [name for name in texts if part in name]
        texts[name] = text if text is not None else ""
        if text is None:
            del texts[name]
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder `OWNER/NAME` with repositories that the client reads without a server."""
    root = tmp_path / "datasets"

    def names(repo: str, **options: str) -> list[str]:
        assert options["repo_type"] == "dataset"
        return [
            path.relative_to(root / repo).as_posix()
            for path in (root / repo).rglob("*")
            if path.is_file()
        ]

    monkeypatch.setattr(huggingface_hub, "list_repo_files", names)
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda repo, name, **_: str(root / repo / name)
    )
    return root


@pytest.fixture
def run(hub: Path, tmp_path: Path) -> Callable[..., ImportReport]:
    def call(changes: dict[str, str | None] | None = None, **options: Any) -> ImportReport:
        write_bench(hub / BENCH, **(changes or {}))
        return import_released(tmp_path / "out", **options)

    return call


def read(folder: Path, config: str) -> list[dict[str, Any]]:
    return [
        each
        for path in sorted((folder / config).iterdir())
        for each in pq.read_table(path).to_pylist()
    ]


def test_rows_are_mended_and_get_the_columns_of_a_build(run, tmp_path):
    run()
    first, second = read(tmp_path / "out", "function")
    assert first["output"] == "The determined function(s) of the protein include(s): Binds copper."
    assert first["input"] == f"{PROMPT}<seq> M K V </seq>"
    assert second["output"].endswith("include(s): Binds zinc, not iron.\nCleaves it.")
    assert second["evidence"] == ["ECO:0000250"]
    assert (first["field"], first["split"], first["source"]) == ("Function", "train", BENCH)
    assert first["release"] == f"{BENCH}@{HUB_REVISION}"
    assert first["sequence_length"] == 3
    assert first["accession"] is first["experimental"] is first["cluster"] is None
    assert first["id"].startswith("function:")
    assert first["id"] != second["id"]


def test_every_config_is_there_in_parquet_that_load_dataset_finds(run, tmp_path):
    report = run()
    configs = [each.config for each in report.configs]
    assert configs == [*FIELDS, "enzyme_cot"]
    for config in configs:
        assert [path.name for path in (tmp_path / "out" / config).iterdir()] == [
            "train-00000-of-00001.parquet"
        ]
    assert read(tmp_path / "out", "tissue_specificity")[0]["output"].endswith("In \u03b2 cells.")
    (disease,) = read(tmp_path / "out", "disease")
    assert disease["mim"] == ["MIM:1", "MIM:2"]
    assert disease["output"].endswith("A disease (AD): Of the eye.")


def test_the_report_counts_what_was_wrong(run):
    report = run()
    function, *_, enzyme = report.configs
    assert (function.read, function.kept) == (3, 2)
    assert function.faults == {"topic_prefix": 2, "evidence_tag": 1}
    assert function.left_out == {"duplicate": 1}
    assert enzyme.faults == {"spelling": 2, "two_full_stops": 1}
    assert function.file == "sft/sft_uniprot_Function.json"
    assert len(function.sha256) == 64
    text = str(report)
    assert "function: 1 left out: the same as an earlier row of its config" in text
    assert "enzyme_cot: 2 mended: residues not spelled" in text


def test_enzyme_rows_end_in_one_full_stop_and_have_one_spelling(run, tmp_path):
    run()
    for each in read(tmp_path / "out", "enzyme_cot"):
        assert each["output"].endswith("\nA + B = C.")
        assert each["input"].startswith("<seq> M K ")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"instruction": "x", "input": "<seq> M </seq>"}, "broken"),
        ({"instruction": "x", "input": "<seq> M </seq>", "output": None}, "broken"),
        ("text", "broken"),
        (None, "broken"),
        ({"instruction": "x", "input": "M K", "output": "y"}, "no_sequence"),
        ({"instruction": "x", "input": "<seq> </seq>", "output": "y"}, "no_sequence"),
        ({"instruction": "x", "input": "<seq> M 1 </seq>", "output": "y"}, "letters"),
        (row("function", "MK", ""), "empty_output"),
        (row("function", "MK", "{ECO:0000305}."), "empty_output"),
    ],
)
def test_a_row_that_cannot_be_used_is_left_out_and_listed(run, tmp_path, raw, reason):
    rows = [raw, *ROWS["sft/sft_uniprot_Function.json"][:1]]
    report = run({"Function": pretty(rows)})
    assert report.configs[0].left_out == {reason: 1}
    assert len(read(tmp_path / "out", "function")) == 1
    listed = gzip.decompress((tmp_path / "out" / "left_out.jsonl.gz").read_bytes())
    assert json.loads(listed) == {"config": "function", "row": 0, "reason": reason}


def test_joined_residues_are_spelled(run, tmp_path):
    raw = row("induction", "MKV", "By cold.") | {"input": f"{PROMPT}<seq>MKV</seq>"}
    report = run({"Induction": pretty([raw])})
    assert read(tmp_path / "out", "induction")[0]["input"] == f"{PROMPT}<seq> M K V </seq>"
    assert report.configs[5].faults["spelling"] == 1


def test_another_wording_is_kept_and_counted(run, tmp_path):
    raw = row("induction", "MKV", "By cold.") | {"output": "INDUCTION: By cold."}
    report = run({"Induction": pretty([raw])})
    assert read(tmp_path / "out", "induction")[0]["output"] == "By cold."
    assert report.configs[5].faults == {"other_wording": 1, "topic_prefix": 1}


BLOCK = st.sampled_from(
    [
        "Binds copper. {ECO:0000269|PubMed:1, ECO:0000305}.",
        "Cleaves (S)-malate (PubMed:1, PubMed:2) at pH 7. {ECO:0000250|UniProtKB:P12345}.",
        "Needs Ca(2+); not Mg(2+).",
        "[Isoform 2]: Lacks activity.",
        "Homodimer. Interacts with DNA (By similarity).",
    ]
)


@given(config=st.sampled_from(sorted(FIELDS)), blocks=st.lists(BLOCK, min_size=1, max_size=4))
def test_mending_the_papers_wording_gives_the_clean_one(config, blocks):
    mended = mend_row(config, row(config, "MKV", *blocks))
    assert mended.output == fill_answer(config, clean_text(blocks).text)


@given(
    config=st.sampled_from([*FIELDS, "enzyme_cot"]),
    blocks=st.lists(BLOCK, min_size=1, max_size=3),
    sequence=st.text("ACDEFGHIK", min_size=1),
)
def test_mending_a_mended_row_changes_nothing(config, blocks, sequence):
    raw = (
        enzyme_row(sequence, "A = B.") if config == "enzyme_cot" else row(config, sequence, *blocks)
    )
    mended = mend_row(config, raw)
    again = mend_row(
        config,
        {"instruction": mended.instruction, "input": mended.input, "output": mended.output},
    )
    assert again.faults == set()
    assert (again.input, again.output) == (mended.input, mended.output)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (pretty(ROWS["sft/enzyme_CoT.json"])[:-1], "after row 2"),
        (pretty(ROWS["sft/enzyme_CoT.json"])[:-400], "after row 1"),
        ('[{"instruction": "x"},, {}]', "after row 1"),
        ("[1] [2]", "is broken"),
        ("[]", "holds no row"),
        ("", "is broken after row 0"),
        ("version https://git-lfs.github.com/spec/v1\n", "is broken after row 0"),
    ],
)
def test_a_broken_file_is_an_error_that_leaves_nothing_behind(run, tmp_path, text, where):
    with pytest.raises(SourceError, match=where) as caught:
        run({"enzyme_CoT": text})
    assert "sft/enzyme_CoT.json of tsynbio/ProteinLMBench@" in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_is_not_utf8_is_an_error(hub, tmp_path):
    write_bench(hub / BENCH)
    (hub / BENCH / "sft" / "enzyme_CoT.json").write_bytes(b'[{"instruction": "\xff"}]')
    with pytest.raises(SourceError, match="invalid bytes in UTF8"):
        import_released(tmp_path / "out")


def test_a_config_without_a_file_is_an_error(run):
    with pytest.raises(SourceError, match="one file for 'UniProt_Induction', found none"):
        run({"Induction": None})


def test_two_files_for_a_config_are_an_error(hub, run):
    (hub / BENCH / "old").mkdir(parents=True)
    (hub / BENCH / "old" / "uniprot_induction.json").write_text("[]")
    with pytest.raises(SourceError, match=r"found \['\w+/.*, '\w+/"):
        run()


@pytest.mark.parametrize(
    "paths",
    ["odd/first.json", ["odd/fir*.json"], [{"split": "train", "path": ["odd/first.json"]}]],
)
def test_the_card_says_which_file_a_config_is(run, hub, tmp_path, paths):
    (hub / BENCH / "odd").mkdir(parents=True)
    odd = pretty([row("induction", "MKV", "By light.")])
    (hub / BENCH / "odd" / "first.json").write_text(odd)
    card = {"configs": [{"config_name": "UniProt_Induction", "data_files": paths}]}
    run({"README": f"---\n{json.dumps(card)}\n---\n"})
    assert read(tmp_path / "out", "induction")[0]["output"].endswith("By light.")


def test_shards_are_cut_by_size(run, tmp_path, monkeypatch):
    monkeypatch.setattr("proteinlm_sft.released._BATCH", 10)
    rows = [row("induction", "MKV" * 5, f"By light of {number} nm.") for number in range(35)]
    report = run({"Induction": pretty(rows)}, shard_bytes=1)
    shards = report.configs[5].shards
    assert list(shards.values()) == [10, 10, 10, 5]
    assert next(iter(shards)) == "induction/train-00000-of-00004.parquet"
    outputs = [each["output"] for each in read(tmp_path / "out", "induction")]
    assert outputs == [each["output"].replace("INDUCTION: ", "") for each in rows]


def test_a_folder_in_use_is_refused(run, tmp_path):
    run()
    with pytest.raises(UsageError, match="is not empty"):
        run()


def test_what_a_killed_import_left_is_thrown_away(run, tmp_path):
    (tmp_path / "out" / ".import" / "function").mkdir(parents=True)
    assert run().configs[0].kept == 2
    assert not (tmp_path / "out" / ".import").exists()


def document(*lines: str) -> dict[str, Any]:
    """Write a document as swissProt2Text.json has it."""
    return {"conversation": [{"output": "\n    ".join(lines)}]}


SWISSPROT = document(
    "Introduction:\nThe protein with UniProt accession number P12345 is known.",
    "\nThe sequence is as follow:\n<seq> M K V </seq>",
    "",
    "Function:\nThe functions of X are as follows: FUNCTION: Binds {ECO:0000250}, too.",
    "Domain:\nRegarding the domain structure of X, it is detailed as follows: : Two lobes.",
)


def write_texts(folder: Path, **texts: str | bytes) -> None:
    folder.mkdir(parents=True)
    for name, text in {"README.md": "x", ".gitattributes": "x", **texts}.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def test_texts_are_mended_documents(run, hub, tmp_path):
    abstract = {"output": "An abstract. <seq>MK</seq>"}
    files = {
        "swissProt2Text.json": pretty([SWISSPROT, SWISSPROT, document("")], ensure_ascii=False),
        "abstracts.jsonl": f"{json.dumps(abstract)}\n{json.dumps({'text': 'Second.'})}\n",
    }
    write_texts(hub / TEXTS, **files)

    report = run(texts=True, texts_revision="abc")

    (only,) = read(tmp_path / "out", "ssl_swissprot2text")
    assert only["text"].splitlines() == [
        "Introduction:",
        "The protein with UniProt accession number P12345 is known.",
        "The sequence is as follow:",
        "<seq> M K V </seq>",
        "Function:",
        "The functions of X are as follows: Binds, too.",
        "Domain:",
        "Regarding the domain structure of X, it is detailed as follows: Two lobes.",
    ]
    assert (only["license"], only["redistributable"]) == ("CC-BY-4.0", True)
    assert only["release"] == f"{TEXTS}@abc"
    first, second = read(tmp_path / "out", "ssl_abstracts_jsonl")
    assert (first["text"], second["text"]) == ("An abstract. <seq> M K </seq>", "Second.")
    assert first["redistributable"] is False
    swissprot = report.configs[-1]
    assert swissprot.left_out == {"duplicate": 1, "empty_output": 1}
    assert swissprot.faults == {"topic_prefix": 1, "evidence_tag": 1}
    assert report.not_understood == {}


def test_files_of_another_format_are_named_in_the_report(run, hub, tmp_path):
    write_texts(
        hub / TEXTS,
        **{
            "proteins1.json": '[{"Entry": "P12345"}]',
            "notes.txt": "one text a line",
            "data.parquet": b"PAR1\x00\xff",
            "good.json": '["a text"]',
        },
    )
    report = run(texts=True, texts_revision="abc")
    assert report.not_understood == {
        "data.parquet": "neither a JSON list nor JSON Lines",
        "notes.txt": "neither a JSON list nor JSON Lines",
        "proteins1.json": "its first row is of an unknown shape",
    }
    assert "not understood: notes.txt" in str(report)
    assert [each.config for each in report.configs][7:] == ["ssl_good"]


def test_a_broken_line_of_the_texts_is_an_error(run, hub, tmp_path):
    write_texts(hub / TEXTS, **{"a.jsonl": '{"text": "one"}\n{"text": '})
    with pytest.raises(SourceError, match=r"a.jsonl of .* is broken after row 1"):
        run(texts=True, texts_revision="abc")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_texts_need_a_commit(run):
    with pytest.raises(UsageError, match="--texts_revision SHA"):
        run(texts=True)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("plain", "plain"),
        ({"instruction": "Ask.", "input": "", "output": "Say."}, "Ask.\nSay."),
        ({"conversation": [{"system": "", "input": "Q", "output": "A"}]}, "Q\nA"),
        ({"conversation": [{"output": "A"}, {"other": 1}]}, None),
        ({"text": 3}, None),
        ({"output": None}, None),
        (7, None),
    ],
)
def test_known_shapes_of_a_document(raw, text):
    mended = mend_text(raw)
    assert (mended.output or None) == text or (text is None and mended.left_out is not None)


def test_the_real_clients_import_from_a_hub_at_a_pinned_commit(run, tmp_path):
    write_bench(tmp_path / "served")
    with Hub() as hub:
        sha = hub.add("dataset", BENCH, read_files(tmp_path / "served"))
        code = (
            "import sys; from pathlib import Path; "
            "from proteinlm_sft.released import import_released; "
            "print(import_released(Path(sys.argv[1]), revision=sys.argv[2]))"
        )
        run_client(hub, "-c", code, str(tmp_path / "online"), sha)
        none = str(tmp_path / "none")
        missing = run_client(hub, "-c", code, none, "0" * 40, fails=True)
    asked = [path for _, path, _, route in hub.requests if route == "resolve" and sha in path]
    assert any("sft_uniprot_Subunit%20structure.json" in path for path in asked)
    assert not any("ProteinLMBench.json" in path for path in asked)
    run(revision=sha)
    for path in (tmp_path / "out").rglob("*.*"):
        if path.is_file():
            other = tmp_path / "online" / path.relative_to(tmp_path / "out")
            assert other.read_bytes() == path.read_bytes()
    assert "SourceError" in missing
    assert "could not be read from the Hugging Face Hub" in missing
