"""Where pictures are measured: a lattice of their pixels, and places between the pixels where motion leads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.quality.stops import light_of_stops, stops

__all__ = ["MAX_SAMPLES", "Lattice", "Motion", "Picture", "all_usable", "make_lattice", "sample", "whole_around"]

#: A lattice has at most this many samples: enough for means to 0.0001 stop, few enough for 2 CPU cores.
MAX_SAMPLES = 40_000


@dataclass(frozen=True)
class Lattice:
    """Every ``stride``-th pixel of a frame in both directions, the first at ``stride // 2``.

    Attributes:
        height: of the frames, in pixels.
        width: of the frames, in pixels.
        stride: in pixels.

    Raises:
        ValueError: no pixel of the frame is on the lattice.
    """

    height: int
    width: int
    stride: int

    def __post_init__(self) -> None:
        """Check that there are samples."""
        if self.stride < 1 or min(self.height, self.width) <= self.stride // 2:
            raise ValueError(f"got stride {self.stride} for {self.width}x{self.height}: expected a sample at least")

    @property
    def rows(self) -> int:
        """Samples in a column."""
        return len(range(self.stride // 2, self.height, self.stride))

    @property
    def columns(self) -> int:
        """Samples in a row."""
        return len(range(self.stride // 2, self.width, self.stride))

    def pick(self, image: Tensor, *, right: int = 0, down: int = 0) -> Tensor:
        """The samples of an image, or their neighbours.

        Args:
            image: (..., H, W).
            right: pixels from each sample to the one that is picked; beyond the border it is the border's.
            down: the same downward.

        Returns:
            (..., h, w), a copy.

        Raises:
            ValueError: the image is of another size.
        """
        if image.shape[-2:] != (self.height, self.width):
            raise ValueError(f"got an image of shape {tuple(image.shape)}: expected (..., {self.height}, {self.width})")
        y = (torch.arange(self.stride // 2, self.height, self.stride) + down).clamp(0, self.height - 1)
        x = (torch.arange(self.stride // 2, self.width, self.stride) + right).clamp(0, self.width - 1)
        return image[..., y[:, None], x]

    def positions_px(self) -> Tensor:
        """Where the samples are: (h, w, 2) float32, x first; pixel centres are whole numbers."""
        y = torch.arange(self.stride // 2, self.height, self.stride, dtype=torch.float32)
        x = torch.arange(self.stride // 2, self.width, self.stride, dtype=torch.float32)
        return torch.stack((x.expand(len(y), -1), y[:, None].expand(-1, len(x))), dim=-1)


def make_lattice(height: int, width: int, stride: int | None = None) -> Lattice:
    """A lattice for frames of ``height`` x ``width``: of ``stride``, else the finest with :data:`MAX_SAMPLES`.

    Raises:
        ValueError: no pixel of the frame is on the lattice.
    """
    if stride is not None:
        return Lattice(height, width, stride)
    lattice = Lattice(height, width, 1)
    while lattice.rows * lattice.columns > MAX_SAMPLES:
        lattice = Lattice(height, width, lattice.stride + 1)
    return lattice


@dataclass(frozen=True)
class Motion:
    """The two flows between a frame and the one before, in full-resolution pixels, x first.

    Attributes:
        backward_px: (2, H, W) from the current frame to the previous one.
        forward_px: (2, H, W) from the previous frame to the current one.

    Raises:
        ValueError: the shapes differ, or are no flow's.
    """

    backward_px: Tensor
    forward_px: Tensor

    def __post_init__(self) -> None:
        """Check the shapes."""
        shape, other = tuple(self.backward_px.shape), tuple(self.forward_px.shape)
        if len(shape) != 3 or shape[0] != 2 or other != shape:
            raise ValueError(f"got flows of shapes {shape} and {other}: expected (2, H, W) twice")


@dataclass(frozen=True)
class Picture:
    """A frame of one sequence, as it is measured.

    Attributes:
        stops: (3, H, W) float32 of :func:`seqhdr.quality.stops.stops`, contiguous, in the file's own primaries,
            finite everywhere: put 0 where the file holds NaN or infinity, and mark it in ``usable``.
        to_common: (3, 3) from linear light in the file's primaries to the ones sequences are compared in; None
            where they are the same.
        usable: (H, W) bool, false for clipped and non-finite pixels; None where all are usable.

    Raises:
        ValueError: the shapes do not belong together.
    """

    stops: Tensor
    to_common: Tensor | None = None
    usable: Tensor | None = None

    def __post_init__(self) -> None:
        """Check the shapes."""
        shape = self.stops.shape
        if len(shape) != 3 or shape[0] != 3:
            raise ValueError(f"got stops of shape {tuple(shape)}: expected (3, H, W)")
        if self.usable is not None and self.usable.shape != shape[1:]:
            raise ValueError(f"got a mask of shape {tuple(self.usable.shape)}: expected {tuple(shape[1:])}")
        if self.to_common is not None and self.to_common.shape != (3, 3):
            raise ValueError(f"got a matrix of shape {tuple(self.to_common.shape)}: expected (3, 3)")

    def pick(self, lattice: Lattice) -> Tensor:
        """Stops in common primaries at the samples of a lattice: (3, h, w)."""
        return self._common(lattice.pick(self.stops))

    def at(self, at_px: Tensor) -> Tensor:
        """Stops in common primaries at places (h, w, 2), bicubic: (3, h, w).

        What is interpolated are the stops, not the light, in which every lamp would get a dark ring.
        """
        return self._common(sample(self.stops, at_px, "bicubic")[0])

    def _common(self, values: Tensor) -> Tensor:
        if self.to_common is None:
            return values
        return stops((self.to_common.to(values.dtype) @ light_of_stops(values).flatten(1)).view_as(values))


def sample(image: Tensor, at_px: Tensor, mode: str = "bicubic") -> tuple[Tensor, Tensor]:
    """Read an image between its pixels.

    Args:
        image: (C, H, W) float32.
        at_px: (h, w, 2) places in pixels, x first.
        mode: ``bilinear``, ``nearest`` or ``bicubic`` (a = -0.75).

    Returns:
        Values (C, h, w); outside the image, those of the nearest border. And (h, w) bool, true inside.
    """
    last = at_px.new_tensor([image.shape[2] - 1, image.shape[1] - 1])
    # grid_sample wants -1..1 between the centres of the outermost pixels (align_corners).
    grid = at_px * (2 / last.clamp(min=1)) - 1
    values = F.grid_sample(image[None], grid[None], mode=mode, padding_mode="border", align_corners=True)[0]
    return values, ((at_px >= 0) & (at_px <= last)).all(dim=-1)


def all_usable(pictures: Iterable[Picture]) -> Tensor | None:
    """(H, W) bool, where all the pictures are usable; None where none of them has a mask."""
    masks = [picture.usable for picture in pictures if picture.usable is not None]
    return torch.stack(masks).all(dim=0) if len(masks) > 1 else masks[0] if masks else None


def whole_around(usable: Tensor, at_px: Tensor) -> Tensor:
    """Whether all pixels that bicubic interpolation reads for a place are usable.

    Args:
        usable: (H, W) bool.
        at_px: (h, w, 2) places in pixels, x first.

    Returns:
        (h, w) bool: true where the 4x4 pixels around a place are true, as far as the image has them; one pixel at
        least is asked for places outside.
    """
    # Erosion by shifts of whole bytes is faster than reading 16 neighbours of every place.
    whole = usable
    for _ in range(2):
        before, whole = whole, whole.clone()
        whole[1:] &= before[:-1]
        whole[:-1] &= before[1:]
        whole[:-2] &= before[2:]
        whole = whole.T
    height, width = usable.shape
    x = at_px[..., 0].floor().long().clamp_(0, width - 1)
    y = at_px[..., 1].floor().long().clamp_(0, height - 1)
    return whole[y, x]
