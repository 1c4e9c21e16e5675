"""What must not be published is found wherever it is put, and what merely looks like it passes."""

import base64
import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from proteinlm_ext.errors import ProteinLMError
from proteinlm_hub import scan_files
from proteinlm_hub.scan import ALLOWED, Finding, allowed, require_clean, scan

HOST, USER = "vesuvio-gpu7", "mrosetti"
# Put together here, so that no scanner of repositories takes this file for a leak.
LETTERS = "qWeRtYuIoPaSdFgHjKlZxCvBnMqWeRtYuIoP"
DIGITS = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
HEX = "0f1e2d3c4b5a69788796a5b4c3d2e1f001234567"
HF = "hf" + "_" + LETTERS[:34]
JWT = ".".join(["ey" + "J" + DIGITS[:20], "ey" + "J" + LETTERS[:30], DIGITS])
TOKENS = {
    "hugging face": HF,
    "hugging face oauth": "hf" + "_oauth_" + DIGITS,
    "hugging face organisation": "api" + "_org_" + LETTERS[:34],
    "openai": "sk" + "-" + DIGITS,
    "openai project": "sk" + "-proj-" + DIGITS[:20] + "_" + LETTERS,
    "anthropic": "sk" + "-ant-api03-" + DIGITS,
    "aws": "AK" + "IA" + "Q3EGJ7KLZ2BXOU4T",
    "aws session": "AS" + "IA" + "Q3EGJ7KLZ2BXOU4T",
    "github": "gh" + "p_" + DIGITS,
    "github app": "gh" + "o_" + DIGITS,
    "github fine-grained": "github" + "_pat_" + DIGITS[:22] + "_" + DIGITS,
    "gitlab": "gl" + "pat-" + DIGITS[:20],
    "slack": "xo" + "xb-123456789012-" + DIGITS[:12],
    "google": "AI" + "za" + DIGITS[:35],
    "npm": "np" + "m_" + DIGITS[:36],
    "pypi": "py" + "pi-AgEIcHlwaS5vcmc" + DIGITS + LETTERS,
    "json web token": JWT,
    "wandb": "WANDB" + "_API_KEY=" + HEX,
    "wandb netrc": "machine api.wandb" + ".ai\n  login user\n  password " + HEX,
    "bearer": "Authorization: " + "Bearer " + DIGITS,
    "private key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
    "groq": "gs" + "k_" + DIGITS + LETTERS,
    "xai": "xa" + "i-" + DIGITS + LETTERS,
    "replicate": "r8" + "_" + DIGITS + "x",
    "stripe": "sk" + "_live_" + DIGITS[:24],
    "sendgrid": "S" + "G." + DIGITS[:22] + "." + DIGITS + LETTERS[:8],
    "google oauth": "ya" + "29." + DIGITS + LETTERS,
    "slack webhook": "https://hooks.slack" + ".com/services/T0A1/B0B2/" + DIGITS[:24],
    "discord webhook": "https://discord" + ".com/api/webhooks/123456/" + DIGITS,
    "azure": "Account" + "Key=" + DIGITS + LETTERS + "==",
    "aws secret": "aws_secret" + "_access_key = " + DIGITS + "/abc",
    "environment": "MISTRAL" + "_API_KEY=" + DIGITS[:32],
    "hexadecimal": '"api' + f'_key": "{HEX[:32]}"',
    "password": "password" + ": '" + DIGITS[:16] + "'",
    "password in address": "https://alice:" + "Sup3rSecret@hub.example.org/x",
}
PATHS = (
    "/home/alice/models/base", "/Users/alice/x", "/root/.cache/hub", "/tmp/run-7/final",  # noqa: S108
    "/mnt/nvme0/weights", "/workspace/input_data/a", "/data/models/llama", "/scratch/a/b",
    "~/runs/mine", "file:///srv/models/x", r"D:\Uni\Thesis\merge", r"C:\Users\alice",
    "/home2/alice/x", "/gscratch/lab/x", "/fsx/alice/models", "/raid/x", "/ceph/lab",
    "/ssd1/models/x", "/storage/lab/x", "/projects/lamps/x", "/export/home/alice",
    "D:/Uni/Thesis/merge", "__home__alice__models__base",
)  # fmt: skip


