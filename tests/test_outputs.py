"""What the shipped weights make has no traces of a network: measured, with bounds that broken weights do not keep.

Bounds in codes are what a file of half floats adds by itself: in ACEScct's middle, 0.25 to 0.5, neighbouring halves are
2^-12 apart, 0.062 of a code, and rounding to them errs by 0.018 (RMS).
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import seqhdr.model.recall
import seqhdr.model.tiles
from seqhdr.model.cards import load_model
from seqhdr.model.net import SeqNet
from seqhdr.train.synthetic import SyntheticClip, open_panorama

TOOLS = Path(__file__).parents[1] / "tools"
HALF_RMS_LSB = 255 * 2**-12 / math.sqrt(12)
# A tenth of a stop in ACEScct.
TENTH_STOP = 0.1 / 17.52
# What a memory may cost beside none: motion as a run has it, and motion that is pixels off in every frame.
TOLERANCE_DB = 0.05
WRONG_MOTION_DB = 1.0
WRONG = ("smooth errors", "5 px off")
SIZE = (256, 144)

Frames = list  # of output_clips.Frame, a class of the tools


@pytest.fixture(scope="module")
def checks() -> Iterator[ModuleType]:
    """``tools/check_outputs.py``, as Python finds it when the tool is run."""
    sys.path.insert(0, str(TOOLS))
    try:
        import check_outputs

        yield check_outputs
    finally:
        sys.path.remove(str(TOOLS))


@pytest.fixture(scope="module")
def net() -> SeqNet:
    return load_model("s")


@pytest.fixture(scope="module")
def clips(checks: ModuleType) -> list[SyntheticClip]:
    """A shot in ACEScct, and one in sRGB with clipped parts; both move."""
    panorama = open_panorama("procedural:2", 512)
    return [checks.film(panorama, encoding, SIZE, 3, seed) for encoding, seed in (("acescct", 2), ("srgb", 2))]


@pytest.fixture(scope="module")
def filmed(checks: ModuleType, net: SeqNet, clips: list[SyntheticClip]) -> Frames:
    return [frame for clip in clips for frame in checks.predict(net, clip)]


@pytest.fixture(scope="module")
def skies(checks: ModuleType, net: SeqNet) -> Frames:
    """Two painted skies, the first and the second frame of each."""
    painted = (checks.paint_sky(kind, "acescct", (512, 288), 2) for kind in checks.SKIES)
    return [frame for sky in painted for frame in checks.predict(net, sky)]


def spoil(frames: Frames, trace: Callable[[Tensor], Tensor] | Tensor) -> Frames:
    """The same frames with something added to the offsets."""
    return [
        dataclasses.replace(f, offset_lsb=f.offset_lsb + (trace if isinstance(trace, Tensor) else trace(f.value_lsb)))
        for f in frames
    ]


def places(frame: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of the pixels."""
    y, x = torch.meshgrid(*(torch.arange(size) for size in frame.shape[-2:]), indexing="ij")
    return y, x


def patterns_kept(checks: ModuleType, frames: Frames) -> dict[str, bool]:
    found = checks.patterns(frames)
    return {what: row["result"] <= row["truth"] + HALF_RMS_LSB for what, row in found.items()}


def test_nothing_alternates_and_no_line_stands_out(checks: ModuleType, filmed: Frames, skies: Frames) -> None:
    for frames in (filmed, skies):
        kept = patterns_kept(checks, frames)
        assert len(kept) == 5
        assert all(kept.values()), checks.patterns(frames)


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("checkerboard", lambda y, x: (x + y) % 2),
        ("columns alternate", lambda y, x: x % 2),
        ("rows alternate", lambda y, x: y % 2),
        ("scanlines", lambda y, x: (y % 4 == 0) * 3),
        ("upright lines", lambda y, x: (x % 4 == 0) * 3),
    ],
)
def test_a_twentieth_of_a_code_would_be_found(
    checks: ModuleType, filmed: Frames, name: str, sign: Callable[[Tensor, Tensor], Tensor]
) -> None:
    spoilt = spoil(filmed, lambda frame: 0.05 * (1 - 2.0 * sign(*places(frame))))
    assert not patterns_kept(checks, spoilt)[name]


