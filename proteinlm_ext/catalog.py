"""Our tasks, read from their YAML: name, version, protocol, tag."""

from typing import NamedTuple

from proteinlm_ext.paths import tasks_dir


class TaskEntry(NamedTuple):
    """One task as `proteinlm tasks` lists it."""

    name: str
    version: str
    protocol: str
    tag: str | None
    path: str


def list_tasks() -> list[TaskEntry]:
    """Return our tasks by name, as lm-eval's own index finds them.

    A YAML that lm-eval cannot read is missing here; the tests compare this list with the files.
    """
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=tasks_dir(), include_defaults=False)
    entries: list[TaskEntry] = []
    for name in manager.all_subtasks:
        entry = manager.task_index[name]
        config = entry.cfg or {}
        entries.append(
            TaskEntry(
                name=name,
                version=str(config["metadata"]["version"]),
                protocol=config["metadata"]["protocol"],
                tag=config.get("tag"),
                path=str(entry.yaml_path),
            )
        )
    return entries
