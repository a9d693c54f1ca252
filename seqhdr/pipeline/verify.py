"""Audit written frames against their source: does every channel lie in the bin of its code?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from seqhdr.color.bins import BinAudit, audit, merge
from seqhdr.color.encodings import ColorEncoding, get_encoding
from seqhdr.errors import FrameError, ShotError, UsageError
from seqhdr.media.exr import ExrInfo, read_exr
from seqhdr.media.frames import read_frame
from seqhdr.media.ranges import compact
from seqhdr.media.shot import EXR_EXTENSIONS, Shot, find_shot
from seqhdr.pipeline.input_curve import check_header_curve, load_input_curve

__all__ = ["VerifyReport", "asked_half_width", "outside", "verify_shot"]


@dataclass(frozen=True)
class VerifyReport:
    """The audit of a shot.

    Attributes:
        output, source: the patterns compared.
        frames: one audit per frame number.
        total: all frames together.
        bins: the mode the files claim, or ``given``.
        half_width_lsb: the w that was audited; infinite where the files claim none.
        storage: ``half``, ``float``, or ``float24`` (float as PXR24 stores it).
    """

    output: str
    source: str
    frames: dict[int, BinAudit]
    total: BinAudit
    bins: str
    half_width_lsb: float
    storage: str

    @property
    def kept(self) -> bool:
        """Whether every channel is where its file can hold it: in its bin, up to the container's rounding.

        In a float file that rounding is some millionths of a code, so that this is as good as exact; only where a
        matrix mixes a very bright channel into a very dark one does float32 lack the digits.
        """
        return self.total.kept

    @property
    def worst_frame(self) -> int:
        """The frame with the most channels beyond their bins, or with the largest deviation from its codes."""

        def badness(number: int) -> tuple[int, float, float]:
            one = self.frames[number]
            return outside(one), -one.exact_share, abs(one.worst_lsb)

        return max(self.frames, key=badness)


def asked_half_width(given: str) -> float:
    """Read ``--bins`` of an audit: ``strict``, or w in codes.

    Raises:
        UsageError: neither.
    """
    try:
        asked = 0.5 if given == "strict" else float(given)
    except ValueError:
        asked = math.nan
    if not 0.5 <= asked < math.inf:
        raise UsageError(f"--bins {given!r}: give strict, or a half-width of 0.5 codes or more")
    return asked


def outside(audited: BinAudit) -> int:
    """How many channels, clipped or not, no rounding of the container excuses."""
    return audited.unclipped - audited.container + audited.clipped - audited.clipped_container


def verify_shot(
    output: str,
    source: str,
    *,
    frames: str | None = None,
    input_space: str | None = None,
    input_curve: str | None = None,
    output_space: str | None = None,
    bins: str | None = None,
    ocio: str | None = None,
    on_frame: Callable[[int, int], None] = lambda done, of: None,
) -> VerifyReport:
    """Audit a shot from its files alone.

    Args:
        output: pattern of the written EXR frames.
        source: pattern of the 8- to 16-bit source.
        frames: which frames; None for all that were written.
        input_space, output_space: encodings; None reads them from the files' headers.
        input_curve: path of the response curve they were made with, where their headers name one.
        bins: w in codes, or ``strict``; None reads it from the headers.
        ocio: path of an OCIO config.
        on_frame: told how many frames are done, of how many.

    Raises:
        ShotError, FrameError: files missing, unreadable, or of another size than their source.
        UsageError: neither the header nor the arguments say what the file holds, or they name another curve.
    """
    written = find_shot(output, frames=frames, extensions=EXR_EXTENSIONS, missing="split")
    origin = find_shot(source, missing="split")
    curve = load_input_curve(input_curve)
    audits: dict[int, BinAudit] = {}
    claim: tuple[str, float, str] | None = None
    for done, frame in enumerate(written.frames):
        channels, info = read_exr(written.path(frame))
        mode, width = _claimed_bins(bins, info, str(written.path(frame)))
        storage = _storage(info)
        if claim is not None and claim != (mode, width, storage):
            raise ShotError(
                f"{written.path(frame)}: was made with other settings than the frames before it "
                f"({mode}, w = {width:g}, {storage}): verify such frames apart with --frames"
            )
        claim = (mode, width, storage)
        check_header_curve(info.attributes, curve, written.path(frame))
        space = get_encoding(input_space or _header(info, "seqhdr:input_space", "--input-space", written, frame), ocio)
        into = output_space or _header(info, "seqhdr:output_space", "--output-space", written, frame)
        audits[frame] = _audit_frame(
            frame,
            channels,
            info,
            written,
            origin,
            half_width=width,
            storage=storage,
            spaces=(space if curve is None else curve.on(space), get_encoding(into, ocio)),
        )
        on_frame(done + 1, len(written.frames))
    if claim is None:
        raise ShotError(f"{output}: there are no frames to verify: check --frames")
    mode, width, storage = claim
    return VerifyReport(output, source, audits, merge(audits.values()), mode, width, storage)


def _audit_frame(
    frame: int,
    channels: dict[str, Any],
    info: ExrInfo,
    written: Shot,
    origin: Shot,
    *,
    half_width: float,
    storage: str,
    spaces: tuple[ColorEncoding, ColorEncoding],
) -> BinAudit:
    path = written.path(frame)
    missing = [name for name in "RGB" if name not in channels]
    if missing:
        raise FrameError(f"{path}: has no channel {missing[0]}; give EXR frames with R, G and B")
    # A held frame was made from the one before the gap, and its header says from which.
    number = int(info.attributes.get("seqhdr:source_frame", frame))
    if number not in origin.available:
        raise ShotError(
            f"{origin.pattern}: has no frame {number}, on disk are {compact(origin.available)}: "
            f"check --source, or leave frame {frame} out with --frames"
        )
    original = read_frame(origin.path(number))
    if original.codes.shape[:2] != (info.height, info.width):
        raise FrameError(
            f"{path}: is {info.width}x{info.height}, its source is "
            f"{original.codes.shape[1]}x{original.codes.shape[0]}: check --source"
        )
    values = torch.from_numpy(np.stack([np.asarray(channels[name], np.float32) for name in "RGB"]))
    codes = torch.from_numpy(original.codes.astype(np.float32)).permute(2, 0, 1).contiguous()
    return audit(
        values,
        codes,
        half_width,
        2**original.bits - 1,
        *spaces,
        storage == "half",
        float24=storage == "float24",
        frame=frame,
    )


def _storage(info: ExrInfo) -> str:
    stored = {kind for name, kind in zip(info.channels, info.formats, strict=True) if name in ("R", "G", "B")}
    if stored == {"half"}:
        return "half"
    return "float24" if info.compression == "pxr24" else "float"


def _claimed_bins(given: str | None, info: ExrInfo, path: str) -> tuple[str, float]:
    if given is not None:
        return "given", asked_half_width(given)
    mode, width = info.attributes.get("seqhdr:bins"), info.attributes.get("seqhdr:half_width")
    if mode is None or width is None:
        raise UsageError(f"{path}: its header makes no promise; say which one to audit with --bins strict")
    return str(mode), float(width) if float(width) >= 0 else math.inf


def _header(info: ExrInfo, key: str, option: str, written: Shot, frame: int) -> str:
    value = info.attributes.get(key)
    if value is None:
        raise UsageError(f"{written.path(frame)}: its header has no {key}; name it with {option}")
    return str(value)
