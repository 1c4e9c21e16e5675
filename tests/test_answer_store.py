"""The store keeps what was saved, whole, through kills, damage and company; all on real SQLite."""

import json
import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proteinlm_ext import answer_store
from proteinlm_ext.answer_store import AnswerStore
from proteinlm_ext.errors import ProteinLMError

MODEL = {"weights": "0" * 64, "dtype": "float32"}

# Saves the batches FIRST, FIRST + 1, ... below LAST and names each once it is saved.
WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_answer_store import MODEL, answers
from proteinlm_ext.answer_store import AnswerStore
store = AnswerStore(Path(sys.argv[2]), MODEL)
for batch in range(int(sys.argv[3]), int(sys.argv[4])):
    store.save(answers(batch), str(batch))
    print(batch, flush=True)
"""


def answers(batch: int) -> dict[str, Any]:
    """Return what batch N answers: 100 requests, enough for a save to write many pages."""
    return {f"{batch}-{n}": [-batch - n / 7, n % 2 == 0] for n in range(100)}


def write_elsewhere(folder: Path, first: int, last: int) -> subprocess.Popen[str]:
    arguments = [str(Path(__file__).parent), str(folder), str(first), str(last)]
    command = [sys.executable, "-c", WRITER, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., AnswerStore]]:
    """Return a function that opens the store of the test's folder."""
    stores: list[AnswerStore] = []

    def open_store(model: Any = MODEL) -> AnswerStore:
        stores.append(AnswerStore(tmp_path / "cache", model))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "answers.sqlite"


def set_aside(file: Path) -> list[Path]:
    return sorted(file.parent.glob("*.set-aside-*"))


# --- what is saved -------------------------------------------------------------------------------


def test_a_batch_is_read_as_it_was_saved_and_one_that_was_not_is_none(opened: Any) -> None:
    first, second = opened(), opened()
    saved = {"r2": [-1.5, True], "r1": "a text, \u03b1\ud800\x00", "r3": 7}
    first.save(saved, "batch")
    for store in (first, second):
        assert store.batch("batch") == saved
        assert list(store.batch("batch")) == ["r2", "r1", "r3"]
        assert store.batch("r1") is store.batch("other") is None


def test_known_finds_answers_by_request_whether_saved_in_a_batch_or_alone(opened: Any) -> None:
    store = opened()
    store.save({"a": [-1.0, False], "b": 2}, "batch")
    store.save({"c": "text"})
    assert store.known(iter(["c", "x", "a", "c"])) == {"c": "text", "a": [-1.0, False]}
    assert store.known([]) == {}


def test_the_answer_that_was_saved_first_stays(opened: Any) -> None:
    store = opened()
    store.save({"a": 1}, "batch")
    store.save({"a": 2, "b": 2}, "batch")
    store.save({"a": 3}, "other")
    assert store.batch("batch") == {"a": 1}
    assert store.batch("other") == {"a": 3}
    assert store.known(["a", "b"]) == {"a": 1, "b": 2}


def test_another_model_does_not_see_the_answers(opened: Any) -> None:
    opened().save({"a": 1}, "batch")
    other = opened(MODEL | {"dtype": "bfloat16"})
    assert (other.batch("batch"), other.known(["a"])) == (None, {})
    same = opened(dict(reversed(MODEL.items())))
    assert (same.batch("batch"), same.known(["a"])) == ({"a": 1}, {"a": 1})


