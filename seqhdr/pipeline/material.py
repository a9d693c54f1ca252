"""What a report measures, and against what: the sequences of one shot, and the frames that belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.encodings import convert_linear, get_encoding
from seqhdr.errors import FrameError
from seqhdr.pipeline.footage import Footage, StoredFrame, partner
from seqhdr.quality.lattice import Lattice
from seqhdr.quality.perceptual import PerceptualDistance

__all__ = ["Frames", "Material", "read_frames", "rec709_light"]

#: By sequence: ``result``, ``source``, ``truth``.
Frames = dict[str, StoredFrame]


@dataclass(frozen=True)
class Material:
    """What is measured, and against what.

    Attributes:
        result: the sequence under test.
        source: the codes it was made from, or None.
        truth: what it should be, or None.
        half_width_lsb: w of the source's bins; infinite where nothing is claimed.
        cuts: ``auto``, ``off`` or frame numbers.
        lattice: where flicker and bins are measured.
        lpips: for tLP and LPIPS, or None.
        extra: HDR-FLIP and ColorVideoVDP too.
        frames_per_second: for ColorVideoVDP.
    """

    result: Footage
    source: Footage | None
    truth: Footage | None
    half_width_lsb: float
    cuts: str
    lattice: Lattice
    lpips: PerceptualDistance | None = None
    extra: bool = False
    frames_per_second: float = 24.0

    @property
    def against(self) -> str | None:
        """The sequence whose flicker is subtracted."""
        return "source" if self.source else "truth" if self.truth else None

    @property
    def common(self) -> Footage:
        """The sequence in whose primaries all are compared."""
        return self.source or self.result

    @property
    def sequences(self) -> dict[str, Footage]:
        """By name."""
        every = {"result": self.result, "source": self.source, "truth": self.truth}
        return {name: footage for name, footage in every.items() if footage is not None}


def read_frames(material: Material, number: int) -> Frames:
    """The frames of all sequences that belong to one number of the result.

    Raises:
        FrameError: one is missing, damaged, or of another size than the result's.
        ShotError: the source or the truth has no such frame.
    """
    frames = {"result": material.result.read(number)}
    shape = frames["result"].pixels.shape
    for name, footage in material.sequences.items():
        if name == "result":
            continue
        frames[name] = footage.read(partner(footage, number, frames["result"], f"--{name}"))
        other = frames[name].pixels.shape
        if other != shape:
            raise FrameError(
                f"{frames['result'].path}: is {shape[1]}x{shape[0]}, its {name} is {other[1]}x{other[0]}: "
                f"check --{name}"
            )
    return frames


def rec709_light(footage: Footage, pixels: NDArray[Any]) -> Tensor:
    """(h, w, 3) stored values → (3, h, w) float32 scene-linear light, Rec.709 primaries."""
    return convert_linear(footage.light(pixels), footage.encoding, get_encoding("lin_rec709"))
