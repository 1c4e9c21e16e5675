"""The memory a training run needs on each device, estimated from its recipe and model.

The terms were read off the libraries (TRL 1.16, transformers 5.23, PEFT 0.21, accelerate 1.15) and,
for activations, counted: what autograd saves in a Llama layer is an exact sum of the sizes below.
"""

from dataclasses import dataclass
from typing import Literal

from proteinlm_train.flops import ModelShape, lora_parameters
from proteinlm_train.recipe import Recipe

MARGIN = 1.1
"""What fragmentation and small buffers add, as a factor: an allowance, not a measurement."""
TILE_TOKENS, TILE_VOCAB = 4096, 32768
"""The part of the logits that TRL's fused head computes at a time."""
_MIB = 2**20
# A CUDA context with cuBLAS's workspace, and NCCL's buffers: allowances. The CPU figure is what a
# process was seen to hold besides tensors: torch, transformers, trl, peft, and heap kept by malloc.
_CONTEXT, _NCCL, _INTERPRETER = 700 * _MIB, 1024 * _MIB, 850 * _MIB
# Bytes a trained parameter: two moments of Adam in float32 (in 8 bits); the unfused loop over all
# tensors at once holds another float32 copy; Adafactor keeps sums of rows and columns.
_OPTIMIZER = {"adamw_torch_fused": 8, "adamw_torch": 12, "adamw_8bit": 2, "adafactor": 0}

