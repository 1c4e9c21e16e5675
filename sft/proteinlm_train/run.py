"""`run`: train by a recipe, from where the last session stopped, and keep the record."""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import EarlyStoppingCallback, ProgressCallback

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.paths import write_text
from proteinlm_train.base_model import locate
from proteinlm_train.export import clean_folder, copy_model, export
from proteinlm_train.keeper import RecordKeeper, describe_run
from proteinlm_train.loss_curve import draw_loss
from proteinlm_train.parts import TRAIN
from proteinlm_train.recipe import Recipe, is_hub_id
from proteinlm_train.record import list_artefacts, read_record, write_record
from proteinlm_train.resume import check_recipe_sha, check_resume
from proteinlm_train.session import Session, open_session
from proteinlm_train.shards import find_documents
from proteinlm_train.step_log import StepLog, read_log
from proteinlm_train.stopping import Bar, RequireWrapper, StopOnSignal
from proteinlm_train.trainer import BadLossError, last_whole_checkpoint, read_mark

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
    if live == 1 and torch.cuda.device_count() > 1:
        raise UsageError(
            f"{torch.cuda.device_count()} GPUs are visible to one process. Set "
            "CUDA_VISIBLE_DEVICES=0 to use one, or distribution.strategy=ddp with all of them."
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
    checkpoint = _checkpoint_of(folder, earlier)
    if earlier and not force_resume:
        check_recipe_sha(earlier, recipe, str(folder))
    session = open_session(recipe, checkpoint, workers, replace=force_resume)
    facts = describe_run(session, changes)
    changed = check_resume(earlier, facts, str(folder), force=force_resume) if earlier else []
    if earlier and earlier["status"] == "finished" and not changed:
        logger.warning("%s is finished; nothing is left to do.", folder)
        return folder
    keeper = RecordKeeper(session, facts, earlier, changed)
    signals = StopOnSignal(session.trainer.accelerator)
    try:
        _train(session, keeper, signals)
        last = last_whole_checkpoint(folder)
        if last is None or not read_mark(last)["at_end"]:
            raise KeyboardInterrupt
        source = folder / read_mark(last)["final"]
        _write_final(session, source)
        keeper.finish(source.name)
    except BadLossError as error:
        keeper.stop("failed")
        ids = find_documents(session.shards, TRAIN, error.rows)
        rows = f", with the rows {', '.join(ids)}" if ids else ""
        raise ProteinLMError(
            f"{error}{rows}. Look at them, lower train.lr, or use train.precision: fp32. The last "
            f"checkpoint is kept in {folder}."
        ) from error
    except KeyboardInterrupt:
        keeper.stop("stopped")
        raise
    except BaseException:
        keeper.stop("failed")
        raise
    finally:
        signals.restore()
    return folder


def _checkpoint_of(folder: Path, earlier: Mapping[str, Any] | None) -> Path | None:
    """Return where a run goes on.

    Raises:
        UsageError: There are checkpoints, and no record says of what.
    """
    if earlier is None and any(folder.glob("checkpoint-*")):
        raise UsageError(
            f"{folder} holds checkpoints without a training_run.json. Remove them, or give another "
            "run.output_dir."
        )
    return last_whole_checkpoint(folder)


def _train(session: Session, keeper: RecordKeeper, signals: StopOnSignal) -> None:
    trainer, recipe = session.trainer, session.recipe
    folder = Path(recipe.run.output_dir)
    if trainer.is_world_process_zero():
        settings = yaml.safe_dump(recipe.model_dump(mode="json", by_alias=True), sort_keys=False)
        write_text(folder / "recipe.yaml", settings)
    trainer.was_interrupted = lambda: signals.received is not None
    trainer.remove_callback(ProgressCallback)
    for callback in (
        Bar(), RequireWrapper(recipe, trainer), keeper.throughput, signals,
        StepLog(folder / "log.jsonl"),
    ):  # fmt: skip
        trainer.add_callback(callback)
    if recipe.run.early_stopping_patience:
        trainer.add_callback(EarlyStoppingCallback(recipe.run.early_stopping_patience))
    trainer.add_callback(keeper)
    if session.checkpoint and read_mark(session.checkpoint)["at_end"]:
        # Killed after its last step: transformers would train one more.
        keeper.restore(session.checkpoint)
        return
    trainer.train(resume_from_checkpoint=str(session.checkpoint) if session.checkpoint else None)


def _write_final(session: Session, source: Path) -> None:
    """Make `final/` of a checkpoint's weights and tokenizer, without anything of this machine."""
    trainer, located = session.trainer, session.located
    folder = source.parent
    if trainer.is_world_process_zero():
        unfinished = folder / ".final"
        shutil.rmtree(unfinished, ignore_errors=True)
        copy_model(source, unfinished)
        for saved in (unfinished, *folder.glob("checkpoint-*")):
            clean_folder(saved, base_name=located.name, revision=located.revision)
        shutil.rmtree(folder / "final", ignore_errors=True)
        unfinished.rename(folder / "final")
        log = read_log(folder / "log.jsonl")
        write_text(folder / "loss.svg", draw_loss(log, session.recipe.name))
    trainer.accelerator.wait_for_everyone()


def export_run(
    recipe: Recipe, out: Path, *, merge: bool, dtype: str, base_name: str | None = None
) -> list[Path]:
    """Export the model that a recipe's run has made, and note its files in the run's record.

    Args:
        recipe: The recipe.
        out: The new folder.
        merge: Whether an adapter is merged into its base.
        dtype: Of a whole model's weights.
        base_name: What an adapter calls its base; by default the id or name of the record.

    Raises:
        UsageError: The run is not finished, or `base_name` is no OWNER/NAME.
    """
    if base_name is not None and not is_hub_id(base_name):
        raise UsageError(f"--base is {base_name!r}, which is no OWNER/NAME.")
    folder = Path(recipe.run.output_dir)
    record = read_record(folder)
    if record is None or record["status"] != "finished":
        raise UsageError(f"{folder} holds no finished run of {recipe.name}. Run it first.")
    located = locate(recipe.model)
    files = export(
        folder / "final", out, base=located.path, revision=located.revision, merge=merge,
        dtype=dtype, base_name=base_name or located.name, base_sha256=record["base_model"]["files"],
    )  # fmt: skip
    said = {"merge": merge, "dtype": dtype, "files": list_artefacts(out, ["."])}
    write_record(folder, record | {"exports": record.get("exports", {}) | {out.name: said}})
    return files