def grid_kept(checks: ModuleType, frames: Frames, period_px: int) -> bool:
    locked, chance = checks.grid(frames, period_px)["result"]
    return bool(locked <= HALF_RMS_LSB + chance)


@pytest.mark.parametrize("period_px", [4, 8, 16, 32])
def test_errors_are_not_locked_to_the_networks_cells(
    checks: ModuleType, filmed: Frames, skies: Frames, period_px: int
) -> None:
    frames = filmed + skies
    assert checks.grid(frames, period_px)["result"][1] < HALF_RMS_LSB, "too few windows to tell"
    assert grid_kept(checks, frames, period_px), checks.grid(frames, period_px)
    spoilt = spoil(frames, lambda frame: 0.05 * torch.cos(2 * math.pi * places(frame)[1] / period_px + 1))
    spoilt_down = spoil(frames, lambda frame: 0.05 * torch.cos(2 * math.pi * places(frame)[0] / period_px + 1))
    # Only half of all windows look along an axis, and only the squares of their amplitudes are averaged.
    assert not grid_kept(checks, spoilt, period_px)
    assert not grid_kept(checks, spoilt_down, period_px)


def test_a_blur_that_is_enlarged_from_nearest_cells_would_be_found(checks: ModuleType, skies: Frames) -> None:
    def stairs(value: Tensor) -> Tensor:
        cells = F.avg_pool2d(value[None], 8)
        return (F.interpolate(cells, scale_factor=8, mode="nearest")[0] - value).clamp(-0.5, 0.5)

    assert not grid_kept(checks, spoil(skies, stairs), 8)


@pytest.mark.parametrize("ramped", [True, False])
def test_tiles_leave_no_step_where_they_begin_and_end(
    checks: ModuleType, net: SeqNet, monkeypatch: pytest.MonkeyPatch, ramped: bool
) -> None:
    sky = checks.paint_sky("slope", "acescct", (384, 256), 2)
    film = checks.film(open_panorama("procedural:2", 512), "acescct", (384, 256), 2, 2)
    whole = [frame for clip in (sky, film) for frame in checks.predict(net, clip)]

    # Tiles that differ from each other, as narrow views of one frame do, only more: the ramps between them hide that.
    signs = iter([0.05, -0.05] * 100)
    step = net.step

    def biased(*args: object, **kwargs: object) -> object:
        prediction, state = step(*args, **kwargs)
        return dataclasses.replace(prediction, offset_lsb=prediction.offset_lsb + next(signs)), state

    monkeypatch.setattr(net, "step", biased)
    if not ramped:
        monkeypatch.setattr(seqhdr.model.tiles, "_ramp", lambda start, stop, length: torch.ones(stop - start).numpy())
    tiled = [frame for clip in (sky, film) for frame in checks.predict(net, clip, tile=256)]
    found = checks.seams(whole, tiled, 256)
    kept = found["tiled - whole"]["seams"] <= HALF_RMS_LSB and found["tiled"]["seams"] <= (
        found["whole"]["seams"] + HALF_RMS_LSB
    )
    assert kept == ramped, found
    assert found["tiled"]["elsewhere"] <= found["whole"]["elsewhere"] + HALF_RMS_LSB


def fringes_kept(checks: ModuleType, frames: Frames) -> tuple[bool, bool]:
    found = checks.fringes(frames)
    near_clip, edge = found["within 4 px of a clip"], found["within 4 px of a strong edge"]
    clip_kept = near_clip["result"] <= near_clip["identity"] + TENTH_STOP
    clip_kept &= abs(near_clip["result bias"]) <= abs(near_clip["identity bias"]) + TENTH_STOP / 2
    edge_kept = edge["result"] <= edge["identity"]
    return clip_kept, edge_kept and abs(edge["result bias"]) <= abs(edge["identity bias"]) + TENTH_STOP / 10


