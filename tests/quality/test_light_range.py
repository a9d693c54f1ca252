"""The range of light against NumPy's own numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqhdr.color.encodings import get_encoding
from seqhdr.quality.levels import LightOf, frame_levels
from seqhdr.quality.light_range import FrameRange, measure_range

KINDS = ["uint8", "uint16", "float16", "float32"]


def curve(name: str, white: float = 1) -> LightOf:
    decode = get_encoding(name).decode
    return lambda values: decode(torch.from_numpy(values / np.float32(white))).numpy()


def same(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values


def clouds(kind: str) -> tuple[NDArray[Any], LightOf]:
    """A frame of noise around grey, of another width per channel, and its curve."""
    rng = np.random.default_rng(6)
    codes = 0.5 + np.array([0.03, 0.07, 0.05]) * rng.standard_normal((200, 300, 3))
    white = {"uint8": 255, "uint16": 65535}.get(kind, 1)
    return (codes * white).astype(kind), curve("acescct", white)


@pytest.mark.parametrize("kind", KINDS)
def test_the_range_is_that_of_numpy(kind: str) -> None:
    pixels, light_of = clouds(kind)
    light = light_of(pixels.astype(np.float32).reshape(-1, 3))
    found = measure_range(frame_levels(pixels, light_of))
    assert found.minimum == pytest.approx(light.min(), rel=1e-6)
    assert found.maximum == pytest.approx(light.max(), rel=1e-6)
    assert found.nan_count == found.inf_count == 0
    low, high = (np.quantile(light, q, axis=0, method="inverted_cdf") for q in (1e-4, 1 - 1e-4))
    # Of a float file a part is looked at, and the tails of a sample are coarse.
    assert found.range_stops == pytest.approx(np.log2(high.max() / low.min()), abs=0.6 if kind == "float32" else 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_lone_pixels_are_extremes_but_no_range(kind: str) -> None:
    # 50 levels, a stop between the least and the largest; one pixel in a place that is not on any looked-at line.
    white = {"uint8": 255, "uint16": 65535}.get(kind, 1)
    pixels = (np.random.default_rng(1).integers(50, 101, (200, 200, 3)) / 255 * white).round(5).astype(kind)
    pixels[8, 12, 0], pixels[12, 8, 1] = white, white / 255
    if kind.startswith("float"):
        pixels[0, 0] = np.nan
    found = measure_range(frame_levels(pixels, lambda v: v / np.float32(white)))
    assert found.maximum == 1
    assert found.minimum == pytest.approx(1 / 255, rel=0.01)
    assert found.range_stops == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_what_is_no_number_is_counted_and_set_aside(kind: str) -> None:
    pixels = np.full((64, 80, 3), 0.25, kind)
    pixels[:32] = -2
    pixels[32:40, :, 1] = 8
    pixels[50, :7, 0] = np.nan
    pixels[51, :5, 2] = np.inf
    pixels[52, :4, 1] = -np.inf
    assert measure_range(frame_levels(pixels, same)) == FrameRange(-2, 8, 7, 9, 5)
    # One channel without a number, then without light, then all of them.
    pixels[..., 2] = np.nan
    assert measure_range(frame_levels(pixels, same)).range_stops == 5
    pixels[..., :2] = -1
    assert measure_range(frame_levels(pixels, same)) == FrameRange(-1, -1, 64 * 80, 0, None)
    pixels[:] = np.nan
    assert measure_range(frame_levels(pixels, same)) == FrameRange(None, None, 3 * 64 * 80, 0, None)


def test_zero_has_no_stops_but_does_not_hide_the_rest() -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:20] = 64
    pixels[:5] = 128
    assert measure_range(frame_levels(pixels, same)) == FrameRange(0, 128, 0, 0, 1)
    assert measure_range(frame_levels(np.zeros_like(pixels), same)) == FrameRange(0, 0, 0, 0, None)


@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_light_beyond_float32_stays_finite(kind: str) -> None:
    pixels = np.full((40, 40, 3), 0.5, kind)
    pixels[::2] = 60000  # 3000 stops in a log curve
    found = measure_range(frame_levels(pixels, curve("acescct")))
    assert found.maximum == np.finfo(np.float32).max
    assert found.range_stops is not None
    assert 120 < found.range_stops < 140
