"""An invented benchmark with known faults, and its audit."""

import json
from pathlib import Path

from proteinlm_ext.audit_report import write_audit
from proteinlm_ext.auditing import audit


def write_benchmark(folder: Path) -> Path:
    """Write eight questions: one is there twice with two keys, one explanation contradicts its key.

    The words of each are its own, so that a text that holds a run of them holds the question.
    """
    rows = [
        _row(f"Which lamp is lit by keeper {n} when the harbour bell number {n} has rung?", n % 3)
        for n in range(5)
    ]
    rows.append(rows[0] | {"answer": "option 2"})
    contradicted = _row("Which oil does the keeper of the seventh tower burn on quiet nights?", 0)
    rows.append(contradicted | {"explanation": "It is known that green oil of the northern whale."})
    rows.append(_row("According to the study, which wick burns longest in the salt wind?", 1))
    path = folder / "ProteinLMBench.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def _row(question: str, answer: int) -> dict[str, object]:
    options = [
        "yellow oil pressed very slowly",
        "green oil of the northern whale",
        "the clear blue spirit that the travelling chemist sells at the quay every spring",
    ]
    return {
        "question": question,
        "options": [f"option {n}: {text}" for n, text in enumerate(options, start=1)],
        "answer": f"option {answer + 1}",
        "explanation": "The log book of the lighthouse tells it on its ninth and last page.",
    }


def write_audited(folder: Path) -> tuple[Path, Path]:
    """Write the benchmark and its audit; return the file and the audit's folder."""
    path = write_benchmark(folder)
    write_audit(audit(path), folder / "audit")
    return path, folder / "audit"
