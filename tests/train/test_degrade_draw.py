"""Drawing degradations: shares and ranges, seeds, what is off, and configs that cannot be drawn."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from seqhdr.errors import UnknownNameError, UsageError
from seqhdr.train.degrade import Degradation, DegradeConfig, degrade, draw_degradation
from seqhdr.train.response import Response
from tests.train.degrade_examples import only, soft_clip


def test_off_is_the_plain_path() -> None:
    light = soft_clip()
    rng = np.random.default_rng(0)
    for _ in range(10):
        drawn = draw_degradation(rng, only())
        plain = Degradation(drawn.encoding, drawn.median_stops, drawn.clipped)
        assert dataclasses.replace(drawn, seed=0, half_width_factor=1.0) == plain
        np.testing.assert_array_equal(degrade(light, drawn).codes, degrade(light, plain).codes)


def test_switching_one_off_leaves_the_others_as_they_were() -> None:
    # JPEG and H.264 share one number, so each is looked at on its own below.
    shares = {
        "response_share": {"response": None},
        "noise_share": {"noise_shot": 0.0, "noise_read": 0.0},
        "grain_share": {"grain_size_px": 0.0, "grain_stops": 0.0},
        "resolution_share": {"resolution_factor": None},
        "dither_share": {"dither": False},
        "jpeg_share": {"jpeg_quality": None},
        "flicker_share": {"flicker_stops": 0.0, "white_balance_stops": 0.0},
        "crush_share": {"crush": 0.0},
        "ev_share": {"ev_stops": 0.0},
    }
    on = only(**dict.fromkeys(shares, 1.0))
    for share, off in shares.items():
        for seed in range(5):
            drawn = draw_degradation(np.random.default_rng(seed), on)
            without = draw_degradation(np.random.default_rng(seed), dataclasses.replace(on, **{share: 0.0}))
            assert without == dataclasses.replace(drawn, **off)
    assert draw_degradation(np.random.default_rng(0), on).grain_stops > 0


def test_shares_and_ranges_are_kept() -> None:
    config = DegradeConfig()
    rng = np.random.default_rng(0)
    drawn = [draw_degradation(rng, config) for _ in range(3000)]

    def share(of: list[bool]) -> float:
        return sum(of) / len(of)

    display = [d for d in drawn if d.encoding in ("srgb", "rec709")]
    log = [d for d in drawn if d.encoding in ("acescct", "logc3")]
    for name, expected in config.encodings.items():
        assert share([d.encoding == name for d in drawn]) == pytest.approx(expected, abs=0.03)
    assert share([d.clipped > 0 for d in display]) == pytest.approx(0.65, abs=0.04)
    assert share([d.response is not None for d in display]) == pytest.approx(0.2, abs=0.03)
    assert not any(d.response or d.clipped for d in log)
    kinds = [d.response.kind == "srgb" for d in display if d.response]
    assert share(kinds) == pytest.approx(0.3, abs=0.08)
    assert share([d.noise_shot > 0 for d in drawn]) == pytest.approx(0.1, abs=0.02)
    assert share([d.grain_stops > 0 for d in drawn]) == pytest.approx(0.15, abs=0.025)
    assert share([d.resolution_factor is not None for d in drawn]) == pytest.approx(0.1, abs=0.02)
    assert share([d.dither for d in drawn]) == pytest.approx(0.05, abs=0.015)
    assert share([d.jpeg_quality is not None for d in drawn]) == pytest.approx(0.12, abs=0.02)
    assert share([d.h264_crf is not None for d in drawn]) == pytest.approx(0.12, abs=0.02)
    assert share([d.flicker_stops > 0 for d in drawn]) == pytest.approx(0.05, abs=0.015)
    assert share([d.crush > 0 for d in drawn]) == pytest.approx(0.05, abs=0.015)
    assert not any(d.jpeg_quality is not None and d.h264_crf is not None for d in drawn)
    assert share([d.h264_cut_down for d in drawn]) == pytest.approx(0.6, abs=0.03)

    def within(values: list[float], low: float, high: float, reach: float = 0.2) -> None:
        assert low <= min(values) < low + reach * (high - low)
        assert high >= max(values) > high - reach * (high - low)

    within([d.median_stops for d in log], -5.5, 0.5)
    within([d.median_stops for d in display if d.clipped], -3, 1)
    within([d.median_stops for d in display if not d.clipped], -6, -1)
    within([d.clipped for d in display if d.clipped], 0.002, 0.12)
    within([d.jpeg_quality for d in drawn if d.jpeg_quality is not None], 55, 97)
    within([d.h264_crf for d in drawn if d.h264_crf is not None], 16, 30)
    within([d.resolution_factor for d in drawn if d.resolution_factor is not None], 1.2, 3)
    within([d.grain_stops for d in drawn if d.grain_stops], 0.005, 0.1)
    within([d.noise_read for d in drawn if d.noise_read], 1e-4, 4e-3)
    within([d.half_width_factor for d in drawn], 0.8, 1.25)
    assert len({d.seed for d in drawn}) == len(drawn)


def test_the_same_seed_draws_the_same_and_it_goes_into_json() -> None:
    config = only(
        **{f.name: 1.0 for f in dataclasses.fields(DegradeConfig) if f.name.endswith("_share")} | {"h264_share": 0.0}
    )
    for seed in range(10):
        drawn = draw_degradation(np.random.default_rng(seed), config)
        assert drawn == draw_degradation(np.random.default_rng(seed), config)
        told = json.loads(json.dumps(dataclasses.asdict(drawn)))
        response = told.pop("response")
        assert Degradation(**told, response=response and Response(**response)) == drawn


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"noise_share": 1.5}, "noise_share: 1.5 is not a share"),
        ({"dither_share": math.nan}, "dither_share: nan is not a share"),
        ({"jpeg_quality": (90.0, 60.0)}, "jpeg_quality: .* is not a range"),
        ({"h264_crf": (16.0, 60.0)}, r"h264_crf: .* in 0.0\.\.51.0"),
        ({"noise_shot": (0.0, 0.1)}, "noise_shot: .* is not a range"),
        ({"log_median_stops": (math.nan, 1.0)}, "log_median_stops: .* is not a range"),
        ({"encodings": {}}, "encodings: .* no positive shares"),
        ({"encodings": {"srgb": 0.0}}, "encodings: .* no positive shares"),
        ({"encodings": {"srgb": 1.0, "rec709": -0.1}}, "encodings: .* no positive shares"),
        ({"jpeg_share": 0.7, "h264_share": 0.4}, "exclude each other"),
    ],
)
def test_a_config_that_cannot_be_drawn_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DegradeConfig(**wrong)  # type: ignore[arg-type]


def test_unknown_encodings_and_shapes_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="srbg"):
        draw_degradation(np.random.default_rng(0), DegradeConfig(encodings={"srbg": 1.0}))
    with pytest.raises(ValueError, match=r"got shape \(8, 8, 3\), expected \(T, H, W, 3\)"):
        degrade(np.ones((8, 8, 3), np.float32), Degradation("srgb"))
