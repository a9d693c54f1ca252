"""Training that leaves everything alone but what is said about light above the clip."""

from __future__ import annotations

import torch
from torch import Tensor

from seqhdr.model.head import GAIN_OUTPUTS
from seqhdr.model.net import SeqNet

__all__ = ["learn_gains"]


def learn_gains(net: SeqNet) -> None:
    """Let gradients reach the outputs for gains, their error and their memory, and no other weight of the network.

    What the network says below the clip stays as it is, bit for bit, in a frame without memory and if the optimizer has
    no weight decay; later frames also see the stops that are remembered.
    """
    net.requires_grad_(False)
    for parameter in (net.leave.weight, net.leave.bias):
        assert parameter is not None
        parameter.requires_grad_(True)
        parameter.register_hook(_gains_only)  # type: ignore[no-untyped-call]


def _gains_only(gradient: Tensor) -> Tensor:
    kept = torch.zeros_like(gradient)
    kept[GAIN_OUTPUTS] = gradient[GAIN_OUTPUTS]
    return kept
