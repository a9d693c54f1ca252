"""Which device a network runs on."""

from __future__ import annotations

import torch

from seqhdr.errors import UsageError

__all__ = ["choose_device", "has_bfloat16"]


def choose_device(name: str) -> torch.device:
    """``auto`` takes CUDA, then Apple's Metal, then the CPU.

    Raises:
        UsageError: torch does not know the device, or it is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name}: not usable here ({reason}); try cpu or auto") from error
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 convolutions are faster there than float32: GPUs that compute in it, CPUs with its instructions.

    Elsewhere a CPU converts to and fro, which was measured six times slower than float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16"))
    return False
