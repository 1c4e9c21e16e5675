"""The notebook of the documentation runs from its own folder, and shows what it promises."""

import json
from typing import Any

import nbclient
import nbformat
import pytest
from conftest import ROOT

NOTEBOOK = ROOT / "docs" / "python.ipynb"


def shown(notebook: Any) -> str:
    return json.dumps([cell["outputs"] for cell in notebook.cells if cell.cell_type == "code"])


def test_the_notebook_is_stored_without_outputs_and_uses_every_function() -> None:
    import proteinlm_ext as plm

    notebook: Any = nbformat.read(NOTEBOOK, as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells)
    assert shown(notebook).strip("[], ") == ""
    assert [name for name in plm.__all__ if f"plm.{name}(" not in code] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_runs() -> None:
    notebook: Any = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": NOTEBOOK.parent}},
    ).execute()
    said = shown(notebook)
    for expected in ("60 of 60 rows can be scored", "mid-p McNemar", "95% interval", "README.md"):
        assert expected in said