Device = Literal["cuda", "cpu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes on each device at the worst moment of a step.

    `parameters` are the model's: with FSDP a shard, and the gathered head; `adapter`, `gradients`
    and `optimizer` belong to what is trained; `activations` are kept from forward to backward;
    `work` is there for a moment, the largest of: the backward pass of a layer, the tile of the
    fused head with its gradients, copies of the weights in bfloat16. `runtime` is the process
    itself; on a GPU it lies outside torch's allocator. Unless gradients are accumulated
    (`accumulates`) they grow as activations go, and the larger of the two counts.
    """

    parameters: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    work: int
    runtime: int
    accumulates: bool

    @property
    def allocated(self) -> int:
        """Return what torch's allocator is expected to hold on a GPU, the margin included."""
        kept = (self.gradients, self.activations)
        passing = sum(kept) if self.accumulates else max(kept)
        return round(
            MARGIN * (self.parameters + self.adapter + self.optimizer + passing + self.work)
        )

    @property
    def total(self) -> int:
        """Return all that a device must offer, the margin included."""
        return self.allocated + self.runtime


def estimate_memory(
    shape: ModelShape, recipe: Recipe, *, processes: int, device: Device = "cuda"
) -> MemoryEstimate:
    """Estimate the bytes that a run needs on each device.

    A packed row is taken as full: `train.micro_batch` times `train.max_length` tokens, with all of
    them scored by the head. MLPs are taken as gated and attention as computed without its matrix of
    scores (sdpa, flash); other models deviate.

    Args:
        shape: The model without adapter.
        recipe: The run.
        processes: Over how many devices FSDP shards.
        device: On the CPU the base model of an adapter is in float32, and memory is the process's.

    Raises:
        UsageError: `lora.target` names a layer that the model has not.
    """
    lora, train = recipe.adapter, recipe.train
    adapter = lora_parameters(shape, lora) if lora else 0
    trained = adapter if lora else shape.parameters
    sharded = recipe.distribution.strategy == "fsdp2"
    shards = processes if sharded else 1
    # DDP reduces gradients in buffers of its own.
    gradient_bytes = 8 if recipe.distribution.strategy == "ddp" else 4
    stored, layer, copies = _activations(shape, recipe, device)
    return MemoryEstimate(
        # From the end of the forward pass on, FSDP keeps the head gathered.
        parameters=_parameter_bytes(recipe, device) * shape.parameters // shards
        + (_width(recipe) * shape.head if sharded else 0),
        adapter=4 * adapter // shards,
        gradients=gradient_bytes * trained // shards,
        optimizer=_OPTIMIZER[train.optimizer] * trained // shards,
        activations=stored,
        work=max(layer, copies, _head_bytes(shape, recipe, device)),
        runtime=_runtime_bytes(processes, device),
        accumulates=train.grad_accum > 1,
    )


def _width(recipe: Recipe) -> int:
    return 2 if recipe.train.precision == "bf16" else 4


def _flash(recipe: Recipe) -> bool:
    return recipe.model.attention.startswith("flash")


def _parameter_bytes(recipe: Recipe, device: Device) -> int:
    """Return bytes a parameter at rest: only a frozen base is not in float32."""
    half = recipe.model.dtype == "bfloat16"
    if recipe.model.dtype == "auto":
        half = recipe.method == "lora" and _width(recipe) == 2 and device == "cuda"
    return 2 if half else 4


def _stream_width(recipe: Recipe, device: Device) -> int:
    """Return bytes an element between layers; FSDP gathers parameters as they are computed with."""
    if recipe.distribution.strategy == "fsdp2":
        return _width(recipe)
    return _parameter_bytes(recipe, device)


def _saved_per_token(shape: ModelShape, recipe: Recipe, device: Device) -> int:
    """Return the bytes that autograd saves for a token in one layer, without checkpointing.

    Counted on Llama layers with `torch.autograd.graph.saved_tensors_hooks`: coefficients of the
    hidden size, the MLP's, queries (heads * head size), and keys or values. An adapter's layers,
    of which five see the hidden size, save inputs of their own, and with dropout masks: a byte an
    element on CUDA, four on the CPU.
    """
    lora, half = recipe.adapter, _width(recipe) == 2
    if lora is None:
        wide = 26 if _stream_width(recipe, device) == 4 else 16
        hidden, mlp, queries = (wide, 8, 4) if half else (24, 16, 8)
    else:
        mask = (1 if device == "cuda" else 4) if lora.dropout else 0
        hidden, mlp, queries = (18, 8, 6) if half else (28 if mask else 16, 16, 12 if mask else 8)
        hidden, mlp, queries = hidden + 5 * mask, mlp + mask, queries + mask
    inner = shape.heads * shape.head_dim
    # Where attention is given a mask, keys and values are repeated for every query head.
    keys = (shape.kv_heads if _flash(recipe) else shape.heads) * shape.head_dim
    keys *= 4 if half else 8
    return hidden * shape.hidden + mlp * shape.intermediate + queries * inner + keys


def _activations(shape: ModelShape, recipe: Recipe, device: Device) -> tuple[int, int, int]:
    """Return bytes kept from forward to backward, of a layer's backward, and of autocast's copies.

    With checkpointing a layer keeps its input and is computed again; the copies of trained weights
    in bfloat16 then last until the forward pass ends, and count beside gradients of earlier
    micro-batches. Packed rows have a mask of which token sees which (not with flash attention), as
    bytes and as numbers to add.
    """
    train, width, lora = recipe.train, _width(recipe), recipe.adapter
    tokens = train.micro_batch * train.max_length
    mask = 0 if _flash(recipe) else (1 + width) * tokens**2
    saved = tokens * _saved_per_token(shape, recipe, device)
    gradients = tokens * width * (2 * shape.intermediate + 2 * shape.hidden)
    cast = width == 2 and _stream_width(recipe, device) == 4
    copies = 2 * (shape.body + shape.head) if cast else 0
    if recipe.distribution.strategy == "fsdp2":  # this layer, the next one, this one's gradient
        gradients += width * (shape.body // shape.layers) * (2 if lora else 3)
    if not train.gradient_checkpointing:
        return mask + shape.layers * saved + copies, gradients, 0
    stored = shape.layers * tokens * shape.hidden * _stream_width(recipe, device)
    return mask + stored, saved + gradients, 0 if lora or train.grad_accum == 1 else copies


def _head_bytes(shape: ModelShape, recipe: Recipe, device: Device) -> int:
    """Return the bytes of the fused head's backward pass.

    A tile of logits; off CUDA its float32 copies, probabilities and gradient as well (eight such
    tiles); the gradient of the hidden states in float32, and of the head's weights if trained.
    """
    tokens = recipe.train.micro_batch * recipe.train.max_length
    rows = min(tokens, TILE_TOKENS)
    tile = rows * TILE_VOCAB * _width(recipe)
    if device == "cpu":
        tile += 8 * 4 * rows * min(shape.vocab, TILE_VOCAB)
    weights = 0 if recipe.adapter else 4 * shape.head
    return tile + tokens * shape.hidden * (4 + _width(recipe)) + weights


def _runtime_bytes(processes: int, device: Device) -> int:
    if device == "cpu":
        return _INTERPRETER
    return _CONTEXT + (_NCCL if processes > 1 else 0)
