"""Generative tasks through real OpenAI-compatible servers on loopback."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from proteinlm_ext.benchmark import load_sample
from proteinlm_ext.cli import main

LETTERS = "ABCDEFGHIJ"


class ScriptedServer:
    """Answers chat requests with the texts of a script, in order of the questions."""

    def __init__(self, answer: Callable[[str], str | None]) -> None:
        self.requests: list[dict[str, Any]] = []
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                scripted.requests.append(body)
                if not body["stop"]:
                    self.send_error(500, "stop must not be empty")
                    return
                text = answer(body["messages"][-1]["content"])
                message = {"role": "assistant", "content": text}
                reply = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_: Any) -> None:
                """Keep the test's output quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/chat/completions"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    servers: list[ScriptedServer] = []

    def start(answer: Callable[[str], str | None]) -> ScriptedServer:
        servers.append(ScriptedServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.server.shutdown()
        server.server.server_close()


def run(url: str, task: str, output: Path, capsys: Any, *arguments: str) -> dict[str, Any]:
    model = f"model=scripted,base_url={url},num_concurrent=1,max_retries=1"
    status = main([
        "eval", "--model", "local-chat-completions", "--model_args", model, "--tasks", task,
        "--apply_chat_template", "--output_path", str(output), "--json", *arguments,
    ])  # fmt: skip
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return json.loads(captured.out)["tasks"][task]


def by_question(write: Callable[[int, Any], str | None]) -> Callable[[str], str | None]:
    """Return an answer function that recognises the question in the prompt."""
    questions = list(enumerate(load_sample().questions))

    def answer(prompt: str) -> str | None:
        found = [(place, q) for place, q in questions if q.question in prompt]
        assert len(found) == 1
        return write(*found[0])

    return answer


@pytest.mark.usefixtures("sample_as_benchmark")
def test_exact_texts_give_exact_scores_and_invalid_rates(
    serve: Callable[..., ScriptedServer], tmp_path: Path, capsys: Any
) -> None:
    """Of 60: 15 right by the book, 15 right but loosely, 15 wrong, 15 without an answer."""

    def write(place: int, question: Any) -> str | None:
        gold, wrong = LETTERS[question.answer], LETTERS[1 if question.answer == 0 else 0]
        loose, silent = f"I think the answer is **{gold}**.", "<think>Surely Answer: " + gold
        texts = [f"Because.\nAnswer: {gold}", loose, f"Answer: {wrong}", silent]
        return texts[place % 4]

    server = serve(by_question(write))
    task = run(server.url, "proteinlmbench_gen", tmp_path, capsys)
    scores = {score["filter"]: score["value"] for score in task["scores"]}
    assert scores == {"strict": 15 / 60, "flexible": 30 / 60}
    assert task["invalid_rates"] == {"strict": 30 / 60, "flexible": 15 / 60}
    assert len(server.requests) == task["num_questions"] == 60
    request = server.requests[0]
    assert [message["role"] for message in request["messages"]] == ["user"]
    assert request["stop"] == ["<|endoftext|>"]
    assert request["max_tokens"] == 256


@pytest.mark.usefixtures("sample_as_benchmark")
def test_a_missing_text_is_wrong_and_never_dropped(
    serve: Callable[..., ScriptedServer], tmp_path: Path, capsys: Any
) -> None:
    """Services answer with null when a content filter steps in."""
    server = serve(by_question(lambda place, question: None if place else "Answer: A"))
    task = run(server.url, "proteinlmbench_gen", tmp_path, capsys, "--limit", "4")
    for score in task["scores"]:
        assert score["num_items"] == 4
    assert task["invalid_rates"]["flexible"] == 3 / 4


@pytest.mark.usefixtures("sample_as_benchmark")
@pytest.mark.parametrize(
    ("task", "text", "accuracy"),
    [
        ("proteinlmbench_cot", lambda place, q: f"<think>A</think>Answer: {LETTERS[q.answer]}", 1),
        ("proteinlmbench_paper", lambda place, q: f" option {q.answer + 1}, I think", 1),
        ("proteinlmbench_opencompass", lambda place, q: f"Answer: {LETTERS[q.answer]}", 1),
        ("proteinlmbench_scienceeval", lambda place, q: r"so $\boxed{\text{Q}}$", 0),
    ],
)
def test_every_generative_protocol_runs_through_a_chat_server(
    task: str, text: Callable[[int, Any], str], accuracy: float,
    serve: Callable[..., ScriptedServer], tmp_path: Path, capsys: Any,
) -> None:  # fmt: skip
    summary = run(serve(by_question(text)).url, task, tmp_path, capsys, "--limit", "8")
    assert summary["scores"][0]["value"] == accuracy
    assert summary["num_questions"] == 8


@pytest.mark.usefixtures("sample_as_benchmark")
def test_few_shot_examples_are_turns_of_the_chat(
    serve: Callable[..., ScriptedServer], tmp_path: Path, capsys: Any
) -> None:
    server = serve(by_question(lambda place, question: "Answer: B"))
    run(server.url, "proteinlmbench_gen", tmp_path, capsys, "--limit", "1", "--num_fewshot", "2")
    messages = server.requests[0]["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2 + ["user"]
    assert all(m["content"].startswith("Answer: ") for m in messages if m["role"] == "assistant")


@pytest.fixture
def transformers_serve(smollm2: Path) -> Iterator[str]:
    """Start `transformers serve` with SmolLM2 and wait until it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(smollm2)]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(240):
            assert server.poll() is None, "transformers serve ended"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                    break
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1/chat/completions"
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.mark.slow
@pytest.mark.usefixtures("sample_as_benchmark")
def test_smollm2_answers_through_transformers_serve(
    transformers_serve: str, smollm2: Path, tmp_path: Path, capsys: Any
) -> None:
    status = main([
        "eval", "--model", "local-chat-completions",
        "--model_args", f"model={smollm2},base_url={transformers_serve},num_concurrent=1",
        "--tasks", "proteinlmbench_gen", "--apply_chat_template", "--limit", "3",
        "--gen_kwargs", "max_gen_toks=32", "--output_path", str(tmp_path), "--json",
    ])  # fmt: skip
    captured = capsys.readouterr()
    assert status == 0, captured.err
    (samples,) = json.loads(captured.out)["sample_files"]
    texts = {
        sample["doc_id"]: sample["resps"][0][0]
        for sample in map(json.loads, Path(samples).read_text().splitlines())
    }
    assert len(texts) == 3
    assert all(isinstance(text, str) and text.strip() for text in texts.values())
