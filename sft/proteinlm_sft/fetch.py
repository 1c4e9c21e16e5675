"""`proteinlm data fetch`: files of the public releases, and `fetch.json` that says what they are.

The note is written last. It has the size, sha256 and URL of each file, and the checksum that its
server publishes; where there is none, the ETag or date that tells whether the file has changed.
"""

import fnmatch
import json
import shutil
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import httpx2
from tqdm import tqdm

from proteinlm_ext.errors import UsageError
from proteinlm_ext.paths import write_text
from proteinlm_sft.download import (
    Digests,
    FetchError,
    RemoteFile,
    digest,
    download,
    get_validator,
    inside,
    open_client,
)
from proteinlm_sft.fetch_pmc import plan_pmc
from proteinlm_sft.fetch_sources import Plan, Skipped, plan_enzyme, plan_pubmed, plan_uniprot

NOTE = "fetch.json"
# What is unpacked of an archive: the same entries lie in it as XML and FASTA, too.
_UNPACKED = "*.dat.gz"

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a source is, how its files are found, and how many are fetched at a time."""

    base: str
    plan: Callable[[httpx2.Client, str, str, Sequence[str], Path], Plan]
    connections: int = 1


SOURCES: Mapping[str, Source] = {
    "uniprot": Source("https://ftp.uniprot.org/pub/databases/uniprot", plan_uniprot),
    "enzyme": Source("https://ftp.expasy.org/databases/enzyme", plan_enzyme),
    "pubmed": Source("https://ftp.ncbi.nlm.nih.gov/pubmed/baseline", plan_pubmed),
    "pmc": Source("https://pmc-oa-opendata.s3.amazonaws.com", plan_pmc, connections=8),
}


@dataclass(frozen=True, slots=True)
class _Obtained:
    """A file that is whole and checked; `is_new` tells whether this call fetched it."""

    name: str
    record: Record
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchReport:
    """What a call did: `files` by name as in `fetch.json`, and those left out with the reason."""

    source: str
    release: str
    out: Path
    files: Mapping[str, Record]
    fetched: tuple[str, ...]
    kept: tuple[str, ...]
    skipped: tuple[Skipped, ...]

    def __str__(self) -> str:
        size = sum(self.files[name]["bytes"] for name in (*self.fetched, *self.kept))
        reasons = Counter(skipped.reason for skipped in self.skipped)
        return "\n".join(
            [
                f"{self.source}, release {self.release}: {len(self.fetched)} fetched, "
                f"{len(self.kept)} already there and checked, {size / 1e6:.1f} MB in {self.out}",
                *(f"left out, {reason}: {count}" for reason, count in sorted(reasons.items())),
            ]
        )


def fetch(
    source: str,
    release: str,
    out: Path,
    *,
    base_url: str | None = None,
    only: Sequence[str] = (),
    unpack: bool = False,
    progress: bool = True,
) -> FetchReport:
    """Bring the files of a release into a folder; what is there already is checked and kept.

    Args:
        source: A key of `SOURCES`.
        release: `current`, or 2025_03 (UniProt), 26 (PubMed), 2026-11-22 (PMC: a day).
        out: The folder; one source and release each.
        base_url: A mirror, in place of the source's own `base`.
        only: Names or patterns of files; for PMC ids of articles, or text files of ids.
        unpack: Take the flat files out of tar archives, too (old releases of UniProt).
        progress: Show bars on stderr if it is a terminal.

    Raises:
        FetchError: A file is missing, broken, or not the one that the folder holds; the server
            fails for good; the disk is full.
        UsageError: The arguments cannot be meant.
    """
    origin = SOURCES[source]
    base = (base_url or origin.base).rstrip("/")
    if not base.startswith(("https://", "http://")):
        raise UsageError(f"--base_url must begin with https:// or http://, got {base!r}.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with open_client() as client:
            plan = origin.plan(client, base, release, only, out)
            files = _read_note(out, source, plan.release)
            bar = progress and origin.connections == 1
            job = partial(_obtain, client=client, out=out, known=files, progress=bar)
            results = list(_run(job, plan.files, origin.connections, progress=progress))
        obtained = [result for result in results if isinstance(result, _Obtained)]
        files |= {each.name: each.record for each in obtained}
        if unpack:
            for archive in [each.name for each in obtained if each.name.endswith(".tar.gz")]:
                files |= _unpack(out, archive)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise FetchError(f"{out}: a broken archive ({error}). Delete it and run again.") from error
    except OSError as error:
        raise FetchError(f"{out} could not be written: {error}") from error
    report = FetchReport(
        source=source,
        release=plan.release,
        out=out,
        files=dict(sorted(files.items())),
        fetched=tuple(each.name for each in obtained if each.is_new),
        kept=tuple(each.name for each in obtained if not each.is_new),
        skipped=(*plan.skipped, *(each for each in results if isinstance(each, Skipped))),
    )
    note = {
        "source": source,
        "release": plan.release,
        "base_url": base,
        "files": report.files,
        "skipped": {each.name: each.reason for each in report.skipped},
    }
    write_text(out / NOTE, json.dumps(note, indent=1) + "\n")
    return report


def _read_note(out: Path, source: str, release: str) -> dict[str, Record]:
    """Return what an earlier call noted, if it fetched the same release."""
    path = out / NOTE
    if not path.is_file():
        return {}
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        held, files = f"{note['source']} release {note['release']}", note["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise FetchError(f"{path} is broken ({error}). Delete it; the files are kept.") from error
    if held != f"{source} release {release}":
        raise FetchError(
            f"{out} holds {held}, and this would add {source} release {release}. Take another "
            "folder for --out, or the same --release."
        )
    return files


def _run(
    job: Callable[[Any], Any], files: Sequence[Any], connections: int, *, progress: bool
) -> Iterator[Any]:
    """Do one file after another, or several at a time under one bar."""
    if connections == 1:
        yield from map(job, files)
        return
    with ThreadPoolExecutor(connections) as pool:
        hidden = None if progress else True
        yield from tqdm(pool.map(job, files), total=len(files), unit="file", disable=hidden)


def _obtain(
    resolve: Callable[[], RemoteFile | Skipped],
    *,
    client: httpx2.Client,
    out: Path,
    known: Mapping[str, Record],
    progress: bool,
) -> Skipped | _Obtained:
    """Fetch one file, or check the one that is there."""
    remote = resolve()
    if isinstance(remote, Skipped):
        return remote
    path, note = inside(out, remote.name), known.get(remote.name)
    if note and note["published"] != _published(remote, lambda: get_validator(client, remote.url)):
        raise FetchError(
            f"{remote.url} has changed since it was fetched, and its release has not. Take another "
            f"folder for --out, or delete {path} and {out / NOTE} to fetch it anew."
        )
    if path.exists() and (note or remote.md5):
        found = digest(path)
        if found.sha256 != note["sha256"] if note else found.md5 != remote.md5:
            raise FetchError(
                f"{path} is not the file that {remote.url} is. Delete it and run again, or take "
                "another folder for --out."
            )
        return _Obtained(remote.name, note or _record(remote, found, ""), is_new=False)
    found, tag = download(client, remote, out, progress=progress)
    return _Obtained(remote.name, _record(remote, found, tag), is_new=True)


def _record(remote: RemoteFile, found: Digests, tag: str) -> Record:
    return {
        "bytes": found.size,
        "sha256": found.sha256,
        "published": _published(remote, lambda: tag),
        "url": remote.url,
    }


def _published(remote: RemoteFile, tag: Callable[[], str]) -> dict[str, str]:
    """Return what tells whether the server's file is still the same."""
    return {"md5": remote.md5} if remote.md5 else {"checksum": "not published", "tag": tag()}


def _unpack(out: Path, archive: str) -> Iterator[tuple[str, Record]]:
    """Write the flat files of an archive beside it, whatever folders they lie in there."""
    with tarfile.open(out / archive, "r|gz") as members:
        for member in members:
            name = member.name.rsplit("/", 1)[-1]
            if not (member.isfile() and fnmatch.fnmatchcase(name, _UNPACKED)):
                continue
            path = inside(out, name)
            part = path.with_name(f".{name}.part")
            with part.open("wb") as file:
                shutil.copyfileobj(cast("IO[bytes]", members.extractfile(member)), file)
            part.replace(path)
            found = digest(path)
            yield name, {"bytes": found.size, "sha256": found.sha256, "from": archive}
