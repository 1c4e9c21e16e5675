"""The floating-point operations of training, from the shape of a model and the tokens it saw.

Only what the mathematics asks for is counted: recomputed activations earn nothing, and packed
documents attend to themselves alone. Libraries' own counters take other views.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import transformers

from proteinlm_ext.errors import UsageError
from proteinlm_train.recipe import Lora

CONVENTION = (
    "Training FLOPs count, per token, 2 a parameter forward, 2 for the gradients of activations and"
    " 2 a trained parameter for its gradient, without the lookup of embeddings; attention costs"
    " 6 * layers * heads * head size * length^2 a document (causal, no attention between packed"
    " documents); the head counts for the tokens it is computed for (on CUDA those with a label);"
    " recomputation counts nothing."
)


class TokenCounts(NamedTuple):
    """What all processes together have trained on.

    `tokens` without padding; `label_tokens` with a loss; `squared_lengths` is the sum of the
    squared lengths of documents.
    """

    tokens: int
    label_tokens: int
    squared_lengths: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The sizes of a causal language model that decide its costs.

    `embedding` and `head` are parameters of the lookup tables and of the output layer; a tied head
    is the token table and counts once in `parameters`. `idle` are parameters of experts that a
    token is not sent to. `widths` gives, by the name of a linear layer, the sum of inputs and
    outputs over all layers of that name (the head left out), so that an adapter of rank r on them
    has r * width parameters.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool
    parameters: int
    embedding: int
    head: int
    idle: int
    widths: Mapping[str, int]

    @property
    def body(self) -> int:
        """Return the parameters that work on every token: all but lookups, head, idle experts."""
        own_head = 0 if self.tied else self.head
        return self.parameters - self.embedding - own_head - self.idle


def model_shape(config: Any, *, trust_remote_code: bool = False) -> ModelShape:
    """Measure a model by building it without memory, on torch's meta device.

    Args:
        config: A transformers configuration of a causal language model.
        trust_remote_code: Whether code that the model brings may run.
    """
    maker: Any = transformers.AutoModelForCausalLM
    with torch.device("meta"):
        model = maker.from_config(config, trust_remote_code=trust_remote_code)
    head = model.get_output_embeddings()
    tied = head.weight is model.get_input_embeddings().weight
    lookups = (m for m in model.modules() if isinstance(m, torch.nn.Embedding))
    chosen: Any = getattr(config, "num_experts_per_tok", None)
    experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None)
    in_experts = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
    heads = config.num_attention_heads
    return ModelShape(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=heads,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        intermediate=getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
        vocab=config.vocab_size,
        tied=tied,
        parameters=sum(p.numel() for p in model.parameters()),
        embedding=sum(m.weight.numel() for m in lookups),
        head=head.weight.numel(),
        idle=in_experts * (experts - chosen) // experts if chosen and experts else 0,
        widths=_widths(model, head),
    )


def lora_parameters(shape: ModelShape, lora: Lora) -> int:
    """Return how many parameters an adapter trains.

    Raises:
        UsageError: The model has no linear layer of a name in `lora.target`.
    """
    if lora.target == "all-linear":
        return lora.r * sum(shape.widths.values())
    names = [target.rpartition(".")[2] for target in lora.target]
    if unknown := sorted(set(names) - set(shape.widths)):
        raise UsageError(
            f"lora.target: the model has no linear layer {', '.join(unknown)}; it has "
            f"{', '.join(sorted(shape.widths))}."
        )
    return lora.r * sum(shape.widths[name] for name in names)


def training_flops(
    shape: ModelShape,
    *,
    tokens: int,
    label_tokens: int,
    squared_lengths: int,
    trainable: int,
    on_cuda: bool,
) -> float:
    """Return the FLOPs of a forward and backward pass by `CONVENTION`.

    Args:
        shape: The model without adapter.
        tokens: Tokens without padding.
        label_tokens: Those with a loss, the only ones that TRL computes the head for on CUDA.
        squared_lengths: Sum of the squared lengths of documents.
        trainable: `shape.parameters` in full training; otherwise the parameters of an adapter,
            which work beside the frozen ones.
        on_cuda: Whether the head is computed for label tokens only.
    """
    full = trainable == shape.parameters
    body = 6 * shape.body if full else 4 * shape.body + 6 * trainable
    head = (6 if full else 4) * shape.head
    attention = 6 * shape.layers * shape.heads * shape.head_dim
    scored = label_tokens if on_cuda else tokens
    return float(body * tokens + head * scored + attention * squared_lengths)


def _widths(model: Any, head: Any) -> dict[str, int]:
    """Sum inputs and outputs of what PEFT takes for linear layers, by the last part of the name."""
    linear = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    widths: Counter[str] = Counter()
    for name, module in model.named_modules():
        if isinstance(module, linear) and module is not head:
            widths[name.rpartition(".")[2]] += sum(module.weight.shape)
    return dict(sorted(widths.items()))
