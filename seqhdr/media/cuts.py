"""Where a new shot starts inside a sequence, told frame by frame with no look-ahead and constant memory.

PySceneDetect's ContentDetector (mean change of hue, saturation and value between neighbours) proposes. What
it proposes is a cut only if the picture cannot be found again in the one before: a flash, a flickering lamp
or a whip pan changes every pixel and yet shows the same things, brighter or shifted, and there the memory of
the last frames is still worth having. Frames that are almost entirely black or white say nothing and are
waited out: the first one with a picture in it is compared with the last one before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
from scenedetect import FrameTimecode
from scenedetect.detectors import ContentDetector

from seqhdr.errors import UsageError

__all__ = ["CutDetector", "Cuts", "KnownCuts", "find_cuts", "parse_cuts"]

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

_PROXY_WIDTH = 96
# ContentDetector's own default, 27, stays clear of pans and misses cuts between alike pictures. Here it may
# propose too much: what only moves or flickers is refuted afterwards.
_CONTENT_THRESHOLD = 12.0
_SAME_PICTURE = 0.65
_BLANK_SHARE = 0.95


class Cuts(Protocol):
    """Says which frames start a new shot; asked once per frame, in order."""

    def is_cut(self, frame_number: int, codes: Codes) -> bool:
        """Whether this frame starts a new shot; ``codes`` (H, W, 3) of any integer depth."""
        ...


@dataclass(frozen=True)
class KnownCuts:
    """Cuts named by the user: the numbers of the frames that start a new shot (none: one shot)."""

    numbers: tuple[int, ...] = ()

    def is_cut(self, frame_number: int, codes: Codes) -> bool:
        """Whether the frame is among the named ones; its pixels are not looked at."""
        return frame_number in self.numbers


class CutDetector:
    """Finds cuts while the frames pass by: call :meth:`is_cut` once per frame, in order.

    Hard cuts are found on their first frame. Dissolves are not cuts: no single frame starts the new shot.
    """

    def __init__(self, *, threshold: float = _CONTENT_THRESHOLD, bits: int = 16) -> None:
        """Start before the first frame.

        Args:
            threshold: the change ContentDetector must see (mean of the changes of H, S and V, 0 .. 255).
            bits: bits per channel of uint16 frames; uint8 frames have 8.
        """
        self._detector: Any = ContentDetector(threshold=threshold, min_scene_len=0)
        self._bits = bits
        self._count = 0
        self._last: npt.NDArray[np.float32] | None = None
        self._was_blank = False

    def is_cut(self, frame_number: int, codes: Codes) -> bool:
        """Whether this frame starts a new shot.

        Args:
            frame_number: its number in the sequence; gaps are allowed and do not count as cuts.
            codes: (H, W, 3), uint8 or uint16, R'G'B'. It is reduced to 96 pixels in width first.

        Returns:
            False for the first frame.
        """
        proxy = _proxy(codes, 8 if codes.dtype == np.uint8 else self._bits)
        # The detector wants consecutive numbers; those of a shot may step or have gaps.
        proposed = bool(self._detector.process_frame(FrameTimecode(self._count, 24.0), proxy))
        self._count += 1
        if _is_blank(proxy):
            self._was_blank = True
            return False
        picture = _structure(proxy)
        last, self._last = self._last, picture
        asked = proposed or self._was_blank
        self._was_blank = False
        return asked and last is not None and (last.shape != picture.shape or not _same(last, picture))


def find_cuts(frames: Iterable[tuple[int, Codes]]) -> tuple[int, ...]:
    """The numbers of the frames that start a new shot, the very first frame left out.

    Args:
        frames: pairs of frame number and codes (H, W, 3), uint8 or uint16 over the full 16-bit range, in
            order; thumbnails will do. They are consumed one at a time.
    """
    detector = CutDetector()
    return tuple(number for number, codes in frames if detector.is_cut(number, codes))


def parse_cuts(text: str, frames: Sequence[int], *, bits: int = 8) -> Cuts:
    """Turn the value of ``--cuts`` into something that answers :meth:`Cuts.is_cut`.

    Args:
        text: ``auto`` (detect), ``off`` (one shot), or frame numbers that start a shot: ``1010,1055``.
        frames: the frame numbers of the sequence.
        bits: bits per channel of the frames.

    Raises:
        UsageError: neither of these, or a number outside the sequence.
    """
    word = text.strip().lower()
    if word == "auto":
        return CutDetector(bits=bits)
    if word == "off":
        return KnownCuts()
    parts = [part.strip() for part in word.split(",")]
    try:
        numbers = sorted({int(part) for part in parts if part})
    except ValueError:
        numbers = []
    if not numbers:
        raise UsageError(f"--cuts {text!r} is not understood: give auto, off, or frame numbers like 1010,1055.")
    strangers = sorted(set(numbers) - set(frames))
    if strangers:
        listed = ", ".join(str(n) for n in strangers)
        span = f"{min(frames)}-{max(frames)}" if frames else "none"
        raise UsageError(f"--cuts names frames that are not in the sequence: {listed} (its frames: {span}).")
    return KnownCuts(tuple(numbers))


def _proxy(codes: Codes, bits: int) -> npt.NDArray[np.uint8]:
    """A small 8-bit B'G'R' picture of the frame."""
    height, width = codes.shape[:2]
    scale = min(1.0, _PROXY_WIDTH / width)
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(codes, size, interpolation=cv2.INTER_AREA)
    if bits != 8:
        small = np.rint(small.astype(np.float32) * (255.0 / (2**bits - 1))).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(small[..., ::-1]).astype(np.uint8)


def _is_blank(proxy: npt.NDArray[np.uint8]) -> bool:
    luma = proxy.mean(axis=2)
    return bool(max((luma < 10).mean(), (luma > 245).mean()) >= _BLANK_SHARE)


def _structure(proxy: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Luma without its broad gradients, which resemble each other in all pictures with a sky."""
    # The square root keeps a few bright spots from outweighing the rest of the picture.
    luma = np.sqrt(proxy.astype(np.float32).mean(axis=2))
    return np.asarray(luma - cv2.GaussianBlur(luma, (0, 0), 8.0), np.float32)


def _same(last: npt.NDArray[np.float32], now: npt.NDArray[np.float32]) -> bool:
    """Whether a good part of the last picture is found in this one, shifted and at any exposure."""
    height, width = last.shape
    h, w = height * 2 // 3, width // 2
    # Windows at the borders follow what a pan moves through the frame, up to half of its width.
    for top, left in (
        (0, 0),
        (0, width - w),
        (height - h, 0),
        (height - h, width - w),
        (height // 6, width // 4),
    ):
        window = last[top : top + h, left : left + w]
        # Normalised cross-correlation: exposure and contrast cancel.
        if window.std() > 0.02 and cv2.matchTemplate(now, window, cv2.TM_CCOEFF_NORMED).max() >= _SAME_PICTURE:
            return True
    return False
