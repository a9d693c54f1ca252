"""The grid of numbers a file can hold: half, float, and float as the PXR24 compression keeps it.

Values of a grid are numbered in rising order, so that "the next one up" is plus one whatever the sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["FLOAT", "FLOAT24", "HALF", "HALF_MAX", "Container"]

HALF_MAX = 65504.0
"""The largest half; one step further is infinity."""


@dataclass(frozen=True)
class Container:
    """A grid of floating-point numbers inside float16 or float32.

    ``dropped_bits`` are low bits of the float32 pattern that the file does not keep.
    """

    name: str
    dtype: torch.dtype
    mantissa_bits: int
    least_exponent: int
    largest: float
    dropped_bits: int = 0

    def nearest(self, values: Tensor) -> Tensor:
        """The grid value nearest to each of ``values`` (float32 or float64), in the container's dtype.

        Values beyond the largest finite one become that one; NaN stays NaN.
        """
        stored = values.clamp(-self.largest, self.largest).to(self.dtype)
        if not self.dropped_bits:
            return stored
        # Half up in magnitude, as the OpenEXR library does it; what is on the grid already stays.
        bits = stored.view(torch.int32)
        rounded = (bits + (1 << (self.dropped_bits - 1))) & -(1 << self.dropped_bits)
        return rounded.view(torch.float32).clamp(-self.largest, self.largest)

    def index(self, stored: Tensor) -> Tensor:
        """The number of each stored value, counted from zero; int32, both zeros are number 0."""
        if self.dtype == torch.float16:
            bits, lowest = stored.view(torch.int16).to(torch.int32), -(2**15)
        else:
            bits, lowest = stored.view(torch.int32), -(2**31)
        signed = torch.where(bits < 0, lowest - bits, bits)
        return torch.div(signed, 1 << self.dropped_bits, rounding_mode="trunc") if self.dropped_bits else signed

    def value(self, index: Tensor) -> Tensor:
        """The stored value with each number (int32), held to the finite ones; inverse of :meth:`index`."""
        top = int(self.index(torch.tensor(self.largest, dtype=self.dtype)))
        held = index.clamp(-top, top)
        magnitude = held.abs() << self.dropped_bits
        if self.dtype == torch.float16:
            positive = magnitude.to(torch.int16).view(torch.float16)
        else:
            positive = magnitude.to(torch.int32).view(torch.float32)
        return torch.where(held < 0, -positive, positive)

    def inward(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The least grid value >= ``low`` and the greatest <= ``high`` (float64, infinite ends allowed).

        Where no grid value lies between, both ends are rounded to nearest instead: what lies between those is
        as close to the interval as the container allows. float64 comes back.
        """
        near_low, near_high = self.nearest(low), self.nearest(high)
        up = self.value(self.index(near_low) + (near_low.double() < low).int()).double()
        down = self.value(self.index(near_high) - (near_high.double() > high).int()).double()
        narrow = up > down
        return torch.where(narrow, near_low.double(), up), torch.where(narrow, near_high.double(), down)

    def step(self, values: Tensor) -> Tensor:
        """The distance to the next grid value away from zero, float64."""
        # frexp gives zero the exponent 0, as if it were 1.
        magnitude = values.double().abs().clamp(min=2.0**self.least_exponent)
        exponent = torch.frexp(magnitude)[1] - 1
        return torch.ldexp(
            torch.ones_like(values, dtype=torch.float64),
            exponent - self.mantissa_bits,
        )


_FLOAT_MAX = torch.finfo(torch.float32).max

HALF = Container("half", torch.float16, 10, -14, HALF_MAX)
FLOAT = Container("float", torch.float32, 23, -126, _FLOAT_MAX)
# 15 bits of mantissa are kept; the largest value on that grid.
FLOAT24 = Container("float24", torch.float32, 15, -126, (2.0 - 2.0**-15) * 2.0**127, dropped_bits=8)
