"""Prepared data: what is drawn, packed and set aside, how often, in how many bytes, and whose."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from trained import save_chat_model

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_train import prepare as module
from proteinlm_train.base_model import load_tokenizer, locate
from proteinlm_train.encoding import decode
from proteinlm_train.prepare import TRAIN, VALIDATION, prepare, shards_of
from proteinlm_train.recipe import Recipe
from proteinlm_train.recipe_file import check_recipe
from proteinlm_train.rows import draw_copies, to_conversation
from proteinlm_train.shards import documents_file, find_documents, load_rows
from proteinlm_train.tokens import Counts, Tokenizing

LENGTH = 256


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_chat_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def tokenizer(model: Path) -> Any:
    said = recipe(model, {"path": "smoke"}).model
    return load_tokenizer(said, locate(said), chat=True)


def recipe(model: Path, *sources: dict[str, Any], stage="sft", train=None, **data: Any) -> Recipe:
    settings = {"validation": {"from": "none"}, "decontamination": "waived"} | data
    return check_recipe(
        {
            "name": "mine", "stage": stage, "method": "lora", "model": {"path": str(model)},
            "data": {"sources": list(sources)} | settings,
            "train": {"lr": 1e-4, "max_steps": 2, "max_length": LENGTH} | (train or {}),
            "run": {"output_dir": "unused"},
        },
        "test",
    )  # fmt: skip


def save_lines(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def save_pairs(path: Path, count: int = 40, **more: Any) -> Path:
    """Save rows whose prompt and answer name them."""
    return save_lines(
        path,
        (
            {
                "id": f"{path.stem}{n}",
                "prompt": f"<seq> M K </seq> {n}",
                "completion": f"It is {n}.",
            }
            | more
            for n in range(count)
        ),
    )


def save_texts(path: Path, count: int = 30) -> Path:
    draw = np.random.default_rng(1)
    lengths = draw.integers(20, 900, count)
    return save_lines(
        path, ({"id": str(n), "text": f"{n}: " + "zinc " * k} for n, k in enumerate(lengths))
    )


def documents(folder: Path, split: str = TRAIN) -> Counter[str]:
    files = sorted(folder.glob(f"{split}-*.documents.parquet"))
    return Counter(key for file in files for key in pq.read_table(file)["id"].to_pylist())


def rows_of(folder: Path, manifest: dict[str, Any], split: str = TRAIN) -> list[dict[str, Any]]:
    return list(load_rows(shards_of(folder, manifest, split)))


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.arrow"))}


def test_sources_are_mixed_by_weight_exactly(model, tmp_path):
    weights = {"a": 0.5, "b": 1, "c": 2.5, "d": 1}
    sources = [
        {"path": str(save_pairs(tmp_path / f"{name}.jsonl")), "weight": weight}
        for name, weight in weights.items()
    ]
    sources[3]["max_rows"] = 10

    manifest = prepare(recipe(model, *sources), tmp_path / "out")

    found = documents(tmp_path / "out")
    taken = {
        name: Counter(times for key, times in found.items() if key[0] == name) for name in weights
    }
    assert taken == {"a": {1: 20}, "b": {1: 40}, "c": {2: 20, 3: 20}, "d": {1: 10}}
    assert manifest["splits"][TRAIN]["documents"] == 20 + 40 + 100 + 10
    assert [source["train"]["kept"] for source in manifest["sources"]] == [20, 40, 40, 10]
    tokens = sum(row["input_ids"].size for row in rows_of(tmp_path / "out", manifest))
    assert sum(source["train"]["tokens"] for source in manifest["sources"]) == tokens


def test_two_equal_sources_draw_differently_and_the_seed_decides(model, tmp_path):
    half = {"path": str(save_pairs(tmp_path / "a.jsonl")), "weight": 0.5}

    prepare(recipe(model, half, half), tmp_path / "one")
    prepare(recipe(model, half, half), tmp_path / "again")
    prepare(recipe(model, half, half, seed=43), tmp_path / "other")

    assert 0 < sum(times == 2 for times in documents(tmp_path / "one").values()) < 20
    assert shards(tmp_path / "one") == shards(tmp_path / "again")
    assert documents(tmp_path / "one") != documents(tmp_path / "other")


def test_shards_are_byte_equal_for_any_number_of_workers(model, tmp_path):
    sources = [
        {"path": str(save_pairs(tmp_path / f"{name}.jsonl")), "weight": 1.5} for name in "abc"
    ]
    said = recipe(model, *sources, validation={"from": "train", "rows": 7})

    one = prepare(said, tmp_path / "one", workers=1)
    two = prepare(said, tmp_path / "two", workers=2)

    assert len(shards(tmp_path / "one")) > 2
    assert shards(tmp_path / "one") == shards(tmp_path / "two")
    assert one == two


def test_ids_that_repeat_within_a_file_keep_their_own_number_of_copies(model, tmp_path):
    rows = [{"id": "same", "prompt": f"{n}?", "completion": f"It is {n}."} for n in range(40)]
    rows[3]["prompt"] = "a" * 500  # dropped: copies must not slip to its neighbours
    path = save_lines(tmp_path / "a.jsonl", rows)
    said = recipe(model, {"path": str(path), "weight": 1.5}, max_overlong_share=1)

    manifest = prepare(said, tmp_path / "out")

    expected = draw_copies(said.data.sources[0], 40, 42, 0)
    tokenizer = load_tokenizer(said.model, locate(said.model), chat=True)
    text = " ".join(
        tokenizer.decode(row["input_ids"]) for row in rows_of(tmp_path / "out", manifest)
    )
    taken = [text.count(f"\n{n}?</s>") for n in range(40)]
    assert taken == [0 if n == 3 else copies for n, copies in enumerate(expected.tolist())]


def test_validation_is_the_split_of_the_dataset(model, tmp_path):
    rows = [
        {"id": f"{split}{n}", "prompt": "Which?", "completion": "Zinc.", "split": split}
        for n in range(20) for split in ("train", "validation")
    ]  # fmt: skip
    path = save_lines(tmp_path / "a.jsonl", rows)

    said = recipe(model, {"path": str(path)}, validation={"from": "split", "rows": 5})
    manifest = prepare(said, tmp_path / "out")

    assert set(documents(tmp_path / "out")) == {f"train{n}" for n in range(20)}
    held_out = documents(tmp_path / "out", VALIDATION)
    assert len(held_out) == manifest["splits"][VALIDATION]["counts"]["kept"] == 5
    assert all(key.startswith("validation") for key in held_out)


def test_rows_that_are_set_aside_are_never_trained_on(model, tmp_path):
    path = str(save_pairs(tmp_path / "a.jsonl"))
    sources = [{"path": path, "weight": 3}, {"path": path}]

    prepare(recipe(model, *sources, validation={"from": "train", "rows": 8}), tmp_path / "out")

    held_out, train = documents(tmp_path / "out", VALIDATION), documents(tmp_path / "out")
    assert sum(held_out.values()) == 8
    assert not held_out.keys() & train.keys()
    assert set(train.values()) == {4}
    assert len(train) + len(held_out) == 40


def test_without_validation_there_is_none(model, tmp_path):
    source = {"path": str(save_pairs(tmp_path / "a.jsonl"))}

    manifest = prepare(recipe(model, source), tmp_path / "out")

    assert manifest["splits"][VALIDATION]["rows"] == 0
    assert shards_of(tmp_path / "out", manifest, VALIDATION) == []


def test_a_recipe_that_does_not_fit_its_data_is_told_what_to_change(model, tmp_path):
    pairs = {"path": str(save_pairs(tmp_path / "a.jsonl"))}
    texts = {"path": str(save_texts(tmp_path / "texts.jsonl"))}

    def refusal(said: Recipe) -> str:
        with pytest.raises(UsageError) as refused:
            prepare(said, tmp_path / "out")
        return str(refused.value)

    assert "data.sources.1: " in refusal(recipe(model, pairs, texts))
    assert "has text rows, which stage sft does not read" in refusal(recipe(model, texts))
    assert "has prompt_completion rows, which stage cpt" in refusal(
        recipe(model, pairs, stage="cpt")
    )
    assert "has no rows in split test" in refusal(recipe(model, pairs | {"split": "test"}))
    assert "data.validation: no source has a split validation" in refusal(
        recipe(model, pairs, validation={"from": "split"})
    )


def save_mixed_lengths(path: Path) -> dict[str, Any]:
    """Save 36 short rows and 4 whose sequence does not fit."""
    return {
        "path": str(
            save_lines(
                path,
                (
                    {"id": str(n), "completion": f"It is {n}.",
                     "prompt": f"<seq> {'M ' * (400 if n % 10 == 9 else 5)}</seq> Which?"}
                    for n in range(40)
                ),
            )
        )
    }  # fmt: skip


def test_too_many_rows_that_are_dropped_end_the_run(model, tmp_path):
    source = save_mixed_lengths(tmp_path / "a.jsonl")

    with pytest.raises(UsageError, match=r"4 of 40 rows \(10.0%\) do not fit .* 9, 19, 29, 39"):
        prepare(recipe(model, source), tmp_path / "out")
    manifest = prepare(recipe(model, source, max_overlong_share=0.1), tmp_path / "out")
    with pytest.raises(UsageError, match="do not fit"):  # prepared, and still too many
        prepare(recipe(model, source), tmp_path / "out")

    counts = manifest["splits"][TRAIN]["counts"]
    assert (counts["read"], counts["kept"], counts["dropped"]) == (40, 36, 4)


def test_cropping_loses_no_row_and_counts_what_it_cut(model, tmp_path):
    source = save_mixed_lengths(tmp_path / "a.jsonl")

    manifest = prepare(recipe(model, source, overlong="crop_sequence"), tmp_path / "out")

    counts = manifest["splits"][TRAIN]["counts"]
    assert (counts["kept"], counts["cropped"], counts["dropped"]) == (40, 4, 0)
    assert 4 * (400 - LENGTH) < counts["residues_cut"] < 4 * 400


def test_a_row_that_is_too_long_is_an_error_where_the_recipe_says_so(model, tmp_path):
    source = save_mixed_lengths(tmp_path / "a.jsonl")

    with pytest.raises(ProteinLMError, match=r"Row 9 has \d+ tokens"):
        prepare(recipe(model, source, overlong="error"), tmp_path / "out")


def test_a_run_without_rows_is_refused(model, tmp_path):
    path = save_lines(tmp_path / "a.jsonl", [{"prompt": "a" * 999, "completion": "No."}])

    with pytest.raises(UsageError, match="No row is left to train on: 1 were too long"):
        prepare(recipe(model, {"path": str(path)}, max_overlong_share=1), tmp_path / "out")


def tokenised(tokenizer: Any, path: Path, *, chats: bool) -> dict[str, list[int]]:
    """Return the tokens of every row, by id."""
    making = Tokenizing(tokenizer=tokenizer, residues="spaced", overlong="drop", limit=None)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    if chats:
        pairs = [(row["id"], *to_conversation(row, "prompt_completion")) for row in rows]
        found = making.conversations(pairs, Counts())
    else:
        found = making.texts([(row["id"], row["text"]) for row in rows], Counts())
    return {document.id: decode(document.tokens)["input_ids"].tolist() for document in found}


def pieces(row: dict[str, Any]) -> list[list[int]]:
    ends = np.cumsum(row["seq_lengths"])[:-1]
    return [piece.tolist() for piece in np.split(row["input_ids"], ends)]


@pytest.mark.parametrize("packing", ["none", "bfd"])
def test_rows_stay_whole_and_are_found_by_the_number_of_their_packed_row(
    model, tokenizer, tmp_path, packing
):
    path = save_pairs(tmp_path / "a.jsonl")
    said = recipe(model, {"path": str(path), "weight": 2}, train={"packing": packing})

    manifest = prepare(said, tmp_path / "out")

    expected = tokenised(tokenizer, path, chats=True)
    rows = rows_of(tmp_path / "out", manifest)
    seen: Counter[str] = Counter()
    for row in rows:
        keys = find_documents(tmp_path / "out", TRAIN, [row["row"]])
        assert pieces(row) == [expected[key] for key in keys]
        assert row["input_ids"].size <= LENGTH
        seen.update(keys)
    assert seen == dict.fromkeys(expected, 2)
    assert len(rows) == (80 if packing == "none" else manifest["splits"][TRAIN]["rows"])
    assert packing == "none" or len(rows) < 40


def test_splitting_loses_no_token_and_marks_where_fragments_begin(model, tokenizer, tmp_path):
    path = save_texts(tmp_path / "texts.jsonl")

    manifest = prepare(recipe(model, {"path": str(path)}, stage="cpt"), tmp_path / "out")

    expected = tokenised(tokenizer, path, chats=False)
    fragments: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for row in rows_of(tmp_path / "out", manifest):
        keys = find_documents(tmp_path / "out", TRAIN, [row["row"]])
        assert len(keys) == len(row["seq_lengths"])
        assert row["labels"].tolist() == row["input_ids"].tolist()
        found = zip(keys, pieces(row), strict=True)
        fragments.update((key, tuple(piece)) for key, piece in found)
    assert any(len(ids) > LENGTH for ids in expected.values())
    assert fragments == Counter(
        (key, tuple(ids[start : start + LENGTH]))
        for key, ids in expected.items()
        for start in range(0, len(ids), LENGTH)
    )


def test_wrapped_rows_are_full_and_without_borders_and_name_all_their_documents(
    model, tokenizer, tmp_path
):
    path = save_texts(tmp_path / "texts.jsonl")
    train = {"packing": "wrapped", "allow_contaminated_packing": True}

    said = recipe(model, {"path": str(path)}, stage="cpt", train=train)
    manifest = prepare(said, tmp_path / "out")

    rows = rows_of(tmp_path / "out", manifest)
    expected = tokenised(tokenizer, path, chats=False)
    assert [token for row in rows for token in row["input_ids"].tolist()] == [
        token for ids in expected.values() for token in ids
    ]
    assert {len(row["seq_lengths"]) for row in rows} == {1}
    assert {row["input_ids"].size for row in rows[:-1]} == {LENGTH}
    named = [find_documents(tmp_path / "out", TRAIN, [row["row"]]) for row in rows]
    assert list(dict.fromkeys(key for keys in named for key in keys)) == list(expected)
    assert max(map(len, named)) > 1


def test_counts_of_labels_and_lengths_are_those_of_a_training_step(model, tmp_path):
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    for stage, path in (
        ("sft", save_pairs(tmp_path / "a.jsonl")), ("cpt", save_texts(tmp_path / "b.jsonl"))
    ):  # fmt: skip
        out = tmp_path / stage
        manifest = prepare(recipe(model, {"path": str(path)}, stage=stage), out)

        rows = rows_of(out, manifest)
        batch = DataCollatorForLanguageModeling(0, padding_free=True).torch_call(rows)
        lengths = batch["cu_seq_lens_q"].diff()
        said = manifest["splits"][TRAIN]
        assert said["labels"] == int((batch["labels"][..., 1:] != -100).sum())
        assert said["tokens"] == batch["input_ids"].numel() == int(lengths.sum())
        assert said["squared_lengths"] == int((lengths.to(torch.int64) ** 2).sum())
        assert said["documents"] == len(lengths)


def test_a_stream_gives_the_same_rows_as_random_access(model, tmp_path):
    sources = [{"path": str(save_pairs(tmp_path / f"{name}.jsonl"))} for name in "ab"]
    manifest = prepare(recipe(model, *sources), tmp_path / "out")
    files = shards_of(tmp_path / "out", manifest, TRAIN)

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(np.asarray(row[name]).tolist() for name in ("input_ids", "labels", "row"))

    streamed = list(load_rows(files, streaming=True, seed=1))

    assert sorted(map(str, map(key, streamed))) == sorted(map(str, map(key, load_rows(files))))
    assert all(sum(row["seq_lengths"]) == len(row["input_ids"]) for row in streamed)


def test_a_token_takes_four_bytes_at_most_with_all_that_belongs_to_it(model, tmp_path):
    rows = ({"id": f"PMC{n}", "text": f"{n} " + "zinc binds " * 250} for n in range(250))
    path = save_lines(tmp_path / "texts.jsonl", rows)
    said = recipe(model, {"path": str(path)}, stage="cpt", train={"max_length": 1024})

    manifest = prepare(said, tmp_path / "out")

    tokens = manifest["splits"][TRAIN]["tokens"]
    files = shards_of(tmp_path / "out", manifest, TRAIN)
    alone = sum(file.stat().st_size for file in files)
    owners = sum(documents_file(file).stat().st_size for file in files)
    assert tokens > 100_000
    assert 3 < alone / tokens < 3.1
    assert (alone + owners) / tokens < 3.2


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the shards that are written from now on."""
    names: list[str] = []
    write = module.write_shard

    def noting(path: Path, *arguments: Any, **options: Any) -> Any:
        names.append(path.name)
        return write(path, *arguments, **options)

    monkeypatch.setattr(module, "write_shard", noting)
    return names


