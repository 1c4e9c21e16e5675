"""`--model proteinlm-hf`: lm-eval's `hf`, with log-likelihoods that share prefixes.

All arguments of `hf` mean the same. Log-likelihood batches are formed by `token_budget`;
generation, rolling log-likelihood and models that cannot be fed a tree go through the parent, by
`batch_size`.
"""

import hashlib
import logging
import os
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from lm_eval.models import utils as lm_eval_utils
from lm_eval.models.huggingface import HFLM
from tqdm import tqdm

from proteinlm_ext.answer_store import AnswerStore
from proteinlm_ext.errors import UsageError
from proteinlm_ext.model_identity import describe_model, machine
from proteinlm_ext.prefix_tree import Batch, Request, Trunk, make_batches, make_request
from proteinlm_ext.resume import Resumable, digest
from proteinlm_ext.tree_attention import UnsupportedModelError
from proteinlm_ext.tree_model import Answer, TreeModel, probe

logger = logging.getLogger("proteinlm_ext")

# On two cores neither 512 nor 2,048 was faster. That of accelerators is reasoned, not measured.
TOKENS_ON_CPU = 1024
TOKENS_ON_ACCELERATOR = 8192
# Requests of the parent's path between two visits to the store.
STOCK_REQUESTS = 256
ROLLING_REQUESTS = 32


_Parent = cast("Any", HFLM)  # it is not typed


