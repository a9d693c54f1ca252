"""Primaries: from published chromaticities to the matrix into ACES2065-1.

The matrix of a set of RGB primaries follows from four chromaticities (SMPTE RP 177) and, where the white is
not that of ACES, from a chromatic adaptation in cone space. Which adaptation is a convention of each vendor,
not a law of nature: ARRI, Sony and Blackmagic publish matrices made with CAT02, ACES itself, Panasonic and
RED use Bradford. The ones below reproduce the published input transforms to the last digit of a double.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

__all__ = ["PRIMARIES_NAMES", "Matrix3", "as_matrix3", "nearest_primaries", "rgb_to_ap0"]

Matrix3 = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
_Array = npt.NDArray[np.floating]
_Chromaticities = tuple[float, float, float, float, float, float]

_D65 = (0.3127, 0.3290)
_ACES_WHITE = (0.32168, 0.33767)

_CONE_SPACES: dict[str, _Array] = {
    "bradford": np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]], dtype=np.float64
    ),
    "cat02": np.array(
        [[0.7328, 0.4296, -0.1624], [-0.7036, 1.6975, 0.0061], [0.0030, 0.0136, 0.9834]], dtype=np.float64
    ),
}

# name: (red x, y, green x, y, blue x, y), white x, y, cone space. Sources, in order: SMPTE ST 2065-1, Academy
# S-2014-004, ITU-R BT.709, ARRI "ALEXA LogC curve" and "LogC4 specification", Sony "S-Gamut3.Cine/S-Log3",
# Panasonic "V-Log/V-Gamut", RED "REDWideGamutRGB and Log3G10", Blackmagic "DaVinci wide gamut intermediate".
_TABLE: dict[str, tuple[_Chromaticities, tuple[float, float], str]] = {
    "ap0": ((0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.0770), _ACES_WHITE, "bradford"),
    "ap1": ((0.713, 0.293, 0.165, 0.830, 0.128, 0.044), _ACES_WHITE, "bradford"),
    "rec709": ((0.64, 0.33, 0.30, 0.60, 0.15, 0.06), _D65, "bradford"),
    "awg3": ((0.6840, 0.3130, 0.2210, 0.8480, 0.0861, -0.1020), _D65, "cat02"),
    "awg4": ((0.7347, 0.2653, 0.1424, 0.8576, 0.0991, -0.0308), _D65, "cat02"),
    "sgamut3cine": ((0.766, 0.275, 0.225, 0.800, 0.089, -0.087), _D65, "cat02"),
    "vgamut": ((0.730, 0.280, 0.165, 0.840, 0.100, -0.030), _D65, "bradford"),
    "redwidegamut": ((0.780308, 0.304253, 0.121595, 1.493994, 0.095612, -0.084589), _D65, "bradford"),
    "davinciwg": ((0.800, 0.313, 0.1682, 0.9877, 0.0790, -0.1155), _D65, "cat02"),
}

PRIMARIES_NAMES = tuple(_TABLE)


def _white_xyz(x: float, y: float) -> _Array:
    return np.array([x / y, 1.0, (1.0 - x - y) / y], dtype=np.float64)


def _rgb_to_xyz(chromaticities: _Chromaticities, white: tuple[float, float]) -> _Array:
    """RGB to CIE XYZ, scaled so that (1, 1, 1) is the white with Y = 1 (SMPTE RP 177)."""
    xy = np.array(chromaticities, dtype=np.float64).reshape(3, 2).T
    xyz = np.vstack([xy, 1.0 - xy.sum(axis=0)])
    gains: _Array = np.linalg.solve(xyz, _white_xyz(*white))
    return xyz * gains


def _adaptation(white: tuple[float, float], cone_space: str) -> _Array:
    """Von Kries scaling of cone responses from ``white`` to the white of ACES."""
    cones = _CONE_SPACES[cone_space]
    gains = (cones @ _white_xyz(*_ACES_WHITE)) / (cones @ _white_xyz(*white))
    adapted: _Array = np.linalg.solve(cones, gains[:, None] * cones)
    return adapted


@cache
def rgb_to_ap0(name: str) -> Matrix3:
    """The matrix from linear RGB in the primaries ``name`` to linear ACES2065-1 (AP0), as nested tuples.

    Row i, column j is the share of channel j in AP0 channel i; neutral stays neutral, so every row sums to 1.
    Raises ``KeyError`` for a name that is not in :data:`PRIMARIES_NAMES`.
    """
    if name == "ap0":
        return ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    chromaticities, white, cone_space = _TABLE[name]
    ap0_chromaticities, ap0_white, _ = _TABLE["ap0"]
    to_xyz = _adaptation(white, cone_space) @ _rgb_to_xyz(chromaticities, white)
    matrix = np.linalg.solve(_rgb_to_xyz(ap0_chromaticities, ap0_white), to_xyz)
    return as_matrix3(matrix)


def as_matrix3(matrix: _Array) -> Matrix3:
    """A (3, 3) array as nested tuples of Python floats, so that it can sit in a hashable dataclass."""
    rows = [(float(r[0]), float(r[1]), float(r[2])) for r in matrix]
    return rows[0], rows[1], rows[2]


def nearest_primaries(matrix: Matrix3, tolerance: float) -> str | None:
    """The known primaries whose matrix agrees with ``matrix`` to ``tolerance`` in every entry, or None."""
    wanted = np.array(matrix)
    for name in PRIMARIES_NAMES:
        if float(np.abs(np.array(rgb_to_ap0(name)) - wanted).max()) <= tolerance:
            return name
    return None
