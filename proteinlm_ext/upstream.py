"""Write the folder for a pull request to lm-evaluation-harness: `make upstream OUT=DIR`.

Upstream tasks cannot import this package, so the functions are vendored into one `utils.py` and
the data come from the Hub by `dataset_path` and pinned revision. The tests render equal prompts
from this folder and from ours.
"""

import inspect
import pprint
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proteinlm_ext import __version__, answer_patterns, extract, questions, scoring
from proteinlm_ext.benchmark import HUB_REPO, HUB_REVISION
from proteinlm_ext.errors import UsageError
from proteinlm_ext.fewshot import EXAMPLES
from proteinlm_ext.paths import tasks_dir
from proteinlm_ext.questions import option_text, parse_answer, split_padding

FILES = (
    "_letter_yaml", "_cloze_yaml", "_generate_yaml",
    "proteinlmbench.yaml", "proteinlmbench_cloze.yaml", "proteinlmbench_gen.yaml",
)  # fmt: skip
TASKS = ("proteinlmbench", "proteinlmbench_cloze", "proteinlmbench_gen")
DATA_YAML = f"""\
dataset_path: {HUB_REPO}
dataset_name: evaluation
dataset_kwargs:
  revision: {HUB_REVISION}
test_split: train
process_docs: !function utils.process_docs
"""


def process_docs(dataset: Any) -> Any:
    """Turn rows of the Hub file into documents with question, choices and answer (0-based)."""

    def to_doc(row: Mapping[str, Any]) -> dict[str, Any]:
        options, _ = split_padding(row["options"])
        answer = parse_answer(row["answer"])
        if answer is None:
            raise ValueError(f"unparsable answer: {row['answer']!r}")
        return {"choices": [option_text(option) for option in options], "answer": answer - 1}

    return dataset.map(to_doc, remove_columns=["options", "explanation"])


def write(target: Path) -> None:
    """Write the pull-request folder.

    Raises:
        UsageError: `target` exists; nothing is overwritten.
    """
    if target.exists():
        raise UsageError(f"{target} exists. Name a new folder: make upstream OUT=DIR")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unfinished-") as work:
        folder = Path(work) / "proteinlmbench"
        folder.mkdir()
        for name in FILES:
            text = (tasks_dir() / "proteinlmbench" / name).read_text(encoding="utf-8")
            (folder / name).write_text(_without_package(text), encoding="utf-8")
        readme = (tasks_dir() / "proteinlmbench" / "README.md").read_text(encoding="utf-8")
        (folder / "README.md").write_text(_only_these_tasks(readme), encoding="utf-8")
        (folder / "_data_yaml").write_text(DATA_YAML, encoding="utf-8")
        (folder / "utils.py").write_text(utils_source(), encoding="utf-8")
        folder.rename(target)


def _without_package(text: str) -> str:
    """Point `!function` at utils.py, and drop the mapping that only our loader fills."""
    text = re.sub(r"!function proteinlm_ext\.\w+\.", "!function utils.", text)
    return text.replace("  provenance: {}\n", "")


def _only_these_tasks(readme: str) -> str:
    """Leave out the lines about tasks that stay in this project."""
    kept = (
        line
        for line in readme.splitlines(keepends=True)
        if not (named := re.match(r"\* `(proteinlm\w+)`", line))
        or named[1] in (*TASKS, "proteinlm")
    )
    return "".join(kept)


def utils_source() -> str:
    """Return the source of `utils.py`: our functions, one after the other."""
    patterns = inspect.getsource(answer_patterns).partition("import re\n")[2].strip()
    source = re.sub(
        r"\nfrom proteinlm_ext\.answer_patterns import \(.*?\)\n",
        lambda _: f"\n{patterns}\n",
        inspect.getsource(extract),
        flags=re.DOTALL,
    )
    letters = f"\nLETTERS = {questions.LETTERS!r}\n"
    source = source.replace("from proteinlm_ext.questions import LETTERS\n", letters)
    vendored = [
        f"OPTION_PREFIX = re.compile({questions.OPTION_PREFIX.pattern!r}, re.IGNORECASE)\n"
        f"ANSWER = re.compile({questions.ANSWER.pattern!r}, re.IGNORECASE)\n"
        f"PADDING = {questions.PADDING!r}\n",
        *(
            inspect.getsource(function)
            for function in (
                option_text, split_padding, parse_answer, process_docs, scoring.score_generation,
            )
        ),
    ]  # fmt: skip
    examples = [{key: doc[key] for key in ("question", "choices", "answer")} for doc in EXAMPLES]
    head = f"# Generated from proteinlm-ext {__version__} by `make upstream`: change it there.\n"
    imports = "from typing import Any\n"
    source = re.sub(r"(\nfrom collections\.abc [^\n]*\n)", rf"\1{imports}", source, count=1)
    shown = pprint.pformat(examples, width=96, sort_dicts=False)
    return "\n\n".join([head + source, *vendored, f"EXAMPLES = {shown}\n"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m proteinlm_ext.upstream DIR")
    write(Path(sys.argv[1]))
