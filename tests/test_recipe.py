"""Recipes are checked before anything runs, and say where they are wrong."""

import pytest

from proteinlm_ext.errors import UsageError
from proteinlm_ext.paths import recipes_dir
from proteinlm_sft.recipe import check_recipe, load_recipe


@pytest.mark.parametrize("name", sorted(path.stem for path in recipes_dir("data").glob("*.yaml")))
def test_every_recipe_that_ships_is_valid(name):
    recipe = load_recipe(recipes_dir("data") / f"{name}.yaml")

    assert recipe.uniprot
    assert recipe.seed == 42


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"uniprot": ["a"], "sed": 1}, "sed: Extra inputs are not permitted"),
        ({"uniprot": ["a"], "seed": -1}, "seed: Input should be greater than or equal to 0"),
        ({"uniprot": ["a"], "mode": "papr"}, "mode: Input should be 'clean' or 'paper'"),
        ({"uniprot": ["a"], "split": {"identity": 30}}, "split.identity: Input should be less"),
        ({"uniprot": ["a"], "split": {"by": "date"}}, "by: date needs validation_from before"),
        ({"uniprot": ["a"], "split": {"test_from": "2024-01-01"}}, "need by: date"),
        ({"seed": 1}, "uniprot: name at least one UniProtKB file"),
        ({"instructions": False}, "nothing to make"),
        (
            {"uniprot": ["a"], "split": {"validation": 0.6, "test": 0.5}},
            "validation and test together must leave something to train",
        ),
    ],
)
def test_a_wrong_recipe_is_refused_with_the_path_of_the_fault(given, said):
    with pytest.raises(UsageError) as refused:
        check_recipe(given, "mine.yaml")

    assert said in str(refused.value)
    assert str(refused.value).startswith("mine.yaml: ")


def test_all_faults_are_told_at_once():
    with pytest.raises(UsageError) as refused:
        check_recipe({"uniprot": ["a"], "seed": "x", "mode": 3}, "flags")

    assert "seed:" in str(refused.value)
    assert "mode:" in str(refused.value)


def test_the_papers_mode_splits_and_removes_nothing_unless_asked():
    paper = check_recipe({"uniprot": ["a"], "mode": "paper"}, "r")
    asked = check_recipe({"uniprot": ["a"], "mode": "paper", "split": {"by": "similarity"}}, "r")

    assert paper.split_by == "none"
    assert not paper.removes_duplicates
    assert asked.split_by == "similarity"
    assert check_recipe({"uniprot": ["a"]}, "r").split_by == "similarity"


@pytest.mark.parametrize("text", ["- a list\n", "seed: [1\n", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(text)

    with pytest.raises(UsageError, match=r"r\.yaml"):
        load_recipe(path)


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.yaml cannot be read"):
        load_recipe(tmp_path / "none.yaml")
