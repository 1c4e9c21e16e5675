"""README and docs name only what exists, and show what the commands print."""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

from proteinlm_ext import catalog
from proteinlm_ext.cli import make_parser

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


def commands_of(
    parser: argparse.ArgumentParser, name: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command with its parser, those of a group by both words."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, command in action.choices.items():
                yield from commands_of(command, f"{name} {word}".strip())
    yield name, parser


@pytest.fixture(scope="module")
def flags() -> dict[str, set[str]]:
    """Return the flags of each command, groups and the bare command left out."""
    return {
        name: set(re.findall(r"--[a-z_-]+", parser.format_help()))
        for name, parser in commands_of(make_parser(["eval"]))
        if name not in ("", "data", "train", "card")
    }


def test_the_commands_whose_flags_are_compared_are_all(flags: dict[str, set[str]]) -> None:
    assert {"eval", "data sft", "train export", "card check", "push"} <= set(flags)
    assert len(flags) >= 25


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_flag_of_our_command_exists(page: Path, flags: dict[str, set[str]]) -> None:
    for command, known in flags.items():
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
    for package in PACKAGES:
        _, _, table = architecture.partition(f">{package.rpartition('/')[2]}</h3>")
        rows = re.findall(r"<td><code>(\w+\.py)</code></td>", table.partition("</table>")[0])
        assert rows == sorted(file.name for file in (ROOT / package).glob("*.py"))


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
