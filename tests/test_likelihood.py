"""Letter and cloze scores equal an independent recomputation with plain transformers."""

import json
from pathlib import Path
from typing import Any

import pytest

from proteinlm_ext.cli import main

NUM_QUESTIONS = 20
TASKS = ("proteinlmbench", "proteinlmbench_cloze")

pytestmark = pytest.mark.slow


def log_probability(model: Any, tokenizer: Any, context: str, continuation: str) -> float:
    """Return log P(continuation | context), one unbatched forward pass, no cache."""
    import torch

    # The tokenizer decides at the boundary, so encode the whole and split after the context.
    start = len(tokenizer(context, add_special_tokens=False).input_ids)
    tokens = tokenizer(context + continuation, add_special_tokens=False).input_ids
    with torch.inference_mode():
        logits = model(torch.tensor([tokens])).logits[0].double()
    log_probs = logits.log_softmax(-1)
    return float(sum(log_probs[place - 1, tokens[place]] for place in range(start, len(tokens))))


@pytest.mark.parametrize("template", [False, True], ids=["raw", "chat template"])
def test_scores_agree_to_1e_4_in_log_probability(
    template: bool, smollm2: Path, sample_as_benchmark: Path, tmp_path: Path, capsys: Any
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    form = "--apply_chat_template" if template else "--no_chat_template"
    status = main([
        "eval", "--model", "hf", "--model_args", f"pretrained={smollm2},dtype=float32",
        "--tasks", ",".join(TASKS), "--limit", str(NUM_QUESTIONS), "--batch_size", "4",
        "--output_path", str(tmp_path), "--json", form,
    ])  # fmt: skip
    captured = capsys.readouterr()
    assert status == 0, captured.err
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype="float32").eval()
    for file in json.loads(captured.out)["sample_files"]:
        samples = [json.loads(line) for line in Path(file).read_text().splitlines()]
        assert len(samples) == NUM_QUESTIONS
        for sample in samples:
            asked = [(a["arg_0"], a["arg_1"]) for a in sample["arguments"].values()]
            # One letter is one token: a single pass would do, but the check stays the plain one.
            expected = [log_probability(model, tokenizer, *pair) for pair in asked]
            logged = [float(response[0][0]) for response in sample["resps"]]
            assert logged == pytest.approx(expected, abs=1e-4)
            picked = expected.index(max(expected))
            assert sample["acc"] == float(picked == sample["doc"]["answer"])
            assert template == ("<|im_start|>" in asked[0][0])


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
