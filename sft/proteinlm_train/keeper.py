"""Keeps the record of a run: facts at the start, progress at every save, results at the end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import TrainerState

from proteinlm_train.base_model import load_config, tokenizer_hashes
from proteinlm_train.devices import describe_hardware, energy_joules, peak_memory_bytes
from proteinlm_train.flops import model_shape
from proteinlm_train.provenance import describe_decontamination, describe_split, read_ancestor
from proteinlm_train.record import (
    SCHEMA_VERSION,
    describe_code,
    describe_recipe,
    hash_files,
    library_versions,
    list_artefacts,
    now,
    public_name,
    summarise_losses,
    write_record,
)
from proteinlm_train.session import Session
from proteinlm_train.step_log import read_log
from proteinlm_train.throughput import ThroughputCallback

WEIGHTS = ("config.json", "*.safetensors", "pytorch_model*.bin")
_ARTEFACTS = ("final", "log.jsonl", "loss.svg", "recipe.yaml", "README.md")


def describe_run(session: Session, changes: Sequence[str]) -> dict[str, Any]:
    """Return what is known of a run before its first step, as the record says it.

    Raises:
        UsageError: A source has no record of decontamination, and the recipe does not waive it.
    """
    recipe, prepared, model = session.recipe, session.prepared, session.trainer.model
    counts = prepared["splits"]["train"]["counts"]
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    ancestor = read_ancestor(session.weights)
    sources = [
        {
            "path": public_name(source.path), "configs": list(source.configs),
            "split": source.split, "revision": source.revision, "weight": source.weight,
            "max_rows": source.max_rows,
        } | said
        for source, said in zip(recipe.data.sources, prepared["sources"], strict=True)
    ]  # fmt: skip
    return {
        "schema_version": SCHEMA_VERSION,
        "name": recipe.name,
        "recipe": describe_recipe(recipe, changes),
        "code": describe_code(),
        "versions": library_versions(),
        "hardware": describe_hardware(),
        "base_model": {
            "name": session.located.name,
            "revision": session.located.revision,
            "license": recipe.model.license,
            "files": hash_files(session.weights, WEIGHTS) if session.weights else {},
            "parameters": sum(p.numel() for p in model.parameters())
            - (trainable if recipe.adapter else 0),
            "trainable": trainable,
            "trained_by": ancestor,
        },
        "tokenizer": tokenizer_hashes(session.tokenizer),
        "data": {
            "fingerprint": prepared["fingerprint"],
            "sources": sources,
            "residues": recipe.data.residues,
            "overlong": recipe.data.overlong,
            "cropped": {"rows": counts["cropped"], "residues": counts["residues_cut"]},
            "tokens_per_epoch": prepared["splits"]["train"]["tokens"],
            "label_tokens_per_epoch": prepared["splits"]["train"]["labels"],
            "packed_rows": prepared["splits"]["train"]["rows"],
        },
        "decontamination": describe_decontamination(recipe, prepared, ancestor),
        "split": describe_split(recipe, prepared),
        "packing": {"strategy": recipe.packing, "parity": session.parity},
    }


class RecordKeeper(TrainerCallback):
    """Writes the record while the trainer trains; on the first process alone."""

    def __init__(
        self, session: Session, facts: Mapping[str, Any], earlier: Mapping[str, Any] | None,
        changed: Sequence[str],
    ) -> None:  # fmt: skip
        """Begin a session in the record; earlier sessions stay in it."""
        trainer = session.trainer
        self._trainer, self._folder = trainer, Path(session.recipe.run.output_dir)
        self._energy = energy_joules(trainer.accelerator.num_processes)
        lora = session.recipe.adapter
        self.throughput = ThroughputCallback(
            shape=model_shape(
                load_config(session.recipe.model, session.located),
                trust_remote_code=session.recipe.model.trust_remote_code,
            ),
            trainable=facts["base_model"]["trainable"] if lora else None,
            counts=trainer.token_counts,
        )
        self._session: dict[str, Any] = {
            "start": now(), "end": None, "from_step": 0, "to_step": 0,
            "resumed_from": session.checkpoint.name if session.checkpoint else None,
            "forced": list(changed), "processes": trainer.accelerator.num_processes,
            "wrapper": None,
        }  # fmt: skip
        before = list(earlier["sessions"]) if earlier else []
        self.record: dict[str, Any] = {
            **facts, "status": "running", "sessions": [*before, self._session],
        }  # fmt: skip

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note where the session begins."""
        del args, control
        self._session["from_step"] = state.global_step
        self.update()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write what is known after a checkpoint."""
        del args, state, control
        self.update()

    def restore(self, checkpoint: Path) -> None:
        """Take the state of a run whose last step is done from its last checkpoint."""
        self._trainer.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        self._session["from_step"] = self._trainer.state.global_step

    def finish(self, final_from: str) -> None:
        """Write the last word on a run that is done; every process must call it."""
        self.record |= {"status": "finished", "final_from": final_from}
        if self._trainer.is_world_process_zero():
            self.record["artefacts"] = list_artefacts(self._folder, _ARTEFACTS)
        self.update()

    def stop(self, status: str) -> None:
        """Write the last word on a run that is not: stopped or failed.

        Other processes may be anywhere, so progress stays as the last save told it.
        """
        self.record["status"] = status
        self._session["end"] = now()
        if self._trainer.is_world_process_zero():
            write_record(self._folder, self.record)

    def update(self) -> None:
        """Bring progress and results up to date; every process must call it at the same step."""
        trainer, state = self._trainer, self._trainer.state
        counts = trainer.token_counts()
        if not trainer.is_world_process_zero():
            return
        used = energy_joules(trainer.accelerator.num_processes)
        self._session |= {
            "end": now(),
            "to_step": state.global_step,
            "wrapper": type(trainer.model_wrapped).__name__,
            "peak_memory_bytes": peak_memory_bytes(),
            "energy_joules": None if used is None or self._energy is None else used - self._energy,
            "throughput": self.throughput.summary(),
        }
        self.record |= {
            "steps": {"done": state.global_step, "planned": state.max_steps},
            "epochs": state.epoch,
            "tokens": {"non_padding": counts.tokens, "label": counts.label_tokens},
            "losses": summarise_losses(read_log(self._folder / "log.jsonl")),
            "stopped_early": bool(trainer.control.should_training_stop)
            and not trainer.was_interrupted()
            and 0 < state.global_step < state.max_steps,
        }
        write_record(self._folder, self.record)
