"""What a model's card is made of, small and written by hand: model, record, data, evaluations."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
from annotation_rows import protein_row, write_rows
from saved_runs import run_lm_eval

from proteinlm_hub.card_sources import Words, collect
from proteinlm_sft.recipe import Recipe

BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
LOG = '{"step": 1, "loss": 2.5}\n'
CURVE = '<svg xmlns="http://www.w3.org/2000/svg"/>\n'
RULES = {"base": "shortest", "tuned": "longest", "first": "A"}


class Sources(NamedTuple):
    """The folders that `proteinlm card model` is given."""

    model: Path
    run: Path
    data: Path
    evaluations: Path

    def results(self, *names: str) -> list[str]:
        """Return `NAME=DIR` of the evaluations; of all where none is named."""
        return [f"{name}={self.evaluations / name}" for name in names or RULES]

    def collect(self, *results: str, **words: Any) -> dict[str, Any]:
        """Return the card.json."""
        given = Words(**{"repo": "acme/lamps", **words})
        return collect(self.model, self.run, results or self.results(), [self.data], given)


def save_sources(folder: Path, evaluations: Path | None = None) -> Sources:
    """Write all of it; evaluations, which take seconds, may be made before."""
    sources = Sources(
        folder / "model", folder / "run", folder / "data", evaluations or folder / "evaluations"
    )
    if evaluations is None:
        save_evaluations(sources.evaluations)
    sources.model.mkdir(parents=True)
    (sources.model / "adapter_config.json").write_text(json.dumps({"base": BASE}))
    (sources.model / "adapter_model.safetensors").write_bytes(b"weights")
    (sources.model / "tokenizer.json").write_text("{}")
    _save_data(sources.data)
    sources.run.mkdir()
    (sources.run / "log.jsonl").write_text(LOG)
    (sources.run / "loss.svg").write_text(CURVE)
    save_record(sources.run, make_record(sources.data))
    return sources


def save_evaluations(folder: Path) -> Path:
    """Let three rules answer ProteinLMBench and two stand-ins for MMLU."""
    tasks = ("proteinlmbench", "mmlu_anatomy", "mmlu_virology")
    for name, rule in RULES.items():
        run_lm_eval(folder / name, rule, tasks)
    return folder


def save_record(run: Path, record: dict[str, Any]) -> None:
    """Write training_run.json."""
    (run / "training_run.json").write_text(json.dumps(record, sort_keys=True) + "\n")


def sha256(content: bytes | str) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def _save_data(folder: Path) -> None:
    """Write a dataset whose manifest has hashes that do not depend on pyarrow's version."""
    licensed = {"license": "CC-BY-4.0"}
    rows = [protein_row("function", f"P0000{n}", "Binds zinc.") | licensed for n in range(3)]
    write_rows(folder, {"function": {"train": rows[:2], "validation": rows[2:]}})
    recipe = Recipe(name="Lamps", uniprot=("lamps.dat.gz",), release="2025_03")
    manifest = {
        "format": 1,
        "name": "Lamps",
        "recipe": recipe.model_dump(mode="json"),
        "versions": {"mmseqs2": "14", "proteinlm-ext": "0.1.0"},
        "inputs": [{"file": "lamps.dat.gz", "sha256": "1" * 64}],
        "nomenclature": {},
        "configs": {"function": {"read": 3, "kept": {"train": 2, "validation": 1}, "left_out": {}}},
        "files": {
            file.relative_to(folder).as_posix(): {
                "rows": pq.read_metadata(file).num_rows,
                "bytes": 1000 + number,
                "sha256": f"{number + 5}" * 64,
            }
            for number, file in enumerate(sorted(folder.rglob("*.parquet")))
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def make_record(data: Path) -> dict[str, Any]:
    """Return the record of a finished run of two sessions on the dataset."""
    files = json.loads((data / "manifest.json").read_text())["files"]
    return {
        "schema_version": 1,
        "status": "finished",
        "name": "lamps-sft",
        "artefacts": {
            "final/adapter_model.safetensors": {"bytes": 7, "sha256": sha256("weights")},
            "log.jsonl": {"bytes": len(LOG), "sha256": sha256(LOG)},
            "loss.svg": {"bytes": len(CURVE), "sha256": sha256(CURVE)},
        },
        "base_model": {
            "name": BASE, "revision": None, "license": "apache-2.0", "parameters": 134515008,
            "trainable": 4884480, "trained_by": None, "files": {"model.safetensors": "a" * 64},
        },
        "code": {"version": "0.1.0", "sha256": "b" * 64, "commit": "c" * 40, "dirty": True},
        "data": {
            "residues": "spaced",
            "sources": [
                {
                    "path": "Lamps",
                    "revision": None,
                    "files": [
                        {"config": "function", "split": Path(name).name.split("-")[0],
                         "name": Path(name).name, "rows": said["rows"], "sha256": said["sha256"]}
                        for name, said in files.items()
                    ],
                    "train": {
                        "read": 2, "kept": 2, "overlong": 1, "cropped": 1, "dropped": 0,
                        "tokens": 1234, "labels": 99, "longest": ["function:P00001"],
                    },
                }
            ],
        },
        "decontamination": {
            "policy": "required",
            "sources": [
                {
                    "decontaminated": True, "reason": "", "questions": 944,
                    "questions_sha256": "d" * 64,
                    "removed": {"verbatim": 3, "near_duplicate": 0, "source": 1},
                }
            ],
        },
        "epochs": 0.5,
        "hardware": {"devices": [], "cpu": "Abacus", "cpu_count": 2},
        "losses": {
            "train": {"first": {"step": 1, "loss": 2.5}, "last": {"step": 8, "loss": 1.75}},
            "validation": {
                "before": {"step": 0, "loss": 3.125}, "best": {"step": 4, "loss": 2.25},
                "last": {"step": 8, "loss": 2.375},
            },
        },
        "packing": {"strategy": "bfd", "parity": 0.0},
        "recipe": {
            "name": "lamps", "sha256": "e" * 64, "changes": ["train.lr=1e-4"],
            "settings": {
                "method": "lora", "stage": "sft",
                "lora": {"r": 16, "alpha": 32, "dropout": 0.05, "target": "all-linear"},
                "train": {"micro_batch": 1, "grad_accum": 4, "lr": 0.0001},
                "distribution": {"processes": 1},
            },
        },
        "sessions": [
            _session(0, 3, tokens_per_second=None, energy=None),
            _session(3, 8, tokens_per_second=123.4, energy=4200.0),
        ],
        "split": {"rows": 1, "by": "similarity"},
        "steps": {"done": 8, "planned": 8},
        "tokens": {"non_padding": 617, "label": 50},
        "versions": {"python": "3.11.7", "trl": "1.16.0"},
    }  # fmt: skip


def _session(
    start: int, end: int, *, tokens_per_second: float | None, energy: float | None
) -> dict[str, Any]:
    return {
        "from_step": start, "to_step": end, "start": f"2026-11-2{start}T05:00:00+00:00",
        "end": f"2026-11-2{start}T06:00:00+00:00", "energy_joules": energy,
        "peak_memory_bytes": 3800000000, "throughput": {"tokens_per_second": tokens_per_second},
    }  # fmt: skip
