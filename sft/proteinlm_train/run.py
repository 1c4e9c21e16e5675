"""`run`: train by a recipe, from where the last session stopped, and keep the record."""

import logging
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from transformers import EarlyStoppingCallback, ProgressCallback

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.paths import write_text
from proteinlm_train.base_model import locate
from proteinlm_train.export import clean_folder, export
from proteinlm_train.keeper import RecordKeeper, describe_run
from proteinlm_train.loss_curve import draw_loss
from proteinlm_train.prepare import TRAIN
from proteinlm_train.recipe import Recipe
from proteinlm_train.record import read_record
from proteinlm_train.resume import check_resume
from proteinlm_train.session import Session, open_session, prepared_folder
from proteinlm_train.shards import find_documents
from proteinlm_train.step_log import StepLog, read_log
from proteinlm_train.stopping import Bar, RequireWrapper, StopOnSignal
from proteinlm_train.trainer import BadLossError, last_whole_checkpoint

logger = logging.getLogger("proteinlm_train")


def check_world(recipe: Recipe) -> None:
    """Compare the launched processes with the recipe, before anything is loaded.

    Raises:
        UsageError: They differ.
    """
    live, wanted = int(os.environ.get("WORLD_SIZE", "1")), recipe.distribution.processes
    if live != wanted:
        raise UsageError(
            f"distribution.processes is {wanted}, and {live} process{'es' * (live > 1)} "
            f"{'were' if live > 1 else 'was'} launched. Run `torchrun --nproc_per_node {wanted} -m "
            "proteinlm_ext train run RECIPE` (several nodes: docs/train.md), or set "
            f"distribution.processes={live}."
        )


def train(
    recipe: Recipe, *, changes: Sequence[str] = (), force_resume: bool = False, workers: int = 1
) -> Path:
    """Train to the end of the recipe, or until a signal, and return the run's folder.

    A run that is finished is left as it is. One that was killed goes on from its last whole
    checkpoint, to the same weights as without the kill (on one CPU process; not claimed for GPUs).

    Args:
        recipe: The recipe.
        changes: What `--set` changed in it, for the record.
        force_resume: Go on although recipe, data, tokenizer or code changed.
        workers: Processes of the preparation.

    Raises:
        UsageError: The recipe cannot be run here, or the folder holds another run.
        ProteinLMError: A loss was no number or zero, or the launch is not the recipe's.
        KeyboardInterrupt: SIGTERM or Ctrl-C came; the state was saved.
    """
    check_world(recipe)
    folder = Path(recipe.run.output_dir)
    earlier = read_record(folder)
    checkpoint = last_whole_checkpoint(folder) if earlier else None
    session = open_session(recipe, checkpoint, workers)
    facts = describe_run(session, changes)
    changed = check_resume(earlier, facts, str(folder), force=force_resume) if earlier else []
    if earlier and earlier["status"] == "finished" and not changed:
        logger.warning("%s is finished; nothing is left to do.", folder)
        return folder
    keeper = RecordKeeper(session, facts, earlier, changed)
    signals = StopOnSignal(session.trainer.accelerator)
    try:
        _train(session, keeper, signals)
    except BadLossError as error:
        keeper.end("failed")
        ids = find_documents(prepared_folder(recipe), TRAIN, error.rows)
        raise ProteinLMError(
            f"{error}, with the rows {', '.join(ids)}. Look at them, lower train.lr, or use "
            f"train.precision: fp32. The last checkpoint is kept in {folder}."
        ) from error
    finally:
        signals.restore()
    if signals.received:
        keeper.end("stopped")
        raise KeyboardInterrupt
    if session.trainer.is_world_process_zero():
        for saved in folder.glob("checkpoint-*"):
            clean_folder(saved, base_name=session.located.name, revision=session.located.revision)
        write_text(folder / "loss.svg", draw_loss(read_log(folder / "log.jsonl"), recipe.name))
    keeper.end("finished")
    return folder


def _train(session: Session, keeper: RecordKeeper, signals: StopOnSignal) -> None:
    trainer, recipe = session.trainer, session.recipe
    folder = Path(recipe.run.output_dir)
    if trainer.is_world_process_zero():
        settings = yaml.safe_dump(recipe.model_dump(mode="json", by_alias=True), sort_keys=False)
        write_text(folder / "recipe.yaml", settings)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Bar())
    trainer.add_callback(RequireWrapper(recipe, trainer))
    trainer.add_callback(keeper.throughput)
    trainer.add_callback(signals)
    trainer.add_callback(StepLog(folder / "log.jsonl"))
    if recipe.run.early_stopping_patience:
        trainer.add_callback(EarlyStoppingCallback(recipe.run.early_stopping_patience))
    trainer.add_callback(keeper)
    trainer.train(resume_from_checkpoint=str(session.checkpoint) if session.checkpoint else None)
    if not signals.received:
        save_final(session)


def save_final(session: Session) -> None:
    """Write `final/`: adapter or model, tokenizer, nothing of this machine; whole or not at all."""
    trainer = session.trainer
    folder = Path(session.recipe.run.output_dir)
    if trainer.is_fsdp_enabled:  # the sharded form would save nothing here
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    unfinished = folder / ".final"
    if trainer.is_world_process_zero():
        shutil.rmtree(unfinished, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(unfinished))
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        clean_folder(unfinished, base_name=session.located.name, revision=session.located.revision)
        shutil.rmtree(folder / "final", ignore_errors=True)
        unfinished.rename(folder / "final")
    trainer.accelerator.wait_for_everyone()


def export_run(recipe: Recipe, out: Path, *, merge: bool, dtype: str) -> list[Path]:
    """Export the model that a recipe's run has made.

    Raises:
        UsageError: The run is not finished.
    """
    folder = Path(recipe.run.output_dir)
    record = read_record(folder)
    if record is None or record["status"] != "finished":
        raise UsageError(f"{folder} holds no finished run of {recipe.name}. Run it first.")
    located = locate(recipe.model)
    return export(
        folder / "final", out, base=located.path, revision=located.revision, merge=merge,
        dtype=dtype, base_name=located.name, base_sha256=record["base_model"]["files"],
    )  # fmt: skip


def leave(status: int) -> None:
    """End a process of several at once: gloo sometimes aborts at the interpreter's exit."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return
    if status == 0:
        dist.barrier()
        dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
