"""Curves from the colours of edges, against the curves the pictures were made with."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from seqhdr.classic.response_edges import edge_curve
from tests.classic.response_pictures import CURVES, expose, polygons, rms_error


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("noise", [0.0, 0.006])
def test_one_picture_gives_the_curve_within_five_percent(name: str, noise: float) -> None:
    curve = edge_curve([expose(polygons(), name, noise=noise)], 255)
    assert rms_error(curve.light, name) <= 0.05
    assert curve.confidence == "high"
    assert curve.method == "edges"
    assert not curve.per_channel
    other = "gamma 1.8" if name != "gamma 1.8" else "gamma 2.4"
    assert rms_error(curve.light, other) > 2 * rms_error(curve.light, name)


def test_deeper_codes_mean_the_same() -> None:
    codes = expose(polygons(), "srgb", noise=0.003)
    one, other = edge_curve([codes], 255), edge_curve([codes.astype(np.uint16) * 257], 65535)
    assert np.abs(one.light - other.light).max() < 1e-6


def test_the_same_frame_again_is_no_more_evidence() -> None:
    codes = expose(polygons(count=8, size=(96, 128)), "srgb")
    one, many = edge_curve([codes], 255), edge_curve([codes] * 6, 255)
    assert one.confidence == many.confidence == "low"


def test_edges_that_were_drawn_in_codes_are_called_no_camera_s() -> None:
    """Scaled after the curve, edges blend codes: the fit is a straight line, and must not be believed."""
    fine = expose(polygons(fine=1, size=(1024, 1536), count=60), "srgb")
    small = cv2.resize(fine, (384, 256), interpolation=cv2.INTER_AREA)
    curve = edge_curve([small], 255)
    assert curve.confidence == "low"
    assert "no usual camera has" in curve.reason
    assert curve.spread > 0.05


@pytest.mark.parametrize("quality", [80, 90, 95, 99])
def test_compression_is_noticed(quality: int) -> None:
    codes = expose(polygons(), "srgb", noise=0.006)
    written = cv2.imencode(".jpg", codes[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    curve = edge_curve([cv2.imdecode(written, cv2.IMREAD_COLOR)[..., ::-1]], 255)
    assert rms_error(curve.light, "srgb") > 0.02
    assert curve.confidence == "low"


@pytest.mark.parametrize("shape", [(64, 64, 3), (2, 40, 3), (40, 2, 3)])
def test_a_picture_without_edges_gives_the_usual_curve_and_says_so(shape: tuple[int, int, int]) -> None:
    curve = edge_curve([np.full(shape, 128, np.uint8)], 255)
    assert curve.confidence == "low"
    assert curve.reason.startswith(
        "only 0 pixels in 0 places show edges between uniform colours: give several exposures"
    )
    assert rms_error(curve.light, "srgb") < 0.06


def test_grey_edges_tell_nothing() -> None:
    grey = polygons().mean(axis=2, keepdims=True).repeat(3, axis=2)
    assert edge_curve([expose(grey, "srgb")], 255).confidence == "low"
