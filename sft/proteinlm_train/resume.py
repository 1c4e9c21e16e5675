"""Whether a run may go on: the same recipe, data, tokenizer and code as when it began."""

from collections.abc import Mapping
from typing import Any

from proteinlm_ext.errors import UsageError

_WHAT = {
    "recipe": "the recipe (settings, not comments)",
    "data": "the prepared data (sources, drawing, tokens)",
    "tokenizer": "the tokenizer or its chat template",
    "code": "the code of proteinlm_train",
}


def identity_of(record: Mapping[str, Any]) -> dict[str, str | None]:
    """Return what must not change between sessions, from a run's record."""
    tokenizer = record["tokenizer"]
    return {
        "recipe": record["recipe"]["sha256"],
        "data": record["data"]["fingerprint"],
        "tokenizer": f"{tokenizer['sha256']}/{tokenizer['template_sha256']}",
        "code": record["code"]["sha256"],
    }


def check_resume(
    earlier: Mapping[str, Any], now: Mapping[str, Any], folder: str, *, force: bool
) -> list[str]:
    """Return what has changed between two records, for the next one.

    Raises:
        UsageError: Something has, and nobody forces the run on.
    """
    before, after = identity_of(earlier), identity_of(now)
    changed = [name for name in _WHAT if before[name] != after[name]]
    if changed and not force:
        said = "; ".join(
            f"{_WHAT[name]}: {str(before[name])[:12]}, now {str(after[name])[:12]}"
            for name in changed
        )
        raise UsageError(
            f"{folder} holds a run that began with something else: {said}. Give another "
            "run.output_dir, or go on all the same with --force-resume, which the record will say."
        )
    return changed
