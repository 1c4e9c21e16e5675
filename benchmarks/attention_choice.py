"""Why blocks: ways to attend over a prefix tree, on the same requests and the same tokens.

    python benchmarks/attention_choice.py [--questions 24] [--work cloze_0shot,perm,letter_5shot]

`blocks` is what `--model proteinlm-hf` does. `one mask` attends over each batch as a whole, under a
tree mask. `every fork` gives every edge of the tree its own block, with its ancestors' keys copied.
`caches` is the usual prototype: encode a question, repeat its key-value cache for the options.
"""

import argparse
import copy
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from eval_works import build_requests
from tabulate import tabulate
from tqdm import tqdm

from proteinlm_ext import packed_batch
from proteinlm_ext.prefix_lm import PrefixTreeLM
from proteinlm_ext.prefix_tree import Request, make_request
from proteinlm_ext.quickstart import fetch_model

NEVER, ALWAYS = 0, 10**12
# (subtrees of this size are one block, pairs that a copied key is worth)
LAYOUTS = {
    "blocks": (packed_batch.SMALL_SUBTREE, packed_batch.PAIRS_PER_COPY),
    "one mask": (ALWAYS, ALWAYS),
    "every fork": (NEVER, NEVER),
}


def main() -> None:
    """Time every way three times in turn, and print the medians of CPU seconds."""
    parser = argparse.ArgumentParser(description="Compare ways to attend over a prefix tree.")
    parser.add_argument("--questions", type=int, default=24)
    parser.add_argument("--work", default="cloze_0shot,perm,letter_5shot")
    options = parser.parse_args()
    lm = PrefixTreeLM(str(fetch_model()), dtype="float32", device="cpu")
    rows = [time_ways(lm, work, options.questions) for work in options.work.split(",")]
    print(tabulate(rows, headers="keys", floatfmt=".1f"))


def time_ways(lm: Any, work: str, questions: int) -> dict[str, Any]:
    """Return CPU seconds of each way, the least of three."""
    documents: dict[int, list[Request]] = {}
    for number, (context, text) in build_requests(work, questions) or ():
        request = make_request(*lm._encode_pair(context, text), lm.max_length)
        documents.setdefault(number, []).append(request)
    ways: dict[str, Callable[[], None]] = {
        name: lambda layout=layout: score_tree(lm, documents, *layout)
        for name, layout in LAYOUTS.items()
    }
    ways["caches"] = lambda: score_with_caches(lm.model, [*documents.values()])
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _, (name, way) in tqdm(itertools.product(range(3), ways.items()), total=12, desc=work):
        start = time.process_time()
        way()
        seconds[name].append(time.process_time() - start)
    return {"work": work} | {name: min(values) for name, values in seconds.items()}


def score_tree(lm: Any, documents: dict[int, list[Request]], small: int, pairs: int) -> None:
    """Score by the backend, with its two constants changed."""
    kept = packed_batch.SMALL_SUBTREE, packed_batch.PAIRS_PER_COPY
    packed_batch.SMALL_SUBTREE, packed_batch.PAIRS_PER_COPY = small, pairs
    requests = [request for some in documents.values() for request in some]
    split = [(None, [*one.tokens[: one.first_scored + 1]], [*one.continuation]) for one in requests]
    try:
        lm._loglikelihood_tokens(split, disable_tqdm=True)
    finally:
        packed_batch.SMALL_SUBTREE, packed_batch.PAIRS_PER_COPY = kept


@torch.no_grad()
def score_with_caches(model: Any, documents: list[list[Request]]) -> None:
    """Score question by question on repeated caches, the examples common to all encoded once."""
    everything = [request for requests in documents for request in requests]
    shots = common(everything)
    shots = shots if len(shots) >= 64 else ()
    cache = model(torch.tensor([shots]), logits_to_keep=1).past_key_values if shots else None
    for requests in documents:
        stem = common(requests)
        if not stem[len(shots) :]:
            continue
        state = copy.deepcopy(cache)
        output = model(torch.tensor([stem[len(shots) :]]), past_key_values=state, logits_to_keep=1)
        output.logits.log_softmax(-1)
        rest = sorted({one.fed[len(stem) :] for one in requests} - {()})
        if rest:
            output.past_key_values.batch_repeat_interleave(len(rest))
            longest = max(map(len, rest))
            rows = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rest])
            model(rows, past_key_values=output.past_key_values).logits.log_softmax(-1)


def common(requests: list[Request]) -> tuple[int, ...]:
    """Return the prefix that all requests share, up to where the first is scored."""

    def columns() -> Iterator[int]:
        limit = min(one.first_scored + 1 for one in requests)
        for column in zip(*(one.fed[:limit] for one in requests), strict=False):
            if len(set(column)) > 1:
                return
            yield column[0]

    return tuple(columns())


if __name__ == "__main__":
    main()
