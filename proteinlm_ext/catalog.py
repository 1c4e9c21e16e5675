"""Our tasks and suites, read from their YAML: name, version, protocol, tag."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from proteinlm_ext.paths import tasks_dir


class TaskEntry(NamedTuple):
    """One task or suite as `proteinlm tasks` lists it; of several tags all are in `tag`."""

    name: str
    version: str
    protocol: str
    tag: str | None
    path: str


def list_tasks() -> list[TaskEntry]:
    """Return our tasks by name, then our suites, as lm-eval's own index finds them.

    A YAML that lm-eval cannot read is missing here; the tests compare this list with the files.
    """
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=tasks_dir(), include_defaults=False)
    entries: list[TaskEntry] = []
    for name in manager.all_subtasks + manager.all_groups:
        entry = manager.task_index[name]
        config = entry.cfg or {}
        suite = name in manager.all_groups
        tags: str | list[str] | None = config.get("tag")
        entries.append(
            TaskEntry(
                name=name,
                version=str(config["metadata"]["version"]),
                protocol=_size(config["task"]) if suite else config["metadata"]["protocol"],
                tag=", ".join(tags) if isinstance(tags, list) else tags,
                path=str(entry.yaml_path),
            )
        )
    return entries


def _size(tasks: Sequence[Any]) -> str:
    return f"suite of {len(tasks)} lm-eval task{'s' if len(tasks) > 1 else ''}"


def suites() -> dict[str, tuple[str, ...]]:
    """Return the names of the tasks in each suite, read from its YAML alone."""
    import yaml

    found: dict[str, tuple[str, ...]] = {}
    for file in sorted((tasks_dir() / "proteinlm_suites").glob("*.yaml")):
        group: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        members: list[Any] = group["task"]
        found[group["group"]] = tuple(
            member if isinstance(member, str) else member["task"] for member in members
        )
    return found
