"""Plateaus against loops over pixels, stairs around the visible step, levels of ramps in closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqhdr.color.encodings import get_encoding
from seqhdr.media.patterns import NO_LEVEL, long_runs, plateau_share
from seqhdr.quality.banding import VISIBLE_STOPS, FrameBanding, banded_regions, measure_banding, smooth_regions
from seqhdr.quality.levels import FrameLevels, LightOf, frame_levels
from seqhdr.quality.stops import light_of_stops

Pixels = NDArray[Any]
KINDS = ["uint8", "uint16", "float16", "float32"]


def same(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values


def curve(name: str, white: float = 1) -> LightOf:
    decode = get_encoding(name).decode
    return lambda values: decode(torch.from_numpy(values / np.float32(white))).numpy()


def acescct(light: Pixels) -> Pixels:
    return get_encoding("acescct").encode(torch.from_numpy(light)).numpy()


def grey(plane: Pixels) -> Pixels:
    return np.stack([plane] * 3, axis=2)


def banding(pixels: Pixels, light_of: LightOf) -> FrameBanding:
    frame = frame_levels(pixels, light_of)
    return measure_banding(frame, smooth_regions(frame))


def naive_marks(line: list[float], levels: list[float], light_of: LightOf, least: float) -> list[bool]:
    """Pixel by pixel: is it in a plateau with a step of one level that is large enough?"""

    def stops(value: float) -> float:
        return float(np.arcsinh(float(light_of(np.array([value], np.float32))[0]) * 256) / np.log(2))

    marks = [False] * len(line)
    x = 0
    while x < len(line):
        end = x
        while end + 1 < len(line) and line[end + 1] == line[x]:
            end += 1
        beside = [line[i] for i in (x - 1, end + 1) if 0 <= i < len(line)]
        if end - x + 1 >= 8 and line[x] in levels:
            place = levels.index(line[x])
            gentle = [v for v in beside if v in levels and abs(levels.index(v) - place) == 1]
            if any(abs(stops(v) - stops(line[x])) >= least for v in gentle):
                marks[x : end + 1] = [True] * (end - x + 1)
        x = end + 1
    return marks


def naive_share(pixels: Pixels, light_of: LightOf, least: float) -> tuple[float, Pixels]:
    """Share of the frame and of its regions of 32 x 32 pixels, by loops, from lines 1, 5, 9, ..."""
    height, width = pixels.shape[:2]
    wide = pixels.astype(np.float64)
    # Where sorting everything takes too long, the levels in use are those that are looked at, and the extremes.
    looked = np.zeros((height, width), bool)
    looked[1::4] = looked[:, 1::4] = True
    total, grids = 0.0, []
    for c in range(3):
        plane = wide[..., c]
        used = plane[looked] if pixels.dtype == np.float32 else plane.ravel()
        finite = plane[np.isfinite(plane)]
        used = np.concatenate([used[np.isfinite(used)], [finite.min(), finite.max()]])
        levels = sorted({float(v) for v in used})
        across = np.array([naive_marks(line.tolist(), levels, light_of, least) for line in plane[1::4]])
        down = np.array([naive_marks(line.tolist(), levels, light_of, least) for line in plane[:, 1::4].T])
        total += max(across.mean(), down.mean()) / 3
        grid = np.zeros((-(-height // 32), -(-width // 32)))
        for y in range(grid.shape[0]):
            for x in range(grid.shape[1]):
                here = across[8 * y : 8 * y + 8, 32 * x : 32 * x + 32]
                there = down[8 * x : 8 * x + 8, 32 * y : 32 * y + 32]
                grid[y, x] = max(here.mean(), there.mean())
        grids.append(grid)
    return total, np.mean(grids, axis=0)


def blotches(seed: int, kind: str) -> Pixels:
    """Random flat pieces with steps of one and more levels, some noise, and zeros of both signs."""
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(39, 75, 2))
    along, down = (int(n) for n in rng.integers(6, 14, 2))
    steps = rng.integers(0, 5, (-(-height // down), -(-width // along), 3)).cumsum(axis=seed % 2)
    codes = steps.repeat(down, 0).repeat(along, 1)[:height, :width] % 23
    spots = rng.random(codes.shape) < 0.02
    codes = np.where(spots, rng.integers(0, 23, codes.shape), codes)
    if kind.startswith("uint"):
        return (codes * (1 if kind == "uint8" else 37)).astype(kind)
    # Steps from 0.004 to 0.04 stop, on both sides of the visible, below zero too.
    values = np.concatenate([[-0.5, -0.25, 0.0], np.exp2(np.geomspace(0.004, 0.04, 20).cumsum()) / 3])[codes]
    pixels = values.astype(kind)
    pixels[(pixels == 0) & (rng.random(pixels.shape) < 0.5)] = -0.0
    pixels[rng.random(pixels.shape) < 0.004] = np.nan
    pixels[rng.random(pixels.shape) < 0.004] = np.inf
    pixels[3:9, 5:20] = np.nan
    pixels[11:22, 5:20] = -np.inf
    return pixels


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_plateaus_as_counted_pixel_by_pixel(kind: str, seed: int) -> None:
    pixels = blotches(seed, kind)
    step = {"uint8": 1, "uint16": 37}.get(kind)
    # Steps from 0.0088 to 0.0101 stop.
    light_of: LightOf = (lambda v: 0.3 + np.float32(0.0021 / step) * v) if step else same
    found = banding(pixels, light_of)
    assert found.plateau_share == pytest.approx(naive_share(pixels, light_of, 0)[0], abs=1e-6)
    index, grid = naive_share(pixels, light_of, VISIBLE_STOPS)
    assert found.banding_index == pytest.approx(index, abs=1e-6)
    assert 0.01 < index < found.plateau_share - 0.01
    regions = banded_regions(frame_levels(pixels, light_of))
    assert regions.dtype == np.float32
    np.testing.assert_allclose(regions, grid, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_long_runs_as_found_by_a_loop(seed: int) -> None:
    plane = blotches(seed, "float32")[..., 0]
    levels = sorted({float(v) for v in plane.ravel() if np.isfinite(v)})

    def rank(value: float) -> int:
        return levels.index(value) if np.isfinite(value) else NO_LEVEL

    expected = []
    for y, line in enumerate(plane.tolist()):
        x = 0
        while x < len(line):
            end = x + 1
            while end < len(line) and line[end] == line[x]:
                end += 1
            if end - x >= 8:
                before, after = (rank(line[i]) if 0 <= i < len(line) else NO_LEVEL for i in (x - 1, end))
                expected.append((y, x, end - x, rank(line[x]), before, after))
            x = end
    runs = long_runs(plane, lambda values: np.array([rank(float(v)) for v in values], np.intp))
    assert expected
    found = zip(runs.row, runs.start, runs.length, runs.rank, runs.before, runs.after, strict=True)
    assert [tuple(int(n) for n in run) for run in found] == expected


@pytest.mark.parametrize("width", range(1, 12))
def test_runs_of_narrow_planes(width: int) -> None:
    runs = long_runs(np.zeros((3, width), np.uint8), lambda values: values.astype(np.intp))
    assert runs.length.tolist() == ([width] * 3 if width >= 8 else [])
    assert plateau_share(np.zeros((3, width), np.float32)) == 0


def ramp(width: int = 512, height: int = 256, low: float = 0.3, high: float = 0.5) -> Pixels:
    """A smooth ramp to the right in sRGB, before anything is rounded."""
    return np.broadcast_to(np.linspace(low, high, width, dtype=np.float32), (height, width)).copy()


def test_an_8_bit_ramp_bands_and_the_smooth_one_in_half_does_not() -> None:
    codes = np.rint(ramp() * 255)
    found = banding(grey(codes.astype(np.uint8)), curve("srgb", 255))
    assert found.banding_index == found.plateau_share > 0.98
    # The same codes as light in a log file of half floats: the container changes nothing.
    light = curve("srgb")
    banded_half = grey(acescct(light(codes.ravel() / np.float32(255))).reshape(codes.shape).astype(np.float16))
    assert banding(banded_half, curve("acescct")).banding_index == pytest.approx(found.banding_index, abs=0.01)
    # Within half a code the ramp as it was: steps of half floats remain, but nobody sees them.
    for smooth in (ramp(), ramp(low=0.38, high=0.4), ramp(low=0.69, high=0.71)):
        half = grey(acescct(light(smooth.ravel())).reshape(smooth.shape).astype(np.float16))
        assert banding(half, curve("acescct")).banding_index < 0.001
    assert banding(half, curve("acescct")).plateau_share > 0.5


@pytest.mark.parametrize("kind", ["uint16", "float16", "float32"])
@pytest.mark.parametrize("brightness", [-3.0, 0.0, 4.0, 9.0])
@pytest.mark.parametrize("part", [0.9, 1.1])
def test_stairs_around_the_visible_step(kind: str, brightness: float, part: float) -> None:
    # Level n means n steps above the brightness, whatever holds the levels: 16 pixels to a stair, down and across.
    def light_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
        level_stops = brightness + part * VISIBLE_STOPS * values.astype(np.float64)
        return light_of_stops(torch.from_numpy(level_stops)).float().numpy()

    stairs = np.broadcast_to(np.arange(256) // 16 + 3, (64, 256)).astype(kind)
    for pixels in (grey(stairs), grey(stairs.T)):
        found = banding(pixels, light_of)
        assert found.plateau_share == 1
        assert found.banding_index == (1 if part > 1 else 0)


def test_the_mean_of_the_channels_and_the_larger_direction() -> None:
    flat, stairs = np.full((64, 64), 99), np.broadcast_to(np.arange(64) // 16 + 40, (64, 64))
    noise = np.random.default_rng(8).integers(0, 255, (64, 64))
    for view in (stairs, stairs.T):
        found = banding(np.stack([view, flat, noise], axis=2).astype(np.uint8), curve("srgb", 255))
        assert found.banding_index == pytest.approx(1 / 3, abs=1e-3)
    # Flat to the end is no plateau: there is no step at all.
    assert banding(grey(flat).astype(np.uint8), curve("srgb", 255)) == FrameBanding(0, 0, None)


@pytest.mark.parametrize("kind", KINDS)
def test_texture_and_noise_do_not_band(kind: str) -> None:
    rng = np.random.default_rng(5)
    light = 0.4 + 0.1 * np.sin(np.arange(160) * 0.9)[:, None, None] + 0.05 * rng.standard_normal((160, 192, 3))
    white = {"uint8": 255, "uint16": 65535}.get(kind, 1)
    found = banding((light * white).astype(kind), curve("srgb", white))
    assert found == FrameBanding(0, 0, None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("every", [1, 4, 8])
def test_levels_of_a_ramp(kind: str, turned: bool, every: int) -> None:
    # A new level every so many pixels: 32 / every of them in each region, in both directions.
    def light_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return 0.2 + np.float32(0.0005) * values

    plane = np.broadcast_to(np.arange(96) // every, (80, 96)).astype(kind)
    frame = frame_levels(grey(plane.T if turned else plane), light_of)
    regions = smooth_regions(frame)
    assert regions.tolist() == ([[True] * 2 + [False]] * 3 if turned else [[True] * 3] * 2 + [[False] * 3])
    assert measure_banding(frame, regions).levels == 32 / every
    assert measure_banding(frame, np.zeros_like(regions)).levels is None
    assert measure_banding(frame, np.ones_like(regions)).levels == 32 / every  # cut regions are never counted


def test_levels_are_those_of_the_regions_given() -> None:
    left, right = ramp(128, 128, 0.4, 0.5), np.random.default_rng(2).random((128, 128)).astype(np.float32)
    source = frame_levels(grey(np.rint(255 * np.hstack([left, right]))).astype(np.uint8), curve("srgb", 255))
    regions = smooth_regions(source)
    assert regions.tolist() == [[True] * 4 + [False] * 4] * 4
    result = frame_levels(grey(np.hstack([left, right])), curve("srgb"))
    assert measure_banding(source, regions).levels == pytest.approx(0.1 * 255 * 32 / 128 + 1, abs=1)
    assert measure_banding(result, regions).levels == 32
    assert measure_banding(result, ~regions).levels == pytest.approx(1024, abs=1)


def test_more_regions_than_are_counted_are_sampled_evenly() -> None:
    # A region in the upper half has 8 levels, below it has 4: of 384 regions 128 are counted from both.
    every = np.where(np.arange(512) < 240, 4, 8)[:, None]
    plane = (100 + np.arange(768)[None] // every).astype(np.uint16)
    frame = frame_levels(grey(plane), lambda v: 0.2 + v / np.float32(65535))
    regions = smooth_regions(frame)
    regions[7] = False
    assert regions.sum() == 360
    assert measure_banding(frame, regions).levels == 4
    regions[8:10] = False
    assert measure_banding(frame, regions).levels == 8


def in_a_region(change: Callable[[Pixels], None]) -> bool:
    """Whether the middle one of three regions of a smooth ramp is still smooth when something is done to it."""
    codes = grey(np.rint(255 * ramp(96, 32, 0.5, 0.6)))
    change(codes[:, 32:64])
    regions = smooth_regions(frame_levels(codes.astype(np.uint8), curve("srgb", 255)))
    assert regions[0, [0, 2]].all()
    return bool(regions[0, 1])


def test_what_a_smooth_region_is() -> None:
    def set_all(codes: Pixels) -> None:
        codes[:] = 200

    def one_channel(codes: Pixels) -> None:
        codes[..., :2] = 200

    def scanlines(codes: Pixels) -> None:
        codes[0::2] += 2

    def columns(codes: Pixels) -> None:
        codes[:, 0::2, 1] += 2

    def an_edge(codes: Pixels) -> None:
        codes[:, 16:, 2] += 40

    def a_step(codes: Pixels) -> None:
        codes[:, 16:] += 5

    def another_channel(codes: Pixels) -> None:
        codes[..., 1:] = 200

    assert in_a_region(a_step)
    assert in_a_region(another_channel)
    assert in_a_region(one_channel)
    assert not in_a_region(set_all)
    assert not in_a_region(scanlines)
    assert not in_a_region(columns)
    assert not in_a_region(an_edge)


@pytest.mark.parametrize("kind", ["float16", "float32"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_breaks_nothing(kind: str, bad: float) -> None:
    def light_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
        assert np.isfinite(values).all()
        return values

    # So dark that nothing but the missing number could tell the regions apart.
    pixels = grey(ramp(96, 64, 0, 1e-4)).astype(kind)
    pixels[1, 1, :2] = bad
    frame = frame_levels(pixels, light_of)
    assert smooth_regions(frame).tolist() == [[False, True, True], [True, True, True]]
    # A region that is smooth in the source but holds no number in the result is left out in those channels.
    here = np.zeros((2, 3), bool)
    here[0, 0] = True
    assert measure_banding(frame, here).levels == 32
    pixels[:] = bad
    nothing = frame_levels(pixels, light_of)
    assert measure_banding(nothing, np.ones((2, 3), bool)) == FrameBanding(0, 0, None)
    assert not smooth_regions(nothing).any()
    assert not banded_regions(nothing).any()


def test_the_pixels_stay_as_they_are() -> None:
    pixels = np.full((3, 40, 40), -0.0, np.float16).transpose(1, 2, 0)
    pixels.flags.writeable = False
    assert banding(pixels, same).banding_index == 0
    assert np.signbit(pixels).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (5, 7), (33, 60)])
@pytest.mark.parametrize("kind", KINDS)
def test_small_pictures(shape: tuple[int, int], kind: str) -> None:
    plane = np.add.outer(np.arange(shape[0]) // 10, np.arange(shape[1]) // 10).astype(kind)
    frame = frame_levels(grey(plane), lambda values: 0.1 + values / 100)
    regions = smooth_regions(frame)
    found = measure_banding(frame, regions)
    assert regions.shape == banded_regions(frame).shape == (-(-shape[0] // 32), -(-shape[1] // 32))
    assert found.banding_index == (1 if max(shape) >= 40 else 0)


def test_wrong_arrays_are_refused() -> None:
    frame: FrameLevels = frame_levels(np.zeros((40, 70, 3), np.uint8), same)
    with pytest.raises(ValueError, match=r"got regions \(1, 2\): expected \(2, 3\) for 70x40"):
        measure_banding(frame, np.ones((1, 2), bool))
    for wrong in (
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ):
        with pytest.raises(ValueError, match="expected \\(H, W, 3\\) float16"):
            frame_levels(wrong, same)
