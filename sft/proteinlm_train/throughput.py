"""How fast a session trains: tokens a second and model FLOPs, without evaluation and saving."""

import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback

from proteinlm_train.devices import peak_flops
from proteinlm_train.flops import CONVENTION, ModelShape, TokenCounts, training_flops

_SKIPPED_STEPS = 3  # warm-up of kernels and caches


class ThroughputCallback(TrainerCallback):
    """Adds up the time from the beginning to the end of optimizer steps, after the first three."""

    def __init__(
        self, *, shape: ModelShape, trainable: int | None, counts: Callable[[], TokenCounts]
    ) -> None:
        """Take the model's shape, its trainable parameters (None: all), and a count of tokens."""
        self._shape, self._counts = shape, counts
        self._trainable = shape.parameters if trainable is None else trainable
        self._steps, self._seconds, self._began = 0, 0.0, 0.0
        self._before: TokenCounts | None = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        del args, state, control
        if self._steps == _SKIPPED_STEPS:
            self._before = self._counts()
        self._began = self._now()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop the clock."""
        del args, state, control
        self._steps += 1
        if self._steps > _SKIPPED_STEPS:
            self._seconds += self._now() - self._began

    def summary(self, counts: TokenCounts, processes: int) -> dict[str, Any]:
        """Return the speed of this session; None where nothing was timed or the peak is unknown.

        Args:
            counts: Tokens until now.
            processes: Over how many devices.
        """
        if self._before is None or not self._seconds:
            return {"steps_timed": 0, "tokens_per_second": None, "mfu": None}
        seen = TokenCounts(*(a - b for a, b in zip(counts, self._before, strict=True)))
        on_cuda = torch.cuda.is_available()
        flops = training_flops(
            self._shape, **seen._asdict(), trainable=self._trainable, on_cuda=on_cuda
        )
        a_second = flops / self._seconds / processes
        peak = peak_flops(torch.cuda.get_device_name(0)) if on_cuda else None
        return {
            "steps_timed": self._steps - _SKIPPED_STEPS,
            "seconds": self._seconds,
            "tokens_per_second": seen.tokens / self._seconds,
            "tokens_per_second_per_device": seen.tokens / self._seconds / processes,
            "label_tokens_per_second": seen.label_tokens / self._seconds,
            "tflops_per_device": a_second / 1e12,
            "mfu": a_second / peak if peak else None,
            "flops_convention": CONVENTION,
        }

    def _now(self) -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()
