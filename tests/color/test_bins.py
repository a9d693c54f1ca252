"""The promise, property-tested: every code, every space in and out, half and float."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seqhdr.color import bins, rounding
from seqhdr.color.bins import (
    BinAudit,
    audit,
    bin_width_stops,
    clamp_offset,
    clip_mask,
    decode_offset,
    encode_into_bins,
    merge,
)
from seqhdr.color.containers import HALF
from seqhdr.color.encodings import ENCODING_NAMES, get_encoding

DTYPES = pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=["half", "float"])


def frame(seed: int, max_code: int = 255, half_width: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    """All codes as neutrals, then random colours; offsets over the whole bin and its very ends; gains."""
    g = torch.Generator().manual_seed(seed)
    neutral = torch.arange(256).mul(max_code // 255).expand(3, 256)
    codes = torch.cat([neutral, torch.randint(0, max_code + 1, (3, 768), generator=g)], 1).float()
    offset = (torch.rand(codes.shape, generator=g) * 2 - 1) * half_width
    offset[:, ::7] = half_width
    offset[:, 3::7] = -half_width
    gain = torch.rand(codes.shape, generator=g) * 6
    return codes.view(3, 32, 32), offset.view(3, 32, 32), gain.view(3, 32, 32)


@DTYPES
@pytest.mark.parametrize(("source", "target"), list(product(ENCODING_NAMES, repeat=2)))
def test_every_code_of_every_space_stays_in_its_bin(source: str, target: str, dtype: torch.dtype) -> None:
    src, dst = get_encoding(source), get_encoding(target)
    codes, offset, gain = frame(1)
    out, _ = encode_into_bins(codes, offset, gain, 0.5, 255, src, dst, dtype)
    assert out.dtype == dtype
    result = audit(out, codes, 0.5, 255, src, dst, dtype == torch.float16)
    assert result.kept, result
    if dtype == torch.float32 and result.exact != result.unclipped:
        print(source, target, result)
