"""The README's pictures show what a run wrote, and every number drawn into them is the one that was used."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from seqhdr.train.panorama import Panorama
from seqhdr.train.procedural import procedural_panorama

SIZE = {"width": 96, "height": 54, "frames": 3}
Lights = tuple[Any, Any, Any]


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    path = Path(__file__).parents[1] / "tools" / "readme_pictures.py"
    spec = importlib.util.spec_from_file_location("readme_pictures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patched:
        # Dataclasses look their module up.
        patched.setitem(sys.modules, "readme_pictures", module)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def panorama() -> Panorama:
    return procedural_panorama(1, 1024)


@pytest.fixture(scope="module")
def sky(tool: ModuleType, panorama: Panorama) -> Lights:
    return tool.before_after_truth(panorama, tool.SKY, **SIZE)


@pytest.fixture(scope="module")
def lamp(tool: ModuleType, panorama: Panorama) -> Lights:
    return tool.before_after_truth(panorama, tool.LAMP, **SIZE)


def encoded(light: Any) -> Any:
    """Scene-linear → sRGB, IEC 61966-2-1."""
    light = np.maximum(light, 0)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]


def test_before_is_the_truth_rounded_to_8_bits_and_after_lies_between_the_codes(sky: Lights) -> None:
    before, after, truth = (encoded(light) * 255 for light in sky)
    np.testing.assert_allclose(before, before.round(), atol=1e-3)
    np.testing.assert_allclose(before, truth, atol=0.501)
    # Half a code, and what half floats add.
    assert np.abs(after - before).max() < 0.6
    assert np.abs(after - before).mean() > 0.05


def test_the_frame_shown_is_the_last_of_a_shot_that_moves(
    tool: ModuleType, panorama: Panorama, sky: Lights, tmp_path: Path
) -> None:
    truth = tool.film(panorama, tool.SKY, tmp_path, *SIZE.values())
    np.testing.assert_array_equal(truth, sky[2])
    shot = [cv2.imread(str(path))[..., ::-1] for path in sorted(tmp_path.glob("shot_*.png"))]
    assert len(shot) == SIZE["frames"]
    np.testing.assert_array_equal(shot[-1], (encoded(sky[0]) * 255).round())
    assert all((frame != shot[-1]).any() for frame in shot[:-1])
    twice = dataclasses.replace(tool.SKY, exposure=2 * tool.SKY.exposure)
    np.testing.assert_allclose(tool.film(panorama, twice, tmp_path, *SIZE.values()), 2 * truth, rtol=1e-6)


def test_the_sky_after_has_more_levels_and_is_closer_to_the_truth(tool: ModuleType, sky: Lights) -> None:
    before, after, truth = tool.sky_shown(sky).rows[1].panels
    levels = [len(np.unique((panel[..., 1] * 255).round())) for panel in (before, after, truth)]
    assert levels[1] > 2 * levels[0]
    assert levels[2] > 2 * levels[0]
    assert np.abs(after - truth).mean() < np.abs(before - truth).mean()


def test_the_lamp_after_is_brighter_than_before_and_all_else_as_it_was(tool: ModuleType, lamp: Lights) -> None:
    before, after, truth = tool.lamp_shown(lamp).rows[1].panels
    clipped = (lamp[0] > 0.999).all(axis=-1)
    assert 20 < clipped.sum() < 1000
    assert after[clipped].mean() > before[clipped].mean() + 0.02
    assert truth[clipped].mean() > before[clipped].mean() + 0.1
    assert np.abs(after - before)[(lamp[0] < 0.9).all(axis=-1)].max() < 0.02


@pytest.mark.parametrize("stretch", [3, 12])
def test_the_stretch_that_is_drawn_is_the_one_used(tool: ModuleType, sky: Lights, stretch: int) -> None:
    shown = tool.sky_shown(sky, stretch)
    plain, stretched = shown.rows
    assert numbers(shown.caption) == [stretch]
    mean = plain.panels[0].mean(axis=(0, 1))
    for light, panel, flat, title in zip(sky, stretched.panels, plain.panels, stretched.titles, strict=True):
        np.testing.assert_allclose(flat, encoded(light), atol=1e-5)
        inside = (panel > 0) & (panel < 1)
        expected = (flat - mean) * stretch + mean
        np.testing.assert_allclose(panel[inside], expected[inside], atol=1e-4)
        assert numbers(title) == [stretch, len(np.unique((panel[..., 1] * 255).round()))]


@pytest.mark.parametrize("stops", [2, 4])
def test_the_stops_and_peaks_that_are_drawn_are_those_used(tool: ModuleType, lamp: Lights, stops: int) -> None:
    shown = tool.lamp_shown(lamp, stops)
    assert numbers(shown.caption) == [stops, 1.0]
    for light, panel, title in zip(lamp, shown.rows[1].panels, shown.rows[1].titles, strict=True):
        np.testing.assert_allclose(panel, encoded(np.minimum(light / 2**stops, 1)), atol=1e-5)
        assert numbers(title) == [stops, pytest.approx(light.max(), abs=0.051)]


def test_the_sheet_holds_every_panel_and_every_line_of_text(
    tool: ModuleType, lamp: Lights, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, tuple[int, int]]] = []

    def put(paper: Any, text: str, place: tuple[int, int], *more: Any) -> None:
        drawn.append((text, place))

    shown = tool.lamp_shown(lamp)
    with monkeypatch.context() as patched:
        patched.setattr(tool.cv2, "putText", put)
        empty = tool.sheet(shown)
    full = tool.sheet(shown)
    lines = [title for row in shown.rows for title in row.titles] + [shown.caption]
    assert [text for text, _ in drawn] == lines
    panels = [panel for row in shown.rows for panel in row.panels]
    height, width = panels[0].shape[:2]
    for panel, (_, (x, y)) in zip(panels, drawn, strict=False):
        top, left = y - y % (height + tool._STRIP) + tool._STRIP, x - x % (width + tool._GAP)
        np.testing.assert_array_equal(full[top : top + height, left : left + width], (panel * 255).round())
    # Text changes only the strips between the panels.
    assert len(np.unique(np.nonzero((full != empty).any(axis=(1, 2)))[0] // (height + tool._STRIP))) == 3


def test_the_tool_writes_both_pictures_wide_enough_to_read_and_small_enough_to_keep(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    filmed = []

    def lights(panorama: Any, view: Any, *, model: str) -> Lights:
        filmed.append((view, model))
        ramp = np.linspace(0.1, 2.0, tool.WIDTH * tool.HEIGHT * 3, dtype=np.float32)
        truth = ramp.reshape(tool.HEIGHT, tool.WIDTH, 3)
        return np.minimum(truth, 1), truth * np.float32(0.9), truth

    monkeypatch.setattr(tool, "before_after_truth", lights)
    monkeypatch.setattr(tool, "procedural_panorama", lambda seed, height: None)
    monkeypatch.setattr("sys.argv", ["readme_pictures.py", "-o", str(tmp_path / "pictures"), "--model", "mine"])
    tool.main()
    assert filmed == [(tool.SKY, "mine"), (tool.LAMP, "mine")]
    out = capsys.readouterr().out
    for name, show in (("sky", tool.sky_shown), ("lamp", tool.lamp_shown)):
        path = tmp_path / "pictures" / f"{name}.png"
        picture = cv2.imread(str(path))
        assert 1150 < picture.shape[1] < 1250
        assert path.stat().st_size < 300_000
        np.testing.assert_array_equal(picture[..., ::-1], tool.sheet(show(lights(None, None, model=""))))
        assert str(path) in out
