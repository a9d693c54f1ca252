"""The table of merged exposures: light is what was filmed, and knowing the noise is worth something."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

TOOLS = Path(__file__).parents[1] / "tools"
STOPS = (-4.0, -2.0, 0.0, 2.0)


@pytest.fixture(scope="module")
def tool() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        module = importlib.import_module("stack_table")
        patch.setattr(module, "SIZE", (96, 64))
        yield module


def test_codes_are_the_light_of_their_exposure(tool: ModuleType) -> None:
    codes, light = tool.expose(tool.film("procedural:1", 0), STOPS, None, 0)
    for stops, shown in zip(STOPS, codes, strict=True):
        expected = tool.SRGB.encode(light * 2.0**stops).clamp(0, 1) * 255
        assert float((shown - expected).abs().max()) < 0.51
    # From an exposure that is not 0 too.
    _, again = tool.expose(tool.film("procedural:1", 0), (-4.0, 1.0), None, 0)
    np.testing.assert_allclose(again, light * 2.0, rtol=1e-5)


def test_the_noise_aware_merge_is_the_best_and_darker_exposures_say_what_is_clipped(tool: ModuleType) -> None:
    lights = [tool.film("procedural:1", seed) for seed in range(2)]
    noisy = tool.measure(lights, STOPS, tool.NOISE)
    assert max(noisy, key=lambda method: noisy[method].gain_db) == "granados"
    assert noisy["granados"].gain_db > 3
    assert all(sums.clipped_ratio < 0.5 for sums in noisy.values())


def test_the_reference_alone_gains_nothing(tool: ModuleType) -> None:
    lights = [tool.film("procedural:1", 0)]
    for sums in tool.measure(lights, (0.0,), None).values():
        assert sums.gain_db == pytest.approx(0, abs=1e-3)
        assert sums.clipped_ratio == pytest.approx(1, abs=0.01)


def test_the_command_prints_a_row_per_method(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["stack_table.py", "procedural:2", "--frames", "1", "--ev", "-2", "0", "2"])
    tool.main()
    printed = capsys.readouterr().out
    assert "EV -2, +0, +2; 1 frames" in printed
    assert all(name in printed for name in ("debevec", "granados", "mann", "mitsunaga", "robertson"))
