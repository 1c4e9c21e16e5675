"""What a loaded model is: all that its answers depend on besides the request.

Weights are hashed as they are in memory, so revision, adapter, delta and quantisation count as what
they made of the model. Names of folders, revisions and hosts do not count.
"""

import hashlib
import inspect
import json
import platform
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from proteinlm_ext import __version__
from proteinlm_ext.errors import UsageError

# Settings of lm-eval's class that change what is asked, how it is computed or what is kept of it.
_SETTINGS = (
    "backend", "max_length", "truncation", "add_bos_token", "prefix_token_id", "softmax_dtype",
    "mixed_precision_dtype", "logits_cache", "chat_template_args", "think_end_token",
)  # fmt: skip
# Endings of keys by which a configuration says where a model came from, not what it is.
_ORIGINS = ("name_or_path", "transformers_version", "peft_version", "revision", "auto_map")


def describe_model(lm: Any) -> dict[str, Any]:
    """Describe a model for `AnswerStore`; to be called before the first request.

    Args:
        lm: A loaded `lm_eval.models.huggingface.HFLM` or an instance of a subclass.

    Raises:
        UsageError: Weights are offloaded, so they are not in memory to be hashed.
    """
    import torch

    adapters: Any = getattr(lm.model, "peft_config", None)
    model: Any = lm.model.get_base_model() if adapters else lm.model
    generation: Any = getattr(model, "generation_config", None)
    template: Any = getattr(lm.tokenizer, "chat_template", None)
    tensors = _tensors(lm.model)
    used = ["peft"] if adapters else []
    if getattr(model.config, "quantization_config", None):
        used += [name for name in ("bitsandbytes", "torchao", "gptqmodel") if name in sys.modules]
    libraries = ("lm-eval", "torch", "transformers", "tokenizers", "accelerate", *used)
    return {
        "weights": _hash_weights(tensors),
        "class": type(model).__qualname__,
        # Some models come with code of their own, which can change while the weights stay.
        "code": _hash(inspect.getsource(sys.modules[type(model).__module__])),
        "config": _hash(model.config.to_dict()),
        "generation_config": _hash(generation.to_dict()) if generation else None,
        "adapter": _plain([adapters[name].to_dict() for name in adapters]) if adapters else None,
        "dtype": str(model.dtype),
        "attention": _plain(model.config._attn_implementation),
        "devices": sorted({tensor.device.type for tensor in tensors.values()}),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "tokenizer": _hash([_tokenization(lm.tokenizer), lm.tokenizer.special_tokens_map]),
        "chat_template": _hash(template) if template else None,
        "settings": {name: _plain(getattr(lm, name)) for name in _SETTINGS},
        "versions": {"proteinlm-ext": __version__} | {name: version(name) for name in libraries},
    }


def machine() -> dict[str, Any]:
    """Return what the last bits of an answer depend on besides the model and the batch."""
    import torch

    cpuinfo = Path("/proc/cpuinfo")  # Linux tells the processor's name nowhere else
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "machine": platform.machine(),
        "processor": names[0] if names else platform.processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _tensors(model: Any) -> dict[str, Any]:
    """Return all tensors of a model by name, sorted; one that has several names, once."""
    # Only the buffers have rotary frequencies, only the state has scales of quantised weights.
    named = [*model.named_parameters(), *model.named_buffers(), *model.state_dict().items()]
    found: dict[Any, tuple[str, Any]] = {}
    for name, tensor in (part for item in named for part in _parts(*item)):
        if tensor.is_meta:
            raise UsageError(
                f"--cache cannot identify an offloaded model: the weights of {name} are not in "
                "memory. Load it whole, or leave --cache out."
            )
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        found.setdefault(place, (name, tensor))
    return dict(sorted(found.values(), key=lambda item: item[0]))


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield a plain tensor itself, one that wraps others (torchao, DTensor) as those."""
    import torch

    if hasattr(value, "__tensor_flatten__"):
        for inner in value.__tensor_flatten__()[0]:
            yield from _parts(f"{name}.{inner}", getattr(value, inner))
    elif isinstance(value, torch.Tensor):
        yield name, value


def _hash_weights(tensors: Mapping[str, Any]) -> str:
    """Hash names, types, shapes and bytes; about 1.5 GB/s where the processor has SHA."""
    import torch
    from tqdm import tqdm

    digest = hashlib.sha256()
    size = sum(tensor.nbytes for tensor in tensors.values())
    with tqdm(total=size, unit="B", unit_scale=True, desc="Hashing weights", delay=2) as bar:
        for name, tensor in tensors.items():
            digest.update(_hash([name, tensor.dtype, tensor.shape]).encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy())
            bar.update(tensor.nbytes)
    return digest.hexdigest()


def _tokenization(tokenizer: Any) -> Any:
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return sorted(tokenizer.get_vocab().items())
    # Every call of the tokenizer sets these two: they tell what was tokenised last.
    backend.no_truncation()
    backend.no_padding()
    return backend.to_str()


def _hash(value: Any) -> str:
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return the value as JSON can hold it, without what only tells a model's origin."""
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {str(key): _plain(item) for key, item in items if not str(key).endswith(_ORIGINS)}
    if isinstance(value, set | frozenset):
        return sorted(map(str, cast("set[Any]", value)))
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("list[Any]", value)]
    return value if isinstance(value, str | int | float | None) else str(value)
