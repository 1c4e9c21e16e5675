"""How fast a session trains: tokens a second and the share of the device's peak, measured.

The clock runs from the beginning of a step to the next pause (a log, an evaluation, a checkpoint)
and stands still during it. The first steps, which allocate and compile, are left out.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback

from proteinlm_train.devices import peak_flops, peak_memory_bytes
from proteinlm_train.flops import CONVENTION, ModelShape, TokenCounts, training_flops

SKIPPED_STEPS = 3
_NOTHING = TokenCounts(0, 0, 0)


class ThroughputCallback(TrainerCallback):
    """Adds speeds to the log and sums them up for the record.

    Add it before callbacks that write the log.
    """

    def __init__(
        self, *, shape: ModelShape, trainable: int | None, counts: Callable[[], TokenCounts]
    ) -> None:
        """Take what the work of a token depends on.

        Args:
            shape: The model without adapter.
            trainable: The adapter's parameters, None in full training.
            counts: Returns what all processes have trained on until now. It is called on every
                process at the same steps, at each pause.
        """
        self._shape, self._counts = shape, counts
        self._trainable = shape.parameters if trainable is None else trainable
        self._on_cuda = torch.cuda.is_available()
        self._peak = peak_flops(torch.cuda.get_device_name()) if self._on_cuda else None
        self._devices, self._steps = 1, 0
        self._started: float | None = None
        self._until = _NOTHING
        self._whole, self._recent = _Stretch(), _Stretch()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note how many devices work together."""
        del state, control
        self._devices = max(1, args.world_size)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock after a pause."""
        del args, state, control
        if self._started is None and self._steps >= SKIPPED_STEPS:
            self._started = self._now()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop the clock before a pause; transformers has decided on it by now."""
        del args, state
        self._steps += 1
        if self._steps == SKIPPED_STEPS:
            self._until = self._counts()
        pause = control.should_log or control.should_evaluate or control.should_save
        if self._started is None or not (pause or control.should_training_stop):
            return
        seconds, self._started = self._now() - self._started, None
        before, self._until = self._until, self._counts()
        for stretch in (self._whole, self._recent):
            stretch.add(seconds, before, self._until)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Add the speeds since the last log to the log of a training loss."""
        del args, state, control
        if logs is None or "loss" not in logs:
            return
        if self._recent.seconds:
            logs |= self._speeds(self._recent)
        logs["peak_memory_bytes"] = peak_memory_bytes()
        self._recent = _Stretch()

    def summary(self) -> dict[str, Any]:
        """Return the session's speeds; None where nothing was measured, or the peak is not known.

        Tokens are without padding and of all processes; `mfu` is the share of the dense bfloat16
        peak; `peak_memory_bytes` is this process's.
        """
        return self._speeds(self._whole) | {
            "seconds": self._whole.seconds,
            "tokens": self._whole.counts.tokens,
            "devices": self._devices,
            "peak_memory_bytes": peak_memory_bytes(),
            "convention": CONVENTION,
        }

    def _speeds(self, stretch: "_Stretch") -> dict[str, float | None]:
        seconds, (tokens, label_tokens, squared_lengths) = stretch.seconds, stretch.counts
        names = ("tokens_per_second", "tokens_per_second_per_device", "label_tokens_per_second",
                 "tflops_per_device", "mfu")  # fmt: skip
        if not seconds:
            return dict.fromkeys(names)
        flops = training_flops(
            self._shape, tokens=tokens, label_tokens=label_tokens, squared_lengths=squared_lengths,
            trainable=self._trainable, on_cuda=self._on_cuda,
        ) / seconds / self._devices  # fmt: skip
        mfu = flops / self._peak if self._peak else None
        each = tokens / seconds / self._devices
        values = (tokens / seconds, each, label_tokens / seconds, flops / 1e12, mfu)
        return dict(zip(names, values, strict=True))

    def _now(self) -> float:
        if self._on_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


class _Stretch:
    """Seconds of training, and what was trained on in them."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.counts = _NOTHING

    def add(self, seconds: float, before: TokenCounts, until: TokenCounts) -> None:
        self.seconds += seconds
        self.counts = TokenCounts(
            *(c + u - b for c, u, b in zip(self.counts, until, before, strict=True))
        )
