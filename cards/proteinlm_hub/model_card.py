"""The card of a model: metadata for the Hub, the text, and the scores as YAML."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCardData

from proteinlm_hub.base_licences import find_terms
from proteinlm_hub.eval_results import PATH, to_index, to_yaml
from proteinlm_hub.render import dump_yaml, render


def to_files(card: Mapping[str, Any]) -> dict[str, str]:
    """Return README.md and, where questions of the Hub were asked, `.eval_results/`."""
    licence = card["run"]["base_model"]["license"]
    asked = _asked(card)
    context = {
        **card,
        "front_matter": dump_yaml(_front_matter(card, licence)),
        "asked": asked,
        "standard": [name for name in asked if not name.startswith("proteinlm")],
        "shown": [terms.display[0] for terms in find_terms(card["base"], licence) if terms.display],
    }
    files = {"README.md": render("model.md.j2", context)}
    scores = to_yaml(card["evaluation"]["on_hub"])
    return files | ({PATH: scores} if scores else {})


def _asked(card: Mapping[str, Any]) -> Mapping[str, Any]:
    evaluation = card["evaluation"]
    parts = evaluation["runs"][evaluation["subject"]]
    return {name: said for part in parts for name, said in part["tasks"].items()}


def _front_matter(card: Mapping[str, Any], licence: str) -> dict[str, Any]:
    index = to_index(card["evaluation"]["on_hub"])
    settings = card["run"]["recipe"]["settings"]
    return ModelCardData(
        language=card["languages"],
        license=licence,
        base_model=card["base"],
        base_model_relation=card["relation"],
        datasets=card["hub_datasets"] or None,
        library_name="peft" if card["relation"] == "adapter" else "transformers",
        pipeline_tag="text-generation",
        tags=["biology", "protein", settings["method"], settings["stage"]],
        metrics=["accuracy"] if index else None,
        model_name=card["name"] if index else None,
        eval_results=index,
        proteinlm={"generator": card["generator"], "inputs": card["inputs"]},
    ).to_dict()
