"""The lookup answers from the nearest training protein, and never from what it is asked about."""

import random
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from annotated import row, write_dataset
from sequences import mutated, random_protein

from proteinlm_ext.errors import UsageError
from proteinlm_ext.retrieval import RetrievalLM


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def dataset(tmp_path, kept, monkeypatch):
    """Q1 has a relative in train; Q2 has none, and neither has the validation row V1."""
    monkeypatch.setenv("PROTEINLM_CACHE", str(kept))  # one search for the same rows
    chance = random.Random(12)
    wanted = random_protein(chance, 150)
    return write_dataset(
        tmp_path / "set",
        train=[
            row("P1", mutated(chance, wanted, 0.2), "Binds samples."),
            *(row(f"P{n}", random_protein(chance, 90), "Rare.") for n in range(2, 4)),
            *(row(f"P{n}", random_protein(chance, 90), "Also rare.") for n in range(4, 6)),
        ],
        test=[
            row("Q1", wanted, "Secret of Q1."),
            row("Q2", random_protein(chance, 90), "Secret of Q2."),
        ],
        validation=[row("V1", random_protein(chance, 90), "Secret of V1.")],
    )


def ask(model, *accessions, config="function", **more):
    docs = [{"id": f"{config}:{name}", "config": config, **more} for name in accessions]
    return model.generate_until([SimpleNamespace(doc=doc) for doc in docs])


def test_the_answer_is_the_nearest_training_output(dataset):
    assert ask(RetrievalLM(data=str(dataset)), "Q1") == ["Binds samples."]


def test_without_a_hit_the_most_frequent_output_answers_the_first_by_name_of_two(dataset):
    assert ask(RetrievalLM(data=str(dataset)), "Q2", "Q1") == ["Also rare.", "Binds samples."]


def test_a_validation_row_is_answered_as_well(dataset):
    assert ask(RetrievalLM(data=str(dataset)), "V1") == ["Also rare."]


def test_the_held_out_outputs_need_not_be_there(dataset):
    expected = ask(RetrievalLM(data=str(dataset)), "Q1", "Q2")
    path = dataset / "function" / "test-00000-of-00001.parquet"
    pq.write_table(pq.read_table(path).drop_columns("output"), path)

    assert ask(RetrievalLM(data=str(dataset)), "Q1", "Q2") == expected


def test_each_config_is_answered_from_its_own_train(dataset):
    sequence = random_protein(random.Random(13), 60)
    write_dataset(
        dataset, "ptm", train=[row("P1", sequence, "Is glycated.", "ptm")],
        test=[row("Q1", sequence, "Secret.", "ptm")],
    )  # fmt: skip
    model = RetrievalLM(data=str(dataset))
    docs = [{"id": f"{config}:Q1", "config": config} for config in ("ptm", "function")]

    found = model.generate_until([SimpleNamespace(doc=doc) for doc in docs])

    assert found == ["Is glycated.", "Binds samples."]


def test_a_document_of_another_dataset_is_refused(dataset):
    model = RetrievalLM(data=str(dataset))

    with pytest.raises(UsageError, match=r"not the held-out rows of .* same dataset"):
        ask(model, "Q1", "Q9")
    with pytest.raises(UsageError, match="not the held-out rows"):
        ask(model, "P1")
    with pytest.raises(UsageError, match="not the held-out rows"):
        ask(model, "Q1", config="subunit")


def test_a_document_with_another_neighbour_is_of_another_dataset(dataset):
    model = RetrievalLM(data=str(dataset))
    known = {"accession": "P1", "identity": 0.8, "coverage": 1.0}

    assert ask(model, "Q1", neighbour=known) == ["Binds samples."]
    assert ask(model, "Q2", neighbour=None) == ["Also rare."]
    for name, neighbour in (("Q1", None), ("Q1", known | {"accession": "P7"}), ("Q2", known)):
        with pytest.raises(UsageError, match="not the held-out rows"):
            ask(model, name, neighbour=neighbour)


@pytest.mark.parametrize("doc", [{"question": "Which?"}, {"id": 3, "config": "function"}])
def test_documents_of_other_tasks_are_refused(dataset, doc):
    with pytest.raises(UsageError, match=r"the tasks proteinlm_sft_\* only"):
        RetrievalLM(data=str(dataset)).generate_until([SimpleNamespace(doc=doc)])


def test_probabilities_are_refused(dataset):
    model = RetrievalLM(data=str(dataset))

    for call in (model.loglikelihood, model.loglikelihood_rolling):
        with pytest.raises(UsageError, match="has no probabilities"):
            call([])


@pytest.mark.parametrize("given", [None, "", "nowhere", 3])
def test_a_model_without_a_dataset_is_refused(given):
    with pytest.raises(UsageError, match="--model_args data=DIR"):
        RetrievalLM(data=given)


def test_lm_eval_knows_the_model_and_gives_it_its_arguments(dataset):
    from lm_eval.api.registry import get_model

    from proteinlm_ext.harness import add_models

    add_models()
    model = get_model("retrieval").create_from_arg_obj({"data": str(dataset)}, {"batch_size": 1})

    assert ask(model, "Q1") == ["Binds samples."]
