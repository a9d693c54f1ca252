"""The rounding of a decoder, undone: against the arithmetic of every decoder, colour by colour."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest

from seqhdr.media.unround import unrounding
from seqhdr.media.ycbcr import FULL_BT601, LATTICES, LIMITED_BT601_CUT_DOWN, Lattice

# A table takes a second; these four have every matrix, range and rounding.
SOME = [lattice for lattice in LATTICES if lattice.name in ("full-range BT.601", "limited BT.709, cut down")]


def decoded(lattice: Lattice, y: int, cb: int, cr: int) -> tuple[list[int], list[float]]:
    """One colour through a decoder, by ITU-R BT.601 / BT.709 in plain Python: what it writes, and what it had."""
    kr, kb = lattice.kr, lattice.kb
    kg = 1 - kr - kb
    luma, chroma = (255 / 219, 255 / 224) if lattice.limited else (1.0, 1.0)
    parts = [
        [luma * y, 2 * (1 - kr) * chroma * cr],
        [luma * y, -2 * (1 - kb) * kb / kg * chroma * cb, -2 * (1 - kr) * kr / kg * chroma * cr],
        [luma * y, 2 * (1 - kb) * chroma * cb],
    ]
    exact = [sum(part) for part in parts]
    if lattice.rounding == "floor":
        return [sum(math.floor(term) for term in part) for part in parts], exact
    return [math.floor(value + 0.5) for value in exact], exact


@pytest.fixture(params=SOME, ids=lambda lattice: lattice.name)
def lattice(request: Any) -> Lattice:
    chosen: Lattice = request.param
    return chosen


def test_what_the_rounding_took_comes_back(lattice: Lattice) -> None:
    rng = np.random.default_rng(5)
    codes, exact = [], []
    while len(codes) < 2000:
        y, cb, cr = (int(v) for v in rng.integers((0, -70, -70), (219, 70, 70)))
        written, had = decoded(lattice, y, cb, cr)
        if min(written) > 0 and max(written) < 255:
            codes.append(written)
            exact.append(had)
    lift = unrounding(lattice).lift_lsb(np.array(codes, np.uint8)[None])
    assert lift.shape == (1, 2000, 3)
    off = np.abs(np.array(codes) + lift[0] - np.array(exact)).max(axis=1)
    # Two YCbCr that give one RGB are rare: there either of them may come back. A fortieth of a code is kept.
    assert (off < 0.5 / 40 + 1e-3).mean() > 0.999


def test_colours_that_no_decoder_makes_get_the_mean(lattice: Lattice) -> None:
    rng = np.random.default_rng(6)
    colours = rng.integers(60, 200, (4000, 3))
    table = unrounding(lattice)
    lift = table.lift_lsb(colours.astype(np.uint8))
    # Of random colours the decoder reaches a sixth to a quarter; the others have the mean.
    strangers = (np.abs(lift - np.array(lattice.mean_lift_lsb)) < 1e-6).all(axis=1).mean()
    assert 0.6 < strangers < 0.9


def test_what_was_cut_off_stays(lattice: Lattice) -> None:
    codes = np.array([[0, 128, 255], [0, 0, 0], [255, 255, 255]], np.uint8)
    lift = unrounding(lattice).lift_lsb(codes)
    assert (lift[(codes == 0) | (codes == 255)] == 0).all()


def test_a_real_jpeg_loses_a_third_of_a_code_less() -> None:
    """Through libjpeg at its best quality, which leaves rounding as the larger part of the error."""
    y, x = np.mgrid[:96, :128] / 24
    smooth = np.stack([120 + 40 * np.sin(x), 110 + 30 * np.cos(y), 130 + 25 * np.sin(x + y)], axis=-1)
    options = [cv2.IMWRITE_JPEG_QUALITY, 100]
    back = cv2.imdecode(cv2.imencode(".jpg", np.rint(smooth).astype(np.uint8)[..., ::-1], options)[1], 1)[..., ::-1]
    before = np.square(back - smooth).mean()
    after = np.square(back + unrounding(FULL_BT601).lift_lsb(np.ascontiguousarray(back)) - smooth).mean()
    assert after < 0.9 * before


@pytest.mark.parametrize("w", [1.0, 2.4, 4.0])
def test_the_closed_lift_opens_no_bin_and_is_the_lift_below_the_top(lattice: Lattice, w: float) -> None:
    ramp = np.arange(256)
    rng = np.random.default_rng(8)
    codes = np.concatenate([rng.integers(0, 256, (4000, 3)), np.stack([ramp, ramp, ramp], axis=-1)]).astype(np.uint8)
    codes = codes.reshape(7, -1, 3)
    lift, closed = unrounding(lattice).lift_lsb(codes), unrounding(lattice).closed_lift_lsb(codes, w)
    assert closed.dtype == np.float32
    assert closed.shape == codes.shape
    was_open, is_open = codes + w >= 255, codes + closed + w >= 255
    np.testing.assert_array_equal(is_open, was_open)
    assert not closed[was_open].any()
    # The largest lift of all is three codes.
    away = codes + w < 255 - 3.1
    assert away.mean() > 0.8
    np.testing.assert_array_equal(closed[away], lift[away])
    # It is held back as little as that takes, and below open bins not at all where it darkens.
    assert ((closed <= lift) & (closed >= np.minimum(lift, 0)))[~was_open].all()
    held = closed < lift
    assert held.any()
    assert (is_open | (codes + closed + w > 254.98))[held].all()


def test_decoders_that_have_a_name_are_what_it_says_and_are_looked_for() -> None:
    assert FULL_BT601[1:] == (0.299, 0.114, False, "near")
    assert LIMITED_BT601_CUT_DOWN[1:] == (0.299, 0.114, True, "floor")
    assert {FULL_BT601, LIMITED_BT601_CUT_DOWN} < set(LATTICES)


def test_the_table_of_a_decoder_is_made_once() -> None:
    assert unrounding(SOME[0]) is unrounding(SOME[0])


def test_what_is_clipped_stays_clipped() -> None:
    """JPEG's rounding went up for half of the codes; undone, some in open bins would fall out of them."""
    codes = np.random.default_rng(2).integers(245, 256, (20_000, 3), dtype=np.uint8)
    table = unrounding(FULL_BT601)
    clipped = codes + np.float32(2) >= 255
    assert (table.lift_lsb(codes)[clipped] < 0).any()
    after = codes + table.closed_lift_lsb(codes, 2.0)
    assert ((after + np.float32(2) >= 255) == clipped).all()
