"""The reports of an audit: JSON and JSON lines for machines, a text, and a page with pictures."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from proteinlm_ext.audit_plots import PICTURES, draw
from proteinlm_ext.auditing import Audit
from proteinlm_ext.baselines import LOGISTIC, NUM_REPEATS, Baseline
from proteinlm_ext.checks import Check
from proteinlm_ext.paths import write_text
from proteinlm_ext.tables import Table, p_value, percent, print_table, to_data

_LISTED = 20  # rows that the page names under a check; audit.json has all


def to_json(audit: Audit) -> str:
    """Return the whole audit as JSON, without a line feed at the end."""
    report = {
        "definitions": audit.definitions,
        "data": {
            "file": audit.file,
            "sha256": audit.sha256,
            "rows": audit.num_rows,
            "questions": audit.num_questions,
            "explanations": audit.num_explanations,
        },
        "baselines": {baseline.name: _baseline_json(baseline) for baseline in audit.baselines},
        "checks": {
            check.name: {
                "count": check.count,
                "description": check.description,
                "rows": to_data(check.findings),
            }
            for check in audit.checks
        },
        "figures": {**audit.figures, "skipped": audit.skipped},
    }
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)


def _baseline_json(baseline: Baseline) -> dict[str, Any]:
    spread = {} if baseline.spread is None else {"spread": baseline.spread}
    return {
        "accuracy": baseline.accuracy,
        "low": baseline.low,
        "high": baseline.high,
        "n": baseline.num_questions,
        "method": baseline.method,
        **spread,
    }


def to_jsonl(audit: Audit) -> str:
    """Return one line a row: its hashes and flags. Lists of row hashes make subsets."""
    return "".join(json.dumps(to_data(row)) + "\n" for row in audit.rows)


def to_text(audit: Audit) -> str:
    """Return a summary for a terminal."""
    head = f"{audit.file}, sha256 {audit.sha256[:12]}"
    tables = [text for table in _tables(audit) for text in (print_table(table), *table.notes)]
    return "\n\n".join([head, *tables, "\n".join(_facts(audit))])


def to_markdown(audit: Audit) -> str:
    """Return a page with links to the pictures beside it."""
    parts = [f"# Audit of {audit.file}", *_facts(audit)]
    for table in _tables(audit):
        parts += [f"## {table.title}", print_table(table, "md"), *table.notes]
    if audit.baselines:
        parts += [f"![{name.removesuffix('.svg')}]({name})" for name in PICTURES]
    parts += [
        f"**{check.name}** {check.description}: {_row_list(check)}."
        for check in audit.checks
        if check.count
    ]
    parts.append(f"sha256 of the file: `{audit.sha256}`; definitions v{audit.definitions}.")
    return "\n\n".join(parts) + "\n"


def write_audit(audit: Audit, folder: Path) -> list[Path]:
    """Write every report; audit.json comes last, so that where it stands, all is whole.

    Raises:
        ProteinLMError: The folder cannot be written to.
    """
    reports = {
        "audit.jsonl": to_jsonl(audit),
        "audit.md": to_markdown(audit),
        **draw(audit),
        "audit.json": to_json(audit) + "\n",
    }
    for name in PICTURES:  # of an earlier audit whose file had questions
        if name not in reports and folder.is_dir():
            (folder / name).unlink(missing_ok=True)
    for name, text in reports.items():
        write_text(folder / name, text)
    return [folder / name for name in reports]


def _facts(audit: Audit) -> Iterable[str]:
    """Yield what a reader must not miss."""
    yield f"{audit.num_questions} of {audit.num_rows} rows can be scored."
    scores = {baseline.name: baseline.accuracy for baseline in audit.baselines}
    spreads = {baseline.name: baseline.spread for baseline in audit.baselines}
    if scores:
        yield (
            f"Always choosing the longest option is right in {percent(scores['longest'])}%, "
            f"guessing in {percent(scores['chance'])}%: read every result against both."
        )
    if LOGISTIC in scores:
        yield (
            f"A model that sees the options alone, and only their surface, is right in "
            f"{percent(scores[LOGISTIC])}% (mean of {NUM_REPEATS} repeats, standard deviation "
            f"{percent(spreads[LOGISTIC])})."
        )
    for name, reason in audit.skipped.items():
        yield f"The baseline {name} was not measured: {reason}."
    if (p := audit.figures["gold_position"]["p_value"]) is not None:
        yield f"The right options' positions against uniform: p = {p_value(p)} (chi-square)."
    ranks = audit.figures["gold_length_rank"]
    if ranks["questions"]:
        yield (
            f"The right option by length, from the longest: {', '.join(map(str, ranks['counts']))} "
            f"of the {ranks['questions']} questions with {ranks['options']} options."
        )
    numbers = audit.figures["explanation_numbers"]
    if numbers["named"]:
        yield (
            f"{numbers['named']} explanations call an option right by number; "
            f"in {numbers['right']} it is the key."
        )


def _tables(audit: Audit) -> Iterable[Table]:
    if audit.baselines:
        yield Table(
            title="What needs no knowledge",
            header=("baseline", "n", "percent", "95% interval"),
            rows=tuple(_baseline_row(baseline) for baseline in audit.baselines),
            left=("baseline",),
            notes=("Intervals: wilson; chance: where 95% of guessers score; logistic: a bootstrap "
                "over questions.",),
        )  # fmt: skip
    yield Table(
        title="Checks",
        header=("check", "rows", "percent", "a row that ..."),
        rows=tuple(_check_row(check, audit.num_rows) for check in audit.checks),
        left=("check", "a row that ..."),
    )


def _baseline_row(baseline: Baseline) -> tuple[str, ...]:
    interval = f"{percent(baseline.low)} to {percent(baseline.high)}"
    return baseline.name, str(baseline.num_questions), percent(baseline.accuracy), interval


def _check_row(check: Check, num_rows: int) -> tuple[str, ...]:
    share = check.count / num_rows if num_rows else None
    return check.name, str(check.count), percent(share), check.description


def _row_list(check: Check) -> str:
    rows = sorted({finding.row for finding in check.findings})
    more = f" and {len(rows) - _LISTED} more" if len(rows) > _LISTED else ""
    return f"rows {', '.join(map(str, rows[:_LISTED]))}{more}"
