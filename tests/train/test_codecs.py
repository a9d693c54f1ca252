"""JPEG and H.264: what comes back is the picture, in its colours, in its place and in its order."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from seqhdr.errors import UsageError
from seqhdr.train import codecs as module
from seqhdr.train.codecs import h264, jpeg

Codes = NDArray[np.uint8]
FINE: tuple[Callable[[Codes], Codes], ...] = (lambda codes: jpeg(codes, 97), lambda codes: h264(codes, 10))


def soft_clip(frames: int = 4, height: int = 48, width: int = 64, seed: int = 0) -> Codes:
    noise = np.random.default_rng(seed).normal(size=(height, width, frames * 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 5).reshape(height, width, frames, 3).transpose(2, 0, 1, 3)
    return np.clip(128 + 45 * soft / soft.std(), 0, 255).astype(np.uint8)


def mean_error(a: Codes, b: Codes) -> float:
    return float(np.abs(a.astype(float) - b).mean())


@pytest.mark.parametrize("quality", [55, 75, 97])
def test_jpeg_is_what_another_library_makes_of_it(quality: int) -> None:
    codes = soft_clip(2, 41, 63)
    for frame, got in zip(codes, jpeg(codes, quality), strict=True):
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
        assert np.abs(np.asarray(Image.open(buffer)).astype(int) - got).max() <= 2


@pytest.mark.parametrize("codec", FINE)
@pytest.mark.parametrize("colour", [(200, 30, 60), (10, 220, 100), (40, 60, 230)])
def test_a_flat_colour_comes_back(codec: Callable[[Codes], Codes], colour: tuple[int, int, int]) -> None:
    codes = np.full((3, 32, 48, 3), colour, np.uint8)
    assert np.abs(codec(codes).astype(int) - colour).max() <= 5


@pytest.mark.parametrize("codec", FINE)
def test_the_way_there_and_back_is_neither_darker_nor_lighter(codec: Callable[[Codes], Codes]) -> None:
    codes = soft_clip(3)
    drift = (codec(codes).astype(float) - codes).mean(axis=(0, 1, 2))
    assert np.abs(drift).max() < 0.4


@pytest.mark.parametrize("codec", FINE)
def test_red_detail_survives_better_than_blue(codec: Callable[[Codes], Codes]) -> None:
    # Chroma is halved in size, so of a checkerboard only the luma stays: 0.299 of red, 0.114 of blue.
    checker = (np.indices((32, 32)).sum(axis=0) % 2 * 120 - 60).astype(int)
    left = []
    for channel in (0, 2):
        codes = np.full((2, 32, 32, 3), 128, np.uint8)
        codes[..., channel] = 128 + checker
        back = codec(codes)[..., channel].astype(float)
        left.append(float((back * np.sign(checker)).mean()) / 60)
    assert left[0] == pytest.approx(0.299, abs=0.06)
    assert left[1] == pytest.approx(0.114, abs=0.06)


def test_chroma_stays_where_it_was() -> None:
    # The finest compression leaves little but the halved chroma, which a soft picture does not mind.
    codes = soft_clip(3)
    assert mean_error(h264(codes, 0), codes) < 0.7
    assert mean_error(jpeg(codes, 100), codes) < 1.2


@pytest.mark.parametrize("size", [(33, 48), (32, 49), (31, 17), (64, 64)])
def test_any_size_comes_back_in_place(size: tuple[int, int]) -> None:
    codes = soft_clip(3, *size)
    for codec in FINE:
        back = codec(codes)
        assert back.shape == codes.shape
        assert back.dtype == np.uint8
        assert mean_error(back, codes) < 2
        assert mean_error(back[:, -1], codes[:, -1]) < 5
        assert mean_error(back[:, :, -1], codes[:, :, -1]) < 5


def test_frames_keep_their_order() -> None:
    # Brightness up and down: B-frames are coded out of order.
    levels = np.array((40, 90, 60, 200, 150, 220, 20, 120))
    codes = soft_clip(8) // 8 + levels[:, None, None, None].astype(np.uint8)
    for codec in FINE:
        np.testing.assert_allclose(codec(codes).mean(axis=(1, 2, 3)), codes.mean(axis=(1, 2, 3)), atol=2)


def test_stronger_compression_is_worse() -> None:
    codes = soft_clip(4)
    noisy = np.clip(codes + np.random.default_rng(1).normal(0, 6, codes.shape), 0, 255).astype(np.uint8)
    by_crf = [mean_error(h264(noisy, crf), noisy) for crf in (5, 20, 35)]
    by_quality = [mean_error(jpeg(noisy, quality), noisy) for quality in (97, 75, 40)]
    assert by_crf == sorted(by_crf)
    assert by_quality == sorted(by_quality)
    assert by_crf[0] > 0
    assert by_crf[2] > 1.5 * by_crf[0]


def test_the_same_frames_give_the_same_bytes() -> None:
    codes = soft_clip(6, seed=3)
    np.testing.assert_array_equal(h264(codes, 24), h264(codes, 24))
    np.testing.assert_array_equal(jpeg(codes, 70), jpeg(codes, 70))


def test_one_frame_is_a_clip() -> None:
    codes = soft_clip(1)
    assert mean_error(h264(codes, 10), codes) < 2


def test_without_pyav_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match=r"needs PyAV: pip install 'seqhdr\[train\]'"):
        h264(soft_clip(1), 20)


def test_what_is_no_clip_of_codes_is_refused() -> None:
    for codec in FINE:
        for wrong in (np.zeros((8, 8, 3), np.uint8), np.zeros((1, 8, 8, 4), np.uint8), np.zeros((1, 8, 8, 3))):
            with pytest.raises(ValueError, match=r"got .*expected uint8"):
                codec(wrong)  # type: ignore[arg-type]


def test_what_lay_in_memory_before_does_not_matter() -> None:
    """libswscale's accurate conversions failed this about once in twenty to fifty times."""
    rng = np.random.default_rng(1)
    codes = (np.cumsum(rng.normal(0, 3, (2, 32, 32, 3)), axis=2) + 120).clip(0, 255).astype(np.uint8)
    first, litter = h264(codes, 23), []
    for _ in range(200):
        litter.append([np.full(rng.integers(1, 200_000), rng.integers(255), np.uint8) for _ in range(2)])
        if len(litter) > 10:
            litter.pop(int(rng.integers(len(litter))))
        np.testing.assert_array_equal(h264(codes, 23), first)


def test_the_quick_way_back_is_ffmpeg_s() -> None:
    rng = np.random.default_rng(2)
    noise = cv2.GaussianBlur(rng.uniform(0, 255, (96, 128, 3)).astype(np.float32), (0, 0), 8)
    yuv = module._to_yuv420(((noise - noise.mean()) * 12 + 128).clip(0, 255).astype(np.uint8))
    theirs = av.VideoFrame.from_ndarray(yuv, format="yuv420p").to_ndarray(format="rgb24")
    np.testing.assert_array_equal(module._from_yuv420_cut_down(yuv), theirs)


def test_cut_down_frames_are_darker_by_a_code_or_so() -> None:
    codes = np.full((2, 32, 32, 3), (140, 120, 90), np.uint8)
    codes[..., 0] += np.arange(32, dtype=np.uint8)
    nearest, cut = (h264(codes, 0, cut_down=flag).astype(int) for flag in (False, True))
    assert abs(nearest - codes).mean() < 0.5
    np.testing.assert_allclose((cut - nearest).mean(axis=(0, 1, 2)), (-1, -1.5, -1), atol=0.35)
