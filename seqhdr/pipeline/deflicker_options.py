"""What a user can ask of a deflicker, in the same words as on the command line."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from seqhdr.errors import UnknownNameError, UsageError
from seqhdr.media.exr import COMPRESSIONS

__all__ = ["METHODS", "DeflickerOptions"]

METHODS = ("gain", "flow", "prior")


@dataclass(frozen=True)
class DeflickerOptions:
    """Everything that decides what a deflicker writes.

    Attributes:
        output: folder for the EXR frames and the JSON summary; it is created.
        method: one of :data:`METHODS`.
        frames: ``1001-1100x2,1200``, or None for all.
        input_space: encoding of the frames, which is also that of the result; None takes the header's, else
            scene-linear for EXR and sRGB for integers, as a report does.
        source: pattern of the 8- to 16-bit frames that the frames were made from; the result is held in their bins.
        source_space: encoding of the source; None takes the header's, else sRGB.
        input_curve: path of the response curve the source was read with, in place of its encoding's curve, or None.
        bins: half-width of the bins, ``strict`` or in codes; None takes the header's, else ``strict``.
        ocio: path of an OCIO config; None takes ``$OCIO``, else the built-in ACES config.
        cuts: ``auto``, ``off``, or the frames that start a new shot, ``1010,1055``.
        bit_depth: ``half`` or ``float``; None keeps that of EXR frames and takes half for integers.
        compression: of the EXR; None keeps the frames' own, zip for integers.
        prior_steps: of the network that ``prior`` fits to each stretch between cuts, at most.
        prior_seconds: that each fit takes, at most.
        overwrite: replace frames that exist.
    """

    output: Path
    method: str = "gain"
    frames: str | None = None
    input_space: str | None = None
    source: str | None = None
    source_space: str | None = None
    input_curve: str | None = None
    bins: str | None = None
    ocio: str | None = None
    cuts: str = "auto"
    bit_depth: str | None = None
    compression: str | None = None
    prior_steps: int = 300
    prior_seconds: float = 120.0
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuse what can be refused before a file is touched.

        Raises:
            UsageError: a value nobody knows, or an option that needs another one.
        """
        _one_of("--method", self.method, METHODS)
        if self.bit_depth is not None:
            _one_of("--bit-depth", self.bit_depth, ("half", "float"))
        if self.compression is not None:
            _one_of("--compression", self.compression, COMPRESSIONS)
        about_source = {"--source-space": self.source_space, "--input-curve": self.input_curve, "--bins": self.bins}
        for option, value in about_source.items():
            if value is not None and self.source is None:
                raise UsageError(f"{option} is about the source's codes: add --source, or leave it out")
        if self.prior_steps < 1 or not 0 < self.prior_seconds < math.inf:
            raise UsageError("--prior-steps and --prior-seconds must be above 0: give more, or leave them out")
        if self.output.exists() and not self.output.is_dir():
            raise UsageError(f"{self.output}: is a file, and the output must be a folder: give another -o")

    def settings(self, before: str) -> str:
        """Everything that decides the bytes of a frame, as canonical JSON.

        Args:
            before: the settings in the header of the frame that is read.
        """
        keys = ("method", "source_space", "bins", "cuts", "bit_depth", "compression", "prior_steps")
        decisive = {key: getattr(self, key) for key in keys}
        return json.dumps(
            {"deflicker": decisive | {"seqhdr": version("seqhdr"), "bounded": self.source is not None}, "of": before},
            sort_keys=True,
        )


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UnknownNameError(f"value of {option}", value, known)
