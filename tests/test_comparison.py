"""Each run against the baseline: what is tested, pooled, adjusted, refused, set beside a paper."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from saved_runs import ROWS, STANDARD, Row, right, run_lm_eval, run_rule, write_data

from proteinlm_ext.catalog import suites
from proteinlm_ext.comparison import Comparison, Contrast, Published, compare
from proteinlm_ext.differences import difference_to_published, holm, paired_difference
from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.runs import SavedRun, SavedTask, load_run

TASK = "proteinlmbench"
RULES = ("longest", "A", "B", "shortest")
PAPER, SCIENCE = "proteinlmbench_paper", "proteinlmbench_scienceeval"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SavedRun]:
    """Return four rules on ProteinLMBench's letter task and three stand-ins for MMLU."""
    folder = tmp_path_factory.mktemp("runs")
    return {rule: load_run(run_lm_eval(folder / rule, rule)) for rule in RULES}


@pytest.fixture(scope="module")
def rotations(tmp_path_factory: pytest.TempPathFactory) -> list[SavedRun]:
    folder, task = tmp_path_factory.mktemp("rotations"), "proteinlmbench_perm"
    return [load_run(run_rule(folder / r, r, tasks=task), r) for r in ("longest", "A")]


@pytest.fixture(scope="module")
def published_protocols(tmp_path_factory: pytest.TempPathFactory) -> SavedRun:
    """Return a run on 944 questions under the paper's protocol, 942 under ScienceEval's."""
    folder = tmp_path_factory.mktemp("published")
    rows: list[Row] = [(f"Which is fold {n}?", ["a helix", "salt"], n % 4 == 0) for n in range(944)]
    run_rule(folder, "A", tasks=PAPER, data=write_data(folder / "944.json", rows))
    run_rule(folder, "A", tasks=SCIENCE, data=write_data(folder / "942.json", rows[:942]))
    run = load_run(folder, "A")
    # What sets it apart from a publication: invented data, no chat template.
    assert [task.departures for task in run.tasks.values()] == [
        ("data from 944.json, not the pinned Hub file",),
        ("no chat template", "data from 942.json, not the pinned Hub file"),
    ]
    tasks = {name: replace(task, departures=()) for name, task in run.tasks.items()}
    return replace(run, tasks=tasks)


def changed(run: SavedRun, name: str, change: Callable[[SavedTask], SavedTask]) -> SavedRun:
    """Return the run with one task changed."""
    return replace(run, tasks=run.tasks | {name: change(run.tasks[name])})


def reprompted(task: SavedTask) -> SavedTask:
    samples = tuple({**sample, "prompt_hash": "new"} for sample in task.samples)
    return replace(task, samples=samples, num_fewshot=5)


def limited(task: SavedTask) -> SavedTask:
    return replace(task, limited=True)


def contrast(found: Sequence[Contrast], run: str, task: str, metric: str = "acc") -> Contrast:
    metric = "primary metric" if task in suites() else metric
    (one,) = [c for c in found if (c.run, c.task, c.metric) == (run, task, metric)]
    return one


# --- differences --------------------------------------------------------------------------------


def test_a_difference_is_that_of_the_hand_made_scores(runs: dict[str, SavedRun]) -> None:
    comparison = compare([runs["longest"], runs["A"]])
    found = contrast(comparison.contrasts, "A", TASK)
    assert found.difference == paired_difference(right("A"), right("longest"))
    assert found.difference is not None
    better = [a > b for a, b in zip(right("A"), right("longest"), strict=True)].count(True)
    assert (found.difference.num_better, found.difference.num_worse) == (better, 2) == (3, 2)
    assert found.difference.value == pytest.approx(1 / 12)
    assert (found.baseline, found.label, found.note) == ("longest", "acc", "")


def test_every_run_stands_against_the_baseline_on_every_task(runs: dict[str, SavedRun]) -> None:
    comparison = compare(list(runs.values()))
    assert comparison.baseline == "longest"
    assert [run.name for run in comparison.runs] == list(RULES)
    assert {(c.run, c.task) for c in comparison.contrasts} == {
        (rule, task) for rule in RULES[1:] for task in (TASK, *STANDARD)
    }
    for found in comparison.contrasts:
        rows = STANDARD.get(found.task, ROWS)
        assert found.difference == paired_difference(right(found.run, rows), right("longest", rows))


