"""A causal language model of transformers that is fed packed prefix trees."""

import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import numpy as np
import torch
from torch.nn.functional import log_softmax

from proteinlm_ext.packed_batch import PackedBatch, pack, pack_trunk
from proteinlm_ext.prefix_tree import Batch, Request, Trunk
from proteinlm_ext.tree_attention import (
    LayerStates,
    UnsupportedModelError,
    attention_of,
    follow,
    make_layout,
    replaced_attention,
)

Answer = tuple[float, bool]

# Rows of logits that are normalised at a time: each holds a whole vocabulary.
ROWS_AT_A_TIME = 64
ATTENTION = ("sdpa", "eager")
LAYERS = ("full_attention", "sliding_attention")
# Rotary frequencies of these depend on the longest sequence in the batch.
ROPE_BY_LENGTH = ("dynamic", "longrope")
# Root mean square of the probe's error over the standard deviation of the logits. SmolLM2 errs by
# 5e-6 in float32 and 0.018 in bfloat16; where each token loses sight of all but four, by 0.69.
PROBE_TOLERANCE = {32: 0.001, 16: 0.05}


class TreeModel:
    """Scores batches; keeps the keys and values of the trunks above the current one.

    Args:
        model: A loaded model, or a PEFT model around it.
        device: Where its inputs go.
        softmax_dtype: As lm-eval's model argument.
        context: Made anew around every forward pass (autocast).

    Raises:
        UnsupportedModelError: The reason why this model cannot be fed a tree.
    """

    def __init__(
        self,
        model: Any,
        *,
        device: torch.device,
        softmax_dtype: torch.dtype | None = None,
        context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.model, self.device = model, device
        self.softmax_dtype, self.context = softmax_dtype, context
        self.base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.windows = _windows(model, self.base)
        self.implementation = attention_of(self.base)
        self.tokens_fed = 0
        self._states: dict[Trunk, LayerStates] = {}

    @contextmanager
    def ready(self) -> Generator[None]:
        """Within, batches can be scored; afterwards, the model is as it was."""
        with replaced_attention(self.base):
            try:
                yield
            finally:
                self.forget()

    def forget(self) -> None:
        """Drop the trunks' keys and values."""
        self._states.clear()

    def score(self, batch: Batch) -> list[Answer]:
        """Return log-probability and greediness of the continuations of a batch.

        Both are taken from logits as lm-eval's `hf` takes them, roundings included.
        """
        packed, logits = self.logits(batch)
        return _answers(logits, batch.requests, packed, self.softmax_dtype)

    def logits(self, batch: Batch) -> tuple[PackedBatch, torch.Tensor]:
        """Return the layout of a batch and its logits [scored tokens, vocabulary]."""
        packed = pack(batch)
        return packed, self._forward(packed, self._trunk_states(batch.trunk), keep=False)[0]

    def _trunk_states(self, trunk: Trunk) -> LayerStates:
        lineage = trunk.lineage()
        self._states = {known: self._states[known] for known in lineage if known in self._states}
        states: LayerStates = {}
        for part in lineage:
            if part not in self._states:
                packed = pack_trunk(part.tokens, part.depth - len(part.tokens))
                self._states[part] = self._forward(packed, states, keep=True)[1]
            states = self._states[part]
        return states

    def _forward(
        self, packed: PackedBatch, trunk: LayerStates, *, keep: bool
    ) -> tuple[torch.Tensor, LayerStates]:
        layout = make_layout(
            packed, self.windows, implementation=self.implementation, dtype=self.base.dtype,
            device=self.device, trunk=trunk, keep=keep,
        )  # fmt: skip
        self.tokens_fed += len(packed.tokens)
        with torch.no_grad(), self.context(), follow(layout):
            logits = self.model(
                input_ids=torch.from_numpy(packed.tokens)[None].to(self.device),
                position_ids=torch.from_numpy(packed.positions)[None].to(self.device),
                use_cache=False,
                # A list: with layers on several devices, a tensor would end on the wrong one.
                logits_to_keep=packed.scored.tolist(),
            ).logits[0]
        if len(logits) != len(packed.scored):
            raise UnsupportedModelError("it returns logits of other positions than asked for")
        return logits, layout.kept or {}


def _windows(model: Any, base: Any) -> dict[int, int | None]:
    """Return the sliding window of each layer, None for a layer that sees everything."""
    from transformers import cache_utils

    adapters: dict[str, Any] = getattr(model, "peft_config", {})
    for adapter in adapters.values():
        if adapter.is_prompt_learning:
            raise UnsupportedModelError("its adapter puts virtual tokens before the prompt")
        if getattr(adapter, "alora_invocation_tokens", None):
            raise UnsupportedModelError("its adapter is switched on by tokens of the prompt")
    if (own := attention_of(base)) not in ATTENTION:
        raise UnsupportedModelError(f"its attention is {own}, not sdpa or eager")
    if "logits_to_keep" not in inspect.signature(base.forward).parameters:
        raise UnsupportedModelError("it computes the logits of every token")
    config: Any = base.config.get_text_config(decoder=True)
    rope: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    parts: list[Any] = [
        rope,
        *(part for part in rope.values() if isinstance(part, dict)),
    ]  # by layer type
    if found := {part.get("rope_type") for part in parts} & set(ROPE_BY_LENGTH):
        raise UnsupportedModelError(f"its {found.pop()} rotary embedding depends on the batch")
    if getattr(config, "attn_temperature_tuning", None):
        raise UnsupportedModelError("its attention depends on the place in the row")
    layers, options = cast("Any", cache_utils).get_layer_types_and_kwargs(config)
    if other := set(layers) - set(LAYERS):
        raise UnsupportedModelError(f"it has layers of type {', '.join(sorted(other))}")
    return {i: option.get("sliding_window") for i, option in enumerate(options)}


def _answers(
    logits: torch.Tensor,
    requests: Sequence[Request],
    packed: PackedBatch,
    softmax_dtype: torch.dtype | None,
) -> list[Answer]:
    rows = torch.from_numpy(np.concatenate(packed.spans))
    targets = torch.tensor([token for request in requests for token in request.continuation])
    values: torch.Tensor | None = None
    greedy = torch.empty(len(rows), dtype=torch.bool)
    for first in range(0, len(logits), ROWS_AT_A_TIME):
        part = log_softmax(logits[first : first + ROWS_AT_A_TIME], dim=-1, dtype=softmax_dtype)
        here = ((rows >= first) & (rows < first + ROWS_AT_A_TIME)).nonzero().flatten()
        row, target = (rows[here] - first).to(part.device), targets[here].to(part.device)
        if values is None:
            values = torch.empty(len(rows), dtype=part.dtype)
        values[here] = part[row, target].cpu()
        greedy[here] = (part.argmax(dim=-1)[row] == target).cpu()
    lengths = [len(span) for span in packed.spans]
    parts = zip(cast("Any", values).split(lengths), cast("Any", greedy).split(lengths), strict=True)
    return [(float(value.sum()), bool(same.all())) for value, same in parts]


def probe(
    tree: TreeModel, plain: Callable[[torch.Tensor], torch.Tensor], *, bits: int = 32
) -> None:
    """Compare a small tree with a plain forward pass, so that no architecture is trusted unseen.

    Args:
        tree: The model to try.
        plain: Logits [rows, tokens, vocabulary] of token ids [rows, tokens], the usual way.
        bits: Of the model's arithmetic: 16 or 32.

    Raises:
        UnsupportedModelError: The results differ.
    """
    vocabulary = int(tree.base.config.get_text_config(decoder=True).vocab_size)
    stem, branches = (3, 5, 7, 9), ((11, 13, 17, 19), (11, 13, 23, 25), (29, 31, 37, 41))
    fed = sorted(tuple(token % vocabulary for token in (*stem, *branch)) for branch in branches)
    trunk = Trunk(parent=Trunk(), tokens=fed[0][: len(stem)])
    # Fed whole: the last scored token is not there, but nothing asks for its value.
    requests = tuple(Request(fed=one, continuation=one[len(stem) :]) for one in fed)
    with tree.ready():
        packed, logits = tree.logits(Batch(trunk=trunk, requests=requests))
    expected = plain(torch.tensor(fed, device=tree.device))[:, len(stem) :]
    found = torch.stack([logits[torch.from_numpy(span)] for span in packed.spans]).to(expected)
    error = (found - expected).float()
    off = (error.square().mean().sqrt() / expected.float().std()).item()
    if not off <= PROBE_TOLERANCE[bits]:  # also where it is not a number
        raise UnsupportedModelError(f"its logits in a tree are off by {off:.2g} deviations")
