"""README and docs name only what exists, and show what the commands print."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from proteinlm_ext import catalog
from proteinlm_ext.cli import main

PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += [ROOT / "CONTRIBUTING.md", ROOT / "runs" / "paper-scale.md"]
PACKAGES = ("proteinlm_ext", "sft/proteinlm_sft", "sft/proteinlm_train", "cards/proteinlm_hub")
NAMES = {task.name for task in catalog.list_tasks()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_task_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"\bproteinlmbench\w*", page.read_text()))
    assert named <= NAMES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_flag_of_our_command_exists(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = [f"data {name}" for name in ("fetch", "sft", "ssl", "build", "import", "stats", "check")]
    data += [f"train {name}" for name in ("plan", "prepare", "run", "export", "schema")]
    data += [f"card {name}" for name in ("model", "dataset", "benchmark", "check")]
    for command in ("eval", "audit", "compare", "rescore", "quickstart", "tasks", "doctor", *data):
        with pytest.raises(SystemExit):
            main([*command.split(), "--help"])
        known = set(re.findall(r"--[a-z_-]+", capsys.readouterr().out))
        blocks = re.findall(rf"proteinlm {command}\b((?:.*\\\n)*[^`\n]*)", page.read_text())
        assert {flag for block in blocks for flag in re.findall(r"--[a-z_-]+", block)} <= known


def test_the_site_builds_with_every_page_and_every_anchor(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        [*command, "-f", str(ROOT / "mkdocs.yml")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "reference" / "commands" / "index.html").read_text(encoding="utf-8")
    for command in ("proteinlm eval", "proteinlm data build", "proteinlm push"):
        assert f'<h2 id="{command.replace(" ", "-")}">{command}</h2>' in page
    python = (tmp_path / "reference" / "python" / "index.html").read_text(encoding="utf-8")
    assert 'id="proteinlm_ext.api.evaluate"' in python
    architecture = (tmp_path / "architecture" / "index.html").read_text(encoding="utf-8")
    modules = [file for package in PACKAGES for file in (ROOT / package).glob("*.py")]
    assert len(modules) > 150
    assert [file for file in modules if f"<code>{file.name}</code>" not in architecture] == []


def test_the_task_page_has_a_row_for_every_task() -> None:
    page = (ROOT / "docs" / "tasks.md").read_text()
    rows = re.findall(r"^\| `(\w+)`(?:, `(\w+)`)?", page, re.MULTILINE)
    named = {
        name if name.startswith("p") else "proteinlmbench" + name for row in rows for name in row
    }
    assert named >= NAMES


def test_the_readme_fits_its_first_screen() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert lines.index("make quickstart") < 12
    assert "make test" in lines


def test_the_version_is_the_same_everywhere() -> None:
    from proteinlm_ext import __version__

    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_is_wider_than_a_terminal_outside_tables_and_output(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    assert [line for line in text.splitlines() if len(line) > 105 and line[0] != "|"] == []
