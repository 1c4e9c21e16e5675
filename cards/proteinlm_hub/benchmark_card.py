"""The card of ProteinLMBench: what an audit found, and what its own repository might take over.

All that it says of the questions comes from the audit; no text of a question is in it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proteinlm_ext import __version__
from proteinlm_ext.benchmark import HUB_REPO, HUB_REVISION, HUB_SHA256
from proteinlm_ext.errors import ProteinLMError
from proteinlm_hub.render import SCHEMA_VERSION, render

CANARY = "proteinlm-ext canary cd1e709f-d29c-424d-a5d6-dc64b25c09b7"
"""Stands in all that we publish about the benchmark; drawn once (uuid4), and never changes."""
_NEEDED = ("baselines", "checks", "data", "definitions", "figures")
_UPSTREAM = {
    "CITATION.bib": "citation.bib.j2",
    "PULL_REQUEST.md": "pull_request.md.j2",
    "README.md": "upstream.md.j2",
    "eval.yaml": "eval.yaml.j2",
}


def collect(audit_folder: Path) -> dict[str, Any]:
    """Return the card.json of an audit, as `proteinlm audit --out` wrote it; aggregates alone.

    Raises:
        ProteinLMError: The audit is not whole, has no questions, or is not of ProteinLMBench.
    """
    path = audit_folder / "audit.json"
    try:
        audit: Any = json.loads(path.read_text(encoding="utf-8"))
        rows = read_rows(audit_folder)
    except (OSError, ValueError) as error:
        raise ProteinLMError(f"{audit_folder} is no whole audit: {error}") from error
    if missing := [key for key in _NEEDED if not audit.get(key)]:
        raise ProteinLMError(
            f"{path} lacks {', '.join(missing)}; make it again with `proteinlm audit --out DIR`."
        )
    if Path(audit["data"]["file"]).stem != "ProteinLMBench":
        raise ProteinLMError(
            f"{path} is the audit of {audit['data']['file']}. The card says whose ProteinLMBench "
            "is, so it is made of an audit of ProteinLMBench.json (or .csv, .jsonl, .parquet)."
        )
    return {
        "kind": "benchmark",
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "canary": CANARY,
        "hub": {"repo": HUB_REPO, "revision": HUB_REVISION, "sha256": HUB_SHA256},
        "overlay": None,
        "slices": {key: sum(row[key] for row in rows) for key in ("selfcontained", "clean")},
        **{key: audit[key] for key in _NEEDED},
        "checks": {
            name: {"count": check["count"], "description": check["description"]}
            for name, check in audit["checks"].items()
        },
    }


def read_rows(audit_folder: Path) -> list[dict[str, Any]]:
    """Return the lines of audit.jsonl: hashes, flags and slices by row."""
    lines = (audit_folder / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def to_files(card: Mapping[str, Any]) -> dict[str, str]:
    """Return README.md of a card.json, and the files for the benchmark's own repository."""
    upstream = {f"pull_request/{name}": render(of, card) for name, of in _UPSTREAM.items()}
    return {"README.md": render("benchmark.md.j2", card), **upstream}
