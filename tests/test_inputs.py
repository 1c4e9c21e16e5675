"""Inputs: what a pattern names, and one pass over plain and gzip bytes with their hash."""

import gzip
import hashlib

import fsspec
import pytest

from proteinlm_sft.entry import SourceError
from proteinlm_sft.inputs import find_inputs, open_input


@pytest.fixture
def folder(tmp_path):
    for name in ("b.dat", "a.dat.gz", "sub/c.xml", "notes.md", ".part.dat"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"text of " + name.encode())
    return tmp_path


def test_a_folder_gives_its_files_sorted_and_without_hidden_ones(folder):
    names = [file.name for file in find_inputs([str(folder)])]

    assert names == ["a.dat.gz", "b.dat", "notes.md", "c.xml"]


def test_a_folder_gives_only_the_formats_asked_for(folder):
    found = find_inputs([str(folder)], [".dat", ".xml"])

    assert [file.name for file in found] == ["a.dat.gz", "b.dat", "c.xml"]
    assert [file.size for file in found] == [16, 13, 17]


def test_patterns_keep_their_order_and_a_glob_is_sorted(folder):
    found = find_inputs([str(folder / "sub" / "c.xml"), str(folder / "*.dat*")])

    assert [file.name for file in found] == ["c.xml", "a.dat.gz", "b.dat"]


def test_a_url_of_another_file_system_is_read():
    with fsspec.open("memory://inputs/x.dat", "wb") as out:
        out.write(b"of memory")
    (file,) = find_inputs(["memory://inputs/*.dat"])

    with open_input(file) as source:
        assert source.stream.read() == b"of memory"


@pytest.mark.parametrize("pattern", ["none.dat", "*.nothing"])
def test_a_pattern_without_a_file_is_an_error(tmp_path, pattern):
    with pytest.raises(SourceError, match="No input file"):
        find_inputs([str(tmp_path / pattern)])


def test_a_file_named_twice_is_an_error(folder):
    with pytest.raises(SourceError, match=r"b\.dat is named twice"):
        find_inputs([str(folder / "b.dat"), str(folder / "b*")])


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_the_hash_is_of_the_stored_bytes_however_little_was_read(tmp_path, pack):
    stored = pack(b"line\n" * 500_000)
    path = tmp_path / "any.name"
    path.write_bytes(stored)

    with open_input(find_inputs([str(path)])[0]) as source:
        assert source.stream.readline() == b"line\n"
        assert source.sha256() == hashlib.sha256(stored).hexdigest()


def test_members_of_a_gzip_file_follow_each_other(tmp_path):
    path = tmp_path / "two.gz"
    path.write_bytes(gzip.compress(b"one ") + gzip.compress(b"two"))

    with open_input(find_inputs([str(path)])[0]) as source:
        assert source.stream.read() == b"one two"


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_broken_gzip_is_an_error_that_names_the_file(tmp_path, damage):
    stored = bytearray(gzip.compress(bytes(range(256)) * 1000))
    if damage == "cut":
        stored = stored[:-20]
    else:
        stored[len(stored) // 2] ^= 0xFF
    path = tmp_path / "bad.dat.gz"
    path.write_bytes(stored)

    with (
        pytest.raises(SourceError, match=r"bad\.dat\.gz: broken or truncated gzip"),
        open_input(find_inputs([str(path)])[0]) as source,
    ):
        source.stream.read()


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / "empty.dat").touch()

    with (
        pytest.raises(SourceError, match="is empty"),
        open_input(find_inputs([str(tmp_path / "empty.dat")])[0]),
    ):
        pass
