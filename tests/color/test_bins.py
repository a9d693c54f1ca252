"""The promise, property-tested: every code, every space in and out, half and float."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seqhdr.color import bins, rounding
from seqhdr.color.bins import (
    audit,
    bin_width_stops,
    clamp_offset,
    clip_mask,
    decode_offset,
    encode_into_bins,
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


LINEAR = {"lin_rec709", "acescg", "aces2065-1"}
# White at 1.0: between the brightest channel and the darkest bin lie fewer bits than float32 has.
DISPLAY_LIKE = {"srgb", "rec709", "gamma22", "gamma24", *LINEAR}


@DTYPES
@pytest.mark.parametrize(("source", "target"), list(product(ENCODING_NAMES, repeat=2)))
def test_every_code_of_every_space_stays_in_its_bin(source: str, target: str, dtype: torch.dtype) -> None:
    src, dst = get_encoding(source), get_encoding(target)
    codes, offset, gain = frame(1)
    out, stats = encode_into_bins(codes, offset, gain, 0.5, 255, src, dst, dtype)
    assert out.dtype == dtype
    result = audit(out, codes, 0.5, 255, src, dst, dtype == torch.float16)
    assert result.kept, result
    assert result.container_share == 1.0
    if stats.floored or stats.overflowed:
        return
    if dtype == torch.float32:
        # A saturated colour of a log source spans 18 stops, and a log float has 20 bits of them to give.
        assert result.exact_share == 1.0 if source in DISPLAY_LIKE else result.exact_share >= 0.999
    elif src.primaries == dst.primaries and source not in LINEAR:
        assert result.exact_share == 1.0
    assert result.clipped_exact == result.clipped or source not in DISPLAY_LIKE or dtype == torch.float16


@DTYPES
@settings(max_examples=25, deadline=None)
@given(
    source=st.sampled_from(["srgb", "rec709", "gamma24", "acescct", "logc4", "acescc"]),
    target=st.sampled_from(["acescct", "srgb", "logc3", "aces2065-1", "acescg"]),
    half_width=st.floats(0.5, 40.0),
    bits=st.sampled_from([8, 10, 12, 16]),
    seed=st.integers(0, 2**16),
)
def test_any_width_and_depth_is_kept(
    source: str, target: str, half_width: float, bits: int, seed: int, dtype: torch.dtype
) -> None:
    src, dst, top = get_encoding(source), get_encoding(target), 2**bits - 1
    codes, offset, gain = frame(seed, top, half_width)
    out, _ = encode_into_bins(codes, offset, gain, half_width, top, src, dst, dtype)
    result = audit(out, codes, half_width, top, src, dst, dtype == torch.float16)
    assert result.kept, result


@DTYPES
def test_a_measured_space_keeps_the_promise_too(dtype: torch.dtype) -> None:
    codes, offset, gain = frame(4)
    src = get_encoding("srgb")
    for name in ("CanonLog2 CinemaGamut D55", "Gamma 1.8 Rec.709 - Texture"):
        for a, b in ((src, get_encoding(name)), (get_encoding(name), src)):
            out, _ = encode_into_bins(codes, offset, gain, 0.5, 255, a, b, dtype)
            assert audit(out, codes, 0.5, 255, a, b, dtype == torch.float16).kept


def test_pxr24_floats_are_on_their_grid_and_inside() -> None:
    src, dst = get_encoding("srgb"), get_encoding("acescct")
    codes, offset, gain = frame(5)
    out, _ = encode_into_bins(codes, offset, gain, 0.5, 255, src, dst, torch.float32, float24=True)
    assert bool((out.view(torch.int32) % 256 == 0).all())
    result = audit(out, codes, 0.5, 255, src, dst, half=False, float24=True)
    assert result.kept
    assert result.exact_share >= 0.999
    alone, _ = encode_into_bins(codes, offset, gain, 0.5, 255, src, get_encoding("ailog"), torch.float32, float24=True)
    assert audit(alone, codes, 0.5, 255, src, get_encoding("ailog"), half=False).exact_share == 1.0


def test_the_search_beats_plain_rounding_as_measured() -> None:
    src, dst = get_encoding("srgb"), get_encoding("acescct")
    g = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 256, (3, 100, 200), generator=g).float()
    offset = torch.rand(codes.shape, generator=g) - 0.5
    gain = torch.zeros_like(codes)
    light = decode_offset(codes, offset, gain, 0.5, 255, src).reshape(3, -1)
    task = rounding.Task(0.5, 255, src, dst, HALF)
    plain = HALF.nearest(dst.encode(rounding.mix(task.to_dst, light))).view(codes.shape)
    searched, _ = encode_into_bins(codes, offset, gain, 0.5, 255, src, dst, torch.float16)

    def pixels_outside(values: Tensor) -> float:
        back = rounding.mix(task.to_src, dst.decode(values.double()).reshape(3, -1))
        deviation = src.encode(back) * 255 - codes.reshape(3, -1)
        low = torch.where(codes.reshape(3, -1) > 0, deviation, deviation.clamp(min=0))
        both = torch.where(codes.reshape(3, -1) < 255, low, low.clamp(max=0))
        return float((both.abs() > 0.5).any(0).double().mean())

    assert 0.13 < pixels_outside(plain) < 0.44
    assert pixels_outside(searched) <= 0.03
    result = audit(plain, codes, 0.5, 255, src, dst, half=True)
    assert result.exact_share < 0.95
    assert result.container_share == 1.0


def test_what_is_stored_is_the_prediction_not_the_centre_of_the_bin() -> None:
    src, dst = get_encoding("srgb"), get_encoding("acescct")
    codes, offset, gain = frame(6)
    out, _ = encode_into_bins(codes, offset, gain, 0.5, 255, src, dst, torch.float32)
    light = rounding.mix(
        rounding.Task(0.5, 255, src, dst, HALF).to_dst,
        decode_offset(*(t.double().reshape(3, -1) for t in (codes, offset, gain)), 0.5, 255, src),
    )
    assert float((out.reshape(3, -1) - dst.encode(light)).abs().max()) < 1e-5


def test_decode_offset_is_its_definition() -> None:
    src = get_encoding("srgb")
    codes, offset, gain = frame(7)
    found = decode_offset(codes, offset * 3, gain, 2.5, 255, src).flatten()
    for i in range(0, codes.numel(), 13):
        c, o, s = (float(t.flatten()[i]) for t in (codes, offset * 3, gain))
        v = c + min(max(o, -2.5), 2.5)
        clipped = c + 2.5 >= 255
        v = min(v, 254.5) if clipped else v
        expected = float(src.decode(torch.tensor(v / 255, dtype=torch.float64))) * (2**s if clipped else 1)
        assert float(found[i]) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_the_clip_rule() -> None:
    codes = torch.tensor([0.0, 252.0, 253.0, 254.0, 255.0])
    assert clip_mask(codes, 0.5, 255).tolist() == [False, False, False, False, True]
    assert clip_mask(codes, 2.0, 255).tolist() == [False, False, True, True, True]
    assert clip_mask(codes, math.inf, 255).tolist() == [False, False, False, False, True]
    with pytest.raises(ValueError, match="half_width_lsb"):
        clip_mask(codes, 0.25, 255)


def test_without_bounds_offsets_pass_and_everything_is_inside() -> None:
    src, dst = get_encoding("srgb"), get_encoding("acescct")
    codes, offset, gain = frame(8, half_width=20.0)
    assert clamp_offset(offset, math.inf) is offset
    assert float(clamp_offset(offset, 0.5).abs().max()) == 0.5
    for dtype in (torch.float16, torch.float32):
        out, _ = encode_into_bins(codes, offset, gain, math.inf, 255, src, dst, dtype)
        result = audit(out, codes, math.inf, 255, src, dst, dtype == torch.float16)
        assert result.kept
        assert result.exact_share == 1.0
        assert abs(result.worst_lsb) > 15


@pytest.mark.parametrize("name", ENCODING_NAMES)
@pytest.mark.parametrize("max_code", [255, 1023])
def test_bin_widths_are_positive_and_finite(name: str, max_code: int) -> None:
    width = bin_width_stops(get_encoding(name), max_code)
    assert width.shape == (max_code + 1,)
    assert width.dtype == torch.float32
    assert bool((width > 0).all() & torch.isfinite(width).all())


def test_bin_widths_are_stops_in_the_light() -> None:
    width = bin_width_stops(get_encoding("acescct"), 255)
    assert float(width[200]) == pytest.approx(17.52 / 255, rel=1e-3)
    srgb = bin_width_stops(get_encoding("srgb"), 255)
    assert float(srgb[1]) > 20 * float(srgb[250])


def test_overflow_is_held_and_counted() -> None:
    src, dst = get_encoding("srgb"), get_encoding("lin_rec709")
    codes = torch.full((3, 2, 2), 255.0)
    out, stats = encode_into_bins(codes, codes * 0, torch.full_like(codes, 20.0), 0.5, 255, src, dst)
    assert bool((out == 65504).all())
    assert stats.overflowed == 12
    assert audit(out, codes, 0.5, 255, src, dst, half=True).kept


def test_light_below_a_pure_log_is_held_at_its_floor_and_counted() -> None:
    src, dst = get_encoding("cineon"), get_encoding("ailog")
    codes = torch.full((3, 2, 2), 3.0)
    out, stats = encode_into_bins(codes, codes * 0, codes * 0, 0.5, 255, src, dst)
    assert stats.floored == 12
    assert float(out.abs().max()) < 1e-6
    assert audit(out, codes, 0.5, 255, src, dst, half=True).kept


def test_nonsense_is_a_bug_not_a_picture() -> None:
    src = get_encoding("srgb")
    codes = torch.zeros(3, 2, 2)
    with pytest.raises(ValueError, match="finite"):
        encode_into_bins(codes, codes * math.nan, codes, 0.5, 255, src, src)
    with pytest.raises(ValueError, match="dtype"):
        encode_into_bins(codes, codes, codes, 0.5, 255, src, src, torch.float64)


def test_the_result_does_not_depend_on_threads_or_neighbours() -> None:
    src, dst = get_encoding("srgb"), get_encoding("acescct")
    g = torch.Generator().manual_seed(3)
    codes = torch.randint(0, 256, (3, 120, 200), generator=g).float()
    offset, gain = torch.rand(codes.shape, generator=g) - 0.5, torch.rand(codes.shape, generator=g)
    whole, _ = encode_into_bins(codes, offset, gain, 0.5, 255, src, dst)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        again, _ = encode_into_bins(codes, offset, gain, 0.5, 255, src, dst)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(whole, again)


def test_gradients_reach_offset_and_gain() -> None:
    codes, offset, gain = frame(10)
    offset, gain = (offset * 0.5).requires_grad_(), gain.requires_grad_()
    decode_offset(codes, offset, gain, 0.5, 255, get_encoding("srgb")).log1p().sum().backward()
    for tensor in (offset, gain):
        assert tensor.grad is not None
        assert bool(torch.isfinite(tensor.grad).all())
        assert bool((tensor.grad != 0).any())


def test_chunks_cover_frames_of_any_size() -> None:
    src = get_encoding("srgb")
    codes = torch.randint(0, 256, (3, 101, bins._CHUNK // 100), generator=torch.Generator().manual_seed(2)).float()
    out, _ = encode_into_bins(codes, codes * 0, codes * 0, 0.5, 255, src, get_encoding("acescg"), torch.float32)
    assert audit(out, codes, 0.5, 255, src, get_encoding("acescg"), half=False).exact_share == 1.0
