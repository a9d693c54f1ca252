"""What a decoder's rounding took from the colours of a JPEG or a video: known to the last digit, so given back.

A decoder computes RGB from integer YCbCr by a fixed matrix and rounds, or cuts down, what comes out. Two different
YCbCr give two different RGB almost always, so the YCbCr can be read off the RGB, and with it the value before the
rounding: up to half a code away where the decoder rounds, and up to three where it cuts down every product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from seqhdr.media.ycbcr import Lattice

__all__ = ["Unrounding", "unrounding"]

# Lifts lie between -0.5 and 3 codes: bytes of a fortieth of a code take half the memory of half floats.
_SCALE = 40.0
# A hair below the top, where a bin would be open.
_BELOW_TOP = 0.01


@dataclass(frozen=True)
class Unrounding:
    """The way back from 8-bit RGB to what a decoder had before it rounded; made by :func:`unrounding`.

    Attributes:
        lattice: the decoder's matrix, range and rounding.
    """

    lattice: Lattice
    _lifts: npt.NDArray[np.uint32]  # of each colour, three signed bytes side by side: one look-up for all channels

    def lift_lsb(self, codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """What to add to codes to undo the rounding.

        Args:
            codes: (..., 3) RGB.

        Returns:
            (..., 3) in codes, to a fortieth of a code. Colours that the decoder cannot have made, because something
            happened to them since, get what it takes on average. Channels at 0 and 255 get 0: what was beyond has
            been cut off there.
        """
        colour = codes[..., 0].astype(np.uint32)
        for channel in (1, 2):
            colour <<= 8
            colour |= codes[..., channel]
        packed = np.take(self._lifts, colour).view(np.int8).reshape(*colour.shape, 4)[..., :3]
        lift = np.divide(packed, np.float32(_SCALE), dtype=np.float32)
        lift[(codes == 0) | (codes == 255)] = 0
        return lift

    def closed_lift_lsb(self, codes: npt.NDArray[np.uint8], half_width_lsb: float) -> npt.NDArray[np.float32]:
        """:meth:`lift_lsb`, held back where a code would become clipped by it: what is at the top was there before.

        Args:
            codes: (..., 3) RGB.
            half_width_lsb: w, half the width of a bin in codes.

        Returns:
            (..., 3) in codes; codes + lift + w stays below 255 where codes + w does, and elsewhere nothing is lifted.
        """
        room = np.maximum(255 - half_width_lsb - _BELOW_TOP - codes.astype(np.float32), 0)
        lift = np.asarray(np.minimum(self.lift_lsb(codes), room), np.float32)
        # The codes alone say what is clipped, so none of those leaves its open bin either.
        lift[codes + np.float32(half_width_lsb) >= 255] = 0
        return lift


@lru_cache(maxsize=2)
def unrounding(lattice: Lattice) -> Unrounding:
    """Compute the way back for all 2^24 colours, 64 MB; about a second."""
    lifts = np.zeros((2**24, 4), np.int8)
    lifts[:, :3] = np.rint(np.array(lattice.mean_lift_lsb) * _SCALE)
    to_y, r_cr, g_cb, g_cr, b_cb = (np.float32(term) for term in lattice.terms())
    lumas = np.arange(220 if lattice.limited else 256, dtype=np.float32) * to_y
    half = 112 if lattice.limited else 128
    chromas = np.arange(-half, half + lattice.limited, dtype=np.float32)
    cb, cr = (plane.ravel() for plane in np.meshgrid(chromas, chromas, indexing="ij"))
    products = (r_cr * cr, -g_cb * cb, -g_cr * cr, b_cb * cb)
    floors = tuple(np.floor(product) for product in products)
    for luma in lumas:
        exact = np.stack((luma + products[0], luma + products[1] + products[2], luma + products[3]), axis=-1)
        if lattice.rounding == "floor":
            whole = np.floor(luma)
            rgb = np.stack((whole + floors[0], whole + floors[1] + floors[2], whole + floors[3]), axis=-1)
        else:
            rgb = np.floor(exact + np.float32(0.5))
        inside = ((rgb >= 0) & (rgb <= 255)).all(axis=-1)
        made = rgb[inside].astype(np.int32)
        lifts[made[:, 0] << 16 | made[:, 1] << 8 | made[:, 2], :3] = np.rint((exact[inside] - rgb[inside]) * _SCALE)
    return Unrounding(lattice, lifts.view(np.uint32)[:, 0])
