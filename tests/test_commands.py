"""Commands have help with an example; a count of workers is at least one."""

import pytest

from proteinlm_ext.cli import main


@pytest.mark.parametrize(
    "command",
    [
        "train plan smollm2-135m-smoke",
        "train prepare smollm2-135m-smoke",
        "train run smollm2-135m-smoke",
        "data sft --uniprot x --out y",
        "data check x",
    ],
)
def test_no_workers_are_refused_before_anything_is_read(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--workers", "0"])
    assert stop.value.code == 2
    assert "--workers: must be at least 1, got 0" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["data build", "train run"])
def test_an_unknown_recipe_is_refused_with_the_names_of_ours(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path
) -> None:
    given = [*command.split(), "nothing"]
    assert main([*given, "--out", str(tmp_path)] if command == "data build" else given) == 2
    said = capsys.readouterr().err
    assert "There is no recipe nothing. Give a YAML file, or one of " in said
    assert ("swissprot" if command == "data build" else "smollm2-135m-sft") in said
