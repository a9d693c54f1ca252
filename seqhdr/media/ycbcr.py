"""Whether the colours of a picture came out of integer YCbCr, and by which conversion.

JPEG and 8-bit video store integer luma and chroma. Turned back into RGB, they reach only about a quarter (full
range) or a sixth (limited range) of all RGB colours, so in a decoded picture nearly every colour lies on that
lattice, while in a clean picture the share is what chance gives. The share is taken over *distinct* colours,
so that plateaus, bars and flat graphics do not vote twice, and compared with the same colours moved off by
one code. Matrices: ITU-R BT.601 and BT.709; ranges: full (JFIF) and limited. Decoders differ in rounding: to
nearest, or each product cut down to an integer (the fast path of swscale), which also darkens R, G and B by
about 1, 1.5 and 1 code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["FULL_BT601", "LATTICES", "LIMITED_BT601_CUT_DOWN", "Lattice", "LatticeFit", "fit_lattice"]

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float32]

# Clean pictures exceed the chance share by 0.03 at most; the weakest compressed ones (chroma interpolated in
# floating point) by 0.12, all others by 0.77 or more. Clean ones of few chromas may exceed it by chance: 1.7 sigma was
# the most in 50 renders of panoramas, and H.264 skies decoded in floating point reach 3.7 to 5.2.
_MIN_EXCESS: Final = 0.08
_MIN_SIGMA: Final = 3.5
# A clean gradient passes through neighbouring chromas, of which a lattice holds every fourth at most, so a
# handful of chromas will do, if there are colours enough to tell a gradient from flat graphics.
_MIN_CHROMAS: Final = 6
_MIN_COLOURS: Final = 40
_COLOURS: Final = 4000
_PIXELS: Final = 300_000
_SHIFTS: Final = np.concatenate([np.eye(3), -np.eye(3)]).astype(np.float32)


class Lattice(NamedTuple):
    """One way to get RGB from integer YCbCr: matrix weights of R and B, range, rounding."""

    name: str
    kr: float
    kb: float
    limited: bool
    rounding: Literal["near", "floor"]

    def terms(self) -> tuple[float, float, float, float, float]:
        """Codes per code: luma, Cr in R, Cb in G, Cr in G, Cb in B (BT.601 section 2.5, BT.709 section 3)."""
        kg = 1 - self.kr - self.kb
        luma, chroma = (255 / 219, 255 / 224) if self.limited else (1.0, 1.0)
        to_r, to_b = 2 * (1 - self.kr) * chroma, 2 * (1 - self.kb) * chroma
        return luma, to_r, to_b * self.kb / kg, to_r * self.kr / kg, to_b

    @property
    def mean_lift_lsb(self) -> tuple[float, float, float]:
        """What rounding takes from R, G and B on average: half a code for each product that is cut down."""
        return (1.0, 1.5, 1.0) if self.rounding == "floor" else (0.0, 0.0, 0.0)

    @property
    def darkening_lsb(self) -> float:
        """How much wider 95 % of the errors of decoded codes spread where the products are cut down; measured."""
        return 0.9 if self.rounding == "floor" else 0.0

    def luma(self, rgb: Floats) -> Floats:
        """Luma in its own codes (offset 16 left out) of RGB codes (..., 3), not rounded."""
        lift = np.array(self.mean_lift_lsb, np.float32)
        weights = np.array((self.kr, 1 - self.kr - self.kb, self.kb), np.float32)
        return np.asarray((rgb + lift) @ weights / np.float32(self.terms()[0]), np.float32)

    def holds(self, rgb: Floats) -> npt.NDArray[np.bool_]:
        """Which of the RGB codes (N, 3) integer YCbCr can produce: bool (N,)."""
        to_y, r_cr, g_cb, g_cr, b_cb = (np.float32(t) for t in self.terms())
        y = self.luma(rgb)
        lift = 1.0 if self.rounding == "floor" else 0.0
        y0 = np.rint(y)
        cb0, cr0 = (
            np.rint((rgb[:, 2] + lift - to_y * y) / b_cb),
            np.rint((rgb[:, 0] + lift - to_y * y) / r_cr),
        )
        hit = np.zeros(len(rgb), np.bool_)
        for dcb in (0, -1, 1):
            for dcr in (0, -1, 1):
                cb, cr = cb0 + dcb, cr0 + dcr
                for dy in (0, -1, 1):
                    luma = to_y * (y0 + dy)
                    if self.rounding == "near":
                        r, b = np.floor(luma + r_cr * cr + 0.5), np.floor(luma + b_cb * cb + 0.5)
                        g = np.floor(luma - g_cb * cb - g_cr * cr + 0.5)
                    else:
                        luma = np.floor(luma)
                        r, b = luma + np.floor(r_cr * cr), luma + np.floor(b_cb * cb)
                        g = luma + np.floor(-g_cb * cb) + np.floor(-g_cr * cr)
                    hit |= (r == rgb[:, 0]) & (g == rgb[:, 1]) & (b == rgb[:, 2])
        return hit


_BT601, _BT709 = (0.299, 0.114), (0.2126, 0.0722)
#: What JPEG decodes by.
FULL_BT601: Final = Lattice("full-range BT.601", *_BT601, limited=False, rounding="near")
#: What ``ffmpeg`` extracts frames of standard definition by, unless told otherwise.
LIMITED_BT601_CUT_DOWN: Final = Lattice("limited BT.601, cut down", *_BT601, limited=True, rounding="floor")
LATTICES: Final = (
    FULL_BT601,
    Lattice("full-range BT.709", *_BT709, limited=False, rounding="near"),
    Lattice("full-range BT.601, cut down", *_BT601, limited=False, rounding="floor"),
    Lattice("limited BT.601", *_BT601, limited=True, rounding="near"),
    Lattice("limited BT.709", *_BT709, limited=True, rounding="near"),
    LIMITED_BT601_CUT_DOWN,
    Lattice("limited BT.709, cut down", *_BT709, limited=True, rounding="floor"),
)


class LatticeFit(NamedTuple):
    """The lattice that explains a picture best.

    ``share`` of its distinct colours lie on it, ``chance`` of the same colours moved by one code do (both
    0 .. 1); ``colours`` is their number, ``sigma`` the excess in standard deviations of chance.
    """

    lattice: Lattice
    share: float
    chance: float
    colours: int
    sigma: float

    @property
    def found(self) -> bool:
        """Whether the excess is too large for a clean picture."""
        return self.share - self.chance >= _MIN_EXCESS and self.sigma >= _MIN_SIGMA


def fit_lattice(frames: Sequence[Codes]) -> LatticeFit:
    """Find the lattice that explains the distinct colours of 8-bit frames (H, W, 3) best.

    Too few colours, or too few chromas (greyscale), make a fit with share and sigma 0.
    """
    pixels = np.concatenate([f.reshape(-1, 3) for f in frames])
    pixels = pixels[:: max(1, len(pixels) // _PIXELS)].astype(np.int32)
    # Clipped colours have left the lattice; neutral ones lie on every full-range lattice, clean or not.
    low, high = pixels.min(axis=1), pixels.max(axis=1)
    pixels = pixels[(low > 2) & (high < 253) & (low < high)]
    keys = np.unique(pixels[:, 0] << 16 | pixels[:, 1] << 8 | pixels[:, 2])
    if len(keys) > _COLOURS:
        keys = np.random.default_rng(0).choice(keys, _COLOURS, replace=False)
    rgb = np.stack([keys >> 16, keys >> 8 & 255, keys & 255], axis=1).astype(np.float32)
    # Adding grey keeps a colour on (or off) a full-range lattice: independent witnesses are chromas only.
    chromas = len(np.unique((rgb[:, 0] - rgb[:, 1]) * 1024 + (rgb[:, 2] - rgb[:, 1])))
    best = LatticeFit(LATTICES[0], 0.0, 0.0, len(rgb), 0.0)
    if chromas < _MIN_CHROMAS or len(rgb) < _MIN_COLOURS:
        return best
    for lattice in LATTICES:
        share = float(lattice.holds(rgb).mean())
        chance = float(np.mean([lattice.holds(rgb + shift).mean() for shift in _SHIFTS]))
        # The shifted share falls on true lattices (its neighbours are empty): the floor keeps sigma finite.
        spread = float(np.sqrt(max(chance * (1 - chance), 0.16) / chromas))
        fit = LatticeFit(lattice, share, chance, len(rgb), (share - chance) / spread)
        if best.colours == 0 or fit.share - fit.chance > best.share - best.chance or best.share == 0.0:
            best = fit
    return best
