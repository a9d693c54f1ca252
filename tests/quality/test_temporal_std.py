"""Deviations over time against numpy and against loops over single particles."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.quality.lattice import Lattice, Motion, Picture, make_lattice, sample
from seqhdr.quality.temporal_std import STD_EDGES_STOPS, StdMeter, StdSummary

H, W = 24, 32
LATTICE = make_lattice(H, W, 2)


def noisy(seed: int, low: float = 2.0, spread: float | Tensor = 0.05) -> Tensor:
    """(3, H, W) stops."""
    generator = torch.Generator().manual_seed(seed)
    fixed = torch.rand(3, H, W, generator=torch.Generator().manual_seed(77))
    return low + fixed + spread * torch.randn(3, H, W, generator=generator)


def shift(dx: float, dy: float) -> Motion:
    flow_px = torch.tensor([float(dx), float(dy)]).view(2, 1, 1).expand(2, H, W)
    return Motion(-flow_px, flow_px)


def run(
    frames: list[dict[str, Picture]],
    motion: Callable[[int], Motion | None],
    *,
    weights: Tensor | None = None,
    window: int = 8,
    lattice: Lattice = LATTICE,
) -> StdSummary:
    meter = StdMeter(lattice, window=window)
    weight = torch.ones(lattice.rows, lattice.columns) if weights is None else weights
    for t, pictures in enumerate(frames):
        here = {name: picture.pick(lattice) for name, picture in pictures.items()}
        meter.add(pictures, here, weight, motion(t) if t else None)
    return meter.finish()


def still(t: int) -> Motion | None:
    return shift(0, 0)


def rms(std: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the channels, axis 0."""
    return np.asarray(np.sqrt((std**2).mean(axis=0)))


def test_at_rest_both_are_what_numpy_says() -> None:
    uneven = torch.linspace(0.005, 0.2, W)  # and what varies more weighs less
    clips = {name: [noisy(seed + t, spread=uneven) for t in range(16)] for name, seed in (("result", 0), ("source", 9))}
    weights = torch.linspace(1, 0.05, LATTICE.columns).expand(LATTICE.rows, -1)
    frames = [{name: Picture(clips[name][t]) for name in clips} for t in range(16)]
    summary = run(frames, still, weights=weights)
    assert summary.static_share == 1
    for name, clip in clips.items():
        picked = np.stack([LATTICE.pick(frame).double().numpy() for frame in clip])
        # Two windows of eight frames.
        stds = np.stack([rms(picked[start : start + 8].std(axis=0, ddof=1)) for start in (0, 8)])
        each = summary.by_name[name]
        assert np.allclose(each.map_stops, stds.mean(axis=0), rtol=1e-3)
        both = np.tile(weights.numpy(), (2, 1, 1))
        assert each.static_std_stops == pytest.approx(np.average(stds, weights=both), rel=1e-4)
        assert each.motion_std_stops == pytest.approx(np.average(stds, weights=both), rel=1e-3)
        shares, _ = np.histogram(stds, STD_EDGES_STOPS, weights=both)
        assert np.allclose(each.motion_shares, shares / both.sum(), atol=0.01)
        assert each.motion_shares.sum() == pytest.approx(1)
    assert summary.by_name["result"].map_stops.dtype == np.float32


def zoom(scale: float, turn: float) -> Motion:
    """A zoom and turn about the middle: positions p become m + A (p - m) from frame to frame."""
    a = np.array([[scale, -turn], [turn, scale]])
    y, x = np.mgrid[:H, :W].astype(np.float64)
    away = np.stack([x - W / 2, y - H / 2])
    forward = np.tensordot(a - np.eye(2), away, axes=1)
    backward = np.tensordot(np.linalg.inv(a) - np.eye(2), away, axes=1)
    return Motion(torch.from_numpy(backward).float(), torch.from_numpy(forward).float())


def test_particles_one_by_one() -> None:
    motion, scale, turn = zoom(1.03, 0.02), 1.03, 0.02
    clip = [noisy(t, spread=0.2) for t in range(11)]
    usable = [torch.rand(H, W, generator=torch.Generator().manual_seed(900 + t)) > 0.004 for t in range(11)]
    frames = [{"result": Picture(image, usable=mask)} for image, mask in zip(clip, usable, strict=True)]
    summary = run(frames, lambda t: motion, window=6)

    maps = np.full((2, LATTICE.rows, LATTICE.columns), np.nan)
    lengths = set()
    for n, (first, last) in enumerate(((0, 6), (6, 11))):
        for j, i in np.ndindex(LATTICE.rows, LATTICE.columns):
            x, y = 2.0 * i + 1, 2.0 * j + 1
            values = [clip[first][:, int(y), int(x)].double().numpy()] if usable[first][int(y), int(x)] else []
            for t in range(first + 1, last if values else 0):
                dx, dy = x - W / 2, y - H / 2
                x, y = W / 2 + scale * dx - turn * dy, H / 2 + turn * dx + scale * dy
                if not (0 <= x <= W - 1 and 0 <= y <= H - 1):
                    break
                left, top = math.floor(x), math.floor(y)
                if not usable[t][max(top - 1, 0) : top + 3, max(left - 1, 0) : left + 3].all():
                    break
                value, _ = sample(clip[t], torch.tensor([[[x, y]]], dtype=torch.float32))
                values.append(value[:, 0, 0].double().numpy())
            lengths.add(len(values))
            if len(values) >= 4:
                maps[n, j, i] = rms(np.std(np.stack(values), axis=0, ddof=1))
    assert lengths == {0, 1, 2, 3, 4, 5, 6}
    seen = ~np.isnan(maps).all(axis=0)
    result = summary.by_name["result"]
    assert np.array_equal(~np.isnan(result.map_stops), seen)
    assert 0.3 < seen.mean() < 1
    assert np.allclose(result.map_stops[seen], np.nanmean(maps[:, seen], axis=0), rtol=1e-3)
    assert result.motion_std_stops == pytest.approx(np.nanmean(maps), rel=1e-4)


