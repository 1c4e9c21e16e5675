"""Tasks on several processes: results in the order of the tasks, no process left behind."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Any, TypeVar

from tqdm import tqdm

Task = TypeVar("Task")
Done = TypeVar("Done")


def run_tasks(
    function: Callable[[Task], Done], tasks: Sequence[Task], workers: int, label: str
) -> list[Done]:
    """Run a function of a module on each task and return the results in the tasks' order.

    With one worker all runs in this process. The first error ends the run: tasks not yet begun
    are cancelled.

    Args:
        function: Picklable, as are the tasks.
        tasks: What to run; the order decides the order of the results alone.
        workers: Processes at most.
        label: What the progress bar says.
    """
    bar = tqdm(total=len(tasks), desc=label, unit="task", disable=None, leave=False)
    done: list[Done] = []
    with bar:
        if workers == 1 or len(tasks) < 2:
            for task in tasks:
                done.append(function(task))
                bar.update()
            return done
        # Spawned, not forked: Arrow and DuckDB keep threads that do not survive a fork.
        pool = ProcessPoolExecutor(
            min(workers, len(tasks)), multiprocessing.get_context("spawn"), _end_with_parent
        )
        try:
            futures = [pool.submit(function, task) for task in tasks]
            for future in futures:
                done.append(future.result())
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)
    return done


def _end_with_parent() -> None:
    """End this worker when the build is killed: the next one must not meet it."""
    parent: Any = multiprocessing.parent_process()

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