def test_p_values_are_adjusted_over_the_runs_within_a_score(runs: dict[str, SavedRun]) -> None:
    comparison = compare(list(runs.values()))
    for task in (TASK, *STANDARD):
        family = [contrast(comparison.contrasts, rule, task) for rule in RULES[1:]]
        p_values = [c.difference.p_value for c in family if c.difference]
        assert len(p_values) == 3
        assert [c.adjusted_p for c in family] == holm(p_values)
    virology = contrast(comparison.contrasts, "A", "mmlu_astronomy")
    assert virology.difference is not None
    assert virology.adjusted_p is not None
    assert virology.adjusted_p > virology.difference.p_value


def test_the_baseline_may_be_any_run(runs: dict[str, SavedRun]) -> None:
    comparison = compare([runs["longest"], runs["A"], runs["B"]], "A")
    assert comparison.baseline == "A"
    assert {c.run for c in comparison.contrasts} == {"longest", "B"}
    found = contrast(comparison.contrasts, "longest", TASK).difference
    assert found == paired_difference(right("longest"), right("A"))


def test_an_unknown_baseline_or_task_is_refused_with_those_there_are(
    runs: dict[str, SavedRun],
) -> None:
    both = [runs["longest"], runs["A"]]
    with pytest.raises(UsageError, match="no run 'C'; the runs are longest, A"):
        compare(both, "C")
    there = ", ".join(sorted([TASK, *STANDARD]))
    with pytest.raises(UsageError, match=f"No run has the task mmlu, sciq; there is {there}"):
        compare(both, tasks=["mmlu", TASK, "sciq"])


def test_only_the_chosen_tasks_are_compared(runs: dict[str, SavedRun]) -> None:
    comparison = compare([runs["longest"], runs["A"]], tasks=["mmlu_virology", TASK])
    assert {c.task for c in comparison.contrasts} == {TASK, "mmlu_virology"}
    assert all(set(run.tasks) == {TASK, "mmlu_virology"} for run in comparison.runs)


def test_a_task_or_metric_of_one_run_only_is_shown_without_a_difference(
    runs: dict[str, SavedRun],
) -> None:
    def renamed(task: SavedTask) -> SavedTask:
        (score,) = task.summary.scores
        return replace(
            task, summary=replace(task.summary, scores=(replace(score, metric="f1"), score))
        )

    alone = replace(runs["A"], tasks={TASK: runs["A"].tasks[TASK]})
    comparison = compare([changed(alone, TASK, renamed), runs["longest"]])
    assert [(c.task, c.metric) for c in comparison.contrasts] == [(TASK, "acc")]
    assert set(comparison.runs[1].tasks) == {TASK, *STANDARD}
    assert compare([runs["longest"], changed(alone, TASK, renamed)]).contrasts[0].metric == "acc"


def test_one_run_alone_has_no_differences(runs: dict[str, SavedRun]) -> None:
    comparison = compare([runs["A"]])
    assert (comparison.contrasts, comparison.suites) == ((), ())


def test_rotations_are_compared_by_question(rotations: list[SavedRun]) -> None:
    comparison = compare(rotations)
    ids = [sample["doc"]["id"] for sample in rotations[0].tasks["proteinlmbench_perm"].samples]
    order = sorted(range(12), key=lambda n: list(dict.fromkeys(ids))[n])
    longest = [right("longest")[n] for n in order]
    mean = contrast(comparison.contrasts, "A", "proteinlmbench_perm").difference
    assert mean == paired_difference([1 / len(ROWS[n][1]) for n in order], longest)
    assert mean is not None
    assert (mean.num_questions, mean.test) == (12, "sign-flip permutation")
    strict = contrast(comparison.contrasts, "A", "proteinlmbench_perm", "acc_all_rotations")
    assert strict.difference == paired_difference([0.0] * 12, longest)
    assert strict.difference is not None
    assert (strict.difference.num_better, strict.difference.num_worse) == (0, 5)


def test_a_metric_that_is_no_share_says_so(runs: dict[str, SavedRun]) -> None:
    def half(task: SavedTask) -> SavedTask:
        (score,) = task.summary.scores
        return replace(task, summary=replace(task.summary, scores=(replace(score, interval=None),)))

    comparison = compare([runs["longest"], changed(runs["A"], TASK, half)])
    assert contrast(comparison.contrasts, "A", TASK).is_share is False
    assert contrast(comparison.contrasts, "A", "mmlu_anatomy").is_share is True


