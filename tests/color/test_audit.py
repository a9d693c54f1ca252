"""The audit finds what is wrong, counts as a loop counts, and adds up over frames."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from seqhdr.color.bins import BinAudit, audit, decode_offset, encode_into_bins, merge
from seqhdr.color.encodings import get_encoding


@pytest.mark.parametrize(
    ("source", "target", "half"),
    [("srgb", "acescct", True), ("srgb", "acescct", False), ("acescct", "acescct", True), ("srgb", "ailog", True)],
)
@pytest.mark.parametrize("damage", ["code", "offset", "black", "nan", "dim"])
def test_the_audit_finds_damage(source: str, target: str, half: bool, damage: str) -> None:
    src, dst = get_encoding(source), get_encoding(target)
    dtype = torch.float16 if half else torch.float32
    codes = torch.full((3, 8, 8), 100.0)
    codes[0, 2, 5] = 255.0
    zero = torch.zeros_like(codes)
    clean, _ = encode_into_bins(codes, zero, zero, 0.5, 255, src, dst, dtype)
    assert audit(clean, codes, 0.5, 255, src, dst, half).exact_share == 1.0

    broken = codes.clone()
    broken[1, 4, 3] += {"code": 1.0, "offset": 0.6}.get(damage, 0.0)
    if damage == "dim":
        broken[0, 2, 5] = 252.0
    # Written with a bound that does not hold, as a writer with a fault would.
    out, _ = encode_into_bins(codes, broken - codes, zero, 3.6, 255, src, dst, dtype)
    if damage == "black":
        out[:, 4, 3] = dst.encode(torch.zeros(3)).to(dtype)
    if damage == "nan":
        out[1, 4, 3] = math.nan
    result = audit(out, codes, 0.5, 255, src, dst, half, frame=1001)
    # A tenth of a code too far is less than what a half may round away, and then it only is not exact.
    assert result.exact < result.unclipped or damage == "dim"
    assert not result.kept or (damage == "offset" and half)
    if damage == "dim":
        assert result.clipped == 1
        assert result.clipped_container == 0
        return
    assert result.nonfinite == (1 if damage == "nan" else 0)
    if damage in ("code", "offset"):
        assert (result.worst_x, result.worst_y, result.worst_channel, result.worst_frame) == (3, 4, 1, 1001)
        assert result.worst_lsb == pytest.approx(float(broken[1, 4, 3] - 100), abs=0.2 if half else 0.01)


def test_audits_add_up_and_keep_the_worst_place() -> None:
    one = BinAudit(unclipped=10, exact=9, container=10, worst_lsb=0.4, worst_x=1, worst_frame=1, frames=1)
    two = BinAudit(unclipped=30, exact=30, container=30, worst_lsb=-0.5, worst_x=7, worst_frame=2, frames=1)
    total = merge([one, two])
    assert total == replace(two, unclipped=40, exact=39, container=40, frames=2)
    assert total.exact_share == 39 / 40
    assert merge([two, one]) == total
    assert merge([]).exact_share == 1.0


def test_counts_of_an_audit_agree_with_a_loop() -> None:
    src, dst = get_encoding("srgb"), get_encoding("lin_rec709")
    g = torch.Generator().manual_seed(9)
    codes = torch.randint(0, 256, (3, 16, 32), generator=g).float()
    offset, gain = torch.rand(codes.shape, generator=g) - 0.5, torch.rand(codes.shape, generator=g)
    values = decode_offset(codes, offset * 2.5, gain, 2.0, 255, src)
    result = audit(values, codes, 0.5, 255, src, dst, half=False)
    unclipped = exact = 0
    for value, code in zip(values.flatten().tolist(), codes.flatten().tolist(), strict=True):
        v = float(src.encode(torch.tensor(value, dtype=torch.float64))) * 255
        if code < 255:
            unclipped += 1
            exact += (v - code <= 0.5 + 1e-6) and (code == 0 or code - v <= 0.5 + 1e-6)
    assert (result.unclipped, result.exact) == (unclipped, exact)
