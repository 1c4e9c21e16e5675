"""A comparison as one HTML file: no network, sortable tables, pictures, a question browser."""

from collections import Counter
from typing import Any, cast

from proteinlm_ext.comparison import Comparison
from proteinlm_ext.comparison_plots import draw_comparison
from proteinlm_ext.comparison_tables import comparison_tables, task_names
from proteinlm_ext.outcomes import document_id, has_options, is_rotation, primary_metric
from proteinlm_ext.paths import data_file
from proteinlm_ext.questions import LETTERS
from proteinlm_ext.runs import SavedTask


def to_html(comparison: Comparison, *, with_questions: bool = False) -> str:
    """Return the page.

    Args:
        comparison: What to show.
        with_questions: Put the texts of questions and options into the browser. Without, a page
            that circulates does not spread the benchmark.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}  # keeps the tasks' order
    template = data_file("comparison.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        names=[run.name for run in comparison.runs],
        runs=comparison.runs,
        baseline=comparison.baseline,
        remarks=comparison.remarks,
        tables=comparison_tables(comparison),
        pictures={
            title: svg[svg.index("<svg") :] for title, svg in draw_comparison(comparison).items()
        },
        questions={
            name: _questions(comparison, name, with_questions=with_questions)
            for name in task_names(comparison)
        },
    )


def _questions(comparison: Comparison, name: str, *, with_questions: bool) -> dict[str, Any]:
    """Return one task's browser data: `runs`, and a row a document that the first run answered.

    A row is [id, right letter or "", picks by run, scores by run(, text)]. None stands where a run
    lacks the document, or a pick cannot be named.
    """
    runs = [run for run in comparison.runs if name in run.tasks]
    answers = [_answers(run.tasks[name]) for run in runs]
    docs = {document_id(sample): sample["doc"] for sample in reversed(runs[0].tasks[name].samples)}
    rows: list[list[Any]] = []
    for key in answers[0]:
        doc = docs[key[0]]
        right = LETTERS[doc["answer"]] if has_options(doc) and not is_rotation(doc) else ""
        picks, scores = zip(*(by_run.get(key, (None, None)) for by_run in answers), strict=True)
        row = [key[0][:16], right, list(picks), list(scores)]
        rows.append([*row, _text(doc)] if with_questions else row)
    return {"runs": [run.name for run in runs], "rows": rows}


def _answers(task: SavedTask) -> dict[tuple[str, int], tuple[str | None, float | None]]:
    """Return pick (None if there is none to name) and score by (document, occurrence)."""
    rows: list[tuple[str, str | None, float | None]] = [
        (outcome.id, _letter(outcome.picks), outcome.score) for outcome in task.outcomes()
    ]
    if not rows:
        first = task.samples[0]["metrics"]
        metric = primary_metric(first) or first[0]
        samples = [sample for sample in task.samples if sample["filter"] == task.filter]
        rows = [(document_id(sample), None, _share(sample.get(metric))) for sample in samples]
    seen: Counter[str] = Counter()
    answers: dict[tuple[str, int], tuple[str | None, float | None]] = {}
    for document, pick, score in rows:
        answers[document, seen[document]] = pick, score
        seen[document] += 1
    return answers


def _letter(picks: tuple[tuple[int, int | None], ...]) -> str | None:
    """Return the pick as a letter; of rotations the picks in the file's order, side by side."""
    return "".join("-" if picked is None else LETTERS[picked] for _, picked in picks) or None


def _share(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None


def _text(doc: Any) -> str:
    fields = cast("dict[str, Any]", doc) if isinstance(doc, dict) else {"question": doc}
    lines = [str(fields.get("question", ""))]
    if has_options(doc):
        lines += [f"{LETTERS[n]}. {text}" for n, text in enumerate(fields["choices"])]
    return "\n".join(lines)
