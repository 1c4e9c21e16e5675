"""TRL's SFTTrainer on prepared rows: what it does not do, and nothing else.

Held-out loss per label token instead of per batch, a stop at the first loss that is no number or
zero, counts that survive a resume, a mark on checkpoints that are whole, and no card over ours.
"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from trl.trainer.sft_trainer import SFTTrainer

from proteinlm_ext.errors import ProteinLMError
from proteinlm_ext.paths import write_text
from proteinlm_train.flops import TokenCounts

if TYPE_CHECKING:
    from collections.abc import Callable

WHOLE = "whole.json"
"""Written last into a checkpoint: what was seen until then. Without it a checkpoint is not used."""


class BadLossError(ProteinLMError):
    """The loss is no number, or zero; all processes raise it together."""

    def __init__(self, loss: float, place: str, rows: list[int]) -> None:
        """Keep this process's packed rows, whose documents the caller can look up."""
        super().__init__(f"The loss is {loss} in {place}")
        self.rows = rows


class ProteinTrainer(SFTTrainer):
    """Trains on packed rows that carry their number in `row`."""

    def __init__(self, *arguments: Any, counted: TokenCounts, **options: Any) -> None:
        """Take TRL's arguments, and what earlier sessions counted."""
        super().__init__(*arguments, **options)
        self._total_train_tokens = counted.tokens  # of the log's num_tokens, by TRL
        self._before = counted
        self._seen: Any = torch.zeros(3, dtype=torch.float64)
        self._held_out: Any = torch.zeros(2, dtype=torch.float64)
        self.was_interrupted: Callable[[], bool] = lambda: False
        self.data_collator = _WithRows(self.data_collator)

    def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        """Return TRL's loss, after a look at it."""
        rows = inputs.pop("row")
        labels = int((inputs["labels"][..., 1:] != -100).sum())
        compute: Any = super().compute_loss
        loss: Any = compute(model, inputs, *arguments, **options)
        value: Any = loss[0] if options.get("return_outputs") else loss
        if not model.training:
            # Without num_items_in_batch TRL's loss is the mean over the batch's labels. Rows that
            # were repeated to fill the last batch of all processes are cut off again.
            mine = torch.tensor([[float(value.detach()) * labels, float(labels)]])
            accelerator: Any = self.accelerator
            self._held_out += (
                accelerator.gather_for_metrics(mine.to(accelerator.device)).sum(0).cpu()
            )
            return loss
        number = float(value.detach())
        # Packing `wrapped` makes rows without a label, whose loss is rightly zero.
        bad = not math.isfinite(number) or (number == 0 and labels > 0)
        if self._summed(torch.tensor([float(bad)]))[0]:
            place = f"step {self.state.global_step + 1}"
            raise BadLossError(number, place, rows.tolist() if bad else [])
        lengths = inputs["cu_seq_lens_q"].diff().double()
        self._seen += torch.tensor([float(lengths.sum()), labels, float((lengths**2).sum())])
        return loss

    def evaluation_loop(self, *arguments: Any, **options: Any) -> Any:
        """Return the loop's result with the loss as a mean over label tokens, not over batches."""
        self._held_out.zero_()
        output = super().evaluation_loop(*arguments, **options)
        total, labels = self._held_out.tolist()
        if not math.isfinite(total):
            raise BadLossError(total, f"the validation after step {self.state.global_step}", [])
        prefix = options.get("metric_key_prefix", "eval")
        cast("Any", output).metrics[f"{prefix}_loss"] = total / max(labels, 1)
        return output

    def token_counts(self) -> TokenCounts:
        """Return what was seen; every process must call it at the same step."""
        seen = [int(value) for value in self._summed(self._seen)]
        return TokenCounts(*(a + b for a, b in zip(self._before, seen, strict=True)))

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write nothing: the run's README is ours."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # FSDP gathers tied weights once for each of their names; they are saved under one.
        accelerator: Any = self.accelerator
        tied = getattr(accelerator.unwrap_model(self.model), "all_tied_weights_keys", {})
        if state_dict:
            state_dict = {name: each for name, each in state_dict.items() if name not in tied}
        super()._save(output_dir, state_dict)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        counts = self.token_counts()
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
            state: Any = self.state
            control = cast("Any", self.control)
            stopping = bool(control.should_training_stop) and not self.was_interrupted()
            at_end = stopping or bool(state.global_step >= state.max_steps)
            best: str | None = (
                state.best_model_checkpoint if self.args.load_best_model_at_end else None
            )
            said = {"at_end": at_end, "final": Path(best).name if best else folder.name}
            write_text(folder / WHOLE, json.dumps(said | counts._asdict(), sort_keys=True))
        self.accelerator.wait_for_everyone()

    def _summed(self, values: Any) -> list[float]:
        accelerator: Any = self.accelerator
        if accelerator.num_processes > 1:
            values = accelerator.reduce(values.to(accelerator.device), "sum")
        return values.tolist()


class _WithRows:
    """TRL's collator, which drops what it does not know, and the numbers of the packed rows."""

    def __init__(self, collator: Any) -> None:
        self._collator = collator

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = self._collator(examples)
        return batch | {"row": torch.tensor([example["row"] for example in examples])}


def last_whole_checkpoint(folder: Path) -> Path | None:
    """Return the latest checkpoint that was finished, or None."""
    found = [path for path in folder.glob("checkpoint-*") if (path / WHOLE).is_file()]
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def counts_of(checkpoint: Path | None) -> TokenCounts:
    """Return what was seen until a checkpoint."""
    if checkpoint is None:
        return TokenCounts(0, 0, 0)
    said = read_mark(checkpoint)
    return TokenCounts(*(said[name] for name in TokenCounts._fields))


def read_mark(checkpoint: Path) -> dict[str, Any]:
    """Return what `whole.json` says: counts, whether the run ends here, and the final weights.

    `final` is the name of the checkpoint whose weights count if it does: with early stopping the
    best one.
    """
    found: dict[str, Any] = json.loads((checkpoint / WHOLE).read_text(encoding="utf-8"))
    return found
