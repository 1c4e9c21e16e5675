"""Whether a run may go on: the same recipe, data, tokenizer and code as when it began."""

from collections.abc import Mapping
from typing import Any

from proteinlm_ext.errors import UsageError
from proteinlm_ext.paths import hash_json
from proteinlm_train.recipe import Recipe

_WHAT = {
    "recipe": "the recipe (settings, not comments)",
    "data": "the prepared data (sources, drawing, tokens)",
    "tokenizer": "the tokenizer or its chat template",
    "base": "the base model's files",
    "code": "the code of proteinlm_train",
}
# What transformers takes from the checkpoint, whatever the recipe says now.
_FIXED = (("train", "lr"), ("train", "weight_decay"), ("run", "log_steps"), ("run", "eval_steps"),
          ("run", "save_steps"))  # fmt: skip


def identity_of(record: Mapping[str, Any]) -> dict[str, str | None]:
    """Return what must not change between sessions, from a run's record."""
    tokenizer = record["tokenizer"]
    return {
        "recipe": record["recipe"]["sha256"],
        "data": record["data"]["fingerprint"],
        "tokenizer": f"{tokenizer['sha256']}/{tokenizer['template_sha256']}",
        "base": hash_json(record["base_model"]["files"]),
        "code": record["code"]["sha256"],
    }


def check_recipe_sha(earlier: Mapping[str, Any], recipe: Recipe, folder: str) -> None:
    """Compare the recipe alone, before anything in the folder is touched.

    Raises:
        UsageError: It is another one.
    """
    if earlier["recipe"]["sha256"] != recipe.sha256:
        raise UsageError(_refusal(folder, _WHAT["recipe"]))


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
        raise UsageError(_refusal(folder, said))
    old, new = earlier["recipe"]["settings"], now["recipe"]["settings"]
    if fixed := [f"{a}.{b}" for a, b in _FIXED if old[a][b] != new[a][b]]:
        raise UsageError(
            f"{', '.join(fixed)} cannot change in the middle of a run: the checkpoint's values "
            "would be used. Begin a new run in another run.output_dir."
        )
    return changed


def _refusal(folder: str, said: str) -> str:
    return (
        f"{folder} holds a run that began with something else: {said}. Give another "
        "run.output_dir, or go on all the same with --force-resume, which the record will say."
    )