def test_a_person_can_see_which_models_are_in_the_store(opened: Any, file: Path) -> None:
    opened()
    opened({"weights": "1"})
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT description FROM models").fetchall()
    assert sorted(json.loads(text)["weights"] for (text,) in rows) == ["0" * 64, "1"]


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(allow_nan=False), max_size=20))
def test_floats_come_back_to_the_last_bit(values: list[float]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = AnswerStore(Path(folder), MODEL)
        store.save({str(n): [value, True] for n, value in enumerate(values)}, "batch")
        for found in (store.batch("batch"), store.known(map(str, range(20)))):
            assert [answer[0].hex() for answer in (found or {}).values()] == [
                value.hex() for value in values
            ]
        store.close()


# --- in company, and killed ----------------------------------------------------------------------


def test_processes_that_save_the_same_and_other_batches_at_once_all_succeed(
    opened: Any, file: Path
) -> None:
    writers = [write_elsewhere(file.parent, *span) for span in ((0, 30), (0, 30), (20, 50))]
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    store = opened()
    for batch in range(50):
        assert store.batch(str(batch)) == answers(batch)
        assert store.known(answers(batch)) == answers(batch)
    assert not set_aside(file)


def test_every_batch_is_whole_or_absent_after_sigkill_at_any_moment(
    opened: Any, file: Path
) -> None:
    first = moment = interrupted = 0
    while interrupted < 3:  # kills that fell into a save
        assert moment < 50
        writer = write_elsewhere(file.parent, first, first + 10_000)
        assert writer.stdout
        writer.stdout.readline()
        time.sleep(moment % 8 * 0.0271)  # a save takes some milliseconds
        moment += 1
        writer.kill()
        said = [first, *map(int, writer.communicate()[0].split())]
        interrupted += file.with_name(f"{file.name}-journal").exists()
        store = opened()
        saved = [n for n in range(first, said[-1] + 3) if store.batch(str(n)) is not None]
        assert saved in ([*said], [*said, said[-1] + 1])
        for batch in range(first, said[-1] + 3):
            whole = answers(batch) if batch <= saved[-1] else {}
            assert (store.batch(str(batch)) or {}) == store.known(answers(batch)) == whole
        first = saved[-1] + 1
    assert all(store.batch(str(batch)) == answers(batch) for batch in range(first))
    assert not set_aside(file)


# --- damage --------------------------------------------------------------------------------------


def damage_with_garbage(file: Path) -> None:
    file.write_bytes(b"This is not a database, however long it is. " * 200)


def damage_by_truncation(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 + 100)


def damage_a_page(file: Path) -> None:
    content = bytearray(file.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 200] = bytes(byte ^ 0xFF for byte in content[middle : middle + 200])
    file.write_bytes(content)


def damage_an_answer(file: Path) -> None:
    content = file.read_bytes()
    assert b"[-3.142857142857143," in content  # the answer to 3-1, and in batch 3
    file.write_bytes(content.replace(b"[-3.142857142857143,", b"[-3.142857142857144,"))


def give_it_another_version(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 99")


def give_it_other_tables(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("ALTER TABLE answers ADD COLUMN host TEXT")


DAMAGES = (damage_with_garbage, damage_by_truncation, damage_a_page, damage_an_answer)
FOREIGN = (give_it_another_version, give_it_other_tables)


@pytest.mark.parametrize("damage", [*DAMAGES, *FOREIGN])
def test_a_store_that_cannot_be_used_is_set_aside_with_a_message(
    damage: Callable[[Path], None], opened: Any, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened()
    for batch in range(20):
        store.save(answers(batch), str(batch))
    store.close()
    damage(file)
    content = file.read_bytes()
    store = opened()
    assert store.batch("3") is None
    assert store.known(["3-1"]) == {}
    (aside,) = set_aside(file)
    assert aside.read_bytes() == content
    assert aside.name == "answers.sqlite.set-aside-1"
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("proteinlm_ext", logging.WARNING)
    assert f"{file} cannot be used" in record.getMessage()
    assert str(aside) in record.getMessage()
    store.save(answers(3), "3")
    assert opened().batch("3") == answers(3)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("use", ["batch", "known", "save"])
def test_damage_while_the_store_is_open_is_met_likewise(
    use: str, damage: Callable[[Path], None], opened: Any, file: Path
) -> None:
    store = opened()
    for batch in range(20):
        store.save(answers(batch), str(batch))
    damage(file)
    if use == "batch":
        found = store.batch("3")
        assert found in (None, answers(3))
    elif use == "known":
        keys = [f"{batch}-{n}" for batch in range(20) for n in range(100)]
        right = {key: value for batch in range(20) for key, value in answers(batch).items()}
        found = store.known(keys)
        assert found.items() <= right.items()
    else:
        store.save(answers(99), "99")
        assert store.batch("99") == answers(99)
    store.save(answers(3), "3")
    assert store.batch("3") == answers(3)


def test_no_flipped_bit_ever_yields_another_answer(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path, MODEL)
    for batch in range(3):
        store.save(answers(batch), str(batch))
    store.close()
    sound, generator = (tmp_path / "answers.sqlite").read_bytes(), np.random.default_rng(0)
    lost = 0
    for trial, place in enumerate(generator.integers(len(sound), size=150)):
        content = bytearray(sound)
        content[place] ^= 1 << trial % 8
        folder = tmp_path / str(trial)
        folder.mkdir()
        (folder / "answers.sqlite").write_bytes(content)
        store = AnswerStore(folder, MODEL)
        for batch in range(3):
            assert store.batch(str(batch)) in (None, answers(batch)), place
            assert store.known(answers(batch)).items() <= answers(batch).items(), place
        lost += bool(set_aside(folder / "answers.sqlite"))
        store.close()
    assert 0 < lost < 150


@pytest.mark.parametrize("size", [0, 2, 50, 99, 100, 511, 4096, 4097, 8192, 12_000])
def test_a_file_cut_at_any_length_is_replaced(size: int, opened: Any, file: Path) -> None:
    opened().save(answers(1), "1")
    os.truncate(file, size)
    store = opened()
    assert store.batch("1") is None
    assert len(set_aside(file)) == (size > 0)  # an empty file is a new one


def test_the_journal_of_a_damaged_store_never_meets_the_new_one(opened: Any, file: Path) -> None:
    opened().save(answers(1), "1")
    journal = file.with_name(f"{file.name}-journal")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM answers")
        assert journal.exists()
        damage_with_garbage(file)
        opened()
    assert [path.name for path in set_aside(file)] == [
        "answers.sqlite.set-aside-1", "answers.sqlite.set-aside-1-journal"
    ]  # fmt: skip
    assert not journal.exists()


def test_the_next_damaged_store_gets_the_next_number(opened: Any, file: Path) -> None:
    for number in (1, 2, 3):
        opened().close()
        damage_with_garbage(file)
        opened().close()
        assert set_aside(file)[-1].name == f"answers.sqlite.set-aside-{number}"


def test_processes_that_find_the_damage_at_once_set_it_aside_once(opened: Any, file: Path) -> None:
    opened().close()
    damage_with_garbage(file)
    writers = [write_elsewhere(file.parent, n, n + 5) for n in (0, 5, 10)]
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len(set_aside(file)) == 1
    assert all(opened().batch(str(batch)) == answers(batch) for batch in range(15))


def test_damage_that_another_process_has_dealt_with_leaves_the_new_store_alone(
    opened: Any, file: Path
) -> None:
    late = opened()
    damage_with_garbage(file)
    early = opened()
    early.save({"a": 1}, "early")
    assert late.batch("early") == {"a": 1}
    assert len(set_aside(file)) == 1


def test_a_store_that_another_process_set_aside_is_left_for_the_new_one(
    opened: Any, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    late = opened()
    file.rename(file.with_name("elsewhere"))
    early = opened()
    early.save({"a": 1}, "early")
    late.save({"b": 2}, "late")
    assert late.known(["a", "b"]) == early.known(["a", "b"]) == {"a": 1, "b": 2}
    assert not caplog.records


# --- what a user can mend ------------------------------------------------------------------------


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProteinLMError, match=r"file/cache/answers\.sqlite: .*--cache"):
        AnswerStore(tmp_path / "file" / "cache", MODEL)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX permissions")
@pytest.mark.parametrize("there", [False, True])
def test_a_read_only_folder_is_named(there: bool) -> None:
    with tempfile.TemporaryDirectory() as name:  # tmp_path is closed to all but its owner
        folder = Path(name)
        if there:
            AnswerStore(folder, MODEL).close()
            (folder / "answers.sqlite").chmod(0o444)
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # nobody: root may write anywhere
        try:
            with pytest.raises(ProteinLMError, match=r"answers\.sqlite: .* See to permission"):
                AnswerStore(folder, MODEL)
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


def test_a_lock_that_lasts_is_an_error_not_damage(
    opened: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = partial(sqlite3.connect, timeout=0.1, isolation_level=None)
    monkeypatch.setattr(answer_store, "_connect", quick)
    store = opened()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for use in (lambda: store.save({"a": 1}), lambda: store.batch("b"), opened):
            with pytest.raises(ProteinLMError, match="database is locked"):
                use()
    store.save({"a": 1})
    assert store.known(["a"]) == {"a": 1}
    assert not set_aside(file)


def test_a_full_disk_is_an_error_and_leaves_what_was_there(
    opened: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect_to_small_disk(path: Any) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA max_page_count = 40")
        return connection

    opened().save({"a": 1}, "small")
    monkeypatch.setattr(answer_store, "_connect", connect_to_small_disk)
    store = opened()
    for batch in range(3):
        store.save(answers(batch), str(batch))
    many = {key: value for batch in range(20) for key, value in answers(batch).items()}
    with pytest.raises(ProteinLMError, match=r"full.*room on the disk"):
        store.save(many, "many")
    assert store.batch("many") is None
    assert store.batch("2") == answers(2)
    assert store.batch("small") == {"a": 1}
    assert not set_aside(file)
