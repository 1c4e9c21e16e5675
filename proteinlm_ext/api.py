"""The Python interface: `import proteinlm_ext as plm` finds these functions as `plm.NAME`.

`audit`, `evaluate` and `compare` do what the commands do; `print()` of what they return shows the
same tables.
"""

import contextlib
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from proteinlm_ext import auditing, comparison, evaluation
from proteinlm_ext.benchmark import find_data, load_benchmark
from proteinlm_ext.errors import UsageError
from proteinlm_ext.paths import DEFAULT_OUTPUT
from proteinlm_ext.runs import load_runs

__all__ = ["audit", "compare", "evaluate", "load_benchmark", "render_card"]

Arguments = str | Mapping[str, Any]
"""As on the command line, `pretrained=NAME,dtype=float32`, or a mapping."""


def audit(data: str | Path | None = None) -> auditing.Audit:
    """Examine a benchmark file: its faults by row, and what never reading the questions scores.

    Args:
        data: A JSON, JSONL, CSV or Parquet file in the benchmark's schema; default
            `$PROTEINLM_DATA`, else ProteinLMBench from the Hub.

    Raises:
        DataError: The file cannot be read at all. A defective one is audited all the same.
    """
    return auditing.audit(find_data(str(data) if data is not None else None))


def evaluate(
    *,
    tasks: str | Sequence[str],
    model: str = "hf",
    model_args: Arguments = "",
    output_path: str | Path = DEFAULT_OUTPUT,
    cache: str | Path | None = None,
    log_samples: bool = True,
    **flags: Any,
) -> evaluation.Run | None:
    """Evaluate a model as `proteinlm eval` does, and write what lm-eval writes.

    Args:
        tasks: Names, suites or tags, in a list or separated by commas.
        model: A model type of lm-eval: hf, proteinlm-hf, local-chat-completions, heuristic, ...
        model_args: What that type needs to load the model.
        output_path: Folder for results and samples.
        cache: Folder of answers to keep and to take from; only for `proteinlm-hf`.
        log_samples: Write the samples files, which `compare` reads.
        flags: Other flags of `lm_eval run` by their names: batch_size=8, num_fewshot=5, limit=20,
            apply_chat_template=True, metadata={"sft_data": "DIR"}.

    Returns:
        The scores with n, interval and protocol, and the files; None on all but the first process
        of a distributed run.

    Raises:
        UsageError: The request cannot work; no model was loaded.
        ProteinLMError: The model cannot be loaded, or the results could not be written.
    """
    given = flags | {"model": model, "model_args": model_args, "output_path": str(output_path)}
    named = tasks if isinstance(tasks, str) else ",".join(tasks)
    with contextlib.redirect_stdout(sys.stderr):  # lm-eval prints; the tables are ours to show
        config, _ = evaluation.read_config(Namespace(**given, tasks=named))
        return evaluation.evaluate(
            config,
            log_samples=log_samples,
            template_decided="apply_chat_template" in flags,
            cache=Path(cache) if cache else None,
        )


def compare(
    runs: Sequence[str | Path],
    baseline: str | None = None,
    *,
    tasks: Sequence[str] = (),
    allow_limited: bool = False,
    allow_prompts: bool = False,
) -> comparison.Comparison:
    """Put saved runs of lm-eval side by side, paired by question.

    Args:
        runs: Folders or results files; "NAME=PATH" gives a run its name in the tables.
        baseline: The name of the run that the others are compared with; default the first.
        tasks: Look at these tasks only.
        allow_limited: Accept runs of `limit` or `samples`.
        allow_prompts: Test also where prompts, few-shot count or chat template differ.

    Raises:
        UsageError: A path is no run, the baseline or a task is in no run, or a run was limited.
        ProteinLMError: A file is damaged, or runs of one task cannot be paired.
    """
    if isinstance(runs, (str, Path)):
        raise UsageError(f"Give a list of runs: [{str(runs)!r}, ...].")
    return comparison.compare(
        load_runs([str(run) for run in runs]),
        baseline,
        tasks=[tasks] if isinstance(tasks, str) else tasks,
        allow_limited=allow_limited,
        allow_prompts=allow_prompts,
    )


def render_card(folder: str | Path) -> dict[str, str]:
    """Return the texts that a folder's card.json makes, by their path in the folder.

    Nothing is written. `proteinlm card` makes card.json from results, records and manifests.

    Args:
        folder: A model, dataset or overlay with its card.

    Raises:
        ProteinLMError: There is no card.json, or nothing can be made of it.
    """
    from proteinlm_hub.render import read_card, to_files

    return to_files(read_card(Path(folder)))
