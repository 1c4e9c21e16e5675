"""The paper's templates: how a sequence, a field's text and an enzyme become a row.

Instructions, inputs and answers are those of ProteinLMDataset, letter by letter (arXiv 2406.05540;
github.com/tsynbio/ProteinLMDataset, sft/template.py and sft/ECoT_3_insert_in_template.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

Mode = Literal["clean", "paper"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One config: its name, the paper's title, UniProtKB's comment topic, and the wording."""

    config: str
    title: str
    topic: str
    instruction: str
    answer: str


_FIELDS = (
    Field(
        config="function",
        title="Function",
        topic="FUNCTION",
        instruction="The sequence of the protein is as follows. Please analyze the sequence and "
        "describe the functions of this protein.",
        answer="The determined function(s) of the protein include(s): {output}",
    ),
    Field(
        config="subunit",
        title="Subunit structure",
        topic="SUBUNIT",
        instruction="Examine this protein sequence and provide a comprehensive description of its "
        "subunit structure, including details on how the subunits are organized and interact with "
        "each other.",
        answer="Based on the analysis, the protein's subunit structure is characterized by: "
        "{output}",
    ),
    Field(
        config="disease",
        title="Involvement in disease",
        topic="DISEASE",
        instruction="Analyze this protein sequence for any known associations with diseases, "
        "including details on the nature of the involvement and relevant diseases.",
        answer="This protein is associated with the following disease(s): {output}",
    ),
    Field(
        config="ptm",
        title="Post-translational modification",
        topic="PTM",
        instruction="Identify and describe any post-translational modifications in the given "
        "protein sequence, including types of modifications and their locations.",
        answer="The post-translational modification(s) identified in this protein include(s): "
        "{output}",
    ),
    Field(
        config="tissue_specificity",
        title="Tissue specificity",
        topic="TISSUE SPECIFICITY",
        instruction="Examine the provided protein sequence and detail its tissue specificity, "
        "including which tissues or organ systems the protein is predominantly expressed in.",
        answer="The tissue specificity of this protein is characterized by: {output}",
    ),
    Field(
        config="induction",
        title="Induction",
        topic="INDUCTION",
        instruction="Investigate and describe any known inducers or conditions that lead to the "
        "expression of this protein.",
        answer="The known inducer(s) or condition(s) leading to the expression of this protein "
        "include(s): {output}",
    ),
)
FIELDS: Mapping[str, Field] = MappingProxyType({field.config: field for field in _FIELDS})

_DESCRIBED = (
    "Based on the analysis of the provided protein sequence, the function of this protein is "
    "described as follows: {comments} "
)
ENZYME = Field(
    config="enzyme_cot",
    title="Enzyme_CoT",
    topic="",
    instruction="Analyze the sequence of the following enzyme protein, and step by step deduce "
    "which reaction(s) this enzyme is involved in?",
    answer=_DESCRIBED + "So, this enzyme should belong to the {name}. Therefore, by synthesizing "
    "the analysis of this enzyme, we can determine the reaction(s) it is involved in as follows: "
    "\n{reaction}.",
)


def spell(sequence: str) -> str:
    """Return a sequence as `<seq> M K </seq>`: every residue one token, at its own place."""
    return f"<seq> {' '.join(sequence)} </seq>"


def protein_input(sequence: str) -> str:
    """Return the input of a row about a field."""
    return f"Presented here is a sequence of amino acids in a protein: {spell(sequence)}"


def fill_answer(config: str, text: str) -> str:
    """Return the output of a row about a field."""
    return FIELDS[config].answer.format(output=text)


def enzyme_input(sequence: str, mode: Mode) -> str:
    """Return the input of an enzyme's row; the paper has no blanks inside the tags here."""
    return f"<seq>{' '.join(sequence)}</seq>" if mode == "paper" else spell(sequence)


def enzyme_answer(comments: str, name: str, reaction: str, mode: Mode) -> str:
    """Return the output of an enzyme's row.

    Mode `paper` is the template as it stands, so that a reaction that ends in a full stop gets a
    second one. Mode `clean` ends in one, and leaves out the first sentence without comments.
    """
    if mode == "paper":
        return ENZYME.answer.format(comments=comments, name=name, reaction=reaction)
    answer = ENZYME.answer if comments else ENZYME.answer.removeprefix(_DESCRIBED)
    return answer.format(comments=comments, name=name, reaction=reaction.rstrip(". "))


def messages(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as a chat of two messages; fits `Dataset.map`."""
    parts = prompt_completion(row)
    return {"messages": [*parts["prompt"], *parts["completion"]]}


def prompt_completion(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as prompt and completion, a message each; fits `Dataset.map`.

    Trainers that know this form, such as TRL, put the loss on the completion alone.
    """
    asked = f"{row['instruction']}\n{row['input']}"
    return {
        "prompt": [{"role": "user", "content": asked}],
        "completion": [{"role": "assistant", "content": row["output"]}],
    }
