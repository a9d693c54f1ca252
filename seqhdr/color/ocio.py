"""Any other colour space, measured through OpenColorIO.

The bins need a curve per channel and a matrix, not a black box, so a space is sampled: neutral triples give
the curve, random triples the matrix, further random triples prove that curve and matrix are all there is.
What comes out is a table of knots in float64 with straight lines between them, so that decode and encode undo
each other exactly; knots are 2^-16 apart in V from -0.25 to 1.25 and 2^-12 apart beyond, as far as 16.
Where the curve turns out to be one of the closed forms, the closed form is used.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import PyOpenColorIO as OCIO  # noqa: N814
import torch
from torch import Tensor

from seqhdr.color.curves import Curve
from seqhdr.color.named import NAMED, ColorEncoding
from seqhdr.color.primaries import Matrix3, as_matrix3, nearest_primaries, rgb_to_ap0
from seqhdr.errors import InputError, UsageError

__all__ = ["BUILTIN_CONFIG", "has_space", "load_config", "ocio_encoding", "space_names"]

BUILTIN_CONFIG = "studio-config-v2.1.0_aces-v1.3_ocio-v2.3"
"""The config of last resort, pinned by its full name so that a new OCIO changes no picture."""

_ACES_ROLE = "aces_interchange"
_Array = npt.NDArray[np.floating]

# Entry-wise agreement at which a measured matrix is taken for a known one, and relative agreement at which a
# measured curve is: both a few times the noise of OCIO's float32, and far below one code of a 16-bit source.
_MATRIX_TOLERANCE = 2e-5
_CURVE_TOLERANCE = 2e-5
_SEPARABLE_TOLERANCE = 5e-4


def load_config(path: str | None = None) -> Any:
    """The OCIO config at ``path``, else the one ``$OCIO`` names, else :data:`BUILTIN_CONFIG`.

    ``path`` may be a file, an ``.ocioz`` archive or an ``ocio://`` name. Raises
    :class:`~seqhdr.errors.InputError` where OCIO cannot read it.
    """
    given = path or os.environ.get("OCIO", "").strip()
    if not given:
        return _builtin_config()
    origin = "" if path else " named by $OCIO"
    if "://" not in given and not os.path.isfile(given):
        raise InputError(f"the OCIO config {given}{origin} does not exist; give the path of a config.ocio.")
    try:
        return OCIO.Config.CreateFromFile(given)
    except OCIO.Exception as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"OCIO cannot read the config {given}{origin}: {reason}.") from error


@lru_cache(maxsize=1)
def _builtin_config() -> Any:
    return OCIO.Config.CreateFromBuiltinConfig(BUILTIN_CONFIG)


def has_space(config: Any, name: str) -> bool:
    """Whether ``name`` is a colour space, an alias or a role of ``config``."""
    return config.getColorSpace(name) is not None


def space_names(config: Any) -> tuple[str, ...]:
    """Every name of ``config`` that can be asked for: colour spaces and their aliases."""
    spaces = list(config.getColorSpaces())
    return tuple(n for s in spaces for n in (s.getName(), *s.getAliases()))


def ocio_encoding(name: str, config: Any) -> ColorEncoding:
    """The colour space ``name`` of ``config`` as a curve and a matrix.

    Raises :class:`~seqhdr.errors.UsageError` where there is no such space, where it holds data instead of
    colour or describes a display, where the config does not say which of its spaces is ACES2065-1, and where
    the space is anything but one curve for all channels followed by a matrix.
    """
    space = config.getColorSpace(name)
    if space is None:
        raise UsageError(f"the OCIO config has no colour space {name!r}.")
    canonical = str(space.getName())
    if space.isData():
        raise UsageError(f"colour space {canonical!r} holds data, not colour; name the space of the pixels.")
    if space.getReferenceSpaceType() != OCIO.REFERENCE_SPACE_SCENE:
        raise UsageError(
            f"colour space {canonical!r} describes a display; name a scene-referred space, such as 'srgb'."
        )
    to_aces = _to_aces(config, canonical)
    curve, matrix = _measure(to_aces, canonical)
    interop_id = str(space.getInteropID()) if hasattr(space, "getInteropID") else ""
    primaries = nearest_primaries(matrix, _MATRIX_TOLERANCE)
    if primaries is not None:
        matrix = rgb_to_ap0(primaries)
    encoding = ColorEncoding(
        name=canonical,
        title=canonical,
        decode=curve.decode,
        encode=curve.encode,
        rgb_to_ap0=matrix,
        primaries=primaries or "matrix " + " ".join(f"{x:.5f}" for row in matrix for x in row),
        interop_id=interop_id or None,
        floor=curve.floor,
    )
    return _closed_form(encoding)


def _to_aces(config: Any, name: str) -> Any:
    """OCIO's CPU processor from ``name`` to ACES2065-1, without the approximations of its fast paths."""
    reference = config.getColorSpace(_ACES_ROLE) or config.getColorSpace("ACES2065-1")
    if reference is None:
        raise UsageError(f"the OCIO config does not say which of its spaces is ACES2065-1; add the role {_ACES_ROLE}.")
    try:
        processor = config.getProcessor(name, reference.getName())
        return processor.getOptimizedCPUProcessor(OCIO.OPTIMIZATION_NONE)
    except OCIO.Exception as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UsageError(f"OCIO cannot convert {name!r} to ACES2065-1: {reason}.") from error


