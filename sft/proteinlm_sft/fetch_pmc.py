"""What PMC offers: articles of its Open Access Subset, one XML file each.

NLM removed the bulk archives of the FTP server in August 2026 (https://pmc.ncbi.nlm.nih.gov/tools/
cloud/); the bucket `pmc-oa-opendata` took their place, with single articles and versions:
`PMC1.1/PMC1.1.xml`. Its state of a day is the release: the inventory of that day lists the metadata
files with their MD5, each of these has the licence and the MD5 of the article. Inventories stay for
30 days. The layout was checked in public code and documentation in November 2026, not on the
server.
"""

import csv
import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx2

from proteinlm_ext.errors import UsageError
from proteinlm_sft.download import FetchError, RemoteFile, download, get_bytes
from proteinlm_sft.fetch_sources import Plan, Skipped

# The licences of articles that may be used and passed on with attribution alone.
LICENSES = ("CC BY", "CC0")

_INVENTORY = "inventory-reports/pmc-oa-opendata/metadata/"
_DAY = re.compile(r"/(\d{4}-\d\d-\d\d)T[\d-]+Z/$")
_ARTICLE = re.compile(r"\bPMC\d+\b")
_METADATA = re.compile(r"metadata/(PMC\d+)\.(\d+)\.json")
_MD5 = re.compile(r"[?&]md5=([0-9a-f]{32})\b")

_Version = tuple[int, str]  # Number, and ETag of the metadata file.


def plan_pmc(
    client: httpx2.Client, base: str, release: str, only: Sequence[str], out: Path
) -> Plan:
    """Plan the newest version of each article that `only` names, by id or in a text file of ids.

    Raises:
        FetchError: The server has no inventory of that day, or contradicts itself.
        UsageError: `only` names no article; all of PMC would be millions of files.
    """
    wanted = set(_wanted(only))
    if not wanted:
        raise UsageError(
            "PMC has millions of articles, each a file: name some with --only PMC123 PMC456, or "
            "give a text file with their ids."
        )
    day, folder = _inventory(client, base, release)
    newest = _newest_versions(client, base, folder, wanted, out / ".inventory")
    return Plan(
        release=day,
        files=[partial(_article, client, base, name, *newest[name]) for name in sorted(newest)],
        skipped=[Skipped(name, "not in PMC's bucket") for name in sorted(wanted - set(newest))],
    )


def _wanted(only: Iterable[str]) -> Iterator[str]:
    """Give the ids that are named, and those in the text files that are named."""
    for item in only:
        if _ARTICLE.fullmatch(item):
            yield item
            continue
        try:
            with Path(item).open(encoding="utf-8") as lines:
                found = [article for line in lines for article in _ARTICLE.findall(line)]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{item} is neither a PMC id nor a text file: {error}") from error
        if not found:
            raise UsageError(f"{item} holds no PMC ids, such as PMC123.")
        yield from found


def _inventory(client: httpx2.Client, base: str, release: str) -> tuple[str, str]:
    """Return the day and the folder of an inventory that is whole."""
    listing = get_bytes(client, f"{base}/?list-type=2&delimiter=/&prefix={_INVENTORY}")
    folders = {
        match[1]: folder
        for folder in sorted(re.findall(r"<Prefix>([^<]+)</Prefix>", listing.decode("utf-8")))
        if (match := _DAY.search(folder))
    }
    day = max(folders, default="") if release == "current" else release
    if day not in folders:
        raise FetchError(
            f"PMC's bucket has no inventory of {release!r}; it keeps 30 days and has "
            f"{min(folders, default='none')} to {max(folders, default='none')}."
        )
    return day, folders[day]


def _newest_versions(
    client: httpx2.Client, base: str, folder: str, wanted: set[str], work: Path
) -> dict[str, _Version]:
    """Read an inventory, of which no more than one part lies in `work` at a time."""
    url = f"{base}/{folder}manifest.json"
    manifest = _json(get_bytes(client, url), url)
    columns = [name.strip() for name in str(manifest.get("fileSchema")).split(",")]
    if manifest.get("fileFormat") != "CSV" or not {"Key", "ETag"} <= set(columns):
        raise FetchError(f"{url} describes a format that is not known: {columns}.")
    key, etag = columns.index("Key"), columns.index("ETag")
    newest: dict[str, _Version] = {}
    work.mkdir(exist_ok=True)
    for part in manifest["files"]:
        name = part["key"].rsplit("/", 1)[-1]
        remote = RemoteFile(name=name, url=f"{base}/{part['key']}", md5=part["MD5checksum"])
        download(client, remote, work, progress=True)
        with gzip.open(work / name, "rt", encoding="utf-8", newline="") as lines:
            for row in csv.reader(lines):
                found = _METADATA.fullmatch(row[key])
                if found and found[1] in wanted:
                    version = (int(found[2]), row[etag].strip('"'))
                    newest[found[1]] = max(version, newest.get(found[1], version))
        (work / name).unlink()
    shutil.rmtree(work)
    return newest


def _article(
    client: httpx2.Client, base: str, article: str, version: int, etag: str
) -> RemoteFile | Skipped:
    """Read the metadata of an article: may it be taken, and what is its MD5?"""
    name = f"{article}.{version}"
    url = f"{base}/metadata/{name}.json"
    data = get_bytes(client, url)
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != etag:
        return Skipped(article, "changed after the release")
    metadata = _json(data, url)
    if metadata.get("is_retracted"):
        return Skipped(article, "retracted")
    if metadata.get("license_code") not in LICENSES:
        return Skipped(article, f"licence {metadata.get('license_code')}")
    md5 = _MD5.search(metadata.get("xml_url") or "")
    if md5 is None:
        return Skipped(article, "no XML")
    return RemoteFile(name=f"{name}.xml", url=f"{base}/{name}/{name}.xml", md5=md5[1])


def _json(data: bytes, url: str) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(data))
    except ValueError as error:
        raise FetchError(f"{url} is not JSON: {error}") from error
