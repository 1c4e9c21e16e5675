"""Whether the Hub and its clients will take a card: its metadata, its links, the YAML beside it.

All of it without a network: what the Hub would say only after a push, or never.
"""

from pathlib import Path
from typing import Any

from huggingface_hub import eval_result_entries_to_yaml, parse_eval_result_entries
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from proteinlm_ext.errors import ProteinLMError
from proteinlm_hub.base_licences import check_notices, check_repo_name
from proteinlm_hub.card_data import (
    Split,
    check_adapter,
    check_columns,
    check_counts,
    list_splits,
)
from proteinlm_hub.card_text import check_text
from proteinlm_hub.eval_schema import EvalResults, EvalYaml
from proteinlm_hub.front_matter import load_yaml, read_front_matter, stated_licence
from proteinlm_hub.metadata_schema import DatasetCard, ModelCard
from proteinlm_hub.metadata_types import parse

__all__ = [
    "check_card",
    "check_eval_results",
    "check_eval_yaml",
    "check_repo_name",
    "require_valid",
]


def require_valid(folder: Path, kind: str) -> None:
    """Check the card of a folder, and the metadata beside it.

    Args:
        folder: What is to be published; README.md is its card.
        kind: dataset, model, overlay, benchmark or card.

    Raises:
        ProteinLMError: All that is wrong, a line each.
    """
    if faults := check_card(_read(folder, "README.md"), folder, kind):
        raise ProteinLMError("\n  ".join([f"{folder}: the metadata is wrong:", *faults]))


def check_card(text: str, folder: Path | None, kind: str) -> list[str]:
    """Return what is wrong with a card and the metadata beside it, a message each.

    Args:
        text: README.md.
        folder: Where it lies. With a manifest.json it holds all that is published, and data files
            and links are looked for; else it is a card alone, with its pictures. None: only the
            text is looked at.
        kind: dataset, model, overlay, benchmark or card (of any of them).
    """
    try:
        front, start = read_front_matter(text)
    except ProteinLMError as error:
        return str(error).splitlines()
    model = kind == "model" or (kind == "card" and "base_model" in front)
    card, faults = parse(ModelCard if model else DatasetCard, front, "README.md")
    whole = folder is not None and (folder / "manifest.json").is_file()
    faults += check_text(text, start, folder, whole=whole)
    if isinstance(card, ModelCard):
        faults += _check_model_index(front.get("model-index"))
        base = card.base_model
        faults += check_notices(base, stated_licence(front), text, folder if whole else None)
        if folder is not None and whole:
            faults += check_adapter(card, folder)
    if isinstance(card, DatasetCard) and kind in ("dataset", "overlay") and not card.configs:
        faults.append("README.md: configs is missing; load_dataset would guess")
    if folder is not None:
        splits: list[Split] = []
        if whole:
            faults += _check_licence_link(front, folder)
        if whole and isinstance(card, DatasetCard):
            splits, found = list_splits(card, folder)
            faults += found or check_counts(card, splits)
        faults += _check_beside(folder, splits)
    return faults


def check_eval_results(text: str, where: str = ".eval_results/proteinlm.yaml") -> list[str]:
    """Return what is wrong with a file of `.eval_results/`."""
    try:
        data = load_yaml(text, where)
    except ProteinLMError as error:
        return str(error).splitlines()
    faults = parse(EvalResults, data, where).faults
    if not faults and eval_result_entries_to_yaml(parse_eval_result_entries(data)) != data:
        faults.append(f"{where} does not come back the same from huggingface_hub")
    return faults


def check_eval_yaml(text: str, where: str = "eval.yaml") -> list[str]:
    """Return what is wrong with a benchmark's `eval.yaml`."""
    return _read_eval_yaml(text, where)[1]


def _read_eval_yaml(text: str, where: str) -> tuple[Any, list[str]]:
    try:
        return parse(EvalYaml, load_yaml(text, where), where)
    except ProteinLMError as error:
        return None, str(error).splitlines()


def _check_model_index(index: Any) -> list[str]:
    if index is None:
        return []
    name, results = model_index_to_eval_results(index)
    if eval_results_to_model_index(name, results) == index:
        return []
    return ["README.md: model-index does not come back the same from huggingface_hub"]


def _check_licence_link(front: dict[str, Any], folder: Path) -> list[str]:
    link = front.get("license_link")
    if not isinstance(link, str) or link.startswith("https://") or (folder / link).is_file():
        return []
    return [f"README.md: license_link {link!r} is neither https nor a file beside the card"]


def _check_beside(folder: Path, splits: list[Split]) -> list[str]:
    """Return what is wrong with the YAML files; columns are looked for in the splits, if any."""
    faults: list[str] = []
    results = sorted(file.name for file in (folder / ".eval_results").glob("*"))
    benchmarks = [w for w in ("eval.yaml", "pull_request/eval.yaml") if (folder / w).is_file()]
    for where in (*(f".eval_results/{name}" for name in results), *benchmarks):
        try:
            text = _read(folder, where)
        except ProteinLMError as error:
            faults.append(str(error))
            continue
        if where in benchmarks:
            evaluation, found = _read_eval_yaml(text, where)
            faults += found
            if evaluation and splits and where == "eval.yaml":
                faults += check_columns(evaluation, splits)
        elif where.endswith(".yaml"):
            faults += check_eval_results(text, where)
        else:
            faults.append(f"{where}: the Hub reads .yaml files here only")
    return faults


def _read(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProteinLMError(f"{name} of {folder} cannot be read: {error}") from error
