"""The Python interface: found lazily, the same as the commands, and printed as they print."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from published import write_benchmark_overlay

import proteinlm_ext as plm
from proteinlm_ext.cli import main
from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.paths import data_file

LONGEST = {"model": "heuristic", "model_args": {"rule": "longest"}}
TASK = "proteinlmbench_sample"


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_the_package_imports_nothing_of_its_own_until_it_is_used() -> None:
    code = """if True:
        import sys
        import proteinlm_ext as plm
        assert "typing" not in plm.__dict__
        print(*(name for name in sys.modules if name.startswith("proteinlm_")))
        plm.load_benchmark
        print("proteinlm_ext.api" in sys.modules, "torch" in sys.modules)
    """
    assert python(code).splitlines() == ["proteinlm_ext", "True False"]


def test_every_public_name_is_a_documented_function_also_after_the_commands_ran(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["audit", str(data_file("sample.json")), "--out", str(tmp_path)]) == 0
    for name in plm.__all__:
        function = getattr(plm, name)
        assert inspect.isfunction(function)
        assert name in dir(plm)
        assert function.__doc__
        for parameter in inspect.signature(function).parameters:
            assert f"{parameter}:" in function.__doc__, (name, parameter)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        plm.evalute  # noqa: B018


def test_an_audit_is_that_of_the_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = plm.audit(data_file("sample.json"))
    assert found.num_questions == 60
    main(["audit", str(data_file("sample.json")), "--out", str(tmp_path)])
    assert capsys.readouterr().out.startswith(f"{found}\n")


def test_runs_are_evaluated_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longest = plm.evaluate(**LONGEST, tasks=[TASK], output_path=tmp_path / "longest")
    shortest = plm.evaluate(
        model="heuristic", model_args="rule=shortest", tasks=TASK, output_path=tmp_path / "shortest"
    )
    assert capsys.readouterr().out == ""
    assert longest is not None
    assert shortest is not None
    (score,) = longest.summaries[0].scores
    assert (score.num_items, round(100 * score.value, 1)) == (60, 16.7)
    assert "16.7" in str(longest)
    found = plm.compare([f"longest={tmp_path / 'longest'}", f"other={tmp_path / 'shortest'}"])
    (contrast,) = found.contrasts
    assert (contrast.run, contrast.baseline) == ("other", "longest")
    assert contrast.difference is not None
    (theirs,) = shortest.summaries[0].scores
    assert contrast.difference.value == pytest.approx(theirs.value - score.value)
    assert main(["compare", *[f"{run.name}={tmp_path / name}" for run, name in
                 zip(found.runs, ("longest", "shortest"), strict=True)]]) == 0  # fmt: skip
    assert capsys.readouterr().out.strip() == str(found).strip()


def test_flags_of_lm_eval_are_passed_on(tmp_path: Path) -> None:
    run = plm.evaluate(
        **LONGEST, tasks=TASK, output_path=tmp_path, limit=7, log_samples=False, num_fewshot=2
    )
    assert run is not None
    results = json.loads(run.results_file.read_text(encoding="utf-8"))
    assert (results["n-samples"][TASK]["effective"], results["n-shot"][TASK]) == (7, 2)
    assert run.sample_files == ()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"no_such_flag": 1}, "no_such_flag"),
        ({"cache": "answers"}, "--cache works with --model proteinlm-hf"),
        ({"trackio_args": {"project": "x"}}, "--wandb_args and --trackio_args"),
    ],
)
def test_a_flag_that_cannot_work_is_refused(tmp_path: Path, flags: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plm.evaluate(**LONGEST, tasks=TASK, output_path=tmp_path, **flags)
    assert list(tmp_path.iterdir()) == []


def test_one_run_without_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Give a list of runs"):
        plm.compare(str(tmp_path))


def test_a_card_is_what_its_card_json_makes(tmp_path: Path) -> None:
    folder = write_benchmark_overlay(tmp_path / "benchmark")
    made = plm.render_card(folder)
    assert made["README.md"] == (folder / "README.md").read_text(encoding="utf-8")
    with pytest.raises(ProteinLMError, match="`proteinlm card` makes it"):
        plm.render_card(tmp_path)
