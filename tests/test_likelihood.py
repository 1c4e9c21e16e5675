"""Letter and cloze scores equal an independent recomputation with plain transformers."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from proteinlm_ext.cli import main

TASKS = ("proteinlmbench", "proteinlmbench_cloze")

pytestmark = pytest.mark.slow


class Recomputed:
    """Log-probabilities from plain forward passes: no batch, no padding, no cache of keys."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
        # All letters of a question follow the same tokens: one pass serves them.
        self.forward = cache(self._forward)

    def _forward(self, tokens: tuple[int, ...]) -> Any:
        import torch

        with torch.inference_mode():
            return self.model(torch.tensor([tokens])).logits[0].log_softmax(-1)

    def log_probability(self, context: str, continuation: str) -> float:
        """Return log P(continuation | context)."""
        # The tokenizer decides at the boundary, so encode the whole and split after the context.
        # lm-eval counts white space at the context's end to the continuation: with a chat template
        # that is the line break after "assistant", a constant for all letters of a question.
        start = len(self.tokenizer(context.rstrip(), add_special_tokens=False).input_ids)
        tokens = self.tokenizer(context + continuation, add_special_tokens=False).input_ids
        rows = self.forward(tuple(tokens[:-1]))
        return float(sum(rows[place - 1, tokens[place]] for place in range(start, len(tokens))))


@pytest.mark.parametrize(("form", "questions"), [("no", 8), ("apply", 4)])
def test_scores_agree_to_1e_4_in_log_probability(
    form: str, questions: int, smollm2: Path, sample_as_benchmark: Path, tmp_path: Path, capsys: Any
) -> None:
    status = main([
        "eval", "--model", "hf", "--model_args", f"pretrained={smollm2},dtype=float32",
        "--tasks", ",".join(TASKS), "--limit", str(questions), "--batch_size", "4",
        "--output_path", str(tmp_path), "--json", f"--{form}_chat_template",
    ])  # fmt: skip
    captured = capsys.readouterr()
    assert status == 0, captured.err
    recomputed = Recomputed(smollm2)
    for file in json.loads(captured.out)["sample_files"]:
        samples = [json.loads(line) for line in Path(file).read_text().splitlines()]
        assert len(samples) == questions
        for sample in samples:
            asked = [(a["arg_0"], a["arg_1"]) for a in sample["arguments"].values()]
            expected = [recomputed.log_probability(*pair) for pair in asked]
            logged = [float(response[0][0]) for response in sample["resps"]]
            assert logged == pytest.approx(expected, abs=1e-4)
            picked = expected.index(max(expected))
            assert sample["acc"] == float(picked == sample["doc"]["answer"])
            assert ("<|im_start|>" in asked[0][0]) == (form == "apply")


def test_a_template_left_undecided_is_warned_about(
    smollm2: Path, tmp_path: Path, capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["eval", "--model", "hf", "--model_args", f"pretrained={smollm2}", "--limit", "1"]
    arguments += ["--tasks", "proteinlmbench_sample", "--output_path", str(tmp_path)]
    assert main(arguments) == 0
    assert "chat template and the run does not use it" in caplog.text
    caplog.clear()
    assert main([*arguments, "--no_chat_template"]) == 0
    assert "chat template and the run does not use it" not in caplog.text
