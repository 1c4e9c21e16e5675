"""Tasks on several processes: results in the order of the tasks, no process left behind."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing.connection import wait
from typing import Any, TypeVar

from tqdm import tqdm

from proteinlm_ext.errors import ProteinLMError

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

    Raises:
        ProteinLMError: A worker was killed, which the system does when memory runs out.
    """
    bar = tqdm(total=len(tasks), desc=label, unit="task", disable=None, leave=False)
    done: list[Done] = []
    with bar:
        if workers == 1 or len(tasks) < 2:
            for task in tasks:
                done.append(function(task))
                bar.update()
            return done
        futures: list[Future[Done]] = [_pool(workers).submit(function, task) for task in tasks]
        try:
            for future in futures:
                done.append(future.result())
                bar.update()
        except BrokenProcessPool as error:
            _pool.cache_clear()
            raise ProteinLMError(
                f"A worker was killed while {label}, perhaps for lack of memory. Run the same "
                "command again with fewer --workers: what is finished is kept."
            ) from error
        finally:
            for future in futures:
                future.cancel()
            _wait_for([future for future in futures if not future.cancelled()])
    return done


def _wait_for(futures: Sequence[Future[Any]]) -> None:
    """Wait until nothing runs any more, whatever came of it."""
    for future in futures:
        future.exception()


@cache
def _pool(workers: int) -> ProcessPoolExecutor:
    """Return the pool of this process, made once: every start costs a second of imports.

    Its workers are spawned, not forked: Arrow and DuckDB keep threads that do not survive a fork.
    """
    return ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_end_with_parent
    )


def _end_with_parent() -> None:
    """End this worker when the build is killed: the next one must not meet it."""
    parent: Any = multiprocessing.parent_process()

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