# --- refused, or shown without a test -----------------------------------------------------------


def test_everything_that_keeps_runs_from_being_paired_is_named_at_once(
    runs: dict[str, SavedRun],
) -> None:
    def newer(task: SavedTask) -> SavedTask:
        return replace(task, summary=replace(task.summary, version="9"))

    def shorter(task: SavedTask) -> SavedTask:
        return replace(task, samples=task.samples[1:])

    other = changed(changed(runs["A"], "mmlu_virology", newer), "mmlu_anatomy", shorter)
    with pytest.raises(ProteinLMError) as stop:
        compare([runs["longest"], runs["B"], other])
    lines = str(stop.value).splitlines()
    assert lines[0] == "These runs cannot be paired:"
    assert sorted(line.partition(":")[0].strip() for line in lines[1:-1]) == [
        "mmlu_anatomy", "mmlu_virology"
    ]  # fmt: skip
    assert "task version 9 in A, 1.0 in longest" in str(stop.value)
    assert "4 documents in common, 0 only in A, 1 only in longest" in str(stop.value)
    assert "--tasks" in lines[-1]
    left = compare([runs["longest"], other], tasks=[TASK, "mmlu_astronomy"])
    assert len(left.contrasts) == 2


def test_runs_must_agree_on_a_task_that_the_baseline_lacks(runs: dict[str, SavedRun]) -> None:
    def newer(task: SavedTask) -> SavedTask:
        return replace(task, summary=replace(task.summary, version="9"))

    base = replace(runs["B"], tasks={"mmlu_anatomy": runs["B"].tasks["mmlu_anatomy"]})
    assert compare([base, runs["A"], runs["longest"]]).contrasts
    with pytest.raises(ProteinLMError, match=r"task version 9 in longest, 1\.0 in A"):
        compare([base, runs["A"], changed(runs["longest"], TASK, newer)])


def test_other_prompts_show_both_scores_and_no_test(runs: dict[str, SavedRun]) -> None:
    other = changed(runs["A"], TASK, reprompted)
    comparison = compare([runs["longest"], other, runs["B"]])
    found = contrast(comparison.contrasts, "A", TASK)
    assert (found.difference, found.adjusted_p) == (None, None)
    assert found.note == "few-shot 5 against 0, prompts differ on 12 of 12 documents"
    assert contrast(comparison.contrasts, "A", "mmlu_anatomy").difference is not None
    tested = contrast(comparison.contrasts, "B", TASK)
    assert tested.difference is not None
    assert tested.adjusted_p == tested.difference.p_value  # the only one of its family


def test_other_prompts_are_tested_on_demand_and_still_named(runs: dict[str, SavedRun]) -> None:
    other = changed(runs["A"], TASK, reprompted)
    comparison = compare([runs["longest"], other], allow_prompts=True)
    found = contrast(comparison.contrasts, "A", TASK)
    assert found.difference == paired_difference(right("A"), right("longest"))
    assert found.note == "few-shot 5 against 0, prompts differ on 12 of 12 documents"


def test_limited_runs_are_refused_unless_allowed(runs: dict[str, SavedRun]) -> None:
    other = changed(changed(runs["A"], TASK, limited), "mmlu_anatomy", limited)
    with pytest.raises(UsageError) as stop:
        compare([runs["longest"], other])
    assert f"A: mmlu_anatomy, A: {TASK}" in str(stop.value)
    assert "--allow-limited" in str(stop.value)
    with pytest.raises(UsageError):
        compare([other, runs["longest"]])
    allowed = compare([runs["longest"], other], allow_limited=True)
    assert contrast(allowed.contrasts, "A", TASK).difference is not None
    assert compare([runs["longest"], other], tasks=["mmlu_virology"]).contrasts


def test_a_limited_run_is_never_paired_with_a_whole_one(
    runs: dict[str, SavedRun], tmp_path: Path
) -> None:
    some = load_run(run_rule(tmp_path, "A", "--limit", "5"), "some")
    with pytest.raises(ProteinLMError, match="5 documents in common, 0 only in some, 7 only in A"):
        compare([runs["A"], some], allow_limited=True)


