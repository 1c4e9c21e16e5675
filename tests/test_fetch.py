"""Fetching releases from a loopback server in the layouts of the real ones."""

import errno
import gzip
import hashlib
import io
import json
import re
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, cast

import pytest

from proteinlm_ext.errors import UsageError
from proteinlm_sft.download import FetchError
from proteinlm_sft.fetch import FetchReport, fetch

SPROT = "/current_release/knowledgebase/complete/uniprot_sprot.dat.gz"
CONTENT = bytes(range(256)) * 2000  # 512 kB


@dataclass
class Reply:
    """What a path serves; `cut` closes the first connection after that many bytes."""

    body: bytes
    cut: int | None = None
    failures: list[int] = field(default_factory=list[int])
    encoding: str | None = None
    dated: bool = False
    location: str | None = None

    @property
    def etag(self) -> str:
        """Name the content."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD from the table of the server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Send a failure, a redirect or the file."""
        server = cast("Server", self.server)
        server.log.append((self.command, self.path, self.headers.get("Range")))
        reply = server.files.get(self.path)
        if reply is None or reply.failures:
            self.send_response(reply.failures.pop(0) if reply else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if reply.location:
            self.send_response(302)
            self.send_header("Location", reply.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_file(reply)

    do_HEAD = do_GET  # noqa: N815

    def send_file(self, reply: Reply) -> None:
        """Send a file or the rest of it, as RFC 9110 has it, or less if the reply is cut."""
        date = "Mon, 05 Oct 2026 10:00:00 GMT"
        validator = date if reply.dated else reply.etag
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range", validator) == validator:
            start, size = int(asked[1]), len(reply.body)
            body = reply.body[start : int(asked[2]) + 1 if asked[2] else None]
            self.send_response(206 if body else 416)
            end = start + len(body) - 1
            span = f"bytes {start}-{end}/{size}" if body else f"bytes */{size}"
            self.send_header("Content-Range", span)
        else:
            body = reply.body
            self.send_response(200)
        self.send_header("Last-Modified" if reply.dated else "ETag", validator)
        self.send_header("Content-Length", str(len(body)))
        if reply.encoding:
            self.send_header("Content-Encoding", reply.encoding)
        self.end_headers()
        if self.command == "HEAD":
            return
        if reply.cut is not None:
            body, reply.cut, self.close_connection = body[: reply.cut], None, True
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep the output quiet."""


class Server(ThreadingHTTPServer):
    """Serves `files` at `url` in a with block; `log` has method, path and range of requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, Reply] = {}
        self.log: list[tuple[str, str, str | None]] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def ranges(self, path: str) -> list[str | None]:
        """Return what was asked for of a path, request by request."""
        return [span for _, asked, span in self.log if asked == path]


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def metalink(release: str, files: dict[str, bytes], **wrong: str) -> bytes:
    entries = "".join(
        f'<file name="{name}"><size>{len(data)}</size><verification>'
        f'<hash type="md5">{wrong.get("md5", md5(data))}</hash></verification></file>'
        for name, data in files.items()
    )
    return (
        '<?xml version="1.0"?><metalink version="3.0" xmlns="http://www.metalinker.org/">'
        f"<version>{release}</version><files>{entries}</files></metalink>"
    ).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with Server() as server:
        yield server


@pytest.fixture
def uniprot(server: Server) -> Server:
    """Serve release 2026_03 of UniProt, with Swiss-Prot whole and by division."""
    complete, division = (
        f"/current_release/knowledgebase/{name}" for name in ("complete", "taxonomic_divisions")
    )
    reldate = b"UniProt Knowledgebase Release 2026_03 consists of:\nUniProtKB/Swiss-Prot ...\n"
    server.files = {
        f"{complete}/reldate.txt": Reply(reldate),
        f"{complete}/RELEASE.metalink": Reply(
            metalink("2026_03", {"uniprot_sprot.dat.gz": CONTENT, "README": b"?"})
        ),
        SPROT: Reply(CONTENT),
        f"{division}/RELEASE.metalink": Reply(
            metalink(
                "2026_03",
                {"uniprot_sprot_fungi.dat.gz": b"fungi", "uniprot_sprot_viruses.dat.gz": b"virus"},
            )
        ),
        f"{division}/uniprot_sprot_fungi.dat.gz": Reply(b"fungi"),
        f"{division}/uniprot_sprot_viruses.dat.gz": Reply(b"virus"),
    }
    return server


@pytest.fixture
def get(server: Server, tmp_path: Path) -> Callable[..., FetchReport]:
    def call(source: str = "uniprot", release: str = "current", **options: Any) -> FetchReport:
        given = {"base_url": server.url, "progress": False} | options
        return fetch(source, release, tmp_path / "out", **given)

    return call


def test_swissprot_is_fetched_with_a_note_of_what_it_is(uniprot, get, tmp_path):
    report = get()

    assert (tmp_path / "out" / "uniprot_sprot.dat.gz").read_bytes() == CONTENT
    note = json.loads((tmp_path / "out" / "fetch.json").read_text())
    assert (note["source"], note["release"]) == ("uniprot", "2026_03")
    assert note["files"] == {
        "uniprot_sprot.dat.gz": {
            "bytes": len(CONTENT),
            "sha256": hashlib.sha256(CONTENT).hexdigest(),
            "published": {"md5": md5(CONTENT)},
            "url": uniprot.url + SPROT,
        }
    }
    assert report.fetched == ("uniprot_sprot.dat.gz",)
    assert "release 2026_03: 1 fetched, 0 already there" in str(report)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"uniprot_sprot.dat.gz", "fetch.json"}


