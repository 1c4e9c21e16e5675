"""What UniProt, ENZYME and PubMed offer: the release, and the files with their checksums.

The layouts were checked in public code and documentation in November 2026, not on the servers:
- UniProt: each folder has RELEASE.metalink (version, size and MD5 of each file), the current one
  reldate.txt ("UniProt Knowledgebase Release 2025_04 consists of:"); an old release is kept as
  `release-2025_03/knowledgebase/uniprot_sprot-only2025_03.tar.gz` with a metalink.
- ENZYME: one file without a checksum; its header names the release.
- PubMed: an index page, `pubmed26n0001.xml.gz` and beside it `.md5` with `MD5(NAME)= HEX`; NLM
  keeps one baseline, that of the year.
"""

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx2
import lxml.etree

from proteinlm_ext.errors import UsageError
from proteinlm_sft.download import FetchError, RemoteFile, get_bytes

_etree = cast("Any", lxml.etree)
_RELEASE = re.compile(r"Release (\d{4}_\d{2})")
_ENZYME_RELEASE = re.compile(r"^CC\s+Release\s+(?:of\s+)?(.+?)\s*$", re.MULTILINE)
_BASELINE = re.compile(r'href="(pubmed(\d\d)n\d{4}\.xml\.gz)"')
_MD5 = re.compile(r"=\s*([0-9a-fA-F]{32})\s*$")
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was asked for and must not or cannot be taken."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a fetch has to bring; each of `files` asks the server for what it says of one file."""

    release: str
    files: Sequence[Callable[[], RemoteFile | Skipped]]
    skipped: Sequence[Skipped] = ()


def plan_uniprot(
    client: httpx2.Client, base: str, release: str, only: Sequence[str], _: Path
) -> Plan:
    """Plan UniProtKB: Swiss-Prot's flat file unless `only` names others.

    Raises:
        FetchError: The server does not have the release or a file, or contradicts itself.
    """
    knowledgebase = f"{base}/current_release/knowledgebase"
    current = _find(_RELEASE, client, f"{knowledgebase}/complete/reldate.txt")
    if release in ("current", current):
        release, default = current, "uniprot_sprot.dat.gz"
        folders = [f"{knowledgebase}/complete", f"{knowledgebase}/taxonomic_divisions"]
    elif re.fullmatch(r"\d{4}_\d{2}", release):
        default = f"uniprot_sprot-only{release}.tar.gz"
        folders = [f"{base}/previous_releases/release-{release}/knowledgebase"]
    else:
        raise UsageError(f"UniProt has no release {release!r}. Give current, or such as 2025_03.")
    patterns, offered = only or (default,), dict[str, RemoteFile]()
    for folder in folders:
        offered = _metalink(client, folder, release) | offered
        if all(fnmatch.filter(offered, pattern) for pattern in patterns):
            break
    return _plan(release, offered, patterns, lambda remote: remote)


def plan_enzyme(
    client: httpx2.Client, base: str, release: str, only: Sequence[str], _: Path
) -> Plan:
    """Plan ENZYME: the one release there is, named by the first lines of its file.

    Raises:
        FetchError: The server has another release, or no file with ENZYME's header.
    """
    remote = RemoteFile(name="enzyme.dat", url=f"{base}/enzyme.dat")
    found = _find(_ENZYME_RELEASE, client, remote.url)
    if release not in ("current", found):
        raise FetchError(
            f"{remote.url} is release {found!r}, not {release!r}. Older releases are not kept: "
            "take --release current."
        )
    return _plan(found, {remote.name: remote}, only or (remote.name,), lambda remote: remote)


def plan_pubmed(
    client: httpx2.Client, base: str, release: str, only: Sequence[str], _: Path
) -> Plan:
    """Plan PubMed's baseline: all files of the year unless `only` names some.

    Raises:
        FetchError: The server has another year's baseline, or none.
    """
    page = get_bytes(client, f"{base}/").decode("utf-8", "replace")
    years = dict[str, str](_BASELINE.findall(page))
    year = max(years.values(), default="") if release == "current" else release[-2:]
    names = sorted(name for name, found in years.items() if found == year)
    if not names:
        raise FetchError(
            f"{base}/ lists no baseline of {release!r}; it has {sorted(set(years.values()))}. NLM "
            "keeps that of the year alone: take --release current."
        )
    offered = {name: RemoteFile(name=name, url=f"{base}/{name}") for name in names}

    def resolve(remote: RemoteFile) -> RemoteFile:
        md5 = _find(_MD5, client, f"{remote.url}.md5").lower()
        return RemoteFile(name=remote.name, url=remote.url, md5=md5)

    return _plan(year, offered, only or ("*",), resolve)


def _plan(
    release: str,
    offered: Mapping[str, RemoteFile],
    patterns: Sequence[str],
    resolve: Callable[[RemoteFile], RemoteFile],
) -> Plan:
    """Choose by name or pattern; nothing that was asked for may be missing."""
    chosen: set[str] = set()
    for pattern in patterns:
        names = fnmatch.filter(offered, pattern)
        if not names:
            shown = ", ".join(sorted(offered)[:_SHOWN])
            raise FetchError(f"Release {release} has no {pattern!r}. It has: {shown}, ...")
        chosen.update(names)
    return Plan(release=release, files=[partial(resolve, offered[name]) for name in sorted(chosen)])


def _find(pattern: re.Pattern[str], client: httpx2.Client, url: str) -> str:
    """Return what a pattern finds in the first bytes of a text."""
    match = pattern.search(get_bytes(client, url, 4096).decode("utf-8", "replace"))
    if match is None:
        raise FetchError(f"{url} is not what was expected there: {pattern.pattern!r} is not in it.")
    return match[1]


def _metalink(client: httpx2.Client, folder: str, release: str) -> dict[str, RemoteFile]:
    """Read a folder's RELEASE.metalink."""
    url = f"{folder}/RELEASE.metalink"
    parser = _etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        root = _etree.fromstring(get_bytes(client, url), parser)
    except _etree.XMLSyntaxError as error:
        raise FetchError(f"{url} is not a metalink: {error}") from error
    version = root.findtext(".//{*}version")
    if version != release:
        raise FetchError(
            f"{url} is of release {version}, not {release}: the server is being updated, or a "
            "mirror lags behind. Try later, or another --base_url."
        )
    offered: dict[str, RemoteFile] = {}
    for file in root.iterfind(".//{*}file"):
        name, size = file.get("name", ""), file.findtext("{*}size", "")
        md5 = file.findtext(".//{*}hash[@type='md5']", "").strip().lower()
        offered[name] = RemoteFile(
            name=name,
            url=f"{folder}/{name}",
            size=int(size) if size.isdecimal() else None,
            md5=md5 or None,
        )
    return offered
