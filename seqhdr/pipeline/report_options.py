"""What a user can ask of a report, in the same words as on the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from seqhdr.errors import UsageError
from seqhdr.media.timecode import parse_fps

__all__ = ["Limits", "ReportOptions"]


@dataclass(frozen=True)
class Limits:
    """What a frame may have at most, or at least. None: not asked for.

    Attributes:
        max_flicker: stops of flicker, over the source's (without a source over the truth's, without both at all).
        max_jitter: stops of exposure jitter, likewise.
        min_inside: percent of the unclipped channels that lie in their bins, up to the container's rounding.
    """

    max_flicker: float | None = None
    max_jitter: float | None = None
    min_inside: float | None = None

    def __post_init__(self) -> None:
        """Refuse limits that no number can meet or miss.

        Raises:
            UsageError: below 0, or beyond 100 percent.
        """
        for option, value, most in (
            ("--max-flicker", self.max_flicker, math.inf),
            ("--max-jitter", self.max_jitter, math.inf),
            ("--min-inside", self.min_inside, 100.0),
        ):
            if value is not None and not (0 <= value <= most and math.isfinite(value)):
                allowed = "from 0 to 100 percent" if most == 100 else "0 stops or more"
                raise UsageError(f"{option} {value:g}: give {allowed}")


@dataclass(frozen=True)
class ReportOptions:
    """Everything that decides what a report measures and where it goes.

    Attributes:
        output: folder for page and JSON; None for the folder of the frames.
        frames: ``1001-1100x2,1200``, or None for all.
        input_space, output_space, truth_space: encodings of source, result and truth; None takes the header's, else
            sRGB for integers and scene-linear for EXR.
        input_curve: path of the response curve the source was read with, in place of its encoding's curve, or None.
        ocio: path of an OCIO config; None takes ``$OCIO``, else the built-in ACES config.
        bins: half-width to audit, ``strict`` or in codes; None takes the header's, else ``strict``.
        cuts: ``auto``, ``off``, or the frames that start a new shot, ``1010,1055``.
        stride: ``auto``, or N to measure flicker and bins at every N-th pixel of both directions.
        lpips_backbone: file with VGG16's features, or ``torchvision``; None measures no LPIPS.
        metrics: measure HDR-FLIP and ColorVideoVDP against the truth; needs the extra ``metrics``.
        fps: frame rate that ColorVideoVDP assumes; None takes the header's, else 24.
        limits: what turns the report into a gate.
    """

    output: Path | None = None
    frames: str | None = None
    input_space: str | None = None
    input_curve: str | None = None
    output_space: str | None = None
    truth_space: str | None = None
    ocio: str | None = None
    bins: str | None = None
    cuts: str = "auto"
    stride: str = "auto"
    lpips_backbone: str | None = None
    metrics: bool = False
    fps: str | None = None
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        """Refuse what can be refused before a file is touched.

        Raises:
            UsageError: a value nobody knows.
        """
        if self.stride != "auto" and not (self.stride.isdecimal() and int(self.stride) > 0):
            raise UsageError(f"--stride {self.stride!r} is neither auto nor a number of pixels")
        if self.fps is not None:
            parse_fps(self.fps)
        if self.output is not None and self.output.exists() and not self.output.is_dir():
            raise UsageError(f"{self.output}: is a file, and reports go into a folder: give another -o")