def _apply(processor: Any, rgb: _Array) -> _Array:
    """RGB triples (N, 3) through OCIO, which computes in float32."""
    pixels = np.array(rgb, dtype=np.float32, order="C")
    processor.applyRGB(pixels)
    return pixels.astype(np.float64)


def _knots() -> _Array:
    """Dense where codes live, sparser around them, for overshoots below black and highlights far above 1."""
    dense = np.arange(-(2**14), 2**16 + 2**14 + 1) * 2.0**-16
    below = np.arange(-(2**12), -(2**10)) * 2.0**-12
    above = np.arange(5 * 2**10 + 1, 16 * 2**12 + 1) * 2.0**-12
    return np.concatenate([below, dense, above])


def _measure(to_aces: Any, name: str) -> tuple[Curve, Matrix3]:
    """The common curve and the matrix to AP0, with the proof that nothing else is going on."""
    v = _knots()
    neutral = _apply(to_aces, np.repeat(v[:, None], 3, axis=1))
    first, last = _monotone_span(v, neutral[:, 1], name)
    v, light = v[first:last], neutral[first:last, 1]

    triples = np.random.default_rng(0).integers(1, 2**16, size=(1024, 3)) * 2.0**-16
    seen = _apply(to_aces, triples)
    # A config may end its way to ACES2065-1 with a clamp at zero; that says nothing about curve and matrix.
    open_ended = (seen != 0.0).all(axis=1)
    linear, seen = np.interp(triples, v, light)[open_ended], seen[open_ended]
    # Weighted by brightness, or the brightest triples of a log encoding would decide alone.
    weight = 1.0 / np.abs(linear).max(axis=1, keepdims=True, initial=1e-6)
    linear, seen = linear * weight, seen * weight
    fitted = np.linalg.lstsq(linear[::2], seen[::2], rcond=None)[0].T
    worst = np.abs(linear[1::2] @ fitted.T - seen[1::2]).max(initial=0.0)
    explained = len(seen) >= 256 and bool(worst <= _SEPARABLE_TOLERANCE)
    if not explained or abs(np.linalg.det(fitted)) < 1e-6:
        raise UsageError(
            f"colour space {name!r} is not one curve per channel followed by a matrix, so its codes have no "
            "bins; name the log or linear space that the frames were made in."
        )
    return _table_curve(v, light), as_matrix3(np.asarray(fitted, dtype=np.float64))


def _monotone_span(v: _Array, light: _Array, name: str) -> tuple[int, int]:
    """The longest run of knots around 0..1 on which light strictly rises, as a slice."""
    finite = np.isfinite(light)
    rising = finite[:-1] & finite[1:] & (np.diff(np.where(finite, light, 0.0)) > 0)
    inside = (v[:-1] >= 0.0) & (v[1:] <= 1.0)
    flat = np.flatnonzero(inside & ~rising)
    # A few repeated values at the very bottom are how float32 tables begin (0, 0, 0, ...); more is a clamp.
    start = int(np.searchsorted(v, 0.5))
    if flat.size and v[flat[-1]] > 2.0**-8:
        raise UsageError(
            f"colour space {name!r} maps several codes to the same light, so its codes have no bins; "
            "name the log or linear space that the frames were made in."
        )
    below, above = np.flatnonzero(~rising[:start]), np.flatnonzero(~rising[start:])
    first = int(below[-1]) + 1 if below.size else 0
    last = start + int(above[0]) + 1 if above.size else len(v)
    return first, last


def _table_curve(v: _Array, light: _Array) -> Curve:
    """Straight lines between knots, the end pieces running on, evaluated in the dtype of the argument."""
    knots_v, knots_l = torch.from_numpy(v.copy()), torch.from_numpy(light.copy())

    def interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
        # In float64 throughout: two knots can be closer than float32 tells apart.
        wide = x.to(torch.float64)
        i = torch.searchsorted(xs, wide.detach().contiguous(), right=True).sub_(1).clamp_(0, len(xs) - 2)
        x0, y0 = xs[i], ys[i]
        return (y0 + (wide - x0) * ((ys[i + 1] - y0) / (xs[i + 1] - x0))).to(x.dtype)

    def decode(value: Tensor) -> Tensor:
        return interpolate(value, knots_v.to(value.device), knots_l.to(value.device))

    def encode(value: Tensor) -> Tensor:
        return interpolate(value, knots_l.to(value.device), knots_v.to(value.device))

    return Curve(decode, encode)


def _closed_form(measured: ColorEncoding) -> ColorEncoding:
    """The same encoding with the closed form of its curve, where it is one of those."""
    v = torch.linspace(0.0, 1.0, 4097, dtype=torch.float64)
    light = measured.decode(v)
    for named in NAMED.values():
        expected = named.decode(v)
        if bool(((light - expected).abs() <= _CURVE_TOLERANCE * expected.abs().clamp(min=1e-2)).all()):
            return replace(measured, decode=named.decode, encode=named.encode, floor=named.floor)
    return measured