def test_a_picture_that_moves_exactly_does_not_vary() -> None:
    def plane(t: int) -> Tensor:
        y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
        return (3 + 0.1 * (x - 0.7 * t) + 0.05 * (y + 0.3 * t)).expand(3, H, W).contiguous()

    frames = [{"result": Picture(plane(t))} for t in range(8)]
    std = run(frames, lambda t: shift(0.7, -0.3)).by_name["result"].motion_std_stops
    wrong = run(frames, still).by_name["result"].motion_std_stops
    # The cubic with a = -0.75 does not carry a ramp quite exactly: up to 3 % of a step between two pixels,
    # more in the last pixels before the border, which is repeated.
    assert std is not None
    assert wrong is not None
    assert std < 0.01 < 0.1 < wrong


def test_only_what_stays_for_a_whole_window_is_static() -> None:
    frames = [{"result": Picture(noisy(t))} for t in range(8)]

    def left_half_creeps(t: int) -> Motion:
        flow_px = torch.zeros(2, H, W)
        flow_px[0, :, : W // 2] = 0.06  # within 0.25 px for four frames, and then not
        return Motion(-flow_px, flow_px)

    creeping = run(frames, left_half_creeps)
    assert creeping.static_share == 0.5
    picked = np.stack([LATTICE.pick(f["result"].stops).double().numpy() for f in frames])[..., LATTICE.columns // 2 :]
    expected = rms(picked.std(axis=0, ddof=1)).mean()
    assert creeping.by_name["result"].static_std_stops == pytest.approx(expected, rel=1e-4)
    assert run(frames[:4], left_half_creeps).static_share == 1
    # A quarter of a pixel in all.
    assert run(frames, lambda t: shift(0, -0.24 / 7)).static_share == 1
    gone = run(frames, lambda t: shift(0, -0.26 / 7))
    assert (gone.static_share, gone.by_name["result"].static_std_stops) == (0, None)


def test_what_is_clipped_once_is_not_static() -> None:
    masks = torch.ones(8, H, W, dtype=torch.bool)
    masks[0, 4:8], masks[7, 12:16] = False, False
    frames = [{"result": Picture(noisy(t)), "source": Picture(noisy(t), usable=masks[t])} for t in range(8)]
    summary = run(frames, still)
    # Of rows 1, 3, 5 ... two and two; at rest the 4x4 pixels around a place begin one row before it.
    kept = np.ones(LATTICE.rows, dtype=bool)
    kept[[2, 3, 5, 6, 7]] = False
    assert summary.static_share == pytest.approx(kept.mean())
    # The first seven frames of what was clipped in the eighth count along the motion.
    seen = ~np.isnan(summary.by_name["result"].map_stops).all(axis=1)
    assert np.flatnonzero(~seen).tolist() == [2, 3]


def test_what_gets_hidden_ends() -> None:
    frames = [{"result": Picture(noisy(t))} for t in range(8)]

    def something_comes(t: int) -> Motion:
        # In the third frame a layer moves in over the left half: what is there now was elsewhere.
        backward_px, forward_px = torch.zeros(2, H, W), torch.zeros(2, H, W)
        if t == 2:
            backward_px[0, :, : W // 2] = 12.0
        return Motion(backward_px, forward_px)

    summary = run(frames, something_comes)
    seen = ~np.isnan(summary.by_name["result"].map_stops).any(axis=0)
    assert seen.tolist() == [False] * (LATTICE.columns // 2) + [True] * (LATTICE.columns // 2)
    assert summary.static_share == 0.5


def test_a_cut_begins_a_window_and_short_ones_are_dropped() -> None:
    def clip(cut: int) -> list[dict[str, Picture]]:
        return [{"result": Picture(noisy(t, 2.0 if t < cut else 6.0))} for t in range(8)]

    whole = run(clip(4), lambda t: None if t == 4 else still(t))
    assert whole.by_name["result"].motion_std_stops == pytest.approx(0.05, rel=0.15)
    short = run(clip(5), lambda t: None if t == 5 else still(t))
    alone = run(clip(5)[:5], still)
    assert short.by_name["result"].motion_std_stops == alone.by_name["result"].motion_std_stops
    none = run(clip(5)[:3], still)
    assert none.by_name == {}
    assert none.static_share is None


def test_nothing_that_lives_long_enough_has_no_numbers() -> None:
    nothing = torch.zeros(H, W, dtype=torch.bool)
    summary = run([{"result": Picture(noisy(t), usable=nothing)} for t in range(8)], still)
    result = summary.by_name["result"]
    assert (result.motion_std_stops, result.static_std_stops, summary.static_share) == (None, None, 0)
    assert result.motion_shares.tolist() == [0.0] * 10
    assert np.isnan(result.map_stops).all()


def test_a_window_of_three_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="got a window of 3 frames: expected 4 at least"):
        StdMeter(LATTICE, window=3)
