"""Batches of answers, from a store where it has them and computed where it has not."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from proteinlm_ext.answer_store import AnswerStore


def digest(*parts: Any) -> str:
    """Return the sha256 of JSON-able parts."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Resumable:
    """Answers of one evaluation.

    A finished batch is what a resumed run reads: its answers are the same to the last bit. Answers
    that other batches gave before this run are used too, but they may differ in the last bits, and
    are counted apart.

    Args:
        store: None keeps the answers in memory.
        machine: What the last bits depend on, besides the model and the batch.
    """

    def __init__(self, store: AnswerStore | None = None, machine: Mapping[str, Any] | None = None):
        self.store, self.machine = store, dict(machine or {})
        self.counts = Counter(computed=0, resumed=0, reused=0)
        self._before: dict[str, Any] = {}
        self._now: dict[str, Any] = {}

    def begin(self, keys: Sequence[str]) -> None:
        """Look up what is known before anything is computed."""
        self._before = self.store.known(keys) if self.store else {}
        self._now = {}

    def note(self, key: str) -> None:
        """Let later runs recall something."""
        if self.store:
            self.store.save({key: True})

    def recalls(self, key: str) -> bool:
        """Tell whether this or an earlier run noted it."""
        return self.store is not None and key in self.store.known([key])

    def answer(
        self, plan: Any, keys: Sequence[str], compute: Callable[[list[int]], Sequence[Any]]
    ) -> list[Any]:
        """Return the answers of a batch.

        Args:
            plan: What the last bits depend on besides the requests of the batch, JSON-able.
            keys: Of the requests in the batch.
            compute: Answers those requests whose indices it gets, in their order.
        """
        batch = digest(self.machine, plan, keys)
        if self.store and (saved := self.store.batch(batch)) is not None:
            reused = saved.pop("reused")
            self.counts.update(resumed=len(keys) - reused, reused=reused)
            self._now |= saved
            return [saved[key] for key in keys]
        found = {key: self._before[key] for key in keys if key in self._before}
        found |= {key: self._now[key] for key in keys if key in self._now}
        missing = [index for index, key in enumerate(keys) if key not in found]
        computed: Sequence[Any] = compute(missing) if missing else ()
        reused = sum(key in self._before and key not in self._now for key in keys)
        self.counts.update(computed=len(missing), reused=reused)
        found |= {keys[index]: value for index, value in zip(missing, computed, strict=True)}
        if self.store:
            self.store.save(found, batch=batch, reused=reused)
        self._now |= found
        return [found[key] for key in keys]
