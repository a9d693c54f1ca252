"""Camera response curves: from exposed light to code values, for material that no standard curve was used on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seqhdr.color.encodings import get_encoding

__all__ = ["RESPONSE_KINDS", "Response", "apply_response", "invert_response"]

RESPONSE_KINDS = ("sigmoid", "srgb")


@dataclass(frozen=True)
class Response:
    """One camera.

    Attributes:
        kind: ``sigmoid``, V = (1 + σ) H^n / (H^n + σ), fitted to the measured curves of many cameras by Eilertsen et
            al., "HDR image reconstruction from a single exposure using deep CNNs" (ACM TOG 36(6), 2017), with n near
            0.9 and σ near 0.6; or ``srgb``, the curve of IEC 61966-2-1 whatever the codes are declared to be.
        n: > 0, exponent of the sigmoid; not used by ``srgb``.
        sigma: > 0, shoulder of the sigmoid: the smaller, the softer its highlights; not used by ``srgb``.

    Raises:
        ValueError: an unknown kind, or n or sigma not positive.
    """

    kind: str = "sigmoid"
    n: float = 0.9
    sigma: float = 0.6

    def __post_init__(self) -> None:
        """Refuse what is no curve."""
        if self.kind not in RESPONSE_KINDS:
            raise ValueError(f"response kind: got {self.kind!r}, expected one of {', '.join(RESPONSE_KINDS)}")
        if not (self.n > 0 and self.sigma > 0):
            raise ValueError(f"response: got n = {self.n}, sigma = {self.sigma}, expected both above 0")


def apply_response(response: Response, rgb_lin: Tensor) -> Tensor:
    """Code values V of exposed light H.

    The curve rises everywhere, with 0 ↦ 0 and 1 ↦ 1. It goes on above 1 (the sigmoid towards 1 + σ) and is mirrored
    for the negative light that noise makes.

    Args:
        response: the camera.
        rgb_lin: any shape and floating dtype, light with 1 at the clip level.

    Returns:
        V = code / 255, the same shape.
    """
    if response.kind == "srgb":
        return get_encoding("srgb").encode(rgb_lin)
    powered = rgb_lin.abs() ** response.n
    return torch.sign(rgb_lin) * (1 + response.sigma) * powered / (powered + response.sigma)


def invert_response(response: Response, value: Tensor) -> Tensor:
    """Exposed light of code values, the inverse of :func:`apply_response`: H^n = σ V / (1 + σ - V).

    Args:
        response: the camera.
        value: V = code / 255, any shape; of a sigmoid within ±(1 + σ), and infinite light at these ends.
    """
    if response.kind == "srgb":
        return get_encoding("srgb").decode(value)
    size = value.abs()
    return torch.sign(value) * (response.sigma * size / (1 + response.sigma - size)) ** (1 / response.n)
