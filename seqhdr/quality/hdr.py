"""Pictures of scene light as metrics of perception want them: PU21, ΔE ITP and a named tone curve.

All of them ask how bright a pixel is on a screen. Scene-linear light has no answer of its own; here diffuse white is
shown as :data:`WHITE_CD_M2` and everything else in proportion, with nothing else done to the picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seqhdr.color.encodings import get_encoding

__all__ = ["PU21_PEAK", "WHITE_CD_M2", "delta_e_itp", "pu21", "pu21_luminance", "tone_map"]

#: How bright scene-linear 1.0 is shown, in cd/m²: HDR reference white, ITU-R BT.2408.
WHITE_CD_M2 = 203.0
#: Peak of PSNR and range of SSIM on PU21 values: what 100 cd/m² become, the white of an SDR screen. Numbers are then
#: on the scale on which PSNR and SSIM of SDR pictures are known.
PU21_PEAK = 256.0

# Mantiuk and Azimi, "PU21: a novel perceptually uniform encoding for adapting existing quality metrics for HDR",
# PCS 2021: parameters of the variant "banding + glare".
_PU21 = (0.353487901, 0.3734658629, 8.277049286e-05, 0.9062562627, 0.09150303166, 0.9099517204, 596.3148142)
_DARKEST_CD_M2, _BRIGHTEST_CD_M2 = 0.005, 10000.0

# ITU-R BT.709: luminance. ITU-R BT.2087: to the primaries of BT.2020, here before rounding to its four digits.
_LUMINANCE_REC709 = (0.2126, 0.7152, 0.0722)
_REC709_TO_REC2020 = (
    (0.6274038959, 0.3292830384, 0.0433130657),
    (0.0690972894, 0.9195403951, 0.0113623156),
    (0.0163914389, 0.0880133079, 0.8955952532),
)
# ITU-R BT.2100: light of BT.2020 to LMS, PQ, and PQ's L'M'S' to ICtCp.
_LMS = ((1688, 2146, 262), (683, 2951, 462), (99, 309, 3688))
_ICTCP = ((2048, 2048, 0), (6610, -13613, 7003), (17933, -17390, -543))
_PQ_M1, _PQ_M2 = 2610 / 16384, 2523 / 4096 * 128
_PQ_C1, _PQ_C2, _PQ_C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def pu21(light_cd_m2: Tensor) -> Tensor:
    """Light → values in which a step of one is about equally visible at any brightness.

    0.005 cd/m² become 0, 100 become 256, 10 000 become 595.

    Args:
        light_cd_m2: any shape and floating dtype; held to 0.005..10000.
    """
    p1, p2, p3, p4, p5, p6, p7 = _PU21
    powered = light_cd_m2.clamp(_DARKEST_CD_M2, _BRIGHTEST_CD_M2) ** p4
    return p7 * (((p1 + p2 * powered) / (1 + p3 * powered)) ** p5 - p6)


def pu21_luminance(rgb_lin: Tensor, white_cd_m2: float = WHITE_CD_M2) -> Tensor:
    """The luminance of a picture in PU21 values, (..., 3, H, W) → (..., 1, H, W).

    Args:
        rgb_lin: scene-linear Rec.709.
        white_cd_m2: how bright 1.0 is shown.
    """
    weights = torch.tensor(_LUMINANCE_REC709).to(rgb_lin).view(3, 1, 1)
    return pu21((rgb_lin * weights).sum(dim=-3, keepdim=True) * white_cd_m2)


def delta_e_itp(rgb_lin: Tensor, truth_lin: Tensor, white_cd_m2: float = WHITE_CD_M2) -> Tensor:
    """Colour difference ΔE ITP of ITU-R BT.2124 pixel by pixel, (..., 3, H, W) twice → (..., H, W) float32.

    1 is about what can just be seen where the eye is most sensitive. Cone responses outside 0..10 000 cd/m² are held
    at these ends, for PQ has no values there.

    Args:
        rgb_lin, truth_lin: scene-linear Rec.709.
        white_cd_m2: how bright 1.0 is shown.
    """
    i, t, p = (_ictcp(rgb_lin, white_cd_m2) - _ictcp(truth_lin, white_cd_m2)).unbind(dim=-3)
    # T is half of Ct, hence the quarter.
    return 720 * (i.square() + 0.25 * t.square() + p.square()).sqrt().float()


def _ictcp(rgb_lin: Tensor, white_cd_m2: float) -> Tensor:
    # In float64: PQ's exponent of 79 blows the rounding of float32 up to hundredths of ΔE.
    to_lms = torch.tensor(_LMS, dtype=torch.float64) / 4096 @ torch.tensor(_REC709_TO_REC2020, dtype=torch.float64)
    lms = torch.einsum("ij,...jhw->...ihw", to_lms, rgb_lin.cpu().double() * (white_cd_m2 / _BRIGHTEST_CD_M2))
    powered = lms.clamp(0, 1) ** _PQ_M1
    lms_pq = ((_PQ_C1 + _PQ_C2 * powered) / (1 + _PQ_C3 * powered)) ** _PQ_M2
    return torch.einsum("ij,...jhw->...ihw", torch.tensor(_ICTCP, dtype=torch.float64) / 4096, lms_pq)


def tone_map(rgb_lin: Tensor) -> Tensor:
    """A display picture in 0..1: L / (1 + L) channel by channel, then the sRGB curve; same shape.

    The simple global operator of Reinhard et al., Photographic tone reproduction for digital images, SIGGRAPH 2002
    (equation 3), on each channel and without scaling by the scene's key, so that a clip is never regraded. Light below
    zero is black.

    Args:
        rgb_lin: scene-linear Rec.709, any shape.
    """
    light = rgb_lin.clamp_min(0)
    return get_encoding("srgb").encode(light / (1 + light))
