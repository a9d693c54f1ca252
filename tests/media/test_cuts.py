"""Cuts: found where the picture changes, not where it only brightens or moves."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from seqhdr.errors import UsageError
from seqhdr.media.cuts import CutDetector, KnownCuts, find_cuts, parse_cuts

Image = np.ndarray[Any, np.dtype[Any]]
H, W = 120, 208


def world(seed: int, tint: tuple[float, float, float]) -> Image:
    """A wide linear-light scene (H, 4 W, 3) around 0.2 to look around in."""
    rng = np.random.default_rng(seed)
    scene = np.zeros((H, 4 * W, 1))
    for sigma in (4.0, 10.0, 30.0):
        layer = cv2.GaussianBlur(rng.normal(size=scene.shape[:2]), (0, 0), sigma)[..., None]
        scene = scene + layer / layer.std() * 0.5
    return np.asarray(0.2 * np.exp2(scene) * tint)


WARM, COLD = world(1, (1.2, 1.0, 0.7)), world(2, (0.6, 0.9, 1.5))


def view(scene: Image, x: int = 0, stops: float = 0.0) -> Image:
    light = np.clip(scene[:, x : x + W] * 2.0**stops, 0, 1)
    return np.rint(255 * light ** (1 / 2.2)).astype(np.uint8)


def cuts(*frames: Image) -> tuple[int, ...]:
    return find_cuts(enumerate(frames, start=1001))


def test_a_hard_cut_is_found_on_its_first_frame() -> None:
    assert cuts(view(WARM), view(WARM, 2), view(COLD), view(COLD, 2), view(WARM, 300)) == (1003, 1005)


def test_a_cut_inside_one_location_is_found() -> None:
    assert cuts(view(WARM), view(WARM, 2), view(WARM, 2 * W, -0.5), view(WARM, 2 * W + 2, -0.5)) == (1003,)


def test_a_still_shot_has_none() -> None:
    rng = np.random.default_rng(0)
    noisy = [np.clip(view(WARM) + rng.normal(0, 3, (H, W, 3)), 0, 255).astype(np.uint8) for _ in range(5)]
    assert cuts(*noisy) == ()


@pytest.mark.parametrize("stops", [-2.0, 1.0, 2.0, 14.0])
def test_a_flash_is_no_cut(stops: float) -> None:
    assert cuts(view(WARM), view(WARM, 1), view(WARM, 2, stops), view(WARM, 3), view(WARM, 4)) == ()


@pytest.mark.parametrize("pixels", [10, 30, 60])
def test_a_pan_is_no_cut(pixels: int) -> None:
    assert cuts(view(WARM), view(WARM), *(view(WARM, pixels * i) for i in range(1, 6))) == ()


def test_a_fade_to_black_is_no_cut() -> None:
    assert cuts(*(view(WARM, 0, -i) for i in range(0, 16))) == ()


def test_through_black_the_cut_is_the_next_picture() -> None:
    dark = np.zeros((H, W, 3), np.uint8)
    assert cuts(view(WARM), dark, dark, view(COLD), view(COLD, 1)) == (1004,)
    assert cuts(view(WARM), dark, dark, view(WARM, 1), view(WARM, 2)) == ()


def test_sixteen_bits_see_what_eight_bits_see() -> None:
    frames = [view(WARM), view(WARM, 2), view(COLD)]
    assert cuts(*(f.astype(np.uint16) * 257 for f in frames)) == (1003,)
    ten = parse_cuts("auto", [1, 2, 3], bits=10)
    assert [ten.is_cut(i, f.astype(np.uint16) * 4) for i, f in enumerate(frames)] == [False, False, True]


def test_numbers_with_gaps_are_told_as_they_are() -> None:
    frames = [(3, view(WARM)), (7, view(WARM, 1)), (100, view(COLD))]
    assert find_cuts(frames) == (100,)


def test_named_cuts_are_kept() -> None:
    known = parse_cuts(" 1055, 1010 ", range(1001, 1101))
    assert known == KnownCuts((1010, 1055))
    assert [known.is_cut(n, view(WARM)) for n in (1009, 1010, 1055)] == [False, True, True]


def test_words() -> None:
    assert isinstance(parse_cuts("AUTO", [1]), CutDetector)
    assert parse_cuts("off", [1]) == KnownCuts()


@pytest.mark.parametrize(
    ("text", "part"), [("sometimes", "not understood"), ("", "not understood"), ("3,1200", "1200")]
)
def test_nonsense_is_a_usage_error(text: str, part: str) -> None:
    with pytest.raises(UsageError, match=part):
        parse_cuts(text, range(1, 11))
