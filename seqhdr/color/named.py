"""The colour spaces with a short name, in closed form, and the conversions between them.

Parameters are those of the vendors' own documents; the sources stand beside the table. Where vendors publish
rounded constants, the unrounded ones they follow from are used, as OpenColorIO does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from seqhdr.color import curves
from seqhdr.color.curves import Curve
from seqhdr.color.primaries import Matrix3, rgb_to_ap0

__all__ = [
    "ENCODING_NAMES",
    "NAMED",
    "ColorEncoding",
    "convert_linear",
    "primaries_matrix",
    "same_curve",
]


@dataclass(frozen=True)
class ColorEncoding:
    """What a code means: a curve per channel, then primaries.

    ``decode`` maps V = code / largest code (any floating dtype, any shape, elementwise) to scene-linear light
    in the encoding's own primaries, diffuse white at 1.0; ``encode`` is its inverse. ``rgb_to_ap0`` takes
    that linear RGB to ACES2065-1. Two encodings with the same ``primaries`` need no matrix between them.
    ``interop_id`` is the value of the EXR attribute ``colorInteropID`` (Color Interop Forum; names that
    OpenColorIO defined itself carry its prefix ``ocio:``), None where nobody has defined one. ``floor`` is
    the lowest V that ``encode`` can return, None where it is unbounded.
    """

    name: str
    title: str
    decode: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]
    rgb_to_ap0: Matrix3
    primaries: str
    interop_id: str | None = None
    floor: float | None = None


def same_curve(a: ColorEncoding, b: ColorEncoding) -> bool:
    """Whether V means the same light in both, so that between them there is nothing to decode."""
    return a.decode is b.decode and a.encode is b.encode


@lru_cache(maxsize=64)
def _matrix_rows(src: Matrix3, dst: Matrix3) -> Matrix3:
    matrix = torch.linalg.solve(torch.tensor(dst, dtype=torch.float64), torch.tensor(src, dtype=torch.float64)).tolist()
    return tuple(matrix[0]), tuple(matrix[1]), tuple(matrix[2])


def primaries_matrix(src: ColorEncoding, dst: ColorEncoding) -> Tensor:
    """The (3, 3) float64 matrix from linear RGB of ``src`` to linear RGB of ``dst``."""
    if src.primaries == dst.primaries:
        return torch.eye(3, dtype=torch.float64)
    return torch.tensor(_matrix_rows(src.rgb_to_ap0, dst.rgb_to_ap0), dtype=torch.float64)


def convert_linear(rgb_lin: Tensor, src: ColorEncoding, dst: ColorEncoding) -> Tensor:
    """Linear RGB (..., 3, H, W) from the primaries of ``src`` to those of ``dst``; dtype and shape stay.

    The very same object comes back where both have the same primaries.
    """
    if src.primaries == dst.primaries:
        return rgb_lin
    matrix = primaries_matrix(src, dst).to(rgb_lin)
    return torch.einsum("ij,...jhw->...ihw", matrix, rgb_lin)


def _encoding(name: str, title: str, curve: Curve, primaries: str, interop_id: str | None) -> ColorEncoding:
    return ColorEncoding(
        name=name,
        title=title,
        decode=curve.decode,
        encode=curve.encode,
        rgb_to_ap0=rgb_to_ap0(primaries),
        primaries=primaries,
        interop_id=interop_id,
        floor=curve.floor,
    )


def _acescct() -> Curve:
    # Academy S-2016-001; the line below 2^-7 is the tangent there.
    return curves.log_with_toe(
        base=2.0,
        log_slope=1.0 / 17.52,
        log_offset=9.72 / 17.52,
        lin_slope=1.0,
        lin_offset=0.0,
        lin_break=2.0**-7,
    )


def _logc3() -> Curve:
    # ARRI, "ALEXA Log C curve, usage in VFX" (2017), exposure index 800; the parameters before rounding to
    # the six digits of its table. The line below the break is the tangent.
    return curves.log_with_toe(
        base=10.0,
        log_slope=0.247189638318671,
        log_offset=0.385536998692443,
        lin_slope=1.0 / 0.18,
        lin_offset=0.0522722750251688,
        lin_break=0.0105909904954696,
    )


# ARRI, "LogC4 logarithmic color space specification" (2022).
_LOGC4_A = (2.0**18 - 16.0) / 117.45
_LOGC4_B = (1023.0 - 95.0) / 1023.0
_LOGC4_C = 95.0 / 1023.0


def _logc4() -> Curve:
    # The break is where V = 0: below it the line is the tangent.
    argument = 2.0 ** (6.0 - 14.0 * _LOGC4_C / _LOGC4_B)
    return curves.log_with_toe(
        base=2.0,
        log_slope=_LOGC4_B / 14.0,
        log_offset=_LOGC4_C - 6.0 * _LOGC4_B / 14.0,
        lin_slope=_LOGC4_A,
        lin_offset=64.0,
        lin_break=(argument - 64.0) / _LOGC4_A,
    )


def _ailog() -> Curve:
    # L = (2^(14 (V - c) / b + 6) - 2^(-14 c / b + 6)) / a: LogC4 shifted so that V = 0 is exactly no light.
    return curves.offset_log(
        scale=_LOGC4_B / 14.0,
        log_offset=_LOGC4_C - 6.0 * _LOGC4_B / 14.0,
        lin_slope=_LOGC4_A,
        lin_offset=2.0 ** (6.0 - 14.0 * _LOGC4_C / _LOGC4_B),
    )


def _slog3() -> Curve:
    # Sony, "Technical summary for S-Gamut3.Cine/S-Log3": the line runs from code 95 (no light) to code
    # 171.2102946929 at 1.125 % light.
    return curves.log_with_toe(
        base=10.0,
        log_slope=261.5 / 1023.0,
        log_offset=420.0 / 1023.0,
        lin_slope=1.0 / 0.19,
        lin_offset=0.01 / 0.19,
        lin_break=0.01125,
        toe_slope=(171.2102946929 - 95.0) / 0.01125 / 1023.0,
    )


def _vlog() -> Curve:
    # Panasonic, "V-Log/V-Gamut reference manual" (2014).
    return curves.log_with_toe(
        base=10.0, log_slope=0.241514, log_offset=0.598206, lin_slope=1.0, lin_offset=0.00873, lin_break=0.01
    )


def _log3g10() -> Curve:
    # RED, "White paper on REDWideGamutRGB and Log3G10" (2018, with the linear extension below -0.01).
    return curves.log_with_toe(
        base=10.0,
        log_slope=0.224282,
        log_offset=0.0,
        lin_slope=155.975327,
        lin_offset=0.01 * 155.975327 + 1.0,
        lin_break=-0.01,
    )


def _davinci() -> Curve:
    # Blackmagic Design, "Wide gamut intermediate" (2021).
    return curves.log_with_toe(
        base=2.0,
        log_slope=0.07329248,
        log_offset=0.07329248 * 7.0,
        lin_slope=1.0,
        lin_offset=0.0075,
        lin_break=0.00262409,
        toe_slope=10.44426855,
    )


def _cineon() -> Curve:
    # Kodak Cineon as used by Sony Imageworks and Nuke: black at 95, white at 685, 300 codes per decade.
    black = 10.0 ** ((95.0 - 685.0) / 300.0)
    return curves.offset_log(
        scale=300.0 / 1023.0 / math.log2(10.0),
        log_offset=685.0 / 1023.0,
        lin_slope=1.0 - black,
        lin_offset=black,
    )


NAMED: dict[str, ColorEncoding] = {
    e.name: e
    for e in (
        _encoding("srgb", "sRGB", curves.power_with_toe(2.4, 0.055), "rec709", "srgb_rec709_scene"),
        _encoding(
            "rec709",
            "BT.709 camera curve",
            curves.power_with_toe(1.0 / 0.45, 0.099),
            "rec709",
            "ocio:itu709_rec709_scene",
        ),
        _encoding("gamma22", "Gamma 2.2 Rec.709", curves.power(2.2), "rec709", "g22_rec709_scene"),
        _encoding("gamma24", "Gamma 2.4 Rec.709", curves.power(2.4), "rec709", "ocio:g24_rec709_scene"),
        _encoding("lin_rec709", "Linear Rec.709", curves.linear(), "rec709", "lin_rec709_scene"),
        _encoding("acescct", "ACEScct", _acescct(), "ap1", "ocio:acescct_ap1_scene"),
        _encoding("acescc", "ACEScc", curves.acescc(), "ap1", "ocio:acescc_ap1_scene"),
        _encoding("acescg", "ACEScg", curves.linear(), "ap1", "lin_ap1_scene"),
        _encoding("aces2065-1", "ACES2065-1", curves.linear(), "ap0", "lin_ap0_scene"),
        _encoding("logc3", "ARRI LogC3 (EI 800)", _logc3(), "awg3", "ocio:arrilogc3_awg3_scene"),
        _encoding("logc4", "ARRI LogC4", _logc4(), "awg4", "ocio:arrilogc4_awg4_scene"),
        _encoding(
            "slog3",
            "S-Log3 S-Gamut3.Cine",
            _slog3(),
            # Sony's two gamuts share the curve; S-Gamut3.Cine is the one its grading guides recommend.
            "sgamut3cine",
            "ocio:slog3_sgamut3cine_scene",
        ),
        _encoding("vlog", "V-Log V-Gamut", _vlog(), "vgamut", "ocio:vlog_vgamut_scene"),
        _encoding("log3g10", "Log3G10 REDWideGamutRGB", _log3g10(), "redwidegamut", "ocio:redlog3g10_rwg_scene"),
        _encoding("davinci", "DaVinci Intermediate Wide Gamut", _davinci(), "davinciwg", "ocio:davinci_dwg_scene"),
        _encoding("cineon", "Cineon Rec.709", _cineon(), "rec709", None),
        _encoding("ailog", "AILog Rec.709", _ailog(), "rec709", None),
    )
}
ENCODING_NAMES: tuple[str, ...] = tuple(NAMED)
