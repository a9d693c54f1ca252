"""From what a user declares about a shot to what the network needs to know of its codes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seqhdr.color.bins import bin_width_stops
from seqhdr.color.encodings import ColorEncoding

__all__ = ["WIDTH_LUT_SIZE", "Source", "describe_source", "log_width_table"]

#: Entries of :attr:`Source.log_width`, spread evenly over the code range.
WIDTH_LUT_SIZE = 256
# Near black the width of a bin in stops has no bound; beyond these the network need not tell apart.
_NARROWEST, _WIDEST = -12.0, 2.0


@dataclass(frozen=True)
class Source:
    """What the codes of a clip mean, per clip of a batch.

    Attributes:
        half_width_lsb: (B,) w, the bin's half-width in code units.
        log_width: (B, WIDTH_LUT_SIZE) log2 of the width in stops of one code, over the range 0..max_code.
        max_code: 2^N - 1 for N-bit codes.
        bounded: whether the output is held in its bins.
        encodings: what the codes mean, per clip, for methods that compute in light; the network goes by
            ``log_width``, and in training there are none.
    """

    half_width_lsb: Tensor
    log_width: Tensor
    max_code: float = 255.0
    bounded: bool = True
    encodings: tuple[ColorEncoding, ...] = ()


def log_width_table(encoding: ColorEncoding, max_code: int) -> Tensor:
    """log2 of the width of one code in stops, at WIDTH_LUT_SIZE places of the range.

    Returns:
        (WIDTH_LUT_SIZE,) float32, within -12 .. 2.
    """
    widths = bin_width_stops(encoding, max_code).float().log2()
    places = torch.linspace(0, max_code, WIDTH_LUT_SIZE).round().long()
    return widths[places].clamp(_NARROWEST, _WIDEST)


def describe_source(
    encoding: ColorEncoding,
    half_width_lsb: float,
    max_code: int,
    *,
    bounded: bool = True,
    device: torch.device | str = "cpu",
) -> Source:
    """The :class:`Source` of a batch of one.

    Args:
        encoding: what the codes mean.
        half_width_lsb: w in code units.
        max_code: 2^N - 1.
        bounded: hold the output in its bins.
        device: where the network runs.
    """
    return Source(
        torch.tensor([half_width_lsb], dtype=torch.float32, device=device),
        log_width_table(encoding, max_code)[None].to(device),
        float(max_code),
        bounded,
        (encoding,),
    )
