"""The works of `eval_speed.py`: which requests of which task, as lm-eval itself builds them."""

import os
import re
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("PROTEINLM_TEST_DATA", ROOT.parent / "shared" / "data"))
MMLU = DATA / "hub" / "datasets" / "cais" / "mmlu"

# How much faster than stock a work must be. In `random_shots` and `rolling`, requests of different
# documents share nothing. Also taken: cloze_Nshot, letter_Nshot, mmlu_SUBJECT_Nshot with any N.
TARGETS = {
    "cloze_0shot": 1.8,
    "cloze_5shot": 7.0,
    "letter_0shot": 1.2,
    "letter_5shot": 5.0,
    "perm": 1.3,
    "mmlu_virology_5shot": 3.0,
    "random_shots": 0.95,
    "rolling": 0.95,
}
NEVER_BELOW = 0.95

# The number of its document, and context and continuation (rolling: the text alone).
Request: TypeAlias = tuple[int, tuple[str, ...]]


def build_requests(work: str, questions: int) -> list[Request] | None:
    """Build the requests of the first documents; None where the work's data is not at hand.

    The questions are those of $PROTEINLM_DATA or of the folder that the tests look in, else the
    bundled sample.
    """
    import lm_eval.tasks

    from proteinlm_ext.paths import data_file, tasks_dir

    real = DATA / "proteinlmbench" / "ProteinLMBench.json"
    found = real if real.is_file() else data_file("sample.json")
    os.environ.setdefault("PROTEINLM_DATA", str(found))
    specification = to_specification(work)
    files = specification.get("dataset_kwargs", {}).get("data_files", {})
    if not all(Path(file).is_file() for file in files.values()):
        return None
    mmlu = Path(lm_eval.tasks.__file__).parent / "mmlu" / "default"
    manager = lm_eval.tasks.TaskManager(include_path=[tasks_dir(), mmlu], include_defaults=False)
    # Only a member of a group keeps the rest of its own YAML.
    loaded = manager.load([{"group": "benchmark", "task": [specification]}])
    (task,) = loaded["tasks"].values()
    task.set_fewshot_seed(1234)  # lm-eval's default
    documents = list(task.eval_docs)
    while work == "perm" and questions < len(documents) and documents[questions]["rotation"]:
        questions += 1  # whole questions
    task.build_all_requests(limit=questions)
    return [(instance.doc_id, instance.args) for instance in task.instances]


def to_specification(work: str) -> dict[str, Any]:
    """Return the name of a work's task and what is changed in it, for lm-eval."""
    letter = {"task": "proteinlmbench"}
    if work == "perm":
        return {"task": "proteinlmbench_perm"}
    if work == "random_shots":
        config = {"sampler": "default"}
        return letter | {"num_fewshot": 5, "fewshot_split": "test", "fewshot_config": config}
    if work == "rolling":
        return letter | {
            "output_type": "loglikelihood_rolling",
            "doc_to_target": "{{question}} {{choices|join(' ')}}",
            "metric_list": [{"metric": "byte_perplexity"}],
        }
    found = re.fullmatch(r"(cloze|letter|mmlu_\w+)_(\d+)shot", work)
    if not found:
        raise SystemExit(f"--work {work}: give {', '.join(TARGETS)}, or one like them.")
    name, shots = found[1], {"num_fewshot": int(found[2])}
    if name == "letter":
        return letter | shots
    if name == "cloze":
        return {"task": "proteinlmbench_cloze"} | shots
    folder = MMLU / name.removeprefix("mmlu_")
    files = {split: str(folder / f"{split}-00000-of-00001.parquet") for split in ("dev", "test")}
    local = {"dataset_path": "parquet", "dataset_name": None}
    return {"task": name} | shots | local | {"dataset_kwargs": {"data_files": files}}