def test_no_green_or_purple_around_what_is_clipped_or_at_edges(checks: ModuleType, filmed: Frames) -> None:
    assert fringes_kept(checks, filmed) == (True, True), checks.fringes(filmed)
    green = torch.tensor((0.0, 1.0, 0.0)).view(3, 1, 1)
    brighter = [dataclasses.replace(f, result_gain_stops=f.result_gain_stops + green) for f in filmed]
    assert fringes_kept(checks, brighter) == (False, True)
    assert fringes_kept(checks, spoil(filmed, -0.5 * green))[1] is False


def skies_kept(checks: ModuleType, frame: object) -> dict[str, bool]:
    banded, gains = checks.banded_shares(frame), checks.gain_by_width([frame])
    # A band of more than half of a frame's height shows no second edge to bend between.
    least = {"4-16": 10.0, "16-64": 8.0, "64-256": 1.0}
    kept = {width: gain > least[width] for width, gain in gains.items()}
    return kept | {"bands": banded["result"] <= banded["truth"] + 0.01 and banded["identity"] > 0.5}


@pytest.mark.parametrize("kind", ["slope", "radial"])
def test_skies_wider_than_any_training_crop_lose_their_bands(checks: ModuleType, net: SeqNet, kind: str) -> None:
    for size in ((384, 216), (768, 432)):
        (frame,) = checks.predict(net, checks.paint_sky(kind, "srgb", size))
        kept = skies_kept(checks, frame)
        assert len(kept) > 2
        assert all(kept.values()), (checks.gain_by_width([frame]), checks.banded_shares(frame))
        as_it_was = dataclasses.replace(frame, offset_lsb=torch.zeros_like(frame.codes))
        assert not any(skies_kept(checks, as_it_was).values())


def flows_kept(found: dict[str, dict[str, float]]) -> dict[str, bool]:
    alone = found["single frame"]
    least = {kind: -WRONG_MOTION_DB if kind in WRONG else -TOLERANCE_DB for kind in found}
    return {kind: all(row[s] - alone[s] >= least[kind] for s in ("whole", "flat")) for kind, row in found.items()}


def test_no_motion_makes_a_shot_worse_than_its_single_frames_and_wrong_motion_hardly(
    checks: ModuleType, net: SeqNet, clips: list[SyntheticClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = checks.compare_flows(net, clips)
    assert list(found) == list(checks.FLOWS)
    assert all(flows_kept(found).values()), found
    assert found["exact"]["whole"] > found["single frame"]["whole"] + TOLERANCE_DB

    # A memory that is trusted wherever it comes from:
    monkeypatch.setattr(seqhdr.model.recall, "_VALID_WIDTHS", 1e6)
    monkeypatch.setattr(seqhdr.model.recall, "_AREA_WIDTHS", 1e6)
    monkeypatch.setattr(checks, "FLOWS", ("single frame", *WRONG))
    trusting = checks.compare_flows(net, clips)
    assert flows_kept(trusting)["5 px off"] is False, trusting


def test_a_painted_sky_is_the_same_picture_at_every_size_and_moves_as_it_says(checks: ModuleType) -> None:
    for kind in checks.SKIES:
        small, large = (checks.paint_sky(kind, "srgb", (width, width // 2), 2) for width in (320, 640))
        averaged = F.avg_pool2d(torch.from_numpy(large.degraded.value_lsb).permute(0, 3, 1, 2), 2)
        torch.testing.assert_close(
            averaged, torch.from_numpy(small.degraded.value_lsb).permute(0, 3, 1, 2), atol=2e-3, rtol=0
        )
        # 4 pixels across and 1.6 down a frame: after interpolation along the flow the sky before is the sky now.
        before, now = torch.from_numpy(large.degraded.value_lsb).permute(0, 3, 1, 2)
        warped, inside = seqhdr.model.recall.warp(before[None], large.flow_px[1:])
        assert float(((warped[0] - now) * inside[0]).abs().max()) < 1e-2
        assert float((before - now).abs().max()) > 0.1
        assert abs(small.degraded.codes - small.degraded.value_lsb).max() <= 0.5
