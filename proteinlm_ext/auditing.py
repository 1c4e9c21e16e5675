"""The audit of a benchmark file: what is wrong with its rows, and what never reading them scores.

A defective file is audited all the same. Nothing in an audit holds text of the file.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proteinlm_ext.baselines import (
    LOGISTIC,
    MIN_QUESTIONS,
    Baseline,
    measure_logistic,
    measure_rules,
)
from proteinlm_ext.checks import (
    Check,
    Entry,
    is_clean,
    leans_on_unseen_text,
    most_common_count,
    run_checks,
    usable_rows,
)
from proteinlm_ext.errors import DataError, UsageError
from proteinlm_ext.explanations import named_options
from proteinlm_ext.formats import read_rows
from proteinlm_ext.questions import parse_rows
from proteinlm_ext.slices import length_rank

DEFINITIONS = "1"
"""Changes with any check, baseline or figure whose meaning changes."""
MIN_EXPECTED = 5  # in a cell of the chi-square test (Cochran 1954, doi 10.2307/3001616)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFlags:
    """What is known of one row; the hashes of a row without a question are None."""

    row: int
    """1-based."""
    id: str | None
    row_hash: str | None
    flags: tuple[str, ...]
    """Names of the checks with a finding."""
    selfcontained: bool
    clean: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Everything that the reports show."""

    file: str
    """Its name, without the folder."""
    sha256: str
    num_rows: int
    num_questions: int
    """Rows that can be scored."""
    num_explanations: int
    checks: tuple[Check, ...]
    baselines: tuple[Baseline, ...]
    """Empty without a question."""
    skipped: dict[str, str]
    """By baseline: why it was not measured."""
    figures: dict[str, Any]
    rows: tuple[RowFlags, ...]
    definitions: str = DEFINITIONS

    def __str__(self) -> str:
        from proteinlm_ext.audit_report import to_text

        return to_text(self)


def audit(path: Path) -> Audit:
    """Audit a JSON, JSONL, CSV or Parquet file in the benchmark's schema.

    Raises:
        DataError: The file cannot be read at all.
    """
    try:
        content = path.expanduser().read_bytes()
    except (OSError, RuntimeError, ValueError) as error:  # also ~nobody, and NUL in a name
        raise DataError(f"No benchmark file could be read at {path} ({error}).") from error
    rows = read_rows(path, content)
    parsed = parse_rows(rows)
    entries = usable_rows(rows, parsed)
    checks = run_checks(rows, parsed)
    baselines, skipped = _measure(entries)
    return Audit(
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        num_rows=len(rows),
        num_questions=len(entries),
        num_explanations=sum(bool(entry.explanation) for entry in entries),
        checks=checks,
        baselines=baselines,
        skipped=skipped,
        figures=_figures(entries),
        rows=_flag_rows(len(rows), entries, checks),
    )


def _measure(entries: Sequence[Entry]) -> tuple[tuple[Baseline, ...], dict[str, str]]:
    questions = [entry.question for entry in entries]
    baselines = measure_rules(questions) if questions else []
    num_ids = len({question.id for question in questions})
    if num_ids < MIN_QUESTIONS:
        return tuple(baselines), {LOGISTIC: f"{num_ids} questions, {MIN_QUESTIONS} are needed"}
    return (*baselines, measure_logistic(questions)), {}


def _flag_rows(
    num_rows: int, entries: Sequence[Entry], checks: Sequence[Check]
) -> tuple[RowFlags, ...]:
    flags: dict[int, dict[str, None]] = {}  # ordered sets
    for check in checks:
        for finding in check.findings:
            flags.setdefault(finding.row, {})[check.name] = None
    questions = {entry.row: entry.question for entry in entries}
    found: list[RowFlags] = []
    for row in range(1, num_rows + 1):
        question = questions.get(row)
        found.append(
            RowFlags(
                row=row,
                id=question.id if question else None,
                row_hash=question.row_hash if question else None,
                flags=tuple(flags.get(row, ())),
                selfcontained=bool(question) and not leans_on_unseen_text(question.question),
                clean=bool(question) and is_clean(question.question, question.choices),
            )
        )
    return tuple(found)


# --- figures --------------------------------------------------------------------------------------


