"""The five fixed few-shot examples; none of them is ever evaluated.

Read at import, since only the task YAML asks for them (as `!function`): lm-eval then writes the
examples themselves into its results, where a function would leave its address in memory.
"""

from typing import Any

from proteinlm_ext.benchmark import read_file
from proteinlm_ext.paths import data_file

EXAMPLES: list[dict[str, Any]] = [
    question.to_doc() for question in read_file(data_file("fewshot.json")).questions
]
MAX_FEWSHOT = len(EXAMPLES)