def test_scores_of_answered_questions_cannot_be_paired(published_protocols: SavedRun) -> None:
    """What a protocol leaves out differs from run to run."""

    def unanswered(task: SavedTask) -> SavedTask:
        first = {**task.samples[0], "acc_answered": None}
        return replace(task, samples=(first, *task.samples[1:]))

    other = changed(replace(published_protocols, name="B"), SCIENCE, unanswered)
    comparison = compare([published_protocols, other])
    found = contrast(comparison.contrasts, "B", SCIENCE, "acc_answered")
    assert found.difference is None
    assert found.note == "the scores of single documents cannot be paired"
    assert contrast(comparison.contrasts, "B", SCIENCE, "acc").difference is not None


def test_remarks_name_their_run(runs: dict[str, SavedRun]) -> None:
    comparison = compare([runs["longest"], replace(runs["A"], remarks=("odd",))])
    assert comparison.remarks == ("A: odd",)


# --- suites -------------------------------------------------------------------------------------


def test_a_suite_pools_the_questions_of_its_tasks(runs: dict[str, SavedRun]) -> None:
    comparison = compare(list(runs.values()))
    members = {
        "proteinlm_biology": ["mmlu_anatomy", "mmlu_virology"],
        "proteinlm_general": ["mmlu_astronomy"],
    }
    assert {c.task for c in comparison.suites} == set(members)
    for suite, tasks in members.items():
        assert set(tasks) <= set(suites()[suite])
        found = contrast(comparison.suites, "A", suite)
        assert sorted(found.tasks) == tasks
        scores = [[s for t in tasks for s in right(r, STANDARD[t])] for r in ("A", "longest")]
        assert found.difference == paired_difference(*scores)
        family = [contrast(comparison.suites, rule, suite) for rule in RULES[1:]]
        p_values = [c.difference.p_value for c in family if c.difference]
        assert [c.adjusted_p for c in family] == holm(p_values)


def test_a_suite_says_which_of_its_tasks_are_not_pooled(runs: dict[str, SavedRun]) -> None:
    other = changed(runs["A"], "mmlu_virology", reprompted)
    three = [runs["longest"], other, runs["B"]]
    found = contrast(compare(three).suites, "A", "proteinlm_biology")
    rows = STANDARD["mmlu_anatomy"]
    assert found.tasks == ("mmlu_anatomy",)
    assert found.note == "not in it: mmlu_virology"
    assert found.difference == paired_difference(right("A", rows), right("longest", rows))
    found = contrast(compare(three, allow_prompts=True).suites, "A", "proteinlm_biology")
    assert sorted(found.tasks) == ["mmlu_anatomy", "mmlu_virology"]
    assert found.note == "prompts differ"
    assert contrast(compare(three).suites, "B", "proteinlm_biology").note == ""


def test_a_suite_of_which_nothing_can_be_tested_has_no_difference(
    runs: dict[str, SavedRun],
) -> None:
    other = changed(runs["A"], "mmlu_astronomy", reprompted)
    found = contrast(compare([runs["longest"], other]).suites, "A", "proteinlm_general")
    assert (found.difference, found.tasks, found.adjusted_p) == (None, (), None)
    assert found.note == "not in it: mmlu_astronomy"


def test_a_suite_pools_the_primary_metric_alone(runs: dict[str, SavedRun]) -> None:
    """The tasks hellaswag and arc have acc and acc_norm; the latter counts."""

    def normed(task: SavedTask) -> SavedTask:
        (score,) = task.summary.scores
        scores = (score, replace(score, metric="acc_norm"))
        samples = tuple({**sample, "acc_norm": 1.0} for sample in task.samples)
        return replace(task, samples=samples, summary=replace(task.summary, scores=scores))

    both = [changed(runs[rule], "mmlu_astronomy", normed) for rule in ("longest", "A")]
    comparison = compare(both)
    assert contrast(comparison.contrasts, "A", "mmlu_astronomy").difference is not None
    found = contrast(comparison.suites, "A", "proteinlm_general").difference
    assert found is not None
    assert (found.num_questions, found.num_better, found.num_worse) == (5, 0, 0)


def test_a_suite_pools_no_shares_between_right_and_wrong(runs: dict[str, SavedRun]) -> None:
    """TruthfulQA's MC2 scores between 0 and 1."""

    def halved(task: SavedTask) -> SavedTask:
        samples = tuple({**sample, "acc": sample["acc"] / 2} for sample in task.samples)
        return replace(task, samples=samples)

    comparison = compare([runs["longest"], changed(runs["A"], "mmlu_virology", halved)])
    assert contrast(comparison.contrasts, "A", "mmlu_virology").difference is not None
    found = contrast(comparison.suites, "A", "proteinlm_biology")
    assert (found.tasks, found.note) == (("mmlu_anatomy",), "not in it: mmlu_virology")
    assert found.difference is not None
    assert found.difference.num_questions == 5