def test_what_is_there_is_checked_and_not_fetched_again(uniprot, get, tmp_path):
    get()
    before = (tmp_path / "out" / "fetch.json").read_bytes()
    uniprot.log.clear()

    report = get(release="2026_03")

    assert report.kept == ("uniprot_sprot.dat.gz",)
    assert uniprot.ranges(SPROT) == []
    assert (tmp_path / "out" / "fetch.json").read_bytes() == before


def test_a_file_without_a_note_is_recognised_by_its_checksum(uniprot, get, tmp_path):
    get()
    (tmp_path / "out" / "fetch.json").unlink()
    assert get().kept == ("uniprot_sprot.dat.gz",)
    assert (tmp_path / "out" / "fetch.json").exists()


@pytest.mark.parametrize("dated", [False, True], ids=["ETag", "Last-Modified"])
def test_a_dropped_connection_is_resumed_where_it_broke(uniprot, get, tmp_path, dated):
    uniprot.files[SPROT] = Reply(CONTENT, cut=300_000, dated=dated)

    get()

    first, second = uniprot.ranges(SPROT)
    assert first is None
    assert second is not None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 300_000
    assert (tmp_path / "out" / "uniprot_sprot.dat.gz").read_bytes() == CONTENT


def test_a_later_call_resumes_what_an_earlier_one_left(uniprot, get, tmp_path):
    uniprot.files[SPROT] = Reply(CONTENT, cut=300_000)
    part = tmp_path / "out" / ".uniprot_sprot.dat.gz.part"
    original = Handler.send_file

    def fail_after_the_cut(handler: Handler, reply: Reply) -> None:
        was_cut = reply.cut is not None
        original(handler, reply)
        if was_cut:
            reply.failures = [503] * 6

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "send_file", fail_after_the_cut)
        with pytest.raises(FetchError, match="it goes on where it stood"):
            get()
    assert 0 < part.stat().st_size <= 300_000
    assert not (tmp_path / "out" / "fetch.json").exists()
    have = part.stat().st_size
    uniprot.files[SPROT].failures = []
    uniprot.log.clear()

    get()

    assert uniprot.ranges(SPROT) == [f"bytes={have}-"]
    assert (tmp_path / "out" / "uniprot_sprot.dat.gz").read_bytes() == CONTENT


def test_a_part_of_an_older_file_is_thrown_away(uniprot, get, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".uniprot_sprot.dat.gz.part").write_bytes(b"of the last release")
    (tmp_path / "out" / ".uniprot_sprot.dat.gz.tag").write_text('"another"')

    get()

    assert (tmp_path / "out" / "uniprot_sprot.dat.gz").read_bytes() == CONTENT


def test_a_part_that_is_whole_already_needs_no_more_bytes(uniprot, get, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".uniprot_sprot.dat.gz.part").write_bytes(CONTENT)
    (tmp_path / "out" / ".uniprot_sprot.dat.gz.tag").write_text(uniprot.files[SPROT].etag)

    get()

    assert uniprot.ranges(SPROT) == [f"bytes={len(CONTENT)}-"]
    assert (tmp_path / "out" / "uniprot_sprot.dat.gz").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(uniprot, get, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".uniprot_sprot.dat.gz.part").write_bytes(CONTENT + b"more")
    (tmp_path / "out" / ".uniprot_sprot.dat.gz.tag").write_text(uniprot.files[SPROT].etag)
    get()
    assert (tmp_path / "out" / "uniprot_sprot.dat.gz").read_bytes() == CONTENT


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(uniprot, get, status):
    uniprot.files[SPROT].failures = [status, status]
    get()
    assert len(uniprot.ranges(SPROT)) == 3


