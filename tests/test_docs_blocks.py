"""The commands of the tutorials and how-to pages run as they stand, or the page says why not."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import ROOT
from hub.server import Hub
from tiny_models import save_model, save_tokenizer
from trained import TEMPLATE

from proteinlm_ext.paths import data_file

DOCS = ROOT / "docs"
# Each goes on from the one before, in one folder.
TUTORIALS = [DOCS / "tutorials" / f"{name}.md" for name in
             ("evaluate", "compare", "fine-tune", "publish", "whole-loop")]  # fmt: skip
HOW_TO = sorted((DOCS / "how-to").glob("*.md"))
PAGES = [*TUTORIALS, *HOW_TO]
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>run|not run: [^>]+?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

pytestmark = pytest.mark.slow


class Block(NamedTuple):
    """A block of a page; without a mark it is an oversight."""

    mark: str | None
    language: str
    code: str


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(each["mark"], each["language"], each["code"]) for each in found]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What a reader has: two models, the questions, an account on a Hub, an empty folder."""
    folder = tmp_path_factory.mktemp("docs")
    for seed, name in enumerate(("model", "other")):
        save_model(folder / name, "llama", seed=seed, max_position_embeddings=8192)
        save_tokenizer(folder / name, chat_template=TEMPLATE)
    (folder / "empty").mkdir()
    with Hub() as hub:
        given = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        yield given | hub.environment("alice") | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PROTEINLM_DATA": str(data_file("sample.json")),
            "MODEL": str(folder / "model"),
            "OTHER": str(folder / "other"),
            "BASE_ID": "acme/base",
            "OWNER": "acme",
            "PWD": str(folder / "empty"),
        }  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    found = blocks(page)
    assert found
    assert page.read_text(encoding="utf-8").count("\n```") == 2 * len(found)
    for block in found:
        assert block.mark, block.code
        assert block.language in ("sh", "python"), block.code


def test_every_page_is_looked_at() -> None:
    assert {*DOCS.glob("tutorials/*"), *DOCS.glob("how-to/*")} == set(PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_run_in_their_order(page: Path, desk: dict[str, Any]) -> None:
    for block in blocks(page):
        if block.mark != "run":
            continue
        shell = ["bash", "-euo", "pipefail", "-c", block.code]
        command = shell if block.language == "sh" else [sys.executable, "-c", block.code]
        done = subprocess.run(command, cwd=desk["PWD"], env=desk, capture_output=True, text=True)
        assert done.returncode == 0, f"{block.code}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
