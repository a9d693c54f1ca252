"""Small pictures for a page: frames as JPEG, and what was measured on them as heat maps."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from seqhdr.quality.readable import quantity

__all__ = ["heat_legend", "heat_map", "thumbnail"]

Image = npt.NDArray[Any]

_KNEE = 0.6  # linear light up to here is shown as it is
_QUALITY = 85
_BRIGHTEST = 65504.0  # stands for infinite light


def thumbnail(rgb_lin: Image, width_px: int) -> bytes:
    """A frame as it would look on an sRGB screen, with room above white.

    Exposure is left alone. Where a pixel's largest channel m is above a = 0.6 it is led to a + (1 − a) · t / (1 + t)
    with t = (m − a) / (1 − a), which goes on from the straight line without a kink and approaches 1, and the other
    channels are scaled alike, which keeps the hue: light of 1, 4 and 16 is shown as 0.80, 0.96 and 0.99. Then comes
    the sRGB curve (IEC 61966-2-1). Pixels are averaged as light, before all this.

    Args:
        rgb_lin: (H, W, 3) float, scene-linear light, Rec.709 primaries. NaN and light below zero are shown black.
        width_px: wanted; a frame that is smaller stays as it is.

    Returns:
        JPEG.

    Raises:
        ValueError: another shape.
    """
    if rgb_lin.ndim != 3 or rgb_lin.shape[2] != 3:
        raise ValueError(f"got a picture of shape {rgb_lin.shape}: expected (H, W, 3)")
    height, width = rgb_lin.shape[:2]
    light: Image = np.nan_to_num(rgb_lin.astype(np.float32), nan=0.0, posinf=_BRIGHTEST, neginf=0.0)
    if width > width_px:
        size = (width_px, max(round(height * width_px / width), 1))
        light = cv2.resize(light, size, interpolation=cv2.INTER_AREA)
    light = light.clip(0, _BRIGHTEST)
    largest = light.max(axis=2, keepdims=True)
    beyond = np.maximum(largest - _KNEE, 0) / (1 - _KNEE)
    rolled = np.where(beyond > 0, _KNEE + (1 - _KNEE) * beyond / (1 + beyond), largest)
    light *= rolled / np.maximum(largest, 1e-9)
    shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    codes = (255 * shown + 0.5).astype(np.uint8)
    return _encoded(".jpg", codes[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])


def heat_map(values: npt.NDArray[np.float32], limit: float) -> bytes:
    """What was measured as colours that grow brighter evenly, black at 0 and pale yellow from ``limit`` on (inferno).

    Args:
        values: (h, w); NaN was not counted and becomes transparent.
        limit: positive.

    Returns:
        PNG with alpha, (h, w).

    Raises:
        ValueError: the limit is not positive, or the values are no plane.
    """
    if values.ndim != 2 or not limit > 0:
        raise ValueError(f"got values of shape {values.shape} and a limit of {limit}: expected (h, w), above 0")
    counted = ~np.isnan(values)
    ranks = (np.where(counted, values, 0) / limit).clip(0, 1) * 255 + 0.5
    colours = cv2.applyColorMap(ranks.astype(np.uint8), cv2.COLORMAP_INFERNO)
    alpha = np.where(counted, 255, 0).astype(np.uint8)
    return _encoded(".png", np.dstack([colours, alpha]), [])


def heat_legend(limit: float, unit: str) -> Markup:
    """The colours of :func:`heat_map` as a strip of HTML, with the values at its ends.

    Args:
        limit: as given to :func:`heat_map`.
        unit: of the values.
    """
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)[None]
    colours = cv2.applyColorMap(steps, cv2.COLORMAP_INFERNO)[0, :, ::-1]
    stops = ", ".join(f"rgb({r}, {g}, {b})" for r, g, b in colours.tolist())
    return Markup(
        '<span class="heat-legend"><span>0</span>'
        '<span class="strip" style="background: linear-gradient(to right, {})" aria-hidden="true"></span>'
        "<span>{} and more</span></span>"
    ).format(stops, quantity(limit, unit))


def _encoded(kind: str, image: Image, options: list[int]) -> bytes:
    done, data = cv2.imencode(kind, np.ascontiguousarray(image), options)
    if not done:
        raise ValueError(f"got a picture of shape {image.shape} that cannot become {kind}: expected uint8")
    return bytes(data)
