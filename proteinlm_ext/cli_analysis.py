"""The commands that read files and need no model: audit, compare, rescore."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from proteinlm_ext.commands import Add
from proteinlm_ext.errors import UsageError

_FORMATS = {".md": "md", ".tex": "latex", ".csv": "csv", ".json": "json", ".html": "html"}
COMPARE_EXAMPLES = """
examples:
  # Two rules on the bundled questions, as a page to open in a browser
  proteinlm eval --model heuristic --model_args rule=longest --tasks proteinlmbench_sample \\
      --output_path results/longest
  proteinlm eval --model heuristic --model_args rule=A --tasks proteinlmbench_sample \\
      --output_path results/A
  proteinlm compare longest=results/longest A=results/A --output comparison.html

  # Two models, each in the folder that lm_eval wrote; the first is the baseline
  proteinlm compare results/base-model results/tuned-model

Runs are paired by question. A difference comes first, with its 95% interval, then p-values.
"""
AUDIT_EXAMPLES = """
examples:
  # ProteinLMBench itself: the file on the Hub at the pinned revision, or $PROTEINLM_DATA
  proteinlm audit

  # A benchmark of your own (JSON, JSONL, CSV or Parquet in the same schema), as a gate
  proteinlm audit mine.json --fail-on 'duplicate_options,marked_option,longest>0.3'
"""


def add_analyses(add: Add) -> None:
    """Add `audit`, `compare` and `rescore`."""
    _add_audit(add)
    _add_compare(add)
    _add_rescore(add)


def _add_audit(add: Add) -> None:
    parser = add(
        "audit", _audit, "Examine a benchmark: faults by row, and what never reading scores.",
        AUDIT_EXAMPLES,
    )  # fmt: skip
    parser.add_argument("data", nargs="?", metavar="DATA", help="A file; default ProteinLMBench")
    parser.add_argument("--json", action="store_true", help="Print the audit as JSON on stdout")
    parser.add_argument("--out", default="audit", metavar="DIR", help="Folder for the report")
    parser.add_argument(
        "--fail-on",
        default="",
        metavar="LIST",
        help="Exit with 1 if one of these holds: NAME (the check found something), NAME>N (a "
        "check's count, or a baseline's accuracy as a share), any; separated by commas",
    )


def _audit(options: argparse.Namespace) -> int:
    from proteinlm_ext.audit_report import to_json, to_text, write_audit
    from proteinlm_ext.auditing import audit, failed_gates
    from proteinlm_ext.benchmark import find_data

    found = audit(find_data(options.data))
    gates = [gate.strip() for gate in options.fail_on.split(",") if gate.strip()]
    failed = failed_gates(found, gates)  # before writing: a gate that is misspelt stops here
    files = write_audit(found, Path(options.out))
    print(to_json(found) if options.json else to_text(found))
    print(
        f"\nreport: {', '.join(map(str, files))}", file=sys.stderr if options.json else sys.stdout
    )
    for gate in failed:
        print(f"proteinlm: --fail-on: {gate}", file=sys.stderr)
    return 1 if failed else 0


def _add_compare(add: Add) -> None:
    parser = add(
        "compare", _compare, "Put saved runs of lm_eval side by side, paired by question.",
        COMPARE_EXAMPLES,
    )  # fmt: skip
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="Folder or results file of lm_eval; NAME=RUN names it",
    )
    parser.add_argument(
        "--baseline", metavar="RUN", help="Compare with this one; default the first"
    )
    parser.add_argument("--tasks", default="", metavar="LIST", help="Only these, by commas")
    parser.add_argument(
        "--format",
        choices=sorted({"text", *_FORMATS.values()}),
        help="Default: by the ending of --output, else text. LaTeX needs the package booktabs",
    )
    parser.add_argument("--output", metavar="FILE", help="Write there; default standard output")
    parser.add_argument(
        "--with-questions", action="store_true", help="Put question texts into the HTML page"
    )
    parser.add_argument(
        "--allow-limited", action="store_true", help="Accept runs of --limit or --samples"
    )
    parser.add_argument(
        "--allow-prompts",
        action="store_true",
        help="Test also where prompts, few-shot count or chat template differ",
    )


def _compare(options: argparse.Namespace) -> int:
    from proteinlm_ext.comparison import compare
    from proteinlm_ext.comparison_tables import render
    from proteinlm_ext.paths import write_text

    form = options.format or _FORMATS.get(Path(options.output or "").suffix, "text")
    if options.with_questions and form != "html":
        raise UsageError("--with-questions is for the page: add --format html.")
    runs, baseline = _load_with_baseline(list(dict.fromkeys(options.runs)), options.baseline)
    comparison = compare(
        runs,
        baseline,
        tasks=[name.strip() for name in options.tasks.split(",") if name.strip()],
        allow_limited=options.allow_limited,
        allow_prompts=options.allow_prompts,
    )
    if form == "html":
        from proteinlm_ext.comparison_page import to_html

        text = to_html(comparison, with_questions=options.with_questions)
    else:
        text = render(comparison, form)
    if options.output:
        write_text(Path(options.output), text + "\n")
        print(f"written: {options.output}", file=sys.stderr)
    else:
        print(text)
    return 0


def _load_with_baseline(given: list[str], baseline: str | None) -> tuple[list[Any], str | None]:
    """Return the runs and the baseline's name; it may be given by name, or by path as a run is."""
    from proteinlm_ext.runs import load_runs, split_argument

    runs = load_runs(given)
    if baseline is None or baseline in {run.name for run in runs}:
        return runs, baseline
    paths = [split_argument(argument)[1].resolve() for argument in given]
    path = split_argument(baseline)[1].resolve()
    if path in paths:
        return runs, runs[paths.index(path)].name
    if path.exists():
        runs = load_runs([baseline, *given])
        return runs, runs[0].name
    return runs, baseline


def _add_rescore(add: Add) -> None:
    parser = add(
        "rescore", _rescore, "Read one run's saved answers by every published rule.",
        "proteinlm rescore results/my-model   # a run of --tasks proteinlmbench_gen",
    )  # fmt: skip
    parser.add_argument("run", metavar="RUN", help="Folder or results file of lm_eval")
    parser.add_argument("--json", action="store_true", help="Print the matrix as JSON")


def _rescore(options: argparse.Namespace) -> int:
    from proteinlm_ext.rescore import rescore, rescored_table
    from proteinlm_ext.tables import print_table, to_data

    tasks = rescore(Path(options.run))
    if options.json:
        data: dict[str, Any] = {task.task: to_data(task) for task in tasks}
        print(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))
        return 0
    for task in tasks:
        table = rescored_table(task)
        print("\n".join([table.title, "", print_table(table), *table.notes, ""]))
    print(
        "Each rule reads the same answers. Flips: answers that one of two rules counts as right "
        "and the other as wrong."
    )
    return 0