# --- publications -------------------------------------------------------------------------------


def published(comparison: Comparison, task: str, protocol: str) -> list[Published]:
    return [
        item
        for item in comparison.published
        if (item.task, item.score.protocol) == (task, protocol)
    ]


def test_a_run_stands_beside_a_publication_of_its_protocol_and_size(
    published_protocols: SavedRun,
) -> None:
    comparison = compare([published_protocols])
    found = published(comparison, PAPER, "paper")
    assert len(found) == 18
    num_right = sum(n % 4 != 0 for n in range(944))
    for item in found:
        assert item.reason is None
        assert item.value == pytest.approx(num_right / 944 - item.score.accuracy)
        assert item.difference == difference_to_published(num_right, 944, item.score.accuracy, 944)
    others = [item for item in comparison.published if item.score.protocol != "paper"]
    assert all(item.difference is None for item in others if item.task == PAPER)
    assert all(item.reason for item in others if item.task == PAPER)


def test_a_run_that_departs_from_the_protocol_is_not_comparable(
    published_protocols: SavedRun,
) -> None:
    def templated(task: SavedTask) -> SavedTask:
        return replace(task, departures=("a chat template", "a system instruction"))

    comparison = compare([changed(published_protocols, PAPER, templated)])
    for item in published(comparison, PAPER, "paper"):
        assert (item.value, item.difference) == (None, None)
        assert item.reason == (
            "this run departs from the protocol: a chat template, a system instruction"
        )


def test_scienceeval_counts_the_readable_answers_and_is_not_tested_against(
    published_protocols: SavedRun,
) -> None:
    def half_read(task: SavedTask) -> SavedTask:
        acc, answered = task.summary.scores
        assert (acc.metric, answered.metric) == ("acc", "acc_answered")
        scores = (acc, replace(answered, value=0.5, num_items=400))
        return replace(task, summary=replace(task.summary, scores=scores))

    found = published(
        compare([changed(published_protocols, SCIENCE, half_read)]), SCIENCE, "scienceeval"
    )
    assert len(found) == 11
    for item in found:
        assert (item.difference, item.reason) == (None, None)
        assert item.value == pytest.approx(0.5 - item.score.accuracy)


@pytest.mark.parametrize(("value", "reason"), [(None, "this run counted no answer"), (0.0, None)])
def test_no_answer_is_a_reason_and_no_right_answer_is_none(
    value: float | None, reason: str | None, published_protocols: SavedRun
) -> None:
    def scored(task: SavedTask) -> SavedTask:
        scores = tuple(replace(score, value=value) for score in task.summary.scores)
        return replace(task, summary=replace(task.summary, scores=scores))

    for item in published(compare([changed(published_protocols, PAPER, scored)]), PAPER, "paper"):
        assert item.reason == reason
        if item.difference:
            assert item.difference.value == -item.score.accuracy
            assert math.isfinite(item.difference.interval.low)
            assert item.difference.p_value < 0.001
        else:
            assert value is None


def test_other_sizes_and_protocols_are_listed_with_the_reason(
    runs: dict[str, SavedRun], published_protocols: SavedRun
) -> None:
    comparison = compare([runs["A"], runs["longest"]])
    assert {item.run for item in comparison.published} == {"A", "longest"}
    assert {item.task for item in comparison.published} == {TASK}  # never beside MMLU
    assert all("this run: letter log-likelihood" in str(i.reason) for i in comparison.published)

    def smaller(task: SavedTask) -> SavedTask:
        return replace(task, summary=replace(task.summary, num_questions=600))

    few = compare([changed(published_protocols, PAPER, smaller)])
    assert {item.reason for item in published(few, PAPER, "paper")} == {
        "published on 944 questions, this run on 600"
    }


def test_the_bundled_sample_stands_beside_no_publication(tmp_path: Path) -> None:
    run = load_run(run_rule(tmp_path, "A", "--limit", "4", tasks="proteinlmbench_sample"))
    assert compare([run], allow_limited=True).published == ()
