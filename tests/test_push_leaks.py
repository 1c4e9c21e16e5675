"""Whatever leak is planted in what is pushed: it is refused before the first byte is sent."""

import shutil
from pathlib import Path

import pytest
from hub.server import Hub
from huggingface_hub import HfApi
from published import api as api
from published import evaluations as evaluations
from published import folders as folders
from published import hub as hub
from published import make_ready, writes
from published import online as online
from test_scan import LEAKS, TOKENS, Leak
from test_scan import machine as machine

from proteinlm_ext.errors import ProteinLMError
from proteinlm_ext.paths import describe_file
from proteinlm_hub.push import Order
from proteinlm_hub.staging import MANIFEST, read_manifest, write_json

PLANTED = {name: leak for name, leak in LEAKS.items() if not leak.path.startswith("pull_request/")}


@pytest.mark.parametrize("leak", PLANTED.values(), ids=PLANTED)
def test_a_planted_leak_is_refused_before_anything_is_sent(
    api: HfApi, hub: Hub, folders: dict[str, Path], tmp_path: Path, leak: Leak
) -> None:
    folder = shutil.copytree(folders[leak.kind], tmp_path / "copy")
    name = {"model.safetensors": "adapter_model.safetensors"}.get(leak.path, leak.path)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(leak.content)
    if name == "contamination.jsonl":  # as if the build itself had put it there
        manifest = read_manifest(folder)
        write_json(folder / MANIFEST, manifest | {"lists": {name: describe_file(path)}})
    with pytest.raises(ProteinLMError) as caught:
        make_ready(api, Order(folder=folder, kind=leak.kind, repo_id="acme/lamps"), tmp_path)
    assert name.split("/")[0] in str(caught.value)
    assert f"[{leak.rule}]" in str(caught.value)
    assert not [secret for secret in TOKENS.values() if secret in str(caught.value)]
    assert writes(hub) == []


def test_there_are_more_than_thirty_leaks() -> None:
    assert len(PLANTED) > 30
    held = {leak.path.rsplit(".", 1)[-1] for leak in PLANTED.values()}
    assert {"json", "safetensors", "ipynb", "parquet", "jsonl", "zip"} <= held
