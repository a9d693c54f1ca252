"""Packing for the picture viewer: a second reader gets every bit back, and what does not fit is refused."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seqhdr.quality.viewer import IDENTITY, CodePicture, Crop, HalfPicture, pack_viewer

H, W = 6, 9
LIGHT = (np.arange(256, dtype=np.float32) / 255) ** np.float32(2.2)


def halves(seed: int = 0) -> np.ndarray[Any, np.dtype[np.float16]]:
    return np.random.default_rng(seed).normal(0.3, 0.5, (H, W, 3)).astype(np.float16)


def codes(kind: type = np.uint8) -> np.ndarray[Any, np.dtype[Any]]:
    return np.random.default_rng(1).integers(0, np.iinfo(kind).max + 1, (H, W, 3)).astype(kind)


def crop(*pictures: HalfPicture | CodePicture, x: int = 0, y: int = 0) -> Crop:
    return Crop(frame=1012, why="flicker", x=x, y=y, pictures=pictures)


def words(text: str, size: int) -> list[int]:
    """The planes of bytes put together again, one number after the other."""
    data = zlib.decompress(base64.b64decode(text, validate=True))
    count = len(data) // size
    return [sum(data[byte * count + i] << (8 * byte) for byte in range(size)) for i in range(count)]


def unpacked(text: str, height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """A naive reader: one number after the other."""
    folded = iter(words(text, 2))
    planes = np.zeros((3, height, width), dtype=np.int64)
    for plane in range(3):
        for y in range(height):
            before = 0
            for x in range(width):
                number = next(folded)
                before += number // 2 if number % 2 == 0 else -(number + 1) // 2
                planes[plane, y, x] = before
    assert next(folded, None) is None
    green = planes[0]
    return (np.stack([planes[1] + green, green, planes[2] + green], axis=-1) % 65536).astype(np.uint16)


def unpacked_curve(text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.cumsum(np.array(words(text, 4), dtype=np.uint32), dtype=np.uint32).view(np.float32)


def only_picture(picture: HalfPicture | CodePicture) -> dict[str, Any]:
    packed = pack_viewer([crop(picture)], width=W, height=H)
    found: dict[str, Any] = json.loads(json.dumps(packed))["crops"][0]["pictures"][0]
    return found


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.uint16, (H, W, 3), elements=st.integers(0, 65535)))
def test_every_bit_of_a_half_comes_back(bits: np.ndarray[Any, np.dtype[np.uint16]]) -> None:
    packed = only_picture(HalfPicture("result", bits.view(np.float16)))
    assert packed["kind"] == "half"
    assert np.array_equal(unpacked(packed["planes"], H, W), bits)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_every_code_comes_back(kind: type) -> None:
    given_codes = codes(kind)
    light = np.arange(65536, dtype=np.float32)
    packed = only_picture(CodePicture("source", given_codes, light))
    assert packed["kind"] == "codes"
    assert np.array_equal(unpacked(packed["planes"], H, W), given_codes)


def test_pixels_may_lie_in_memory_as_they_like() -> None:
    turned = np.ascontiguousarray(halves().transpose(2, 1, 0)).transpose(2, 1, 0)
    cut_out = np.concatenate([codes()] * 2, axis=1)[:, W // 2 : W // 2 + W]
    before = turned.copy(), cut_out.copy()
    packed = pack_viewer([crop(HalfPicture("a", turned), CodePicture("b", cut_out, LIGHT))], width=W, height=H)
    a, b = packed["crops"][0]["pictures"]
    assert np.array_equal(unpacked(a["planes"], H, W).view(np.float16), turned)
    assert np.array_equal(unpacked(b["planes"], H, W), cut_out)
    assert np.array_equal(before[0], turned)
    assert np.array_equal(before[1], cut_out)


def test_every_curve_comes_back_and_is_stored_once() -> None:
    log = np.concatenate([[-np.inf, -0.0], np.linspace(-0.02, 60, 1022) ** 3]).astype(np.float32)
    first = crop(CodePicture("source", codes(), LIGHT), CodePicture("identity", codes(), log))
    second = crop(CodePicture("identity", codes(), log), CodePicture("truth", codes(), LIGHT.copy()))
    packed = pack_viewer([first, second], width=W, height=H)
    used = [[picture["curve"] for picture in one["pictures"]] for one in packed["crops"]]
    assert used == [[0, 1], [1, 0]]
    assert len(packed["curves"]) == 2
    for text, light in zip(packed["curves"], (LIGHT, log), strict=True):
        assert np.array_equal(unpacked_curve(text).view(np.uint32), light.view(np.uint32))


def test_places_sizes_and_names_are_told() -> None:
    matrix = ((1.5, -0.25, -0.25), (0.0, 1.0, 0.0), (0.0, 0.125, 0.875))
    pictures = CodePicture("<b>", codes(), LIGHT, matrix), CodePicture("same", codes(), LIGHT)
    packed = json.loads(json.dumps(pack_viewer([crop(*pictures, x=3, y=2)], width=W + 3, height=H + 2)))
    one = packed["crops"][0]
    assert (packed["width"], packed["height"]) == (W + 3, H + 2)
    assert {key: one[key] for key in ("frame", "why", "x", "y", "width", "height")} == {
        "frame": 1012, "why": "flicker", "x": 3, "y": 2, "width": W, "height": H,
    }  # fmt: skip
    assert [picture["name"] for picture in one["pictures"]] == ["<b>", "same"]
    assert one["pictures"][0]["to_rec709"] == [list(row) for row in matrix]
    assert one["pictures"][1]["to_rec709"] == [list(row) for row in IDENTITY] == np.eye(3).tolist()


def test_no_crops_are_no_error() -> None:
    assert pack_viewer([], width=W, height=H) == {"width": W, "height": H, "crops": [], "curves": []}


def test_a_crop_of_film_stays_small() -> None:
    # Like the harder half of real frames: texture and grain of 4 codes, and offsets in their bins that vary smoothly.
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:216, :384]
    grey = 90 + 40 * np.sin(x / 9) * np.cos(y / 7) + rng.normal(0, 4, x.shape)
    tint = np.stack([1.05 * grey + 3, grey, 0.9 * grey + 9], axis=-1) + rng.normal(0, 0.5, (216, 384, 3))
    film = np.rint(tint).clip(0, 255).astype(np.uint8)
    offset_lsb = 0.4 * np.sin(x / 5 + y / 11)[..., None]
    light = (((film + offset_lsb) / 255) ** 2.2).astype(np.float16)
    one = Crop(1, "flicker", 0, 0, (CodePicture("source", film, LIGHT), HalfPicture("result", light)))
    assert len(json.dumps(pack_viewer([one], width=384, height=216))) < 700_000


def test_smooth_pictures_take_next_to_nothing() -> None:
    ramp = np.broadcast_to(np.linspace(0.2, 0.3, 384)[None, :, None], (216, 384, 3)).astype(np.float16)
    packed = pack_viewer([crop(HalfPicture("ramp", ramp))], width=384, height=216)
    assert len(packed["crops"][0]["pictures"][0]["planes"]) < 1500


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ((), "expected one at least"),
        ((HalfPicture("a", halves()), HalfPicture("a", halves())), "names differ"),
        ((HalfPicture("a", halves()), HalfPicture("b", halves()[:-1])), "expected one shape"),
        ((HalfPicture("a", halves()[..., :2]),), "expected one shape"),
        ((HalfPicture("a", halves()[..., 0]),), "expected one shape"),
        ((HalfPicture("a", halves()[:0]),), "expected one shape"),
        ((HalfPicture("a", halves().astype(np.float32)),), "expected float16"),
        ((CodePicture("a", codes().astype(np.int32), LIGHT),), "expected uint8 or uint16"),
        ((CodePicture("a", codes(np.uint16), LIGHT),), "more than 6[0-9]+ levels"),
        ((CodePicture("a", np.full((H, W, 3), 255, np.uint8), LIGHT[:255]),), "more than 255 levels"),
        ((CodePicture("a", codes(), LIGHT.astype(np.float64)),), "expected float32"),
        ((CodePicture("a", codes(), LIGHT.reshape(1, -1)),), "expected float32"),
    ],
)
def test_other_pictures_are_refused(pictures: tuple[HalfPicture | CodePicture, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack_viewer([crop(*pictures)], width=W, height=H)


@pytest.mark.parametrize(("x", "y"), [(-1, 0), (0, -1), (2, 0), (0, 2)])
def test_a_crop_outside_the_frame_is_refused(x: int, y: int) -> None:
    inside = crop(HalfPicture("a", halves()), x=1, y=1)
    pack_viewer([inside], width=W + 1, height=H + 1)
    with pytest.raises(ValueError, match=f"a crop of {W}x{H} at {x}, {y}: expected it inside {W + 1}x{H + 1}"):
        pack_viewer([replace(inside, x=x, y=y)], width=W + 1, height=H + 1)


def test_packing_needs_no_torch() -> None:
    command = "import sys, seqhdr.quality.viewer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