def test_a_server_that_stays_busy_ends_in_an_error(uniprot, get, tmp_path):
    uniprot.files[SPROT].failures = [503] * 100
    with pytest.raises(FetchError, match=r"status 503\), 6 tries"):
        get()
    assert len(uniprot.ranges(SPROT)) == 6
    assert not (tmp_path / "out" / "fetch.json").exists()


def test_a_missing_file_is_not_asked_for_again(uniprot, get):
    del uniprot.files[SPROT]
    with pytest.raises(FetchError, match="gave status 404"):
        get()
    assert len(uniprot.ranges(SPROT)) == 1


def test_a_server_that_is_not_there_ends_in_an_error(get):
    with pytest.raises(FetchError, match="could not be read"):
        get(base_url="http://127.0.0.1:9")


def test_a_wrong_checksum_removes_the_file(uniprot, get, tmp_path):
    uniprot.files[SPROT] = Reply(CONTENT[:-1] + b"?")
    with pytest.raises(FetchError, match=f"not the {md5(CONTENT)} that the server publishes"):
        get()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_wrong_size_removes_the_file(uniprot, get, tmp_path):
    uniprot.files[SPROT] = Reply(CONTENT + b"?")
    with pytest.raises(FetchError, match="512001 bytes, not the 512000"):
        get()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_gzip_file_labelled_as_an_encoding_arrives_as_it_is_stored(uniprot, get, tmp_path):
    packed = gzip.compress(b"ID   A_B\n//\n")
    uniprot.files[SPROT] = Reply(packed, encoding="gzip")
    complete = SPROT.rsplit("/", 1)[0]
    uniprot.files[f"{complete}/RELEASE.metalink"] = Reply(
        metalink("2026_03", {"uniprot_sprot.dat.gz": packed})
    )
    get()
    assert (tmp_path / "out" / "uniprot_sprot.dat.gz").read_bytes() == packed


def test_a_file_that_changed_under_the_same_release_is_an_error(uniprot, get, tmp_path):
    get()
    other = b"another Swiss-Prot"
    uniprot.files[SPROT] = Reply(other)
    complete = SPROT.rsplit("/", 1)[0]
    uniprot.files[f"{complete}/RELEASE.metalink"] = Reply(
        metalink("2026_03", {"uniprot_sprot.dat.gz": other})
    )
    with pytest.raises(FetchError, match="has changed since it was fetched"):
        get()
    assert (tmp_path / "out" / "uniprot_sprot.dat.gz").read_bytes() == CONTENT


def test_a_file_that_no_note_tells_of_is_not_overwritten(uniprot, get, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "uniprot_sprot.dat.gz").write_bytes(b"of another release")
    with pytest.raises(FetchError, match="is not the file that"):
        get()
    assert (tmp_path / "out" / "uniprot_sprot.dat.gz").read_bytes() == b"of another release"


def test_a_file_that_was_deleted_is_fetched_again(uniprot, get, tmp_path):
    get()
    (tmp_path / "out" / "uniprot_sprot.dat.gz").unlink()
    assert get().fetched == ("uniprot_sprot.dat.gz",)


def test_a_local_file_that_changed_is_an_error(uniprot, get, tmp_path):
    get()
    (tmp_path / "out" / "uniprot_sprot.dat.gz").write_bytes(b"edited")
    with pytest.raises(FetchError, match="is not the file that"):
        get()


def test_releases_are_not_mixed_in_one_folder(uniprot, get):
    get()
    for path, reply in uniprot.files.items():
        if path.endswith((".metalink", ".txt")):
            reply.body = reply.body.replace(b"2026_03", b"2026_04")
    with pytest.raises(FetchError, match="holds uniprot release 2026_03, and this would add"):
        get()


def test_a_metalink_of_another_release_is_an_error(uniprot, get):
    complete = SPROT.rsplit("/", 1)[0]
    uniprot.files[f"{complete}/reldate.txt"].body = b"UniProt Knowledgebase Release 2026_04"
    with pytest.raises(FetchError, match="is of release 2026_03, not 2026_04"):
        get()


