"""One step of the optimizer: forward through clips, backward through time, one update of the weights."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from seqhdr.errors import UsageError
from seqhdr.model.device import has_bfloat16
from seqhdr.model.net import SeqNet
from seqhdr.train.batch import ClipBatch
from seqhdr.train.config import LoopConfig, TrainConfig
from seqhdr.train.consistency import coherence, exposure_consistency
from seqhdr.train.objective import LossConfig, objective

__all__ = ["add_means", "computes_in_bfloat16", "learning_rate", "train_step"]

_SecondLook = Callable[[SeqNet, ClipBatch, Generator], Tensor]


def train_step(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    parts: Sequence[ClipBatch],
    config: TrainConfig,
    step: int,
    device: torch.device,
    perceptual: nn.Module | None = None,
) -> dict[str, Tensor]:
    """One step of the optimizer.

    Args:
        net: a SeqNet, or DistributedDataParallel around one.
        optimizer: of its parameters.
        parts: batches whose gradients are averaged.
        config: loss and loop.
        step: number of the step; with the seed it decides where memory is dropped.
        device: where everything is.
        perceptual: for the LPIPS term.

    Returns:
        Mean of the loss, of every term and the norm of the gradient, detached.
    """
    loop = config.train
    rng = np.random.default_rng((loop.seed, 3, step))
    means: dict[str, Tensor] = {}
    frames = parts[0].codes.shape[1]
    chunk = loop.back_frames or frames
    low = computes_in_bfloat16(loop.precision, device)

    def half() -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=low)

    for number, batch in enumerate(parts):
        for name, weight, formula in _second_looks(config.loss):
            # Before the clip's own pass, and unsynchronised: its gradients travel with the last ones.
            with _unsynchronised(net), half():
                miss = formula(_bare(net), batch, rng)
                (weight / len(parts) * miss).backward()  # type: ignore[no-untyped-call]
            add_means(means, {name: miss.detach()}, 1 / len(parts))
        fresh = (rng.random(frames) < loop.memory_drop).tolist()
        state = None
        for start in range(0, frames, chunk):
            stop = min(start + chunk, frames)
            last = stop == frames and number == len(parts) - 1
            piece, share = batch.frames(start, stop), (stop - start) / frames / len(parts)
            with nullcontext() if last else _unsynchronised(net):
                with half():
                    predictions, state = net(
                        piece.codes,
                        state,
                        piece.source,
                        piece.flow_px,
                        fresh=fresh[start:stop],
                        recompute=loop.recompute,
                    )
                loss, terms = objective(piece, predictions, config.loss, perceptual)
                (share * loss).backward()  # type: ignore[no-untyped-call]
            state = state.detach()
            add_means(means, {"loss": loss.detach(), **terms}, share)
    limit = loop.clip_norm if loop.clip_norm > 0 else math.inf
    means["gradient_norm"] = nn.utils.clip_grad_norm_(net.parameters(), limit).detach()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return means


def learning_rate(loop: LoopConfig, step: int, total: int) -> float | None:
    """What the schedule says for a step, or None where the plateau scheduler's word stands."""
    warm = min((step + 1) / loop.warmup_steps, 1.0) if loop.warmup_steps else 1.0
    if loop.schedule == "cosine":
        return loop.lr * min(warm, 0.5 * (1 + math.cos(math.pi * step / total)))
    return loop.lr * warm if loop.schedule == "constant" or step < loop.warmup_steps else None


def computes_in_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether the U-Net runs in bfloat16; blurs, head and losses are float32 always.

    Raises:
        UsageError: bfloat16 is asked for where it is slower than float32.
    """
    if precision == "auto":
        return device.type == "cuda" and has_bfloat16(device)
    if precision == "bfloat16" and not has_bfloat16(device):
        raise UsageError(f"train.precision is bfloat16, which {device} cannot compute in: use auto or float32")
    return precision == "bfloat16"


def add_means(sums: dict[str, Tensor], values: dict[str, Tensor], share: float) -> None:
    """Add ``share`` of each value to the sum of its name."""
    for name, value in values.items():
        sums[name] = sums.get(name, torch.zeros((), device=value.device)) + share * value


def _second_looks(loss: LossConfig) -> list[tuple[str, float, _SecondLook]]:
    """The terms with a weight that need passes of their own: name, weight, formula."""
    exposure: _SecondLook = functools.partial(exposure_consistency, stops=loss.exposure_stops)
    terms: list[tuple[str, float, _SecondLook]] = [
        ("coherence", loss.coherence, coherence),
        ("exposure", loss.exposure, exposure),
    ]
    return [term for term in terms if term[1] > 0]


def _bare(net: nn.Module) -> SeqNet:
    inner = net.module if isinstance(net, DistributedDataParallel) else net
    assert isinstance(inner, SeqNet)
    return inner


def _unsynchronised(net: nn.Module) -> AbstractContextManager[None]:
    """Gradients of this pass stay at home until one that is synchronised adds them up over all processes."""
    if isinstance(net, DistributedDataParallel):
        return net.no_sync()
    return nullcontext()
