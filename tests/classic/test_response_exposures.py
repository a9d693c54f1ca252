"""Curves from several exposures, against the curves the exposures were made with."""

from __future__ import annotations

import numpy as np
import pytest

from seqhdr.classic.response_exposures import exposure_curve
from seqhdr.errors import InputError
from tests.classic.response_pictures import CURVES, expose, rms_error, soft_scene


def exposures(name: str, stops: list[float], noise: float = 0.002) -> list[np.ndarray]:
    scene = soft_scene()
    return [expose(scene, name, ev, noise, seed).reshape(-1, 3) for seed, ev in enumerate(stops)]


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize(("method", "stops"), [("debevec", [-2.0, 0.0, 2.0]), ("robertson", [-1.0, 0.0, 1.0])])
def test_the_curve_is_found_within_two_percent(name: str, method: str, stops: list[float]) -> None:
    curve = exposure_curve(exposures(name, stops), stops, method)
    assert rms_error(curve.light, name) <= 0.02
    assert curve.confidence == "high"
    assert curve.light.shape == (256, 3)
    assert curve.method == method
    # Without being told which: another curve is further away.
    other = "gamma 1.8" if name != "gamma 1.8" else "gamma 2.4"
    assert rms_error(curve.light, other) > 2 * rms_error(curve.light, name)


def test_a_curve_for_each_channel() -> None:
    stops, scene = [-1.0, 0.0, 1.0], soft_scene(1)
    names = ("gamma 1.8", "srgb", "gamma 2.4")
    shots = []
    for seed, ev in enumerate(stops):
        channels = [expose(scene, name, ev, 0.002, seed)[..., c] for c, name in enumerate(names)]
        shots.append(np.stack(channels, axis=-1).reshape(-1, 3))
    curve = exposure_curve(shots, stops, "debevec")
    for channel, name in enumerate(names):
        assert rms_error(curve.light[:, channel : channel + 1], name) <= 0.02


def test_the_order_of_exposures_is_free_and_the_result_repeats() -> None:
    stops = [-1.0, 0.0, 1.0]
    shots = exposures("srgb", stops)
    one = exposure_curve(shots, stops, "robertson")
    other = exposure_curve([shots[i] for i in (2, 0, 1)], [1.0, -1.0, 0.0], "robertson")
    assert np.array_equal(one.light, other.light)
    assert one.spread == other.spread


def test_wide_steps_are_called_what_they_are() -> None:
    """Robertson's solver gets the curve wrong where exposures lie 2 stops apart, in a way no residual shows."""
    stops = [-2.0, 0.0, 2.0]
    curve = exposure_curve(exposures("srgb", stops), stops, "robertson")
    assert rms_error(curve.light, "srgb") > 0.02
    assert curve.confidence == "low"
    assert curve.reason.endswith("give exposures no more than 1 stop apart, or choose --method debevec")


def test_wrong_exposures_are_noticed() -> None:
    shots = exposures("srgb", [-2.0, 0.0, 2.0])
    with pytest.raises(InputError, match="do not get brighter with their stops"):
        exposure_curve(shots, [2.0, 0.0, -2.0], "debevec")
    black = [np.zeros((500, 3), np.uint8)] * 2
    with pytest.raises(InputError, match="only 0 pixels are well exposed in two exposures"):
        exposure_curve(black, [0.0, 1.0], "debevec")


def test_a_scene_of_few_codes_is_no_evidence() -> None:
    scene = np.random.default_rng(0).uniform(0.10, 0.11, (64, 64, 3))
    stops = [0.0, 1.0]
    shots = [expose(scene, "srgb", ev).reshape(-1, 3) for ev in stops]
    curve = exposure_curve(shots, stops, "debevec")
    assert curve.confidence == "low"
    assert "% of the codes were seen" in curve.reason