def test_a_killed_preparation_goes_on_where_it_stood(model, tmp_path, written):
    sources = [{"path": str(save_pairs(tmp_path / f"{name}.jsonl"))} for name in "abc"]
    said = recipe(model, *sources)
    out = tmp_path / "out"
    manifest = prepare(said, out)
    before = shards(out)
    written.clear()

    # As a kill in the second of three parts leaves it.
    (out / "prepared.json").unlink()
    (out / "train-00002.arrow").unlink()
    (out / "train-00001.json").unlink()

    assert prepare(said, out) == manifest
    assert written == ["train-00001.arrow", "train-00002.arrow"]
    assert shards(out) == before


def test_data_that_are_prepared_are_not_prepared_again(model, tmp_path, written):
    said = recipe(model, {"path": str(save_pairs(tmp_path / "a.jsonl"))})
    manifest = prepare(said, tmp_path / "out")
    written.clear()

    # What does not change a token: the ceiling, the policy, where the files lie, optimisation.
    moved = shutil.move(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    other = recipe(
        model, {"path": str(moved)}, decontamination="required", max_overlong_share=0.5,
        train={"lr": 1e-5},
    )  # fmt: skip

    assert prepare(other, tmp_path / "out") == manifest
    assert written == []


def test_a_changed_input_or_setting_makes_new_shards(model, tmp_path, written):
    path = save_pairs(tmp_path / "a.jsonl")
    out = tmp_path / "out"
    prints = {prepare(recipe(model, {"path": str(path)}), out)["fingerprint"]}

    path.write_text(path.read_text().replace("It is 7.", "It is not 7."))
    prints.add(prepare(recipe(model, {"path": str(path)}), out)["fingerprint"])
    prints.add(prepare(recipe(model, {"path": str(path)}, seed=1), out)["fingerprint"])
    prints.add(prepare(recipe(model, {"path": str(path)}, residues="joined"), out)["fingerprint"])
    longer = recipe(model, {"path": str(path)}, train={"max_length": 2 * LENGTH})
    prints.add(prepare(longer, out)["fingerprint"])

    assert len(prints) == len(written) == 5


def test_a_folder_with_other_files_is_left_alone(model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")

    with pytest.raises(UsageError, match="holds files that are no prepared data"):
        prepare(recipe(model, {"path": "smoke"}), tmp_path / "out")
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"