def test_divisions_are_chosen_by_pattern_and_added_to_the_note(uniprot, get, tmp_path):
    get()
    report = get(only=("uniprot_sprot_*.dat.gz",))
    assert report.fetched == ("uniprot_sprot_fungi.dat.gz", "uniprot_sprot_viruses.dat.gz")
    note = json.loads((tmp_path / "out" / "fetch.json").read_text())
    assert len(note["files"]) == 3


def test_a_file_that_no_folder_has_is_an_error_with_what_there_is(uniprot, get):
    with pytest.raises(FetchError, match=r"no 'uniprot_sprot_fishes.*It has: .*fungi"):
        get(only=("uniprot_sprot_fishes.dat.gz",))


@pytest.mark.parametrize(
    "name", ["../evil.dat.gz", "/etc/evil.dat.gz", ".hidden.dat.gz", "a\\b.gz"]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(uniprot, get, tmp_path, name):
    complete = SPROT.rsplit("/", 1)[0]
    uniprot.files[f"{complete}/RELEASE.metalink"] = Reply(metalink("2026_03", {name: b"evil"}))
    uniprot.files[f"{complete}/{name}"] = Reply(b"evil")
    with pytest.raises(FetchError, match="such a name is not taken"):
        get(only=("*.gz",))
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]


