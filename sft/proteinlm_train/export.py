"""Make a folder that can be published from a run's `final/`: an adapter, or a whole model.

What transformers and PEFT write names folders of this machine; `clean_folder` takes that out.
"""

import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
from transformers.utils import hub

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.paths import hash_file, write_text
from proteinlm_train.recipe import is_hub_id

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
LOGIT_TOLERANCE = 1e-4
"""How far merging may move a logit, as a share of the largest; float32 rounding stays below it."""

_ADAPTER = ("adapter_config.json", "adapter_model*.safetensors*")
_MODEL = ("config.json", "generation_config.json", "model*.safetensors*")
_TOKENIZER = (
    "*token*.json", "vocab.*", "merges.txt", "*.model", "chat_template*",
    "additional_chat_templates/*",
)  # fmt: skip
# Endings of keys that say where something was loaded from.
_LOCAL_KEYS = ("name_or_path", "is_local", "local_files_only")
_UNFILLED_CARD = "[More Information Needed]"


def export(
    final: Path,
    out: Path,
    *,
    base: str | Path | None,
    revision: str | None,
    merge: bool,
    dtype: str = "bfloat16",
    base_name: str | None = None,
    base_sha256: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write a model that others can load, whole or not at all.

    Merging is done in float32, which takes 4 bytes of memory a parameter, and cast afterwards.

    Args:
        final: A run's `final/` (or a checkpoint): an adapter saved by PEFT, or a whole model.
        out: The new folder; it may exist if it is empty.
        base: Folder or Hub id of the model that the adapter was trained on; merging needs it.
        revision: The commit of `base` on the Hub.
        merge: Whether an adapter is merged into the base. Has no effect on a whole model.
        dtype: Of a whole model's weights: bfloat16 or float32. An adapter keeps its own.
        base_name: What the adapter calls its base; the id or the folder's name if not given.
        base_sha256: The base's files when the adapter was trained (such as config.json and
            model.safetensors), each with its sha256.

    Returns:
        The files, sorted.

    Raises:
        UsageError: `final` holds no model, `out` has content, or an argument is missing or wrong.
        ProteinLMError: Base and adapter do not fit, or the folder cannot be written.
    """
    _require_room(out)
    is_adapter = (final / "adapter_config.json").is_file()
    if not is_adapter and not (final / "config.json").is_file():
        raise UsageError(f"{final} holds neither adapter_config.json nor config.json.")
    if dtype not in DTYPES:
        raise UsageError(f"Unknown dtype {dtype!r}; choose {' or '.join(DTYPES)}.")
    if is_adapter and merge and base is None:
        raise UsageError("Merging an adapter needs the model that it was trained on.")
    if is_adapter and base is not None:
        _require_same_base(base, revision, base_sha256 or {})
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as work:
            folder = Path(work) / out.name
            folder.mkdir()
            _copy(final, folder, _TOKENIZER)
            if is_adapter and not merge:
                _copy(final, folder, _ADAPTER)
            elif is_adapter:
                _save(_merged(final, cast("str | Path", base), revision), folder, dtype)
            else:
                _save(_load(final, None, DTYPES[dtype]), folder, dtype)
            clean_folder(folder, base_name=base_name or _name(base), revision=revision)
            folder.replace(out)
    except OSError as error:
        raise ProteinLMError(f"Could not write {out}: {error}") from error
    return sorted(path for path in out.rglob("*") if path.is_file())


def copy_model(source: Path, target: Path) -> None:
    """Copy a model or adapter with its tokenizer out of a checkpoint, and nothing else of it.

    Raises:
        ProteinLMError: It cannot be read or written.
    """
    try:
        target.mkdir(parents=True)
        _copy(source, target, (*_ADAPTER, *_MODEL, *_TOKENIZER))
    except OSError as error:
        raise ProteinLMError(f"Could not copy {source}: {error}") from error


def clean_folder(folder: Path, *, base_name: str | None, revision: str | None) -> None:
    """Take local paths and settings of the training out of a saved model or adapter, in place.

    `use_cache` is true again, tokenizer and configuration name no folder, an adapter names its
    base by `base_name` and `revision`, the card that PEFT generates goes, and so does
    `training_args.bin`, a pickle with paths and the host's name. What a checkpoint needs for
    resuming stays; its `trainer_state.json` may name the run's folder.

    Args:
        folder: A saved model, adapter or checkpoint.
        base_name: The base's id on the Hub, or a name; None keeps an adapter's id or folder name.
        revision: The base's commit on the Hub; None keeps what an adapter has.

    Raises:
        ProteinLMError: A file cannot be read or written.
    """
    try:
        (folder / "training_args.bin").unlink(missing_ok=True)
        for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
            if (folder / name).is_file():
                _clean_config(folder / name)
        if (folder / "adapter_config.json").is_file():
            _clean_adapter(folder, base_name, revision)
    except (OSError, ValueError) as error:
        raise ProteinLMError(f"Could not clean {folder}: {error}") from error


def _clean_config(path: Path) -> None:
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in settings.items() if not key.endswith(_LOCAL_KEYS)}
    if "use_cache" in kept:
        kept["use_cache"] = True
    if kept != settings:
        write_text(path, json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def _clean_adapter(folder: Path, base_name: str | None, revision: str | None) -> None:
    path, card = folder / "adapter_config.json", folder / "README.md"
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    trained_on = str(settings["base_model_name_or_path"])
    name = base_name or _name(trained_on)
    revision = revision or settings.get("revision")
    settings |= {"base_model_name_or_path": name, "revision": revision}
    if isinstance(settings.get("target_modules"), list):
        settings["target_modules"].sort()  # PEFT writes a set, in another order in every process
    write_text(path, json.dumps(settings, indent=2, sort_keys=True) + "\n")
    if card.is_file():
        text = card.read_text(encoding="utf-8")
        if _UNFILLED_CARD in text:
            card.unlink()
        elif name and trained_on in text:  # PEFT puts it into the head of any card it finds
            write_text(card, text.replace(trained_on, name))


def _require_room(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out} exists and is not empty. Name another folder, or remove it.")


def _name(base: str | Path | None) -> str | None:
    """Return what a base may be called elsewhere."""
    return None if base is None else str(base) if is_hub_id(str(base)) else Path(base).name


def _require_same_base(base: str | Path, revision: str | None, expected: Mapping[str, str]) -> None:
    find = cast("Any", hub).cached_file
    for name, sha256 in sorted(expected.items()):
        try:
            found = hash_file(Path(find(str(base), name, revision=revision)))
        except OSError as error:
            raise ProteinLMError(f"The base {base} cannot be read: {error}") from error
        if found != sha256:
            raise ProteinLMError(
                f"{base} is not the model that the adapter was trained on: {name} has sha256 "
                f"{found[:12]}, and had {sha256[:12]}. Name the base of the run's record."
            )


def _copy(source: Path, target: Path, patterns: tuple[str, ...]) -> None:
    for path in {path for pattern in patterns for path in source.glob(pattern) if path.is_file()}:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)


def _load(path: str | Path, revision: str | None, dtype: torch.dtype) -> Any:
    loader: Any = AutoModelForCausalLM
    try:
        model, found = loader.from_pretrained(
            str(path), revision=revision, dtype=dtype, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise ProteinLMError(f"The model {path} cannot be loaded: {error}") from error
    if missing := sorted(found["missing_keys"]):  # transformers fills them with random numbers
        raise ProteinLMError(f"The model {path} has no weights for {', '.join(missing[:3])}.")
    return model.eval()


def _merged(final: Path, base: str | Path, revision: str | None) -> Any:
    """Return the base with the adapter in it, after a look at what it answers."""
    model = _load(base, revision, torch.float32)
    tied = _is_tied(model)
    loader: Any = PeftModel
    try:
        with warnings.catch_warnings():
            # PEFT leaves such an adapter without effect and only warns.
            warnings.filterwarnings("error", message=".*missing adapter keys")
            adapted: Any = loader.from_pretrained(model, str(final)).eval()
        before = _logits(adapted)
        merged = adapted.merge_and_unload(safe_merge=True)
    except (OSError, ValueError, RuntimeError, UserWarning) as error:
        raise ProteinLMError(f"The adapter in {final} does not fit {base}: {error}") from error
    if tied and not _is_tied(merged):
        raise ProteinLMError(
            f"The adapter in {final} trained embeddings or head alone, and {base} has one matrix "
            "for both. Export it without merging."
        )
    moved = float((_logits(merged) - before).abs().max() / before.abs().max())
    if not moved <= LOGIT_TOLERANCE:
        raise ProteinLMError(f"Merging changed the model's answers: logits moved by {moved:.1e}.")
    return merged


def _is_tied(model: Any) -> bool:
    """Say whether embeddings and head are one matrix, in fact and by the configuration."""
    head: Any = model.get_output_embeddings()
    same = (
        head is not None
        and head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    )
    return same and model.config.get_text_config().tie_word_embeddings


def _logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.arange(16)[None]).logits


def _save(model: Any, folder: Path, dtype: str) -> None:
    try:
        model.to(DTYPES[dtype]).save_pretrained(folder)
    except ValueError as error:  # a generation config that contradicts itself
        raise ProteinLMError(f"The model cannot be saved: {error}") from error
