"""What a run computes on: devices, their peak speed, and measured energy."""

import importlib
import os
import platform
import resource
from pathlib import Path
from typing import Any

import psutil
import torch

# Dense bfloat16 with float32 accumulation, in TFLOP/s, by the exact name that torch reports: a
# slice of a device (MIG) or a variant with another clock has another name and thus no peak here.
# NVIDIA quotes most of these "with sparsity"; the dense figure is half of that.
_PEAK_TFLOPS = {
    "NVIDIA GB200": 2500.0,  # NVIDIA GB200 NVL72 data sheet: 5 PFLOPS with sparsity
    "NVIDIA B200": 2250.0,  # NVIDIA HGX B200 data sheet: 4.5 PFLOPS with sparsity
    "NVIDIA H200": 989.5,  # NVIDIA H200 data sheet, SXM: 1,979 with sparsity
    "NVIDIA H200 NVL": 835.5,  # NVIDIA H200 data sheet, NVL: 1,671 with sparsity
    "NVIDIA GH200 480GB": 989.5,  # NVIDIA GH200 data sheet: 1,979 with sparsity
    "NVIDIA H100 80GB HBM3": 989.5,  # NVIDIA H100 data sheet, SXM: 1,979 with sparsity
    "NVIDIA H100 NVL": 835.5,  # NVIDIA H100 data sheet, NVL: 1,671 with sparsity
    "NVIDIA H100 PCIe": 756.5,  # NVIDIA H100 data sheet, PCIe: 1,513 with sparsity
    "NVIDIA A100-SXM4-40GB": 312.0,  # NVIDIA A100 data sheet: 312
    "NVIDIA A100-SXM4-80GB": 312.0,  # the same
    "NVIDIA A100-PCIE-40GB": 312.0,  # the same
    "NVIDIA A100 80GB PCIe": 312.0,  # the same
    "NVIDIA A40": 149.7,  # NVIDIA A40 data sheet: 149.7
    "NVIDIA A10": 125.0,  # NVIDIA A10 data sheet: 125
    "NVIDIA L40S": 362.05,  # NVIDIA L40S data sheet: 362.05
    "NVIDIA L40": 181.05,  # NVIDIA L40 data sheet: 181.05
    "NVIDIA L4": 121.0,  # NVIDIA L4 data sheet: 242 with sparsity
    "NVIDIA GeForce RTX 4090": 165.2,  # NVIDIA Ada GPU architecture white paper: 165.2
    "AMD Instinct MI300X": 1307.4,  # AMD Instinct MI300X data sheet: 1,307.4
}


def peak_flops(name: str) -> float | None:
    """Return the dense bfloat16 peak of a device in FLOP/s, None if it is not known.

    Args:
        name: As `torch.cuda.get_device_name` gives it.
    """
    known = _PEAK_TFLOPS.get(name)
    return None if known is None else known * 1e12


def describe_hardware() -> dict[str, Any]:
    """Describe this machine: visible devices, processor and memory (in bytes); no host name."""
    visible = range(torch.cuda.device_count())
    names = [torch.cuda.get_device_name(index) for index in visible]
    return {
        "device": "cuda" if names else "cpu",
        "devices": names,
        "device_memory_bytes": [
            torch.cuda.get_device_properties(index).total_memory for index in visible
        ],
        "peak_bf16_flops": peak_flops(names[0]) if names else None,
        "cpu": _cpu_model(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }


def energy_joules(devices: int = 1) -> float | None:
    """Return what the first `devices` visible GPUs have used since their driver was loaded.

    Only the difference of two readings means something. It is the GPUs' energy alone, everything
    that runs on them included; processor, memory and cooling are not measured.

    Returns:
        Joules, or None where it is not measured: no GPU, fewer of them here than asked for (a run
        on several machines), no `pynvml` (pip install nvidia-ml-py), or a GPU without the counter.
    """
    if not 0 < devices <= torch.cuda.device_count():
        return None
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByUUID(_uuid(index)) for index in range(devices)]
        return sum(nvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles) / 1000
    except nvml.NVMLError:
        return None


def peak_memory_bytes() -> int:
    """Return the most memory this process has held: reserved on its GPU, else resident on the CPU.

    The CUDA context, some hundred MB beside what torch reserves, is not in it.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_reserved()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def _uuid(index: int) -> str:
    # NVML counts all devices of the machine, torch those of CUDA_VISIBLE_DEVICES.
    return f"GPU-{torch.cuda.get_device_properties(index).uuid}"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