class PrefixTreeLM(_Parent):
    """Feeds every distinct prefix once.

    Args:
        pretrained: As for `hf`, like all other arguments.
        token_budget: Tokens in a forward pass. None: 1024 on the CPU, 8192 on an accelerator.
    """

    def __init__(self, pretrained: Any, token_budget: int | None = None, **options: Any) -> None:
        if _launched() and "RANK" in os.environ and not torch.accelerator.is_available():
            # Without it accelerate takes the CPU processes of torchrun for independent ones.
            os.environ.setdefault("ACCELERATE_USE_CPU", "true")
        super().__init__(pretrained, **options)
        default = TOKENS_ON_CPU if self.device.type == "cpu" else TOKENS_ON_ACCELERATOR
        self.token_budget = default if token_budget is None else int(token_budget)
        if self.token_budget < 1:
            raise UsageError(f"token_budget={token_budget}: give 1 or more tokens.")
        if hasattr(self, "accelerator"):
            # `hf` takes its rank only where it sees several GPUs: on CPUs, or with one GPU in each
            # machine, every process would run the whole evaluation.
            self._rank = self.accelerator.process_index
            self._world_size = self.accelerator.num_processes
        self.resume = Resumable()
        self._tree: TreeModel | None = None
        self._stock_because: str | None = None

    def use_store(self, folder: Path) -> None:
        """Take from the store in `folder` what it knows, and save there what is computed.

        Raises:
            UsageError: The weights are divided among processes, or not in memory.
        """
        if _launched() and self.world_size == 1:
            raise UsageError("--cache cannot identify a model that is divided among processes.")
        self.resume = Resumable(AnswerStore(folder, describe_model(self)), machine())

    def count_answers(self) -> dict[str, int]:
        """Add up what all processes computed and took from the store; every process must call."""
        total = Counter(computed=0, resumed=0, reused=0)
        for counts in self.gather_object(self.resume.counts) or ():
            total.update(counts)
        return dict(total)

    def get_model_info(self) -> dict[str, Any]:
        """Add how log-likelihoods were computed to what lm-eval records of a model."""
        parent: Any = super()
        return parent.get_model_info() | {
            "token_budget": self.token_budget,
            "stock_path_because": self._stock_because,
        }

    def _tree_model(self) -> TreeModel | None:
        """Try once whether this model can be fed a tree; if not, say so once."""
        if self._tree or self._stock_because:
            return self._tree
        try:
            if self.backend != "causal":
                raise UnsupportedModelError("it is an encoder-decoder")
            if self.world_size > 1 and any(
                hasattr(p, "device_mesh") for p in self.model.parameters()
            ):
                raise UnsupportedModelError("its processes must make the same calls")
            tree = TreeModel(
                self.model, device=self.device, softmax_dtype=self.softmax_dtype,
                context=self._autocast,
            )  # fmt: skip
            exact = self.mixed_precision_dtype is None and tree.base.dtype.itemsize > 2
            probe(tree, self._model_call, bits=32 if exact else 16)
            self._tree = tree
        except Exception as error:  # noqa: BLE001 -- any failure of a model's own code; it is logged
            self._give_up(error)
        return self._tree

    def _give_up(self, error: Exception) -> None:
        self._tree, self._stock_because = None, f"{type(self.model).__name__}: {error}"
        logger.warning("Prefixes are not shared, as in --model hf: %s", self._stock_because)

    @property
    def _stores_parent(self) -> bool:
        """Whether answers of the parent's can go through the store, a part at a time."""
        if not self.resume.store:
            return False
        # In data parallel the parent's processes wait for each other, so all must make the same
        # calls; and a batch size that is found by trying differs from run to run.
        stored = self.world_size == 1 and self.batch_size != "auto" and self.backend == "causal"
        if not stored:
            logger.warning(
                "--cache keeps nothing here: an answer of the stock path needs one process, "
                "a fixed --batch_size and a decoder."
            )
        return stored

    def _autocast(self) -> torch.autocast:
        dtype = self.mixed_precision_dtype
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def _loglikelihood_tokens(
        self, requests: Any, disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Answer]:
        parent: Any = super()
        stock = parent._loglikelihood_tokens
        rolling = override_bs is not None  # windows of loglikelihood_rolling
        tree = None if rolling or not requests else self._tree_model()
        if tree is None and (rolling or not self._stores_parent):
            return stock(requests, disable_tqdm=disable_tqdm, override_bs=override_bs)
        asked = [make_request(context, target, self.max_length) for _, context, target in requests]
        cut = sum(
            len(context) + len(target) > self.max_length + 1 for _, context, target in requests
        )
        if cut:
            logger.warning("%d requests exceed %d tokens; cut on the left.", cut, self.max_length)
        unique = list(dict.fromkeys(asked))
        hidden = disable_tqdm or self.rank != 0
        with tqdm(total=len(unique), desc="Running loglikelihood requests", disable=hidden) as bar:
            self.resume.begin([_key(request) for request in unique])
            if tree:
                try:
                    with tree.ready():
                        answers = self._score(unique, tree, bar)
                except UnsupportedModelError as error:  # which the probe was too short to meet
                    self._give_up(error)
                    return self._loglikelihood_tokens(requests, disable_tqdm=disable_tqdm)
            else:
                answers = self._score_stock(unique, stock, bar)
        for (strings, _, _), request in zip(requests, asked, strict=True):
            if strings is not None:
                self.cache_hook.add_partial("loglikelihood", strings, answers[request])
        return [answers[request] for request in asked]

    def _score(
        self, requests: Sequence[Request], tree: TreeModel, bar: Any
    ) -> dict[Request, Answer]:
        """Score by the tree; where memory runs out, plan again with half the budget."""
        plan = digest(sorted(_key(request) for request in requests))
        while self.resume.recalls(digest("too large", plan, self.token_budget)):
            self.token_budget //= 2
        while True:
            try:
                return self._answer(make_batches(requests, self.token_budget), tree.score, bar)
            except RuntimeError as error:
                if self.token_budget == 1 or not should_reduce_batch_size(error):
                    raise
            tree.forget()
            clear_device_cache(garbage_collection=True)
            self.resume.note(digest("too large", plan, self.token_budget))
            self.token_budget //= 2
            logger.warning("Out of memory: the token budget is now %d.", self.token_budget)

    def _score_stock(
        self, requests: Sequence[Request], stock: Callable[..., list[Answer]], bar: Any
    ) -> dict[Request, Answer]:
        """Score by the parent, in batches that the store can keep."""

        def score(batch: Batch) -> list[Answer]:
            split = [
                (None, [*one.tokens[: -len(one.continuation)]], [*one.continuation])
                for one in batch.requests
            ]
            return stock(split, disable_tqdm=True)

        ordered = sorted(requests, key=lambda request: (-len(request.fed), request.tokens))
        parts = [ordered[i : i + STOCK_REQUESTS] for i in range(0, len(ordered), STOCK_REQUESTS)]
        return self._answer(
            [Batch(trunk=Trunk(), requests=tuple(part)) for part in parts], score, bar
        )

    def _answer(
        self, batches: Sequence[Batch], score: Callable[[Batch], list[Answer]], bar: Any
    ) -> dict[Request, Answer]:
        answers: dict[Request, Answer] = {}
        for batch in batches:

            def compute(missing: Sequence[int], batch: Batch = batch) -> list[Answer]:
                return score(replace(batch, requests=tuple(batch.requests[i] for i in missing)))

            # The parent's batches depend on its batch size, ours on what is in them.
            size = None if self._tree else self.batch_size
            plan = ["loglikelihood", size, [trunk.depth for trunk in batch.trunk.lineage()]]
            keys = [_key(request) for request in batch.requests]
            found = self.resume.answer(plan, keys, compute)
            answers |= {
                request: (float(value), bool(greedy))
                for request, (value, greedy) in zip(batch.requests, found, strict=True)
            }
            bar.update(len(answers) - bar.n)
        return answers

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Generate as the parent does, what the store does not know."""
        parent: Any = super()
        generate = parent.generate_until
        normalise = cast("Any", lm_eval_utils).normalize_gen_kwargs
        sampled = any(
            normalise(request.args[1], self.max_gen_toks).get("do_sample") for request in requests
        )
        if not self._stores_parent or sampled:
            if sampled and self.resume.store:
                logger.warning("A task of this run samples: its generations are not stored.")
            return generate(requests, disable_tqdm=disable_tqdm)
        size = int(self.batch_size)
        settings = [self.max_length, self.max_gen_toks, self.truncation, self.think_end_token]
        ordered = sorted(range(len(requests)), key=lambda i: -len(requests[i].args[0]))
        return self._in_parts("generate", requests, ordered, settings, size, generate, disable_tqdm)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Score as the parent does, what the store does not know."""
        parent: Any = super()
        roll = parent.loglikelihood_rolling
        if not self._stores_parent:
            return roll(requests, disable_tqdm=disable_tqdm)
        order, settings = range(len(requests)), [self.max_length]
        return self._in_parts(
            "rolling", requests, order, settings, ROLLING_REQUESTS, roll, disable_tqdm
        )

    def _in_parts(
        self, kind: str, requests: Sequence[Any], order: Sequence[int], settings: list[Any],
        size: int, run: Callable[..., list[Any]], disable_tqdm: bool,
    ) -> list[Any]:  # fmt: skip
        """Answer requests of the parent's, a part at a time, through the store."""
        plan = [kind, self.batch_size, *settings]
        arguments: list[tuple[Any, ...]] = [request.args for request in requests]
        keys = [digest(kind, settings, self.tok_encode(text), rest) for text, *rest in arguments]
        self.resume.begin(keys)
        answers: dict[int, Any] = {}
        hidden = disable_tqdm or self.rank != 0
        with tqdm(total=len(keys), desc=f"Running {kind} requests", disable=hidden) as bar:
            for first in range(0, len(order), size):
                part = order[first : first + size]

                def compute(missing: Sequence[int], part: Sequence[int] = part) -> list[Any]:
                    return run([requests[part[i]] for i in missing], disable_tqdm=True)

                found = self.resume.answer(plan, [keys[i] for i in part], compute)
                answers |= dict(zip(part, found, strict=True))
                bar.update(len(part))
        return [answers[i] for i in range(len(requests))]


def _launched() -> bool:
    """Whether this is one of several processes of torchrun or accelerate."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _key(request: Request) -> str:
    tokens = array("q", (len(request.continuation), *request.tokens))
    return hashlib.sha256(tokens.tobytes()).hexdigest()
