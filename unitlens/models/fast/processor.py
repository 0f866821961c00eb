"""The processor that a network runs on, and what it multiplies fast."""

import platform
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

_CPUINFO = Path("/proc/cpuinfo")

_IN_HALVES = ("AuthenticAMD", "25")
"""Vendor and family (Zen 4) that have AVX-512 and multiply its vectors half by half."""


def processor_name() -> str:
    """Return the name of the processor, as Linux has it, or else its kind."""
    return _described().get("model name") or platform.processor() or platform.machine() or "unknown"


def multiplies_wide_vectors() -> bool:
    """Return whether the processor multiplies the 16 float32 numbers of an AVX-512 vector in one step.

    Then convolutions are limited by the speed of memory rather than by multiplications.
    """
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return wide and (_described().get("vendor_id"), _described().get("cpu family")) != _IN_HALVES


def lacks_bfloat16(device: torch.device) -> bool:
    """Whether a processor has no instructions for bfloat16, so that it takes longer than float32."""
    if device.type != "cpu":
        return False
    try:
        return not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    except (AttributeError, RuntimeError):  # a PyTorch without oneDNN
        return True


@cache
def _described() -> Mapping[str, str]:
    """What Linux knows of the first processor, by name; nothing on other systems."""
    found = dict[str, str]()
    with suppress(OSError):
        for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    return found
