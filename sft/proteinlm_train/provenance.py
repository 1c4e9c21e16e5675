"""What the datasets say of themselves in their manifests: decontamination and split."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from proteinlm_ext.errors import UsageError
from proteinlm_train.recipe import Recipe
from proteinlm_train.record import read_record
from proteinlm_train.rows import read_dataset_manifest


def describe_decontamination(
    recipe: Recipe, prepared: Mapping[str, Any], ancestor: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return, for each source, of which questions it was cleaned and how many rows that removed.

    Args:
        recipe: The recipe; `data.decontamination` says whether the record is required.
        prepared: The manifest of `prepare`, for the hashes of the files that were read.
        ancestor: What is known of the run of ours that made the base model.

    Raises:
        UsageError: A source has no such record, and the recipe does not waive it.
    """
    sources = [
        _decontamination(read_dataset_manifest(source), read["files"])
        for source, read in zip(recipe.data.sources, prepared["sources"], strict=True)
    ]
    missing = [
        f"{source.path} ({said['reason']})"
        for source, said in zip(recipe.data.sources, sources, strict=True)
        if not said["decontaminated"]
    ]
    if missing and recipe.data.decontamination == "required":
        raise UsageError(
            f"{', '.join(missing)}: without a record that the benchmark's questions were removed, "
            "a score on ProteinLMBench proves nothing. Build the data with `proteinlm data build` "
            "(decontaminate: proteinlmbench), or set data.decontamination=waived, which the "
            "record will say."
        )
    inherited = ancestor["decontamination"]["policy"] if ancestor else None
    if ancestor and inherited == "waived" and recipe.data.decontamination == "required":
        raise UsageError(
            f"The base model was trained by {ancestor['name']} with decontamination waived. "
            "Set data.decontamination=waived for what is built on it, too."
        )
    return {"policy": recipe.data.decontamination, "sources": sources, "base": inherited}


def read_ancestor(weights: Path | None) -> dict[str, Any] | None:
    """Return what the record of the run that made the base model says, None where there is none."""
    record = read_record(weights.parent) if weights and weights.name == "final" else None
    if record is None:
        return None
    return {
        "name": record["name"],
        "recipe_sha256": record["recipe"]["sha256"],
        "base_model": record["base_model"],
        "data_fingerprint": record["data"]["fingerprint"],
        "decontamination": record["decontamination"],
    }


def describe_split(recipe: Recipe, prepared: Mapping[str, Any]) -> dict[str, Any]:
    """Return how training and validation rows were kept apart."""
    validation = recipe.data.validation
    held_out = prepared["splits"]["validation"]
    said: dict[str, Any] = {
        "from": validation.kind,
        "rows": held_out["counts"]["kept"],
        "sha256": [shard["sha256"] for shard in held_out["shards"]],
        "by": None,
    }
    if validation.kind == "train":
        said["by"] = "row"  # rows of the same proteins may be on both sides
    if validation.kind == "split":
        recipes = [read_dataset_manifest(s).get("recipe", {}) for s in recipe.data.sources]
        said["datasets"] = [found.get("split") for found in recipes]
        kinds = {found["split"]["by"] for found in recipes if found.get("split")}
        said["by"] = kinds.pop() if len(kinds) == 1 and all(recipes) else "unknown"
    return said


def _decontamination(
    manifest: Mapping[str, Any], files: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    found = manifest.get("contamination")
    if not found:
        return {"decontaminated": False, "reason": "no record in a manifest.json"}
    known = {entry["sha256"] for entry in manifest["files"].values()}
    changed = sorted({file["name"] for file in files if file["sha256"] not in known})
    if changed:
        return {
            "decontaminated": False,
            "reason": f"{', '.join(changed)} changed after the dataset was built",
        }
    return {
        "decontaminated": True,
        "reason": "",
        "questions": found["questions"],
        "questions_sha256": found["sha256"],
        "removed": found["dropped"],
    }
