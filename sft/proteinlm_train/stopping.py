"""Ends of a run that are not its last step: signals, and a wrapper that is not the recipe's."""

import signal
from typing import Any

import torch
from transformers import ProgressCallback, TrainerCallback

from proteinlm_ext.errors import ProteinLMError
from proteinlm_train.recipe import Recipe

_WRAPPERS = {
    "none": "the model itself",
    "ddp": "DistributedDataParallel",
    "fsdp2": "FSDPModule",
}


class StopOnSignal(TrainerCallback):
    """Saves and stops after the step in which SIGTERM or Ctrl-C came, on all processes alike."""

    def __init__(self, accelerator: Any) -> None:
        """Install the handlers; `restore` takes them off. A second signal ends the process."""
        self.received: int | None = None
        self._accelerator = accelerator
        self._earlier = {
            number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)
        }

    def restore(self) -> None:
        """Put the earlier handlers back."""
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint and the end if any process was signalled."""
        del args, state
        told = torch.tensor(float(self.received or 0), device=self._accelerator.device)
        if self._accelerator.num_processes > 1:
            told = self._accelerator.reduce(told, "sum")
        if float(told):
            self.received = self.received or signal.SIGTERM
            control.should_save = control.should_training_stop = True

    def _note(self, number: int, _: Any) -> None:
        if self.received:
            self.restore()
            raise KeyboardInterrupt
        self.received = number


class RequireWrapper(TrainerCallback):
    """Checks at the first step that the model is trained in the way the recipe asks for."""

    def __init__(self, recipe: Recipe, trainer: Any) -> None:
        """Keep what is compared."""
        self._strategy, self._trainer = recipe.distribution.strategy, trainer
        self.wrapper: str | None = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Compare once.

        Raises:
            ProteinLMError: The wrapper is another one; a launch that went wrong says nothing.
        """
        del args, state, control
        if self.wrapper is not None:
            return
        found = live_strategy(self._trainer.model_wrapped)
        self.wrapper = type(self._trainer.model_wrapped).__name__
        if found != self._strategy:
            raise ProteinLMError(
                f"distribution.strategy is {self._strategy} ({_WRAPPERS[self._strategy]}), but the "
                f"trainer runs {found}: {self.wrapper}. See docs/train.md for the launch."
            )


def live_strategy(model: Any) -> str:
    """Return which strategy the wrapped model shows."""
    from torch.distributed.fsdp import FSDPModule
    from torch.nn.parallel import DistributedDataParallel

    if isinstance(model, DistributedDataParallel):
        return "ddp"
    return "fsdp2" if isinstance(model, FSDPModule) else "none"


class Bar(ProgressCallback):
    """The progress bar of transformers with the loss beside it, and no logs printed through it."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Show the latest loss."""
        del args, control
        if state.is_world_process_zero and self.training_bar is not None and "loss" in (logs or {}):
            self.training_bar.set_postfix(loss=f"{float(logs['loss']):.4f}")
