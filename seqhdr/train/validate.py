"""Validation: the loss and the strata on clips that are always the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqhdr.color.encodings import get_encoding
from seqhdr.model.net import SeqNet
from seqhdr.quality.strata import StrataScore, Table
from seqhdr.train.batch import ClipBatch
from seqhdr.train.board import before_after
from seqhdr.train.objective import LossConfig, objective

__all__ = ["Validation", "validate"]


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Attributes:
        loss: mean of the objective.
        tables: encoding → stratum → numbers, identity beside them.
        picture: (3, H, 3·W) in 0..1: source, result and truth of one frame, levels stretched.
    """

    loss: float
    tables: dict[str, Table]
    picture: Tensor


@torch.inference_mode()
def validate(
    net: SeqNet,
    batches: list[ClipBatch],
    loss: LossConfig,
    device: torch.device,
    perceptual: nn.Module | None = None,
) -> Validation:
    """Run a network over clips, in float32.

    Args:
        net: in evaluation mode.
        batches: of one clip each.
        loss: the objective; its coherence term is left out.
        device: where the network is.
        perceptual: for the LPIPS term.

    Raises:
        ValueError: there are no batches.
    """
    if not batches:
        raise ValueError("got no batches: expected at least one clip to validate on")
    total = 0.0
    scores: dict[str, StrataScore] = {}
    picture = torch.empty(0)
    for batch in batches:
        here = batch.to(device)
        predictions, _ = net(here.codes, None, here.source, here.flow_px)
        total += float(objective(here, predictions, loss, perceptual)[0])
        (name,) = batch.encodings
        score = scores.setdefault(name, StrataScore(with_ssim=False))
        for index, prediction in enumerate(predictions):
            frame = (batch.codes[0, index], batch.value_lsb[0, index], batch.gain_stops[0, index])
            decoded = (prediction.offset_lsb[0].cpu(), prediction.gain_stops[0].cpu())
            score.add_frame(index, *frame, *decoded, get_encoding(name), float(batch.half_width_lsb))
        if picture.numel() == 0:
            picture = before_after(batch.codes[0, -1], predictions[-1].offset_lsb[0].cpu(), batch.value_lsb[0, -1])
    return Validation(total / len(batches), {name: score.table() for name, score in scores.items()}, picture)
