"""What a user can ask of a run, in the same words as on the command line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqhdr.errors import UnknownNameError, UsageError
from seqhdr.media.exr import COMPRESSIONS
from seqhdr.media.shot import MISSING_MODES
from seqhdr.media.timecode import parse_fps, timecode_add, timecode_pack
from seqhdr.pipeline.deflicker_options import METHODS

__all__ = ["AOVS", "BINS_MODES", "DENOISE_MODES", "GRAIN_MODES", "SMALLEST_SOFT_WIDTH_LSB", "RunOptions"]

BINS_MODES = ("auto", "strict", "soft", "off")
AOVS = ("clip", "confidence", "delta")
DENOISE_MODES = ("off", "auto")
GRAIN_MODES = ("keep", "remove", "regrow")
#: With ``--bins soft`` a source without traces of compression is treated like a good JPEG.
SMALLEST_SOFT_WIDTH_LSB = 1.5


@dataclass(frozen=True)
class RunOptions:
    """Everything that decides what a run writes.

    Attributes:
        output: folder for the EXR frames and the JSON summary; it is created.
        frames: ``1001-1100x2,1200``, or None for all.
        missing: ``error``, ``hold`` or ``split``.
        input_space: encoding of the codes, a short name or one of the OCIO config's.
        input_curve: path of a response curve that takes the place of that encoding's curve, or None.
        output_space: encoding of the EXR.
        ocio: path of an OCIO config; None takes ``$OCIO``, else the built-in ACES config.
        bins: ``auto``, ``strict``, ``soft``, ``off``, or w in codes.
        denoise: ``off``, or ``auto``: estimate the noise of the source, and decode what is below it.
        grain: with ``denoise``, ``keep`` what was there, ``remove`` it, or ``regrow`` some with the same statistics.
        deflicker: ``off``, ``gain``, ``flow`` or ``prior``, see :func:`seqhdr.deflicker`. The result stays in its bins:
            only what a bin leaves free can change: flicker of the source needs a deflicker of its own afterwards.
        model: a shipped model's name, the path of a weights file, or ``classic``, which needs none.
        flow: ``dis``, ``raft`` or ``off``.
        flow_weights: of RAFT, the path of a file or ``download``; None for the others.
        cuts: ``auto``, ``off``, or the frames that start a new shot, ``1010,1055``.
        preroll: frames before the first that are read and remembered, but not written.
        tile: ``auto``, ``off``, or the side of a tile in pixels.
        bit_depth: ``half`` or ``float``.
        compression: of the EXR.
        aov: extra layers, any of ``clip``, ``confidence``, ``delta``.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        fps: frame rate for the header, ``24``, ``23.976``, ``24000/1001``; None keeps the source's.
        timecode: of the first frame, ``HH:MM:SS:FF``; None keeps the source's.
        overwrite: replace frames that exist.
        skip_existing: keep frames that are complete and were made with the same settings.
        report: measure what was written and put a page beside it, see :func:`seqhdr.report`.
    """

    output: Path
    frames: str | None = None
    missing: str = "error"
    input_space: str = "srgb"
    input_curve: str | None = None
    output_space: str = "acescct"
    ocio: str | None = None
    bins: str = "auto"
    denoise: str = "off"
    grain: str = "keep"
    deflicker: str = "off"
    model: str = "s"
    flow: str = "dis"
    flow_weights: str | None = None
    cuts: str = "auto"
    preroll: int = 8
    tile: str = "auto"
    bit_depth: str = "half"
    compression: str = "zip"
    aov: tuple[str, ...] = ()
    device: str = "auto"
    fps: str | None = None
    timecode: str | None = None
    overwrite: bool = False
    skip_existing: bool = False
    report: bool = True

    def __post_init__(self) -> None:
        """Refuse what can be refused before a file is touched.

        Raises:
            UsageError: a value nobody knows, or two options that exclude each other.
        """
        _one_of("--missing", self.missing, MISSING_MODES)
        _one_of("--flow", self.flow, ("dis", "raft", "off"))
        if self.flow == "raft" and self.flow_weights is None:
            raise UsageError("--flow raft has no weights: add --flow-weights with a file, or with download")
        if self.flow != "raft" and self.flow_weights is not None:
            raise UsageError(f"--flow-weights is for RAFT, and --flow is {self.flow}: leave it out or add --flow raft")
        _one_of("--bit-depth", self.bit_depth, ("half", "float"))
        _one_of("--compression", self.compression, COMPRESSIONS)
        _one_of("--denoise", self.denoise, DENOISE_MODES)
        _one_of("--grain", self.grain, GRAIN_MODES)
        _one_of("--deflicker", self.deflicker, ("off", *METHODS))
        if self.grain != "keep":
            if self.denoise == "off":
                raise UsageError(
                    f"--grain {self.grain} needs to know the noise, and --denoise is off: add --denoise auto"
                )
            if self.bins == "strict":
                raise UsageError(
                    f"--bins strict holds every code, and --grain {self.grain} takes away the noise that is in them: "
                    "use --bins auto, which widens the bins by what the noise explains, or --grain keep"
                )
        for name in self.aov:
            _one_of("--aov", name, AOVS)
        if self.overwrite and self.skip_existing:
            raise UsageError("--overwrite and --skip-existing exclude each other: choose one")
        if self.preroll < 0:
            raise UsageError(f"--preroll is {self.preroll}: give 0 or more frames")
        if self.bins not in BINS_MODES:
            fixed_width(self.bins)
        if self.tile not in ("auto", "off") and not self.tile.isdigit():
            raise UsageError(f"--tile {self.tile!r} is neither auto, off, nor a number of pixels")
        rate = parse_fps(self.fps) if self.fps is not None else None
        if self.timecode is not None:
            timecode_pack(self.timecode)
            if rate is not None:
                timecode_add(self.timecode, 0, rate)
        if os.path.exists(self.output) and not os.path.isdir(self.output):
            raise UsageError(f"{self.output}: is a file, and the output must be a folder: give another -o")

    def decisive(self) -> dict[str, Any]:
        """The options that change a frame's pixels or header, for ``seqhdr:settings``."""
        keys = ("missing", "input_space", "output_space", "bins", "denoise", "grain", "flow", "cuts", "tile")
        more = ("bit_depth", "compression", "aov", "fps", "timecode", "deflicker")
        return {key: getattr(self, key) for key in (*keys, *more)}


def fixed_width(text: str) -> float:
    """Read ``--bins CODES``.

    Raises:
        UsageError: neither a mode nor a number from ½ to 16.
    """
    try:
        width = float(text)
    except ValueError:
        raise UsageError(f"--bins {text!r} is neither {', '.join(BINS_MODES)}, nor a half-width in codes") from None
    if not 0.5 <= width <= 16:
        raise UsageError(f"--bins {text}: the half-width of a bin is from 0.5 to 16 codes")
    return width


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UnknownNameError(f"value of {option}", value, known)
