"""Frames through a lossy codec and back."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from seqhdr.errors import UsageError

__all__ = ["h264", "jpeg"]

# libswscale: bicubic (4), chroma of every pixel (0x2000, 0x4000), rounding to nearest (0x40000). Its default repeats
# chroma and cuts products down, which darkens R, G and B by about 1, 1.5 and 1 code; that is no part of H.264.
_TRUE_COLOURS = 4 | 0x2000 | 0x4000 | 0x40000


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


def h264(codes: NDArray[np.uint8], crf: int) -> NDArray[np.uint8]:
    """The frames as one H.264 stream, 8 bits, 4:2:0, limited range, and decoded again.

    One thread, so the same frames give the same bytes anywhere. Odd sizes are made even by repeating the last row or
    column, which is cut off again.

    Args:
        codes: (T, H, W, 3) RGB.
        crf: x264's constant rate factor, 0 (nearly lossless) .. 51.

    Returns:
        (T, H, W, 3) RGB.

    Raises:
        UsageError: PyAV is not installed.
        ValueError: ``codes`` is not uint8 (T, H, W, 3).
    """
    _check(codes)
    try:
        import av
        from av.video.reformatter import VideoReformatter
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
    to_yuv, to_rgb, packets = VideoReformatter(), VideoReformatter(), []
    for time, rgb in enumerate(padded):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        picture = to_yuv.reformat(picture, format="yuv420p", interpolation=_TRUE_COLOURS)
        picture.pts = time
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    pictures = [picture.to_ndarray() for packet in (*packets, None) for picture in decoder.decode(packet)]
    if len(pictures) != len(codes):
        raise ValueError(f"H.264: got {len(pictures)} frames back, expected {len(codes)}")
    out = np.empty_like(codes)
    for time, yuv in enumerate(pictures):
        # A fresh frame carries no mark of where chroma sits; by the decoder's mark it would move by half a pixel.
        picture = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
        rgb = to_rgb.reformat(picture, format="rgb24", interpolation=_TRUE_COLOURS).to_ndarray()
        out[time] = rgb[:height, :width]
    return out


def _check(codes: NDArray[np.uint8]) -> None:
    if codes.dtype != np.uint8 or codes.ndim != 4 or codes.shape[-1] != 3:
        raise ValueError(f"codes: got {codes.dtype} {codes.shape}, expected uint8 (T, H, W, 3)")
