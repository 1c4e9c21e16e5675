"""Folders to publish, small and invented, and a Hub on loopback to publish them to."""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from annotation_rows import protein_row, write_rows
from audited import write_audited
from carded import (
    BASE,
    CURVE,
    Sources,
    make_record,
    save_evaluations,
    save_record,
    save_sources,
    sha256,
)
from hub.server import Hub
from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars

from proteinlm_ext.paths import describe_file
from proteinlm_hub.overlay import write_overlay
from proteinlm_hub.push import Order, Outcome, Ready, prepare, publish
from proteinlm_hub.render import write_card
from proteinlm_sft.manifest import file_record
from proteinlm_sft.recipe import Recipe

TEXTS = pa.schema(
    {
        "id": pa.string(),
        "text": pa.string(),
        "license": pa.string(),
        "redistributable": pa.bool_(),
    }
)
READS = ("GET", "HEAD")
FAKE_TOKEN = "hf_" + "QwErTyUiOpAsDfGhJkLzXcVbNmQwErTyUi"


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Hub's client reach loopback, by LFS, and not wait between its own tries."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    for name, value in (("HF_HUB_OFFLINE", False), ("HF_HUB_DISABLE_XET", True)):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
    disable_progress_bars()
    clock = SimpleNamespace(sleep=lambda _: None)
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)


@pytest.fixture
def hub(online: None) -> Iterator[Hub]:
    with Hub(users={"alice": ["acme"], "bob": []}) as started:
        yield started


@pytest.fixture
def api(hub: Hub) -> HfApi:
    return client(hub)


def client(hub: Hub, user: str = "alice") -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=hub.token(user))


@pytest.fixture(scope="session")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Each module that imports a fixture has one of its own; this takes seconds.
    folder = tmp_path_factory.getbasetemp() / "evaluations-to-publish"
    return folder if folder.is_dir() else save_evaluations(folder)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory, evaluations: Path) -> dict[str, Path]:
    """Return a folder of each kind that `push` takes; tests change copies of them."""
    place = tmp_path_factory.mktemp("made")
    model = write_model(place / "model", evaluations)
    return {
        "dataset": write_dataset(place / "dataset"),
        "model": model,
        "overlay": write_benchmark_overlay(place / "overlay"),
        "card": model,
    }


def push(
    api: HfApi,
    order: Order,
    work: Path,
    *,
    wait: Callable[[float], None] = lambda _: None,
    meanwhile: Callable[[], Any] = lambda: None,
) -> Outcome:
    """Prepare and publish; `meanwhile` is done in between."""
    ready = make_ready(api, order, work)
    meanwhile()
    return publish(api, ready, wait=wait)


def make_ready(api: HfApi, order: Order, work: Path) -> Ready:
    number = len(list(work.glob("staged*"))) if work.is_dir() else 0
    return prepare(api, order, work / f"staged{number}")


def writes(hub: Hub) -> list[Any]:
    """Return the requests that could have changed something."""
    return [request for request in hub.requests if request.method not in READS]


def write_dataset(folder: Path) -> Path:
    """Write a built dataset: free rows, texts of which one of three is free, and none of two."""
    rows = {
        split: [
            protein_row("function", f"{letter}0000{n}", "Binds zinc.") | {"license": "CC-BY-4.0"}
            for n in range(count)
        ]
        for split, letter, count in (("train", "P", 4), ("validation", "Q", 1), ("test", "O", 2))
    }
    write_rows(folder, {"function": rows})
    write_texts(folder, "ssl_pmc", ["CC-BY-4.0", "CC-BY-NC-4.0", "unknown"])
    write_texts(folder, "ssl_pubmed", ["publisher", "publisher"])
    (folder / "contamination.jsonl").write_text('{"unit_id": "pubmed:1"}\n')
    recipe = Recipe(name="Lamps", uniprot=("lamps.dat.gz",), release="2025_03")
    counts = {
        "function": {"train": 4, "validation": 1, "test": 2},
        "ssl_pmc": {"train": 3},
        "ssl_pubmed": {"train": 2},
    }
    manifest = {
        "format": 1,
        "name": recipe.name,
        "recipe": recipe.model_dump(mode="json"),
        "versions": {"mmseqs2": "14", "proteinlm-ext": "0.1.0"},
        "inputs": [{"file": "lamps.dat.gz", "sha256": "1" * 64}],
        "nomenclature": {},
        "configs": {
            name: {"read": sum(kept.values()), "kept": kept, "left_out": {}}
            for name, kept in counts.items()
        },
        "files": {
            path.relative_to(folder).as_posix(): file_record(path, pq.read_metadata(path).num_rows)
            for path in sorted(folder.rglob("*.parquet"))
        },
        "lists": {"contamination.jsonl": describe_file(folder / "contamination.jsonl")},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def write_texts(folder: Path, config: str, licences: list[str]) -> None:
    (folder / config).mkdir()
    rows = [
        {
            "id": f"{config}:{n}",
            "text": f"Lamp {n} is lit.",
            "license": licence,
            "redistributable": licence.startswith("CC-BY-4"),
        }
        for n, licence in enumerate(licences)
    ]
    table = pa.Table.from_pylist(rows, TEXTS)
    pq.write_table(table, folder / config / "train-00000-of-00001.parquet", row_group_size=2)


def write_model(
    folder: Path,
    evaluations: Path,
    base: str = BASE,
    licence: str = "apache-2.0",
    beside: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write an adapter with its card, and texts beside it."""
    sources: Sources = save_sources(folder, evaluations)
    config = {"base_model_name_or_path": base, "peft_type": "LORA", "r": 16}
    (sources.model / "adapter_config.json").write_text(json.dumps(config))
    weights = make_weights()
    (sources.model / "adapter_model.safetensors").write_bytes(weights)
    (sources.model / "loss.svg").write_text(CURVE)
    record = make_record(sources.data)
    record["base_model"] |= {"name": base, "license": licence}
    record["artefacts"]["final/adapter_model.safetensors"] = {
        "bytes": len(weights),
        "sha256": sha256(weights),
    }
    save_record(sources.run, record)
    for name, text in beside.items():
        (sources.model / name).write_text(text)
    write_card(sources.model, sources.collect())
    return sources.model


def make_weights(value: int = 0) -> bytes:
    """Return a safetensors file of one tensor."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    header += b" " * (-len(header) % 8)
    out = io.BytesIO()
    out.write(len(header).to_bytes(8, "little") + header + bytes([value]) * 16)
    return out.getvalue()


def write_benchmark_overlay(folder: Path) -> Path:
    """Write the overlay of an invented benchmark."""
    folder.mkdir()
    data, audit = write_audited(folder)
    write_overlay(audit, folder / "overlay", data)
    return folder / "overlay"