def _figures(entries: Sequence[Entry]) -> dict[str, Any]:
    counts = Counter(len(entry.question.choices) for entry in entries)
    named = [
        (named_options(entry.explanation, len(entry.question.choices)), entry.question.answer)
        for entry in entries
    ]
    return {
        "option_counts": {str(count): counts[count] for count in sorted(counts)},
        "gold_position": gold_positions(entries),
        "gold_length_rank": gold_length_ranks(entries),
        # An explanation that calls options right by number: does it mean the key?
        "explanation_numbers": {
            "named": sum(bool(positions) for positions, _ in named),
            "right": sum(answer in positions for positions, answer in named),
        },
    }


def gold_positions(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return where the right options stand, and where a uniform key would put them.

    The p-value is of Pearson's chi-square test. Each question is uniform over its own positions;
    the last positions are pooled until five are expected. With differing option counts the test is
    a little cautious. None if fewer than two cells remain.
    """
    import scipy.stats

    width = max((len(entry.question.choices) for entry in entries), default=0)
    observed, expected = [0] * width, [0.0] * width
    for entry in entries:
        observed[entry.question.answer] += 1
        for position in range(num_options := len(entry.question.choices)):
            expected[position] += 1 / num_options
    cells = [[float(count), mean] for count, mean in zip(observed, expected, strict=True)]
    while len(cells) > 1 and cells[-1][1] < MIN_EXPECTED:
        last = cells.pop()
        cells[-1] = [cells[-1][0] + last[0], cells[-1][1] + last[1]]
    p_value = None
    if len(cells) > 1:
        counts, means = zip(*cells, strict=True)
        test: Any = scipy.stats.chisquare(counts, means)
        p_value = float(test.pvalue)
    return {
        "observed": observed,
        "expected": [round(mean, 6) for mean in expected],
        "p_value": p_value,
        "test": "chi-square, uniform over the positions that each question has",
    }


def gold_length_ranks(entries: Sequence[Entry]) -> dict[str, Any]:
    """Count the right option's length rank (1 = longest; characters, then position).

    Over the questions with the commonest number of options.
    """
    usual = most_common_count(entries) or 0
    counts = [0] * usual
    for entry in entries:
        if len(entry.question.choices) == usual:
            counts[length_rank(entry.question.choices, entry.question.answer)] += 1
    return {"options": usual, "questions": sum(counts), "counts": counts}


# --- gates ----------------------------------------------------------------------------------------

_GATE = re.compile(r"(\w+)(?:\s*>\s*(\d+(?:\.\d+)?))?")
_ANY = "any"


def failed_gates(audit: Audit, gates: Sequence[str]) -> list[str]:
    """Return a sentence for each gate that the audit does not pass.

    Args:
        audit: The audit.
        gates: NAME of a check (fails if it found something), NAME>N (a check's rows, or a
            baseline's accuracy as a share), or "any" (fails if any check found something).

    Raises:
        UsageError: A gate is malformed, or names nothing that was measured.
    """
    counts = {check.name: check.count for check in audit.checks}
    scores = {baseline.name: baseline.accuracy for baseline in audit.baselines}
    failed = ["no question can be scored"] if gates and not audit.num_questions else []
    for gate in gates:
        match = _GATE.fullmatch(gate.strip())
        name, limit = match.groups() if match else (None, None)
        if name == _ANY and limit is None:
            found = [name for name, count in counts.items() if count]
            failed += [f"{gate}: {', '.join(found)}"] if found else []
        elif name in counts and counts[name] > float(limit or 0):
            failed.append(f"{gate}: {counts[name]} rows")
        elif name in scores and limit is not None and float(limit) <= 1:
            failed += [f"{gate}: {scores[name]:.3f}"] if scores[name] > float(limit) else []
        elif name not in counts:
            raise UsageError(
                f"--fail-on {gate!r} is no gate. Write NAME or NAME>N with a check "
                f"({', '.join(counts)}), NAME>SHARE with a share from 0 to 1 and a baseline "
                f"({', '.join(scores) or 'none was measured'}), or {_ANY}."
                + "".join(f" {n} was not measured: {why}." for n, why in audit.skipped.items())
            )
    return failed