class Leak(NamedTuple):
    """A file with something in it that must be found, by this rule and on this line."""

    path: str
    content: bytes
    rule: str
    line: int | None = None
    kind: str = "model"
    member: str = ""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give host and user a name; `tmp_path` comes first, since its own name has the user in it."""
    monkeypatch.setattr("socket.gethostname", lambda: f"{HOST}.example.internal")
    monkeypatch.setattr("getpass.getuser", lambda: USER)


def table(columns: dict[str, Any], metadata: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    made = pa.table(columns)
    pq.write_table(made.replace_schema_metadata(metadata) if metadata else made, buffer)
    return buffer.getvalue()


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(name: str, content: bytes | None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        if content is None:
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member)
        else:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def array(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return buffer.getvalue()


def weights(metadata: dict[str, str] | None = None) -> bytes:
    return save({"lora_A": np.zeros((2, 3), np.float32)}, metadata)


def with_header(header: dict[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def to_json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


NOTEBOOK = {
    "cells": [
        {"cell_type": "code", "source": ["train()"], "outputs": [{"text": [f"done\n{HF}\n"]}]}
    ],
    "nbformat": 4,
}
TOKENIZER = {"added_tokens": [{"content": "<seq>"}], "model": {"vocab": {"hf": 0, "_": 1}}}
SAMPLE = {"doc_id": 3, "doc": {"id": "a", "answer": 2}, "target": "B", "resps": [["B"]]}
ASKED = {"question": "Which residue?", "options": ["A", "B"]}
PICKLED = {"lr": 0.1, "steps": [1, 2, 3]}

LEAKS = {
    **{
        f"{name} token": Leak("README.md", f"# Lamps\n\nUse\n{token}\n".encode(), "token", 4)
        for name, token in TOKENS.items()
        if name != "wandb netrc"
    },
    "wandb netrc": Leak(".netrc", TOKENS["wandb netrc"].encode(), "token", 1),
    **{
        f"path {path}": Leak("adapter_config.json", to_json({"base": path}), "path", 2)
        for path in PATHS
    },
    "host": Leak("README.md", f"a\nTrained on {HOST}.".encode(), "name", 2),
    "user": Leak("README.md", f"a\nby {USER}\n".encode(), "name", 2),
    "user and host": Leak("recipe.yaml", f"owner: {USER}@{HOST}".encode(), "name", 1),
    "YAML front matter": Leak("README.md", f"---\na: b\ntoken: {HF}\n---\n".encode(), "token", 3),
    "tokenizer.json": Leak("tokenizer.json", to_json({**TOKENIZER, "x": HF}), "token", 13),
    "path in tokenizer.json": Leak(
        "tokenizer.json", to_json({"from": "/workspace/base", **TOKENIZER}), "path", 2
    ),
    "environment file as vocabulary": Leak("vocab.txt", f"a\nTOKEN={HF}".encode(), "token", 2),
    "chat template": Leak("chat_template.jinja", f"{{# {HF} #}}".encode(), "token", 1),
    "SentencePiece": Leak(
        "tokenizer.model", b"\n\x0e\n\x05<unk>\x15\0\0\0\0" + f"\n{HF}".encode(), "token", 4
    ),
    "escaped in JSON": Leak(
        "config.json", to_json({"a": HF}).replace(b"hf", rb"\u0068f"), "token", 2
    ),
    "escaped slashes in JSON": Leak("config.json", rb'{"a": "\/home\/alice\/x"}', "path", 1),
    "after a line break in JSON": Leak("config.json", to_json({"a": f"x\n{HF}"}), "token", 2),
    "notebook": Leak("analysis.ipynb", to_json(NOTEBOOK), "token", 11),
    "notebook by name": Leak("analysis.ipynb", b"{}", "private"),
    "environment file": Leak(".env", f"A=1\nHF_TOKEN={HF}".encode(), "token", 2),
    "environment file by name": Leak(".env.local", b"", "private"),
    "UTF-16": Leak("README.md", HF.encode("utf-16"), "unknown-file"),
    "token in UTF-16": Leak("README.md", HF.encode("utf-16-le"), "token", 1),
    "safetensors header": Leak("model.safetensors", weights({"by": HF}), "token"),
    "path in a safetensors header": Leak(
        "model.safetensors", weights({"from": "/home/alice/base"}), "path"
    ),
    "safetensors with more behind it": Leak("model.safetensors", weights() + b"more", "broken"),
    "safetensors of an unknown type": Leak(
        "model.safetensors",
        with_header({"a": {"dtype": HF, "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
        "broken",
    ),
    "safetensors with offsets outside": Leak(
        "model.safetensors",
        with_header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"1234"),
        "broken",
    ),
    "safetensors with a hole": Leak(
        "model.safetensors",
        with_header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"12345678"),
        "broken",
    ),
    "safetensors cut off": Leak("model.safetensors", weights()[:20], "broken"),
    "safetensors with a huge header": Leak("model.safetensors", b"\xff" * 16, "broken"),
    "pickle as safetensors": Leak("model.safetensors", pickle.dumps(PICKLED), "broken"),
    **{
        f"pickle of protocol {n}": Leak("config.json", pickle.dumps(PICKLED, n), "pickle")
        for n in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "pickle that calls": Leak("README.md", b"cos\nsystem\n(S'true'\ntR.", "pickle"),
    "pickle that leaves a rest": Leak("README.md", b"I1\ncos\nsystem\n(S'true'\ntR.", "pickle"),
    "array of objects": Leak("eval/a.json", array(np.array([{}, None], object)), "pickle"),
    "saved by torch": Leak(
        "pytorch_model.bin",
        zipped(**{"archive/data.pkl": pickle.dumps(PICKLED, 2)}),
        "pickle",
        member="!archive/data.pkl",
    ),
    "array of objects in a zip": Leak(
        "a.npz", zipped(**{"x.npy": array(np.array([{}], object))}), "pickle", member="!x.npy"
    ),
    "pickle in gzip": Leak(
        "left_out.jsonl.gz", gzip.compress(pickle.dumps(PICKLED)), "pickle", kind="dataset"
    ),
    "zip": Leak("data.zip", zipped(**{"b.txt": f"\n{HF}".encode()}), "token", 2, "model", "!b.txt"),
    "zip within a zip": Leak(
        "data.zip", zipped(**{"b.zip": zipped(c=b"")}), "nested-archive", member="!b.zip"
    ),
    "broken zip": Leak("a.zip", zipped(a=b"a" * 99).replace(b"\3\4", b"\3\5"), "unreadable"),
    "tar": Leak("a.tar", tarred("x/.env", f"\n\n{HF}".encode()), "token", 3, member="!x/.env"),
    "link in a tar": Leak("a.tar", tarred("x", None), "symlink", member="!x"),
    "packed tar": Leak(
        "held_out.tsv.gz", gzip.compress(tarred("x", b"")), "nested-archive", kind="dataset"
    ),
    "zip by another name": Leak("README.md", b"# A\n" + zipped(a=b"clean"), "archive"),
    "tar by another name": Leak("README.md", tarred("x", b"clean"), "archive"),
    "gzip by another name": Leak("README.md", gzip.compress(b"clean"), "archive"),
    "Parquet by another name": Leak("README.md", table({"x": [1]}), "unknown-file"),
    "text as Parquet": Leak("a/b.parquet", b"clean", "broken", kind="dataset"),
    "zeros": Leak("README.md", b"\0" * 600 + b"clean", "unknown-file"),
    "gzip": Leak(
        "left_out.jsonl.gz", gzip.compress(f'{{}}\n{{"a": "{HF}"}}'.encode()), "token", 2, "dataset"
    ),
    "gzip within gzip": Leak(
        "left_out.jsonl.gz", gzip.compress(gzip.compress(b"")), "nested-archive", kind="dataset"
    ),
    "gzip cut off": Leak(
        "left_out.jsonl.gz", gzip.compress(b"a" * 99)[:-9], "unreadable", kind="dataset"
    ),
    "Parquet cell": Leak("a/train.parquet", table({"text": ["a", HF]}), "token", kind="dataset"),
    "Parquet list": Leak("a/train.parquet", table({"x": [["a"], [HF]]}), "token", kind="dataset"),
    "Parquet struct": Leak(
        "a/train.parquet", table({"x": [{"a": [{"b": f"p {HF}"}]}]}), "token", kind="dataset"
    ),
    "Parquet dictionary": Leak(
        "a/train.parquet",
        table({"x": pa.array([HF, HF]).dictionary_encode()}),
        "token",
        kind="dataset",
    ),
    "Parquet bytes": Leak("a/train.parquet", table({"x": [HF.encode()]}), "token", kind="dataset"),
    "path in a Parquet cell": Leak(
        "a/train.parquet", table({"x": ["/home/alice/x"]}), "path", kind="dataset"
    ),
    "Parquet metadata": Leak(
        "a/train.parquet", table({"x": [1]}, {"origin": "/home/alice/x"}), "path", kind="dataset"
    ),
    "host in Parquet metadata": Leak(
        "a/train.parquet", table({"x": [1]}, {"host": HOST}), "name", kind="dataset"
    ),
    "Parquet column": Leak("a/train.parquet", table({HF: [1]}), "token", kind="dataset"),
    "broken Parquet": Leak("a/train.parquet", b"PAR1 and no more PAR1", "broken", kind="dataset"),
    "not redistributable": Leak(
        "ssl_pmc/train.parquet",
        table({"text": ["a"], "license": ["CC-BY-4.0"], "redistributable": [False]}),
        "licence",
        kind="dataset",
    ),
    "licence that forbids": Leak(
        "ssl_pmc/train.parquet", table({"text": ["a"], "license": ["CC-BY-NC-4.0"]}), "licence",
        kind="dataset",
    ),
    "no licence": Leak(
        "ssl_pmc/train.parquet", table({"text": ["a"], "license": pa.array([None], pa.string())}),
        "licence", kind="dataset",
    ),
    "PubMed abstract": Leak(
        "ssl_x/train.parquet",
        table({"text": ["a"], "license": ["CC0-1.0"], "source": ["PubMed + UniProtKB"]}),
        "licence",
        kind="dataset",
    ),
    "JSONL not redistributable": Leak(
        "contamination.jsonl", b'{}\n{"a": 1, "redistributable": false}', "licence", 2, "dataset"
    ),
    "questions in Parquet": Leak(
        "rows/test.parquet", table({"question": ["a"], "choices": [["b", "c"]]}),
        "benchmark-question", kind="overlay",
    ),
    "questions in JSON": Leak("eval/x.json", to_json([{}, ASKED]), "benchmark-question", 4),
    "examples in the settings of an evaluation": Leak(
        "eval/results.json", to_json({"configs": {"a": {"samples": [ASKED]}}}),
        "benchmark-question", 6,
    ),
    "keys in CSV": Leak(
        "a.csv", b"id,option 1,option 2,answer\na,b,c,1\n", "benchmark-answer", 2
    ),
    "questions in JSONL": Leak(
        "contamination.jsonl", b"{}\n" + json.dumps(ASKED).encode(), "benchmark-question", 2,
        "dataset",
    ),
    "questions in CSV": Leak(
        "rows/a.csv", b"question,option 1,option 2,answer\na,b,c,1\n", "benchmark-question", 2,
        "overlay",
    ),
    "questions in a dump": Leak(
        "eval/samples_x.jsonl", b'{"doc": {"question": "a"}}', "benchmark-question", 1
    ),
    "prompts in a dump": Leak(
        "eval/samples_x.jsonl", b'{"doc_id": 1, "arguments": []}', "benchmark-question", 1
    ),
    "keys in a dump": Leak(
        "eval/samples_x.jsonl", json.dumps(SAMPLE).encode(), "benchmark-answer", 1
    ),
    "explanations in a dump": Leak(
        "eval/samples_x.jsonl", b'{"doc": {"explanation": "a"}}', "benchmark-answer", 1
    ),
    "questions with escaped names": Leak(
        "eval/x.json", rb'{"\u0071uestion": "a", "\u006fptions": ["b"]}', "benchmark-question", 1
    ),
    "JSON that is none": Leak("eval/x.json", b'{"question": ', "unreadable"),
    **{
        f"state {name}": Leak(name, b"", "training-state")
        for name in (
            "optimizer.pt", "scheduler.pt", "rng_state.pth", "rng_state_0.pth",
            "trainer_state.json", "training_args.bin", "events.out.tfevents.1.host.2.0",
        )
    },
    **{
        f"folder {name}": Leak(f"{name}/x/config", b"", "private", member="..")
        for name in ("wandb", "runs", ".cache", "__pycache__", ".git", ".ipynb_checkpoints")
    },
    "loading script": Leak("lamps.py", b"import os\n", "not-allowed", kind="dataset"),
    "pull request": Leak("pull_request/eval.yaml", b"", "not-allowed", kind="overlay"),
    "library": Leak("eval/x.json", b"\x7fELF\x02\x01\0\0", "unknown-file"),
    "bzip2": Leak("eval/x.json", b"BZh91AY&SY\x9a\0", "unknown-file"),
}  # fmt: skip


def put(folder: Path, path: str, content: bytes) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(content)


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_a_planted_leak_is_named_by_file_line_and_rule_and_not_shown(
    tmp_path: Path, leak: Leak
) -> None:
    put(tmp_path, leak.path, leak.content)
    found = scan(tmp_path, leak.kind)
    path = leak.path.split("/")[0] if leak.member == ".." else leak.path + leak.member
    assert (path, leak.line, leak.rule) in {(it.path, it.line, it.rule) for it in found}
    said = " ".join(f"{it.path} {it.text}" for it in found)
    secrets = [*TOKENS.values(), *PATHS, HEX, LETTERS[:20], DIGITS[:20], HOST, USER, "Sup3rSecret"]
    assert not [secret for secret in secrets if secret in said]


def test_there_are_thirty_leaks_and_every_rule_has_one() -> None:
    assert len(LEAKS) >= 30
    rules = {leak.rule for leak in LEAKS.values()}
    assert rules == {
        "archive", "benchmark-answer", "benchmark-question", "broken", "licence", "name",
        "nested-archive", "not-allowed", "path", "pickle", "private", "symlink", "token",
        "training-state", "unknown-file", "unreadable",
    }  # fmt: skip


CLEAN_TEXTS = {
    "addresses": "https://example.org/data/home/x and https://huggingface.co/root/tmp/x s3://b/data/x",
    "relative folders": "runs in ./data/x, ../home/x, results/tmp/x and {{ folder }}/data/x",
    "variables": "$HOME/data/x ${ROOT}/tmp/x %h/data/x",
    "sklearn": f"scikit-learn, sk-learn and the risk-{DIGITS} of it",
    "placeholders": f"hf_{'x' * 34} and export HF_TOKEN=hf_...",
    "the word": 'a token, "eos_token": "</s>", "pad_token_id": 2, HF_TOKEN, push_to_hub_token',
    "sha256": HEX + HEX[:24] + " wandb: false",
    "doi": "https://doi.org/10.1093/nar/gkac1052 and 10.1002/(SICI)1097-0134/data",
    "sequence": "MAK" + "IAGHKLMNPQRSTVWYACDEFGHIK AK" + "IAGHKLMNPQRSTVWYAC M A K I A",
    "mail of an author": "@misc{lamps, author = {A. Author}, note = {a.author@example.org}}",
    "address with a port": "http://127.0.0.1:8080/x?user=a:b@c and git@github.com:a/b.git",
    "variable as password": "https://oauth2:${TOKEN}@example.org/a.git",
    "formula": r"let $f:\mathbb{R}\to\mathbb{R}$ with $X:\Omega \to S$, a ~ b / c",
    "ratio": "at 1:2, A:B/C, and/or N/A; home/office",
    "account of the same name": f"[{USER}/lamps](https://huggingface.co/{USER}/lamps)",
    "inner word": f"pre{USER}x {HOST}2",
    "initial": "N. gonorrhoeae, K. pneumoniae\n",
    "list": "a. First\n0. Zero\n",
    "commit of wandb": f"report_to: wandb\nrevision: {HEX}",
    "lines of a dialogue": "A:\nfirst\nB:\nsecond and Q:\nWhat\nA:\nThis",
    "formula after a dollar": r"$X:\Omega\to S$ and A:/C/G",
    "names of tokens": '"mask_token": "<mask>", "video_token": "reserved_token_number_250001"',
    "example of a key": "api_key=YOUR_API_KEY_GOES_HERE, secret: my-secret-value-goes-here",
    "key from elsewhere": 'api_key = os.environ["LAMPS_API_KEY"]; token = get_token_from_keyring()',
    "public key": "-----BEGIN PUBLIC KEY-----",
}


@pytest.mark.parametrize("text", CLEAN_TEXTS.values(), ids=CLEAN_TEXTS)
def test_what_merely_looks_like_a_leak_passes(tmp_path: Path, text: str) -> None:
    put(tmp_path, "README.md", text.encode())
    put(tmp_path, "eval/x.json", to_json({"a": text, "b": [text]}))
    put(tmp_path, "eval/samples_x.jsonl", json.dumps({"a": text}).encode())
    assert scan(tmp_path, "model") == []
    put(tmp_path / "d", "a/train.parquet", table({"x": [text]}, {"x": text}))
    assert scan(tmp_path / "d", "dataset") == []


def test_pictures_in_base64_pass(tmp_path: Path) -> None:
    picture = base64.b64encode(np.random.default_rng(7).bytes(2**20)).decode()
    put(
        tmp_path, "loss.svg", f'<svg><image href="data:image/png;base64,{picture}"/></svg>'.encode()
    )
    assert scan(tmp_path, "card") == []
    put(tmp_path, "a.ipynb", to_json({"outputs": [{"data": {"image/png": picture}}]}))
    assert [it.rule for it in scan(tmp_path, "card")] == ["private"]


def test_clean_folders_of_every_kind_pass(tmp_path: Path) -> None:
    free = {"text": ["a", "b", "c"], "license": ["CC-BY-4.0", "CC BY", "CC0-1.0"]}
    folders = {
        "card": {"README.md": b"# A\n", ".eval_results/a.yaml": b"[]\n"},
        "dataset": {
            "ssl_pmc/train-00000-of-00001.parquet": table({**free, "redistributable": [True] * 3}),
            "left_out.jsonl.gz": gzip.compress(b'{"id": "a"}\n'),
        },
        "overlay": {"rows/test.parquet": table({"row": [1], "flags": [["schema"]]})},
        "model": {
            "model.safetensors": weights({"format": "pt"}),
            "tokenizer.json": to_json(
                {"vocab": dict.fromkeys([*ASKED, "answer", "license", "text"], 1)}
            ),
            "tokenizer.model": b"\n\x0e\n\x05<unk>\x15\0\0\0\0",
            "NOTICE": b"\xef\xbb\xbfterms\r\n",
        },
    }
    for kind, files in folders.items():
        for path, content in files.items():
            put(tmp_path / kind, path, content)
        assert scan(tmp_path / kind, kind) == [], kind
        require_clean(tmp_path / kind, kind)


def test_escapes_of_json_do_not_make_it_unreadable(tmp_path: Path) -> None:
    put(tmp_path, "tokenizer.json", rb'{"pattern": "[\\u0020-\\u007e]", "a": "\u0022 question"}')
    assert scan(tmp_path, "model") == []


def test_keys_pass_when_asked_and_questions_never(tmp_path: Path) -> None:
    put(tmp_path, "eval/samples_a.jsonl", json.dumps(SAMPLE).encode())
    assert scan(tmp_path, "model", allow_answers=True) == []
    put(tmp_path, "eval/samples_b.jsonl", json.dumps({"doc": ASKED}).encode())
    assert {it.rule for it in scan(tmp_path, "model", allow_answers=True)} == {"benchmark-question"}


def test_links_and_pipes_are_refused_and_not_followed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "a", tmp_path / "outside"
    put(folder, "README.md", b"# A\n")
    put(outside, "x.txt", HF.encode())
    (folder / "vocab.txt").symlink_to(outside / "x.txt")
    (folder / "eval").symlink_to(outside)
    (folder / "merges.txt").symlink_to("nowhere")
    os.mkfifo(folder / "NOTICE")
    found = [(it.path, it.rule) for it in scan(folder, "model")]
    assert found == [
        ("NOTICE", "special-file"),
        ("eval", "symlink"),
        ("merges.txt", "symlink"),
        ("vocab.txt", "symlink"),
    ]


def test_a_secret_in_a_file_name_is_found_and_hidden(tmp_path: Path) -> None:
    put(tmp_path, f"eval/{HF}.json", b"\0")
    put(tmp_path, "a.zip", zipped(**{f"{HF}/x": HF.encode()}))
    found = scan(tmp_path, "model")
    assert ("eval/***.json", "name") in {(it.path, it.rule) for it in found}
    assert ("a.zip!***/x", "token") in {(it.path, it.rule) for it in found}
    assert HF not in str(found)


def test_oversized_files_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "README.md").touch()
    os.truncate(tmp_path / "README.md", 65 * 2**20)  # sparse
    assert {it.rule for it in scan(tmp_path, "card")} == {"oversized"}
    assert {it.rule for it in scan(tmp_path, "dataset")} == {"oversized"}
    monkeypatch.setattr(scan_files, "MAX_UNPACKED", 1000)
    put(tmp_path / "b", "left_out.jsonl.gz", gzip.compress(b"\n" * 1001))
    assert [it.rule for it in scan(tmp_path / "b", "dataset")] == ["oversized"]


def test_common_and_short_names_are_no_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "README.md", b"run as root by the user on localhost, host vm\n")
    monkeypatch.setattr("getpass.getuser", lambda: "root")
    for host in ("localhost", "vm", "user.localdomain"):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        assert scan(tmp_path, "card") == []


def test_a_plain_word_as_user_name_is_not_looked_for_in_rows_and_vocabularies(
    tmp_path: Path,
) -> None:
    put(tmp_path, "tokenizer.json", to_json({"vocab": {USER: 1}}))
    put(tmp_path / "d", "a/train.parquet", table({"said": [f"Found by {USER}."]}))
    assert scan(tmp_path / "d", "dataset") == []
    (tmp_path / "d" / "a" / "train.parquet").unlink()
    assert scan(tmp_path, "model") == []
    put(tmp_path, "config.json", to_json({"by": USER}))
    assert [(it.path, it.rule) for it in scan(tmp_path, "model")] == [("config.json", "name")]


def test_a_user_without_an_entry_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr("getpass.getuser", fail)
    put(tmp_path, "README.md", f"on {HOST}".encode())
    assert [it.rule for it in scan(tmp_path, "card")] == ["name"]


def test_findings_are_counted_by_row_and_named_by_line(tmp_path: Path) -> None:
    put(tmp_path, "contamination.jsonl", b'{"redistributable": false}\n' * 3)
    put(tmp_path, "a/b.parquet", table({"text": ["a"] * 5, "license": ["unknown"] * 4 + ["CC0"]}))
    text = "text whose licence does not let it be passed on"
    assert scan(tmp_path, "dataset") == [
        Finding("a/b.parquet", None, "licence", f"{text} (4 rows)"),
        Finding("contamination.jsonl", 1, "licence", f"{text} (3 rows)"),
    ]


def test_a_row_of_a_large_table_is_found(tmp_path: Path) -> None:
    put(tmp_path, "a/b.parquet", table({"said": ["a"] * 1500 + [HF] + ["a"] * 700}))
    (found,) = scan(tmp_path, "dataset")
    assert found.text == "a token of Hugging Face, in column 'said', rows 1024 to 2047"


def test_many_leaks_of_a_file_are_cut(tmp_path: Path) -> None:
    put(tmp_path, "README.md", b"/home/alice/x\n" * 500 + HF.encode())
    found = scan(tmp_path, "card")
    assert [it.line for it in found] == [*range(1, 21), 501]


def test_an_archive_of_many_tensors_is_named_once(tmp_path: Path) -> None:
    tensors = {f"archive/data/{n}": b"\0\1\2\3" for n in range(99)}
    pickled = {"archive/data.pkl": pickle.dumps(PICKLED, 2)}
    put(tmp_path, "optimizer.pt", zipped(**pickled, **tensors))
    assert [it.rule for it in scan(tmp_path, "model")] == ["archive", "training-state", "pickle"]


def test_the_message_lists_files_lines_and_rules(tmp_path: Path) -> None:
    put(tmp_path, "README.md", f"a\n{HF}\n".encode())
    put(tmp_path, "x.pkl", pickle.dumps(PICKLED))
    with pytest.raises(
        ProteinLMError, match=r"README\.md:2: a token of Hugging Face \[token\]"
    ) as it:
        require_clean(tmp_path, "card")
    assert "x.pkl: is a pickle" in str(it.value)
    assert HF not in str(it.value)


def test_an_unreadable_folder_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(ProteinLMError, match="cannot be scanned"):
        scan(tmp_path / "absent", "card")


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        ("README.md", {"card", "dataset", "model", "overlay"}),
        (".eval_results/proteinlm.yaml", {"card", "dataset", "model", "overlay"}),
        ("adapter_model.safetensors", {"model"}),
        ("model-00001-of-00002.safetensors", {"model"}),
        ("function/train-00000-of-00001.parquet", {"dataset", "overlay"}),
        ("a/b/train.parquet", set()),
        ("train.parquet", set()),
        ("sub/README.md", set()),
        ("training_args.bin", set()),
        ("checkpoint-5/model.safetensors", set()),
        ("../README.md", set()),
    ],
)
def test_a_kind_holds_these_files(path: str, kinds: set[str]) -> None:
    assert {kind for kind in ALLOWED if allowed(path, kind)} == kinds


def extension(value: Any) -> Any:
    return pa.ExtensionArray.from_storage(pa.json_(), pa.array([json.dumps(value)]))


@pytest.mark.parametrize(
    ("column", "rule"),
    [
        (pa.array([HF]).cast(pa.string_view()), "token"),
        (pa.array([HF.encode()], pa.binary(len(HF))), "token"),
        (extension({"a": HF}), "token"),
        (pa.array([r"\/home\/alice\/x"]), "path"),
        (pa.array([{"doc_id": 1, "target": "B"}]), "benchmark-answer"),
        (pa.array([[{"Question": "Which?"}]], pa.list_(pa.struct({"Question": pa.string()}), 1)),
         "benchmark-question"),
    ],
    ids=["view", "fixed size", "JSON", "escaped", "struct", "fixed list"],
)  # fmt: skip
def test_a_column_of_whatever_type_is_searched(tmp_path: Path, column: Any, rule: str) -> None:
    put(tmp_path, "a/b.parquet", table({"x": column}))
    assert [it.rule for it in scan(tmp_path, "dataset")] == [rule]


def test_long_metadata_of_a_column_is_searched_whole(tmp_path: Path) -> None:
    field = pa.field("x", pa.int64(), metadata={"a": "z" * 200 + " " + HF})
    out = io.BytesIO()
    pq.write_table(pa.table({"x": [1]}, pa.schema([field])), out)
    put(tmp_path, "a/b.parquet", out.getvalue())
    assert [it.rule for it in scan(tmp_path, "dataset")] == ["token"]


@pytest.mark.parametrize(
    "columns",
    [
        {"text": ["a"]},
        {"text": ["a"], "license": ["CC0"], "source": ["MEDLINE"]},
        {"text": ["a"], "license": ["CC0"], "source": ["NLM/PubMed"]},
    ],
)
def test_a_text_of_which_nobody_says_that_it_may_be_passed_on_may_not(
    tmp_path: Path, columns: dict[str, Any]
) -> None:
    put(tmp_path, "a/b.parquet", table(columns))
    assert [it.rule for it in scan(tmp_path, "dataset")] == ["licence"]


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        ({"Question": "Which?"}, "benchmark-question"),
        ({"origin_prompt": "Which?", "gold": "A"}, "benchmark-question"),
        ({"row": 3, "answer": "B"}, "benchmark-answer"),
        ({"doc_id": 3, "target": 4}, "benchmark-answer"),
        ({"text": "A protein.", "source": "MEDLINE"}, "licence"),
        ({"explanation": "Because."}, "benchmark-answer"),
    ],
)
def test_questions_and_keys_are_known_in_other_spellings(
    tmp_path: Path, record: dict[str, Any], rule: str
) -> None:
    put(tmp_path, "eval/x.json", to_json({"rows": [record]}))
    assert rule in {it.rule for it in scan(tmp_path, "model")}


@pytest.mark.parametrize(
    "text",
    ["\x1b[31m" + HF, json.dumps({"b": "x\n" + HF}), "a%2Fb?token%3D" + HF, "-\\u000a" + HF,
     "on ip-172-31-4-5 it ran", "at gpu1.ec2.internal", "/Users/\u5f20\u4f1f/models"],
)  # fmt: skip
def test_an_escape_hides_nothing(tmp_path: Path, text: str) -> None:
    put(tmp_path, "README.md", text.encode())
    put(tmp_path, "config.json", json.dumps({"a": text}, ensure_ascii=False).encode())
    assert {it.path for it in scan(tmp_path, "model")} == {"README.md", "config.json"}


@pytest.mark.parametrize(
    "content",
    [b"x /home/a/b " * 100_000, b"eyJ-" * 100_000, b"(" * 20_000,
     json.dumps([{"license": "unknown", "text": "a"}] * 10_000).encode()],
    ids=["hits on one line", "beginnings of tokens", "marks of a pickle", "rows"],
)  # fmt: skip
def test_no_text_takes_long(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, "eval/x.json", content)
    start = time.process_time()
    scan(tmp_path, "model")
    assert time.process_time() - start < 5  # these took minutes once


def test_a_pickle_whose_memo_is_set_twice_is_one(tmp_path: Path) -> None:
    put(tmp_path, "vocab.txt", b"cos\nsystem\n(S'true'\np0\np0\ntR.")
    assert [it.rule for it in scan(tmp_path, "model")] == ["pickle"]


EVERYTHING = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@EVERYTHING
@example(before="", after="\0", secret=PATHS[0], wrap=str)
@given(
    before=st.text(max_size=200),
    after=st.text(max_size=200),
    secret=st.sampled_from([*(TOKENS[n] for n in TOKENS if n != "wandb netrc"), *PATHS[:8]]),
    wrap=st.sampled_from([str, json.dumps, lambda text: f"---\nkey: '{text}'\n---"]),
)
def test_a_secret_anywhere_in_a_text_is_found(
    tmp_path: Path, before: str, after: str, secret: str, wrap: Callable[[str], str]
) -> None:
    text = wrap(f"{before} {secret} {after}").encode("utf-8", "replace")
    put(tmp_path, "README.md", text)
    # With a NUL it is no text: refused whole, and searched for tokens alone.
    rules = {"token", "path"} | ({"unknown-file"} if b"\0" in text else set())
    lines = {it.line for it in scan(tmp_path, "card") if it.rule in rules}
    planted = text.index(
        json.dumps(secret)[1:-1].encode() if wrap is json.dumps else secret.encode()
    )
    assert lines & {text.count(b"\n", 0, planted) + 1, None}
    assert secret not in str(scan(tmp_path, "card"))


ENCODED = st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
NAMES = (
    "config.json", "model.safetensors", "merges.txt", "left_out.jsonl.gz", "a/b.parquet", "a.zip",
    "a.csv", "x.tsv", "contamination.jsonl", "tokenizer.model",
)  # fmt: skip
MAGIC = (b"", b"PAR1", b"PK\3\4", b"\x1f\x8b", b"\x80\4", b"(", b"c", b"]q\0", b'{"doc":')


@EVERYTHING
@given(
    data=st.one_of(st.binary(max_size=300), ENCODED),
    name=st.sampled_from(NAMES),
    magic=st.sampled_from(MAGIC),
)
def test_no_bytes_break_the_scan(tmp_path: Path, data: bytes, name: str, magic: bytes) -> None:
    put(tmp_path, name, magic + data)
    assert all(isinstance(it, Finding) for it in scan(tmp_path, "dataset"))


def test_text_is_searched_at_20_megabytes_a_second(tmp_path: Path) -> None:
    line = "Binds zinc ions (PubMed:10024875), see https://example.org/data/x; M S K L /a/b : c.\n"
    put(tmp_path, "merges.txt", line.encode() * (8 * 2**20 // len(line)))
    start = time.process_time()
    assert scan(tmp_path, "model") == []
    assert time.process_time() - start < 0.4 * 4  # four times the time, for a busy machine