def test_an_external_entity_in_a_metalink_is_not_read(uniprot, get, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("2026_03")
    complete = SPROT.rsplit("/", 1)[0]
    text = (
        f'<!DOCTYPE m [<!ENTITY e SYSTEM "file://{secret}">]>'
        "<metalink><version>&e;</version><files/></metalink>"
    )
    uniprot.files[f"{complete}/RELEASE.metalink"] = Reply(text.encode())
    with pytest.raises(FetchError, match="not 2026_03"):
        get()


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_a_redirect_to_another_scheme_is_refused(uniprot, get, target):
    uniprot.files[SPROT].location = target
    with pytest.raises(FetchError, match="Only http and https"):
        get()


def test_a_redirect_to_a_mirror_is_followed(uniprot, get, tmp_path):
    uniprot.files["/mirror"] = uniprot.files[SPROT]
    uniprot.files[SPROT] = Reply(b"", location=f"{uniprot.url}/mirror")
    get()
    assert (tmp_path / "out" / "uniprot_sprot.dat.gz").read_bytes() == CONTENT


@pytest.mark.parametrize("base_url", ["ftp://ftp.uniprot.org/pub", "/pub"])
def test_only_http_servers_are_asked(get, base_url):
    with pytest.raises(UsageError, match="must begin with https"):
        get(base_url=base_url)


def test_a_full_disk_keeps_the_part_for_the_next_call(uniprot, get, tmp_path, monkeypatch):
    original = Path.open

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            if self.tell() + len(data) > 200_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    def small(path: Path, mode: str = "r", **options: Any) -> Any:
        return Full(path, "ab") if mode == "ab" else original(path, mode, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", small)
        with pytest.raises(FetchError, match="The disk is full"):
            get()
    part = tmp_path / "out" / ".uniprot_sprot.dat.gz.part"
    have = part.stat().st_size
    assert have > 0
    uniprot.log.clear()
    get()
    assert uniprot.ranges(SPROT) == [f"bytes={have}-"]


def test_a_folder_that_cannot_be_made_is_an_error(uniprot, get, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(FetchError, match="could not be written"):
        get()


def test_a_broken_note_is_an_error(uniprot, get, tmp_path):
    get()
    (tmp_path / "out" / "fetch.json").write_text("{")
    with pytest.raises(FetchError, match="is broken"):
        get()


def make_tar(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link.dat.gz")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return packed.getvalue()


def serve_old_release(server: Server, packed: bytes) -> None:
    folder, name = "/previous_releases/release-2025_03/knowledgebase", "uniprot_sprot-only2025_03"
    server.files[f"{folder}/RELEASE.metalink"] = Reply(
        metalink("2025_03", {f"{name}.tar.gz": packed})
    )
    server.files[f"{folder}/{name}.tar.gz"] = Reply(packed)


def test_an_old_release_is_an_archive_that_can_be_unpacked(uniprot, get, tmp_path):
    members = {"uniprot_sprot.dat.gz": b"flat", "uniprot_sprot.xml.gz": b"the same as XML"}
    serve_old_release(uniprot, make_tar({**members, "../../evil.dat.gz": b"evil"}))

    report = get(release="2025_03", unpack=True)

    assert report.release == "2025_03"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    archive = "uniprot_sprot-only2025_03.tar.gz"
    assert names == {archive, "uniprot_sprot.dat.gz", "evil.dat.gz", "fetch.json"}
    assert (tmp_path / "out" / "uniprot_sprot.dat.gz").read_bytes() == b"flat"
    assert report.files["uniprot_sprot.dat.gz"]["from"] == archive
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_truncated_archive_is_an_error(uniprot, get, tmp_path):
    serve_old_release(uniprot, make_tar({"uniprot_sprot.dat.gz": CONTENT})[:-700])
    with pytest.raises(FetchError, match="a broken archive"):
        get(release="2025_03", unpack=True)
    assert not (tmp_path / "out" / "fetch.json").exists()


@pytest.mark.parametrize("release", ["2025-03", "../../x", "newest"])
def test_a_release_that_cannot_be_one_is_refused(uniprot, get, release):
    with pytest.raises(UsageError, match="has no release"):
        get(release=release)


ENZYME = b"CC   ----\nCC   Release of 03-May-2023\nCC   ----\n//\nID   1.1.1.1\n//\n"


def test_enzyme_has_no_checksum_and_its_release_in_the_file(server, get, tmp_path):
    server.files["/enzyme.dat"] = Reply(ENZYME)

    report = get("enzyme")

    assert report.release == "03-May-2023"
    assert report.files["enzyme.dat"]["published"] == {
        "checksum": "not published",
        "tag": server.files["/enzyme.dat"].etag,
    }
    assert get("enzyme", "03-May-2023").kept == ("enzyme.dat",)
    (tmp_path / "out" / "fetch.json").unlink()
    assert get("enzyme").fetched == ("enzyme.dat",)


def test_enzyme_that_changed_without_a_new_release_is_an_error(server, get):
    server.files["/enzyme.dat"] = Reply(ENZYME)
    get("enzyme")
    server.files["/enzyme.dat"] = Reply(ENZYME + b"ID   1.1.1.2\n//\n")
    with pytest.raises(FetchError, match="has changed since it was fetched"):
        get("enzyme")


def test_an_old_release_of_enzyme_is_not_kept(server, get):
    server.files["/enzyme.dat"] = Reply(ENZYME)
    with pytest.raises(FetchError, match="Older releases are not kept"):
        get("enzyme", "01-Jan-2020")


def test_something_else_than_enzyme_is_an_error(server, get):
    server.files["/enzyme.dat"] = Reply(b"<html>Moved</html>")
    with pytest.raises(FetchError, match="is not what was expected there"):
        get("enzyme")


@pytest.fixture
def pubmed(server: Server) -> Server:
    links = ""
    for number, data in enumerate((b"first", b"second"), 1):
        name = f"pubmed26n000{number}.xml.gz"
        server.files[f"/{name}"] = Reply(data)
        server.files[f"/{name}.md5"] = Reply(f"MD5({name})= {md5(data)}\n".encode())
        links += f'<a href="{name}">{name}</a> 2026-01-29 <a href="{name}.md5">{name}.md5</a>\n'
    server.files["/"] = Reply(f'<a href="../">Parent</a><a href="README.txt">R</a>{links}'.encode())
    return server


@pytest.mark.parametrize("release", ["current", "26", "2026"])
def test_the_pubmed_baseline_is_fetched_whole(pubmed, get, release):
    report = get("pubmed", release)
    assert report.release == "26"
    assert report.fetched == ("pubmed26n0001.xml.gz", "pubmed26n0002.xml.gz")
    assert report.files["pubmed26n0002.xml.gz"]["published"] == {"md5": md5(b"second")}


def test_some_files_of_pubmed_can_be_chosen(pubmed, get):
    assert get("pubmed", only=("pubmed26n0002*",)).fetched == ("pubmed26n0002.xml.gz",)
    assert pubmed.ranges("/pubmed26n0001.xml.gz.md5") == []


def test_another_years_baseline_is_not_there(pubmed, get):
    with pytest.raises(FetchError, match=r"no baseline of '25'; it has \['26'\]"):
        get("pubmed", "25")


def test_a_checksum_of_pubmed_that_is_none_is_an_error(pubmed, get):
    pubmed.files["/pubmed26n0001.xml.gz.md5"] = Reply(b"<html>busy</html>")
    with pytest.raises(FetchError, match="not what was expected"):
        get("pubmed")


INVENTORY = "inventory-reports/pmc-oa-opendata/metadata/"


@pytest.fixture
def pmc(server: Server) -> Server:
    """Serve a bucket whose inventory has seven versions of six articles, not in order."""
    rows = ""
    for name, changes in {
        "PMC1.10": {},
        "PMC1.9": {},
        "PMC2.1": {"license_code": "CC0"},
        "PMC3.1": {"license_code": "CC BY-NC"},
        "PMC4.1": {"is_retracted": True},
        "PMC5.1": {"xml_url": None},
        "PMC6.1": {},
    }.items():
        xml = f"<article>{name}</article>".encode()
        url = f"s3://pmc-oa-opendata/{name}/{name}.xml?md5={md5(xml)}"
        metadata = {"license_code": "CC BY", "is_retracted": False, "xml_url": url} | changes
        server.files[f"/{name}/{name}.xml"] = Reply(xml)
        server.files[f"/metadata/{name}.json"] = Reply(data := json.dumps(metadata).encode())
        etag = md5(data) if name != "PMC6.1" else "0" * 32
        rows += f'"pmc-oa-opendata","metadata/{name}.json","2026-11-01T00:00:00.000Z","{etag}"\n'
    part = gzip.compress((rows + '"pmc-oa-opendata","metadata/README","x","y"\n').encode())
    server.files[f"/{INVENTORY}data/part.csv.gz"] = Reply(part)
    manifest = {
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, LastModifiedDate, ETag",
        "files": [{"key": f"{INVENTORY}data/part.csv.gz", "MD5checksum": md5(part)}],
    }
    days = [f"{INVENTORY}2026-11-2{day}T01-00Z/" for day in (1, 2)]
    for day in days:
        server.files[f"/{day}manifest.json"] = Reply(json.dumps(manifest).encode())
    prefixes = "".join(f"<Prefix>{name}</Prefix>" for name in [*days, f"{INVENTORY}hive/"])
    server.files[f"/?list-type=2&delimiter=/&prefix={INVENTORY}"] = Reply(
        f"<ListBucketResult>{prefixes}</ListBucketResult>".encode()
    )
    return server


def test_articles_of_pmc_are_chosen_by_licence_and_newest_version(pmc, get, tmp_path):
    ids = tmp_path / "ids.csv"
    ids.write_text("PMCID\n" + "".join(f"PMC{number},x\n" for number in range(2, 8)))

    report = get("pmc", only=("PMC1", str(ids)))

    assert report.release == "2026-11-22"
    assert report.fetched == ("PMC1.10.xml", "PMC2.1.xml")
    assert {each.name: each.reason for each in report.skipped} == {
        "PMC3": "licence CC BY-NC",
        "PMC4": "retracted",
        "PMC5": "no XML",
        "PMC6": "changed after the release",
        "PMC7": "not in PMC's bucket",
    }
    assert "left out, retracted: 1" in str(report)
    note = json.loads((tmp_path / "out" / "fetch.json").read_text())
    assert note["skipped"]["PMC4"] == "retracted"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"PMC1.10.xml", "PMC2.1.xml", "fetch.json"}


def test_a_day_of_pmc_can_be_asked_for_while_its_inventory_is_kept(pmc, get):
    assert get("pmc", "2026-11-21", only=("PMC1",)).release == "2026-11-21"
    with pytest.raises(FetchError, match="2026-11-21 to 2026-11-22"):
        get("pmc", "2026-08-01", only=("PMC1",))


def test_pmc_is_not_fetched_whole(pmc, get):
    with pytest.raises(UsageError, match="millions of articles"):
        get("pmc")


def test_a_list_of_articles_must_hold_some(pmc, get, tmp_path):
    (tmp_path / "empty.txt").write_text("no ids\n")
    with pytest.raises(UsageError, match="holds no PMC ids"):
        get("pmc", only=(str(tmp_path / "empty.txt"),))
    with pytest.raises(UsageError, match="neither a PMC id nor a text file"):
        get("pmc", only=("12345",))


def test_an_article_that_arrives_broken_is_an_error(pmc, get, tmp_path):
    pmc.files["/PMC1.10/PMC1.10.xml"] = Reply(b"<article>cut")
    with pytest.raises(FetchError, match="arrived with MD5"):
        get("pmc", only=("PMC1", "PMC2"))
    assert not (tmp_path / "out" / "fetch.json").exists()


def test_an_unknown_format_of_the_inventory_is_an_error(pmc, get):
    path = f"/{INVENTORY}2026-11-22T01-00Z/manifest.json"
    pmc.files[path].body = pmc.files[path].body.replace(b"CSV", b"ORC")
    with pytest.raises(FetchError, match="a format that is not known"):
        get("pmc", only=("PMC1",))
