"""Everything a training run needs to go on as if it had never stopped, in one safetensors file.

Tensors are the network's, their running mean's and the optimizer's; numbers are JSON in the header. Nothing is ever
unpickled, and a file is there whole or not at all.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from seqhdr.errors import UsageError, WeightsError
from seqhdr.media.atomic import whole_file

__all__ = ["Progress", "load_checkpoint", "peek_progress", "save_checkpoint"]

_FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        step: optimizer steps done.
        best: lowest validation loss so far, None before the first validation.
        stale: epochs since then.
        seconds: of training, over all sittings.
        finished: nothing is left to do.
        plateau: state of the scheduler that lowers the learning rate.
    """

    step: int = 0
    best: float | None = None
    stale: int = 0
    seconds: float = 0.0
    finished: bool = False
    plateau: dict[str, Any] = dataclasses.field(default_factory=dict)


def save_checkpoint(
    path: Path,
    net: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    config: dict[str, Any],
) -> None:
    """Write a checkpoint, atomically.

    Raises:
        UsageError: a weight is no longer a finite number; the checkpoint before stays.
        FramesFailedError: the file could not be written whole.
    """
    tensors = {f"net.{key}": value for key, value in net.state_dict().items()}
    broken = next((key for key, value in tensors.items() if not bool(torch.isfinite(value).all())), None)
    if broken is not None:
        raise UsageError(
            f"{path}: not written, {broken} is no longer finite: lower train.lr and go on from the last checkpoint"
        )
    tensors |= {f"average.{key}": value for key, value in average.state_dict().items()}
    state = optimizer.state_dict()
    for index, entry in state["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in entry.items()}
    header = {
        "format": _FORMAT,
        "progress": dataclasses.asdict(progress),
        "groups": state["param_groups"],
        "config": config,
    }
    packed = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    with whole_file(path) as hidden:
        mode = hidden.stat().st_mode
        save_file(packed, hidden, metadata={"seqhdr_training": json.dumps(header)})
        hidden.chmod(mode)  # safetensors makes files that only their owner can read


def peek_progress(path: Path) -> Progress:
    """How far the run of a checkpoint is; errors as for :func:`load_checkpoint`."""
    return Progress(**_read(path, with_tensors=False)[0]["progress"])


def load_checkpoint(
    path: Path, net: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Any]]:
    """Put a run back to where it was.

    Args:
        path: what :func:`save_checkpoint` wrote.
        net, average, optimizer: filled in place.

    Returns:
        How far the run is, and the configuration it ran with.

    Raises:
        WeightsError: the file is missing, damaged, not a checkpoint, or of a network of other sizes.
    """
    header, tensors = _read(path, with_tensors=True)
    for prefix, module in (("net.", net), ("average.", average)):
        stored = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        wanted = {key: tuple(value.shape) for key, value in module.state_dict().items()}
        got = {key: tuple(value.shape) for key, value in stored.items()}
        if wanted != got:
            odd = min(key for key in wanted.keys() | got.keys() if wanted.get(key) != got.get(key))
            raise WeightsError(
                f"{path}: {odd} has shape {got.get(odd)}, the network of this configuration wants {wanted.get(odd)}: "
                "resume with the configuration it was begun with, or choose another -o"
            )
        module.load_state_dict(stored)
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            index, name = key.removeprefix("optimizer.").split(".", 1)
            layout = torch.channels_last if value.ndim == 4 else torch.contiguous_format
            state.setdefault(int(index), {})[name] = value.contiguous(memory_format=layout)
    optimizer.load_state_dict({"state": state, "param_groups": header["groups"]})
    return Progress(**header["progress"]), header["config"]


def _read(path: Path, *, with_tensors: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("seqhdr_training")
            tensors = {key: file.get_tensor(key) for key in file.keys()} if with_tensors else {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable checkpoint ({error}): begin again without --resume") from error
    header = json.loads(text) if text else {}
    if header.get("format") != _FORMAT:
        raise WeightsError(f"{path}: is no checkpoint of this version: begin again without --resume")
    return header, tensors
