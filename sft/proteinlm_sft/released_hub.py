"""The files of the released dataset on the Hub: found, downloaded at a revision, streamed.

SFT files are pretty-printed JSON lists of hundreds of MB; `sft_uniprot_Function.json` holds the
config `UniProt_Function` (tsynbio/ProteinLMDataset on GitHub, sft/uniprot_1_insert_in_template.py).
Texts are JSON lists or JSON Lines.
"""

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx2

from proteinlm_ext.benchmark import HUB_REPO, HUB_REVISION
from proteinlm_sft.cleaning import normalise
from proteinlm_sft.entry import SourceError
from proteinlm_sft.templates import ENZYME, FIELDS

TEXTS_REPO = "tsynbio/ProteinLMDataset"
# Our configs, and what the Hub calls them.
CONFIGS: Mapping[str, str] = {
    **{config: f"UniProt_{form.title}" for config, form in FIELDS.items()},
    ENZYME.config: ENZYME.title,
}
_NO_DATA = re.compile(r"(?:.*/)?(?:\..*|README.*|LICENSE.*)", re.IGNORECASE)
_HEAD = 4096  # bytes that tell a list from lines


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedFile:
    """A file of the Hub on disk, and the config that it becomes."""

    repo: str
    revision: str
    name: str
    path: Path
    config: str

    @property
    def release(self) -> str:
        """The repository and its commit."""
        return f"{self.repo}@{self.revision}"


def instruction_files(revision: str) -> list[ReleasedFile]:
    """Download the seven SFT files.

    Raises:
        SourceError: The Hub does not give them, or a config has no file or several.
    """
    return _download(HUB_REPO, revision, _choose_configs)


def text_files(revision: str) -> list[ReleasedFile]:
    """Download every file of the texts that may hold data; configs are named after them.

    Raises:
        SourceError: The Hub does not give them.
    """
    return _download(TEXTS_REPO, revision, _choose_texts)


def is_json(file: ReleasedFile) -> bool:
    """Tell whether a file begins as a JSON list or JSON Lines do."""
    return _first_mark(file) in (b"[", b"{")


def read_items(file: ReleasedFile) -> Iterator[Any]:
    """Stream the elements of a JSON list, or the values of JSON Lines.

    Raises:
        SourceError: The file is broken, cut short, or empty; the message says where.
    """
    import ijson

    is_list, count = _first_mark(file) == b"[", 0
    with file.path.open("rb") as stream:
        items: Iterator[Any] = cast("Any", ijson).items(
            stream, "item" if is_list else "", multiple_values=not is_list
        )
        try:
            for item in items:
                yield item
                count += 1
        except (cast("Any", ijson).JSONError, UnicodeDecodeError) as error:
            reason = error.args[0]
            text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(error)
            raise SourceError(
                f"{file.name} of {file.release} is broken after row {count}, before byte "
                f"{stream.tell()}: {text.splitlines()[0]}. Delete {file.path} to fetch it again."
            ) from error
    if not count:
        raise SourceError(f"{file.name} of {file.release} holds no row.")


def _first_mark(file: ReleasedFile) -> bytes:
    with file.path.open("rb") as stream:
        return stream.read(_HEAD).lstrip()[:1]


def _download(
    repo: str, revision: str, choose: Callable[[Sequence[str], Mapping[str, Any]], dict[str, str]]
) -> list[ReleasedFile]:
    import huggingface_hub

    hub = cast("Any", huggingface_hub)

    def get(name: str) -> Path:
        return Path(hub.hf_hub_download(repo, name, repo_type="dataset", revision=revision))

    try:
        names = hub.list_repo_files(repo, repo_type="dataset", revision=revision)
        card = hub.metadata_load(get("README.md")) if "README.md" in names else None
        return [
            ReleasedFile(repo=repo, revision=revision, name=name, path=get(name), config=config)
            for config, name in choose(names, card or {}).items()
        ]
    except (OSError, httpx2.HTTPError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SourceError(
            f"{repo} at {revision} could not be read from the Hugging Face Hub ({reason}). Check "
            "the revision and the connection; HF_ENDPOINT names a mirror."
        ) from error


def _choose_configs(names: Sequence[str], card: Mapping[str, Any]) -> dict[str, str]:
    """Find the file of each config: as the card says, else by its name without punctuation."""
    listed = {each["config_name"]: list(_patterns(each)) for each in card.get("configs", [])}
    chosen: dict[str, str] = {}
    for config, title in CONFIGS.items():
        if patterns := listed.get(title):
            found = [name for name in names if any(fnmatch.fnmatch(name, p) for p in patterns)]
        else:
            found = [name for name in names if _squeeze(Path(name).stem).endswith(_squeeze(title))]
        if len(found) != 1:
            raise SourceError(
                f"{HUB_REPO} should have one file for {title!r}, found {found or 'none'}. Known is "
                f"--revision {HUB_REVISION}."
            )
        chosen[config] = found[0]
    return chosen


def _choose_texts(names: Sequence[str], _: Mapping[str, Any]) -> dict[str, str]:
    data = sorted(name for name in names if not _NO_DATA.fullmatch(name))
    return {"ssl_" + re.sub(r"\W+", "_", name.removesuffix(".json")).lower(): name for name in data}


def _patterns(config: Mapping[str, Any]) -> Iterator[str]:
    """Give the paths of a config, in each form that a card may write them."""
    given: Any = config.get("data_files", [])
    entries = cast("list[Any]", given if isinstance(given, list) else [given])
    for entry in entries:
        paths: Any = entry if isinstance(entry, str) else entry["path"]
        yield from [paths] if isinstance(paths, str) else paths


def _squeeze(name: str) -> str:
    return normalise(name.replace("_", " ")).replace(" ", "")
