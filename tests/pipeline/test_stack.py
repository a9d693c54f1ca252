"""``seqhdr stack``: exposures become one shot that keeps the codes of one of them; one shot becomes its own stack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqhdr import stack
from seqhdr.color.encodings import get_encoding
from seqhdr.errors import UsageError
from seqhdr.media.exr import read_exr
from seqhdr.pipeline.stack import parse_stops
from tests.conftest import HEIGHT, WIDTH, write_frame

STOPS = (-2.0, 0.0, 2.0)
NAMES = ("under", "normal", "over")
SRGB = get_encoding("srgb")


def light(frame: int) -> np.ndarray[Any, Any]:
    """(H, W, 3): a slope of six stops that moves, a lamp four times as bright as the clip, and something dark."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    grain = np.random.default_rng(5).random((HEIGHT, 2 * WIDTH))[:, frame : frame + WIDTH]
    out = 0.6 * 2.0 ** (-5 * (x + frame) / WIDTH + 0.4 * grain * (y > HEIGHT / 2))
    out[np.hypot(x - 20 + frame, y - 12) < 6] = 3.0
    return out[..., None] * np.array([1.0, 0.9, 0.8])


@pytest.fixture
def bracket(tmp_path: Path) -> list[str]:
    """Patterns of four frames in three exposures, two stops apart."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, stops in zip(NAMES, STOPS, strict=True):
        for frame in range(1, 5):
            value = SRGB.encode(torch.from_numpy(light(frame) * 2.0**stops)).clamp(0, 1).numpy()
            write_frame(folder / f"{name}.{frame:04d}.png", np.rint(value * 255).astype(np.uint8))
    return [str(folder / f"{name}.%04d.png") for name in NAMES]


def in_light(path: Path) -> np.ndarray[Any, Any]:
    channels, _ = read_exr(path)
    stored = torch.from_numpy(np.stack([channels[c] for c in "RGB"], axis=-1).astype(np.float64))
    return get_encoding("acescct").decode(stored).numpy()


def test_exposures_become_one_shot_that_keeps_the_codes_of_the_middle_one(
    bracket: list[str], seqhdr: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ran = seqhdr("stack", "--ev", "-2,0,2", *bracket, "-o", out, "--aov", "confidence")
    assert ran.code == 0, ran.err
    assert "told from the frames" not in ran.err
    written = out / "normal_acescct.%04d.exr"
    assert f"frames   {written}" in ran.out
    assert seqhdr("verify", written, "--source", bracket[1]).code == 0
    # The AP1 primaries of ACEScct are not those of the frames: compare how bright the lamp is.
    grey = in_light(out / "normal_acescct.0002.exr").mean(axis=-1)
    truth = light(2).mean(axis=-1)
    lamp = truth > 2.5
    np.testing.assert_allclose(np.log2(grey[lamp] / truth[lamp]), 0, atol=0.06)
    channels, info = read_exr(out / "normal_acescct.0002.exr")
    assert info.attributes["seqhdr:model"] == "stack (granados, EV -2, +0, +2)"
    assert float(channels["confidence.Y"][lamp].min()) > 0.9
    summary = json.loads((out / "normal_acescct.json").read_text())
    assert summary["source"] == "normal.%04d.png"
    assert max(frame["max_gain_stops"] for frame in summary["frames"]) == pytest.approx(np.log2(3.0), abs=0.05)


def test_exposures_are_told_from_the_frames_once_for_the_shot(bracket: list[str], seqhdr: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = seqhdr("stack", *reversed(bracket), "-o", out, "--no-report")
    assert ran.code == 0, ran.err
    told = next(line for line in ran.err.splitlines() if "told from the frames" in line)
    values = [float(word.strip(" ,")) for word in told.split("EV ")[1].split(", told")[0].split(",")]
    assert values == pytest.approx([2, 0, -2], abs=0.03)
    # A chunk of the shot says the same, so its frames are the same.
    again = seqhdr("stack", *reversed(bracket), "-o", tmp_path / "chunk", "--no-report", "--frames", "3")
    assert told in again.err
    one, other = (folder / "normal_acescct.0003.exr" for folder in (out, tmp_path / "chunk"))
    assert one.read_bytes() == other.read_bytes()
    kept = seqhdr("stack", *reversed(bracket), "-o", out, "--no-report", "--skip-existing")
    assert "0 frames written, 4 kept" in kept.err
    kept = seqhdr("stack", *reversed(bracket), "-o", out, "--no-report", "--skip-existing", "--weights", "debevec")
    assert "4 frames written, 0 kept" in kept.err


def test_what_moves_in_one_exposure_leaves_no_ghost(bracket: list[str], seqhdr: Any, tmp_path: Path) -> None:
    before = tmp_path / "before"
    assert seqhdr("stack", "--ev", "-2,0,2", *bracket, "-o", before, "--no-report").code == 0
    # The lamp has gone from the dark exposure: where the middle one clips, the dark one shows something far darker.
    path = Path(bracket[0] % 2)
    moved = light(2)
    moved[:26, 4:34] = 0.05
    value = SRGB.encode(torch.from_numpy(moved * 0.25)).clamp(0, 1).numpy()
    path.unlink()
    write_frame(path, np.rint(value * 255).astype(np.uint8))
    after = tmp_path / "after"
    assert seqhdr("stack", "--ev", "-2,0,2", *bracket, "-o", after, "--aov", "confidence", "--no-report").code == 0
    one, other = (in_light(folder / "normal_acescct.0002.exr").mean(axis=-1) for folder in (before, after))
    lamp = light(2).mean(axis=-1) > 2.5
    assert one[lamp].min() > 2.3
    np.testing.assert_allclose(other[lamp], 1, atol=0.2)  # as if there were no dark exposure
    channels, _ = read_exr(after / "normal_acescct.0002.exr")
    assert float(channels["confidence.Y"][lamp].max()) < 0.1
    elsewhere = np.s_[:, 44:]
    np.testing.assert_allclose(other[elsewhere], one[elsewhere])


def test_a_frame_that_one_exposure_lacks_is_named(bracket: list[str], seqhdr: Any, tmp_path: Path) -> None:
    Path(bracket[2] % 4).unlink()
    ran = seqhdr("stack", *bracket, "-o", tmp_path / "out")
    assert ran.code == 3
    assert f"{bracket[2]}: has other frames than {bracket[0]} (3 and 4): choose those that all exposures" in ran.err
    assert not (tmp_path / "out").exists()
    assert seqhdr("stack", *bracket, "-o", tmp_path / "out", "--frames", "1-3", "--no-report").code == 0


def test_a_frame_that_cannot_be_read_fails_alone(bracket: list[str], seqhdr: Any, tmp_path: Path) -> None:
    Path(bracket[0] % 3).write_bytes(Path(bracket[0] % 3).read_bytes()[:300])
    out = tmp_path / "out"
    ran = seqhdr("stack", "--ev=-2,0,2", *bracket, "-o", out, "--no-report")
    assert ran.code == 4
    assert "under.0003.png" in ran.err
    assert sorted(path.name for path in out.glob("*.exr")) == [f"normal_acescct.000{n}.exr" for n in (1, 2, 4)]


def test_other_sizes_and_unknown_words_are_refused_before_anything_is_written(
    bracket: list[str], seqhdr: Any, shoot: Any, tmp_path: Path
) -> None:
    small = shoot(range(1, 5), size=(WIDTH - 2, HEIGHT), folder="small")
    out = tmp_path / "out"
    cases = {
        (*bracket[:2], small): (3, f"is {WIDTH - 2}x{HEIGHT} with 8 bits, {bracket[0]} is {WIDTH}x{HEIGHT} with 8"),
        (*bracket, "--ev", "-2,0"): (2, "--ev has 2 numbers, and there are 3 exposures"),
        (*bracket, "--weights", "debevek"): (2, "unknown value of --weights 'debevek': did you mean debevec"),
        (bracket[0], bracket[0]): (3, "exposures look the same"),
        (bracket[0], "--peak-stops", "-1"): (2, "--peak-stops is -1: give 0 to 16 stops"),
    }
    for words, (code, sentence) in cases.items():
        ran = seqhdr("stack", *words, "-o", out)
        assert (ran.code, sentence in ran.err) == (code, True), ran.err
        assert not out.exists()


@pytest.mark.parametrize("text", ["", "1,two", "1,1", "1,30", "1,nan"])
def test_evs_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--ev"):
        parse_stops(text, 2)


def test_one_shot_is_stretched_and_keeps_its_codes(bracket: list[str], seqhdr: Any, tmp_path: Path) -> None:
    pattern, out = bracket[1], tmp_path / "out"
    ran = seqhdr("stack", pattern, "-o", out, "--peak-stops", 3)
    assert ran.code == 0, ran.err
    written = out / "normal_acescct.%04d.exr"
    assert seqhdr("verify", written, "--source", pattern).code == 0
    assert read_exr(out / "normal_acescct.0002.exr")[1].attributes["seqhdr:model"] == "luminance (granados, 3 stops)"
    (summary,) = (json.loads(path.read_text()) for path in out.glob("*acescct.json"))
    gains = [frame["max_gain_stops"] for frame in summary["frames"]]
    assert 0.5 < min(gains) <= max(gains) < 3
    # The same under its other name, with its own defaults.
    assert seqhdr("run", pattern, "-o", tmp_path / "run", "--model", "luminance", "--no-report").code == 0
    assert seqhdr("stack", pattern, "-o", tmp_path / "plain", "--no-report").code == 0
    one, other = (read_exr(tmp_path / d / "normal_acescct.0002.exr")[0] for d in ("run", "plain"))
    for channel, values in one.items():
        np.testing.assert_array_equal(values, other[channel])


def test_it_is_what_the_facade_does_too(bracket: list[str], tmp_path: Path) -> None:
    events: list[Any] = []
    report = stack(bracket, output=tmp_path / "out", on_event=events.append, report=False)
    assert [frame.frame for frame in report.shots[0].frames] == [1, 2, 3, 4]
    (told,) = (event for event in events if event.kind == "exposures")
    assert told.data["ev"] == pytest.approx(STOPS, abs=0.03)


def test_a_chunk_goes_by_the_exposures_of_the_whole_shot(bracket: list[str], tmp_path: Path) -> None:
    for frame in (1, 3):  # these are a little brighter than the others
        value = SRGB.encode(torch.from_numpy(light(frame) * 2.0 ** (STOPS[2] + 0.4))).clamp(0, 1).numpy()
        write_frame(Path(bracket[2] % frame), np.rint(value * 255).astype(np.uint8))
    told: list[Any] = []
    for frames in (None, "2"):
        out = tmp_path / f"out{frames}"
        stack(bracket, output=out, on_event=told.append, report=False, frames=frames)
    whole, chunk = (event.data["ev"] for event in told if event.kind == "exposures")
    assert chunk == whole
    assert whole[2] > 2.02  # frame 2 by itself says 2.00


@pytest.mark.parametrize("option", [{"deflicker": "gain"}, {"denoise": "auto"}])
def test_what_it_does_not_do_is_refused(bracket: list[str], tmp_path: Path, option: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="neither denoised nor deflickered"):
        stack(bracket, output=tmp_path / "out", **option)


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(
    bracket: list[str], seqhdr: Any, shoot: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ran = seqhdr("stack", *bracket, "-o", out, "--weights", "mann", "--dry-run")
    assert ran.code == 0, ran.err
    lines = dict(line.split(maxsplit=1) for line in ran.out.splitlines())
    assert lines["shot"] == bracket[1]
    assert lines["frames"] == "4 (1-4)"
    assert lines["model"].startswith("stack (mann, EV -2")
    ran = seqhdr("stack", shoot(), "-o", out, "--tile", "256", "--dry-run", "--log-json")
    planned = json.loads(ran.out)
    assert (planned["model"], planned["tile_px"]) == ("luminance (granados, 1 stops)", 256)
    assert not out.exists()
