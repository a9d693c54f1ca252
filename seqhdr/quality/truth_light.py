"""A true light as a prediction is scored against it: values in codes, and stops above what the codes can say."""

from __future__ import annotations

import torch
from torch import Tensor

from seqhdr.color.encodings import ColorEncoding

__all__ = ["light_to_truth"]

_MAX_STOPS = 12.0
_DARKEST = 1e-9


def light_to_truth(rgb_lin: Tensor, encoding: ColorEncoding, max_code: int = 255) -> tuple[Tensor, Tensor]:
    """Light → its values in codes and its stops above the top of the range.

    Args:
        rgb_lin: scene-linear light in the primaries of ``encoding``, any shape and floating dtype.
        encoding: what the codes mean.
        max_code: the largest code; the range ends half a code below it.

    Returns:
        The values in codes, not cut off at either end, and the stops, 0..12; shaped and typed like ``rgb_lin``.
    """
    top = encoding.decode(torch.tensor((max_code - 0.5) / max_code, dtype=torch.float64)).to(rgb_lin)
    stops = torch.log2(rgb_lin.clamp_min(_DARKEST) / top).clamp(0, _MAX_STOPS)
    return encoding.encode(rgb_lin) * max_code, stops
