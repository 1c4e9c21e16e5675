"""The document of a UniProtKB entry: the paper's wording, without empty sections and tags."""

from uniprot_entries import Disease, Protein, Remark

from proteinlm_sft.uniprot_text import uniprot_text


def test_an_entry_with_every_section_reads_as_the_paper_words_it() -> None:
    evidence = ("ECO:0000269|PubMed:1",)
    protein = Protein(
        remarks=(
            Remark(text="Binds {shell} (PubMed:1).", evidence=evidence),
            Remark(text="Has a role in growth.", molecule="Isoform 2"),
            Remark(topic="SUBUNIT", text="Homodimer."),
            Remark(topic="TISSUE SPECIFICITY", text="In the shell."),
            Remark(topic="INDUCTION", text="By calcium."),
            Remark(topic="DOMAIN", text="The N-terminus binds."),
            Remark(topic="PTM", text="Phosphorylated."),
            Disease(name="Soft shell", acronym="SSH", mim="7", description="The shell is soft."),
        ),
        sequence="MKT",
    )

    assert uniprot_text(protein.entry()) == "\n\n".join(
        (
            "Introduction:\nThe protein with UniProt accession number P00001, known as Sample "
            "protein, is a protein of 3 amino acids found in Testudo exempli (Model tortoise).",
            "The sequence of Sample protein with UniProt accession is as follow:\n"
            "<seq> M K T </seq>",
            "Function:\nThe functions of Sample protein are as follows: Binds {shell}.\n"
            "Isoform 2: Has a role in growth.",
            "Subunit Structure:\nRegarding the subunit composition of Sample protein, the details "
            "are as follows: Homodimer.",
            "Tissue Specificity:\nIn terms of tissue specificity, Sample protein exhibits the "
            "following characteristics: In the shell.",
            "Induction:\nConcerning the induction of Sample protein, it is observed that: By "
            "calcium.",
            "Domain:\nRegarding the domain structure of Sample protein, it is detailed as "
            "follows: The N-terminus binds.",
            "Post-translational Modifications (PTM):\nThe post-translational modifications (PTMs) "
            "of Sample protein are as follows: Phosphorylated.",
            "Disease Association:\nIn relation to disease association, Sample protein is linked "
            "with the following conditions: Soft shell (SSH): The shell is soft.",
        )
    )


def test_a_section_without_text_is_left_out() -> None:
    text = uniprot_text(Protein().entry())

    assert text.count("\n\n") == 2
    assert "Domain:" not in text


def test_an_entry_with_name_and_sequence_alone_gives_no_document() -> None:
    assert uniprot_text(Protein(remarks=()).entry()) == ""


def test_a_name_with_braces_is_kept_as_it_is() -> None:
    text = uniprot_text(Protein(name="Protein {2Fe-2S}").entry())

    assert "The functions of Protein {2Fe-2S} are as follows" in text
