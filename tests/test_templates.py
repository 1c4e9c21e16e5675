"""The paper's wording, letter by letter, and the views for trainers."""

import pytest

from proteinlm_sft.cleaning import paper_text
from proteinlm_sft.templates import (
    ENZYME,
    FIELDS,
    enzyme_answer,
    enzyme_input,
    fill_answer,
    messages,
    prompt_completion,
    protein_input,
    spell,
)

# One entry of our own: each block shows what the paper's cleaning takes out and what it leaves.
BLOCKS = {
    "function": ["Binds zinc (PubMed:1, PubMed:22). {ECO:0000269|PubMed:1}.", "[Isoform 2]: Idle."],
    "subunit": ["Homodimer. {ECO:0000250}."],
    "disease": ["Testosis (TST) [MIM:123456]: A trait. {ECO:0000269|PubMed:3}. Note=Rare."],
    "ptm": ["Cleaved {ECO:0000269} twice."],
    "tissue_specificity": ["Liver. {ECO:0000305}."],
    "induction": ["By heat (By similarity)."],
}
# Written by hand from the published template and cleaning.
PAPER_ROWS = {
    "function": (
        "The sequence of the protein is as follows. Please analyze the sequence and describe the "
        "functions of this protein.",
        "The determined function(s) of the protein include(s): FUNCTION: Binds zinc . ; FUNCTION: "
        "[Isoform 2]: Idle.",
    ),
    "subunit": (
        "Examine this protein sequence and provide a comprehensive description of its subunit "
        "structure, including details on how the subunits are organized and interact with each "
        "other.",
        "Based on the analysis, the protein's subunit structure is characterized by:  Homodimer. ",
    ),
    "disease": (
        "Analyze this protein sequence for any known associations with diseases, including details "
        "on the nature of the involvement and relevant diseases.",
        "This protein is associated with the following disease(s): DISEASE: Testosis (TST) : A "
        "trait.  Note=Rare.",
    ),
    "ptm": (
        "Identify and describe any post-translational modifications in the given protein sequence, "
        "including types of modifications and their locations.",
        "The post-translational modification(s) identified in this protein include(s): PTM: "
        "Cleaved {ECO:0000269} twice.",
    ),
    "tissue_specificity": (
        "Examine the provided protein sequence and detail its tissue specificity, including which "
        "tissues or organ systems the protein is predominantly expressed in.",
        "The tissue specificity of this protein is characterized by:  Liver. ",
    ),
    "induction": (
        "Investigate and describe any known inducers or conditions that lead to the expression of "
        "this protein.",
        "The known inducer(s) or condition(s) leading to the expression of this protein "
        "include(s): By heat (By similarity).",
    ),
}
PAPER_ENZYME = (
    "Based on the analysis of the provided protein sequence, the function of this protein is "
    "described as follows: Needs zinc. So, this enzyme should belong to the testase. Therefore, by "
    "synthesizing the analysis of this enzyme, we can determine the reaction(s) it is involved in "
    "as follows: \nA = B.."
)


@pytest.mark.parametrize("config", FIELDS)
def test_paper_mode_gives_the_published_row(config: str):
    field = FIELDS[config]
    instruction, output = PAPER_ROWS[config]
    assert field.instruction == instruction
    assert fill_answer(config, paper_text(field, BLOCKS[config])) == output


def test_the_configs_have_the_order_and_titles_of_the_paper():
    assert [(field.config, field.title) for field in FIELDS.values()] == [
        ("function", "Function"),
        ("subunit", "Subunit structure"),
        ("disease", "Involvement in disease"),
        ("ptm", "Post-translational modification"),
        ("tissue_specificity", "Tissue specificity"),
        ("induction", "Induction"),
    ]


def test_a_sequence_is_spelled_one_residue_at_a_time():
    assert spell("MKX") == "<seq> M K X </seq>"
    assert protein_input("MK") == (
        "Presented here is a sequence of amino acids in a protein: <seq> M K </seq>"
    )


def test_the_papers_enzyme_row_keeps_its_own_spelling_and_second_full_stop():
    assert ENZYME.instruction == (
        "Analyze the sequence of the following enzyme protein, and step by step deduce which "
        "reaction(s) this enzyme is involved in?"
    )
    assert enzyme_input("MAK", "paper") == "<seq>M A K</seq>"
    assert enzyme_answer("Needs zinc.", "testase", "A = B.", "paper") == PAPER_ENZYME


def test_the_clean_enzyme_row_has_the_one_spelling_and_one_full_stop():
    assert enzyme_input("MAK", "clean") == "<seq> M A K </seq>"
    assert enzyme_answer("Needs zinc.", "testase", "A = B.", "clean") == PAPER_ENZYME[:-1]
    assert enzyme_answer("Needs zinc.", "testase", "A = B", "clean") == PAPER_ENZYME[:-1]


def test_an_enzyme_without_comments_has_no_sentence_about_them_in_clean_mode():
    clean = enzyme_answer("", "testase", "A = B.", "clean")
    assert clean.startswith("So, this enzyme should belong to the testase. Therefore, by ")
    assert "as follows:  So, this" in enzyme_answer("", "testase", "A = B.", "paper")


def test_braces_in_a_text_are_no_part_of_the_template():
    assert fill_answer("ptm", "{Glu}(N) {output}").endswith("include(s): {Glu}(N) {output}")
    assert enzyme_answer("", "x", "{Glu}(N)", "clean").endswith("\n{Glu}(N).")


def test_the_views_hold_the_same_row_for_trainers():
    row = {"instruction": "Say.", "input": "<seq> M </seq>", "output": "Done."}
    user = {"role": "user", "content": "Say.\n<seq> M </seq>"}
    assistant = {"role": "assistant", "content": "Done."}
    assert messages(row) == {"messages": [user, assistant]}
    assert prompt_completion(row) == {"prompt": [user], "completion": [assistant]}


def test_the_views_fit_a_map_over_a_dataset():
    from datasets import Dataset

    rows = Dataset.from_list([{"instruction": "Say.", "input": "M", "output": "Done."}])
    assert rows.map(messages)[0]["messages"][1] == {"role": "assistant", "content": "Done."}
    assert rows.map(prompt_completion)[0]["prompt"][0]["content"] == "Say.\nM"
