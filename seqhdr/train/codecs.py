"""Frames through a lossy codec and back."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from seqhdr.errors import UsageError

__all__ = ["h264", "jpeg"]

# ITU-R BT.601: luma's share of red and blue.
_RED, _BLUE = 0.299, 0.114


def jpeg(codes: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Each frame through baseline JPEG with 4:2:0 chroma.

    Args:
        codes: (T, H, W, 3) RGB.
        quality: 1..100, on libjpeg's scale.

    Returns:
        (T, H, W, 3) RGB.

    Raises:
        ValueError: ``codes`` is not uint8 (T, H, W, 3).
    """
    _check(codes)
    settings = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]
    out = np.empty_like(codes)
    for frame, rgb in enumerate(codes):
        # OpenCV takes and gives BGR; luma would be weighted wrongly if that were ignored.
        data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), settings)[1]
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        if decoded is None:
            raise ValueError(f"JPEG of quality {quality}: got no picture back, expected the frame")
        out[frame] = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    return out


def h264(codes: NDArray[np.uint8], crf: int, *, cut_down: bool = False) -> NDArray[np.uint8]:
    """The frames as one H.264 stream, 8 bits, 4:2:0, limited range, and decoded again.

    One thread, so the same frames give the same bytes anywhere. Colours are converted here (BT.601, chroma in the
    middle of its four pixels, rounded to nearest), because libswscale's accurate conversions were found to depend on
    what lay in memory before. Odd sizes are made even by repeating
    the last row or column, which is cut off again.

    Args:
        codes: (T, H, W, 3) RGB.
        crf: x264's constant rate factor, 0 (nearly lossless) .. 51.
        cut_down: come back to RGB as ``ffmpeg`` does unless told otherwise: every product is cut down to a whole code
            and chroma is repeated, which darkens R, G and B by about 1, 1.5 and 1 code. Most extracted frames are so.

    Returns:
        (T, H, W, 3) RGB.

    Raises:
        UsageError: PyAV is not installed.
        ValueError: ``codes`` is not uint8 (T, H, W, 3).
    """
    _check(codes)
    try:
        import av
    except ImportError as error:
        raise UsageError("H.264 degradation needs PyAV: pip install 'seqhdr[train]'") from error
    height, width = codes.shape[1:3]
    padded = np.pad(codes, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = padded.shape[2], padded.shape[1], "yuv420p"
    encoder.time_base, encoder.thread_count = Fraction(1, 24), 1
    encoder.options = {"crf": str(crf), "preset": "veryfast"}
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets = []
    for time, rgb in enumerate(padded):
        picture = av.VideoFrame.from_ndarray(_to_yuv420(rgb), format="yuv420p")
        picture.pts = time
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    pictures = [picture.to_ndarray() for packet in (*packets, None) for picture in decoder.decode(packet)]
    if len(pictures) != len(codes):
        raise ValueError(f"H.264: got {len(pictures)} frames back, expected {len(codes)}")
    back = _from_yuv420_cut_down if cut_down else _from_yuv420
    return np.stack([back(np.asarray(yuv, np.uint8))[:height, :width] for yuv in pictures])


def _to_yuv420(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) of even sides → (H·3/2, W) planes of Y, Cb and Cr in limited range."""
    red, green, blue = np.moveaxis(rgb.astype(np.float32), -1, 0)
    luma = _RED * red + (1 - _RED - _BLUE) * green + _BLUE * blue
    chroma = ((blue - luma) / (2 - 2 * _BLUE), (red - luma) / (2 - 2 * _RED))
    height, width = luma.shape
    quarters = [c.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)) * (224 / 255) + 128 for c in chroma]
    planes = np.concatenate([luma.ravel() * (219 / 255) + 16, *(q.ravel() for q in quarters)])
    return _codes(planes).reshape(height * 3 // 2, width)


def _from_yuv420(yuv: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The way back, chroma enlarged cubically between its places."""
    width = yuv.shape[1]
    height = yuv.shape[0] * 2 // 3
    luma = (yuv[:height].astype(np.float32) - 16) * (255 / 219)
    quarters = yuv[height:].reshape(2, height // 2, width // 2).astype(np.float32)
    blueish, reddish = (
        cv2.resize((q - 128) * (255 / 224), (width, height), interpolation=cv2.INTER_CUBIC) for q in quarters
    )
    red, blue = luma + (2 - 2 * _RED) * reddish, luma + (2 - 2 * _BLUE) * blueish
    green = (luma - _RED * red - _BLUE * blue) / (1 - _RED - _BLUE)
    return _codes(np.stack((red, green, blue), axis=-1))


def _from_yuv420_cut_down(yuv: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The quick way back: a whole number from every product, and one chroma for four pixels."""
    width = yuv.shape[1]
    height = yuv.shape[0] * 2 // 3
    luma = np.floor((yuv[:height].astype(np.float32) - 16) * (255 / 219))
    quarters = (yuv[height:].reshape(2, height // 2, width // 2).astype(np.float32) - 128) * (255 / 224)
    blueish, reddish = (q.repeat(2, axis=0).repeat(2, axis=1) for q in quarters)
    to_green = [-share * (2 - 2 * share) / (1 - _RED - _BLUE) for share in (_RED, _BLUE)]
    red, blue = luma + np.floor((2 - 2 * _RED) * reddish), luma + np.floor((2 - 2 * _BLUE) * blueish)
    green = luma + np.floor(to_green[0] * reddish) + np.floor(to_green[1] * blueish)
    return _codes(np.stack((red, green, blue), axis=-1))


def _codes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(values).clip(0, 255), np.uint8)


def _check(codes: NDArray[np.uint8]) -> None:
    if codes.dtype != np.uint8 or codes.ndim != 4 or codes.shape[-1] != 3:
        raise ValueError(f"codes: got {codes.dtype} {codes.shape}, expected uint8 (T, H, W, 3)")
