"""Motion between frames that moved exactly: with a camera that turns and zooms, and some things otherwise."""

from __future__ import annotations

import math
from statistics import mean

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.encodings import get_encoding, primaries_matrix
from seqhdr.model.motion import DisFlow
from seqhdr.pipeline.reference_flow import ReferenceFlow, display_picture, flow_size, small_light
from seqhdr.quality.flicker import FlickerMeter, FrameFlicker, exposure_jitter
from seqhdr.quality.lattice import Motion, Picture, make_lattice
from seqhdr.quality.levelling import exposure_step
from seqhdr.quality.stops import BLACK_LIGHT, stops

H, W = 144, 256
SRGB = get_encoding("srgb")
PER_CENT = math.log2(1.01)
REST, PAN = np.eye(3), np.array([[1, 0, 1.3], [0, 1, -0.6], [0, 0, 1.0]])
ZOOM = np.array([[0.982, 0, 3.1], [0, 0.982, 2.0], [0, 0, 1.0]])
TURN = np.array([[1, 0.004, 0.5], [-0.004, 1, 1.1], [2e-5, -1e-5, 1.0]])
Coordinates = tuple[NDArray[np.float64], NDArray[np.float64]]


def places(camera: NDArray[np.float64], height: int = H, width: int = W) -> Coordinates:
    """Where a homography takes all pixels."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    to = np.tensordot(camera, np.stack([x, y, np.ones_like(x)]), axes=1)
    return to[0] / to[2], to[1] / to[2]


def scene(at: Coordinates, height: int = H) -> Tensor:
    """(3, H, W) light: a smooth sky, and under it texture."""
    x, y = at
    smooth = 1.1 * np.sin(x / 83 + 1) * np.cos(y / 71) + 0.5 * np.sin(x / 97 - y / 83)
    texture = 0.5 * np.sin(x / 3.1 + np.sin(y / 5)) * np.sin(y / 2.7 + 0.8 * np.sin(x / 9))
    light = 0.2 * 2 ** (smooth + texture / (1 + np.exp((0.6 * height - y) / 4)))
    return torch.from_numpy(np.stack([0.8 * light, light, 1.05 * light**0.95])).float()


def rounded(light: Tensor) -> Tensor:
    """What 8 bits leave of light."""
    return SRGB.decode((SRGB.encode(light).clamp(0, 1) * 255).round() / 255)


def small(light: Tensor, by: int = 1) -> Tensor:
    return small_light(stops(light), (light.shape[1] // by, light.shape[2] // by), None)


def flow_of(camera: NDArray[np.float64], height: int = H, width: int = W) -> Tensor:
    x, y = places(camera, height, width)
    here_x, here_y = places(REST, height, width)
    return torch.from_numpy(np.stack([x - here_x, y - here_y])).float()


def estimate(before: Tensor, now: Tensor, step_stops: float = 0.0, by: int = 1) -> Motion:
    flow = ReferenceFlow(now.shape[1], now.shape[2], SRGB)
    assert flow.step({"source": small(before, by)}, "source", None, None) == (None, None)
    motion, tof_px = flow.step({"source": small(now, by)}, "source", None, step_stops)
    assert motion is not None
    assert tof_px is None
    return motion


def off_px(flow_px: Tensor, exact_px: Tensor) -> Tensor:
    """(H, W), away from the border, which the other frame may not show."""
    return (flow_px - exact_px).norm(dim=0)[12:-12, 12:-12]


@pytest.mark.parametrize("camera", [PAN, ZOOM, TURN])
@pytest.mark.parametrize("by", [1, 2])
def test_a_smooth_sky_goes_with_the_camera(camera: NDArray[np.float64], by: int) -> None:
    height, width = H * by, W * by
    before, now = (rounded(scene(places(c, height, width), height)) for c in (REST, camera))
    motion = estimate(before, now, by=by)
    off = off_px(motion.backward_px, flow_of(camera, height, width))
    assert float(off.mean()) < 0.06 * by
    assert float(off.max()) < 0.3 * by
    back = off_px(motion.forward_px, flow_of(np.linalg.inv(camera), height, width))
    assert float(back.mean()) < 0.06 * by
    shown = [display_picture(small(light, by), SRGB) for light in (now, before)]
    alone = DisFlow()(*shown)[0] * by
    if by == 1:
        assert float(off_px(alone, flow_of(camera)).mean()) > 3 * float(off.mean())


def with_square(left: int) -> Tensor:
    light = scene(places(REST))
    x, y = places(REST)
    patch = torch.from_numpy(0.2 + 0.15 * np.sin((x - left) / 2.3) * np.sin(y / 1.9)).float()
    light[:, 40:104, left : left + 64] = patch[40:104, left : left + 64]
    return light


def test_what_moves_otherwise_keeps_its_own_motion() -> None:
    motion = estimate(rounded(with_square(80)), rounded(with_square(84)))
    inner = motion.backward_px[:, 56:88, 100:132]
    assert inner[0].mean() == pytest.approx(-4, abs=0.1)
    assert inner[1].abs().mean() < 0.1
    around = motion.backward_px[:, :, 200:]
    assert around.abs().max() < 0.1


def test_the_motion_most_of_a_picture_has_is_the_cameras() -> None:
    # A third of the picture stands still before what moves; texture everywhere.
    before, now = scene(places(REST), 0), scene(places(PAN), 0)
    x, y = places(REST)
    fixed = torch.from_numpy(0.2 + 0.15 * np.sin(x / 2.3) * np.sin(y / 1.9)).float()
    for light in (before, now):
        light[:, :, :80] = fixed[:, :80]
    motion = estimate(before, now)
    assert motion.backward_px[:, 20:-20, 20:60].abs().max() < 0.15
    assert float(off_px(motion.backward_px, flow_of(PAN))[:, 90:].mean()) < 0.06


def test_a_step_of_exposure_is_taken_out_before() -> None:
    before, now = scene(places(REST)), 1.05 * scene(places(PAN))
    exact = flow_of(PAN)
    levelled = float(off_px(estimate(before, now, math.log2(1.05)).backward_px, exact).mean())
    wrong = float(off_px(estimate(before, now).backward_px, exact).mean())
    assert levelled < 0.06
    assert wrong > 2 * levelled


def test_a_step_that_is_none_changes_next_to_nothing() -> None:
    before, now = rounded(scene(places(REST))), rounded(scene(places(PAN)))
    still, level, more = (estimate(before, now, step).backward_px for step in (0.0, 0.0001, 0.003))
    assert torch.equal(still, level)
    assert not torch.equal(still, more)


def three(light: Tensor, gain: float) -> dict[str, Tensor]:
    return {"result": small(gain * light), "source": small(rounded(light)), "truth": small(light)}


@pytest.mark.parametrize("compared", ["source", "truth"])
@pytest.mark.parametrize("gain", [1.0, 1.02, 0.9])
def test_what_moves_alike_has_no_tof_even_if_it_flickers(compared: str, gain: float) -> None:
    flow = ReferenceFlow(H, W, SRGB)
    flow.step(three(scene(places(REST)), 1.0), "source", compared, None)
    _, tof_px = flow.step(three(scene(places(PAN)), gain), "source", compared, 0.0)
    assert tof_px is not None
    assert tof_px < 0.05
    _, tof_px = flow.step(three(scene(places(PAN @ PAN)), 1.0), "source", compared, 0.0)
    assert tof_px is not None
    assert tof_px < 0.05


def test_tof_is_the_difference_of_motion_in_pixels_of_the_frame() -> None:
    flow = ReferenceFlow(2 * H, 2 * W, SRGB)
    still, moved = (scene(places(camera, 2 * H, 2 * W), 2 * H) for camera in (REST, PAN @ PAN))
    flow.step({"result": small(still, 2), "source": small(still, 2)}, "source", "source", None)
    _, tof_px = flow.step({"result": small(moved, 2), "source": small(still, 2)}, "source", "source", 0.0)
    assert tof_px == pytest.approx(2.6 + 1.2, rel=0.2)


def test_identity_has_a_tof_of_zero() -> None:
    flow = ReferenceFlow(H, W, SRGB)
    frames = [rounded(scene(places(camera))) for camera in (REST, ZOOM)]
    flow.step(dict.fromkeys(("result", "source"), small(frames[0])), "source", "source", None)
    light = {"result": small(frames[1]), "source": small(frames[1])}
    assert flow.step(light, "source", "source", 0.0)[1] == 0


def test_after_a_cut_there_is_no_motion() -> None:
    flow = ReferenceFlow(H, W, None)
    light = {"result": small(scene(places(REST)))}
    assert flow.step(light, "result", None, 0.0) == (None, None)
    assert flow.step(light, "result", None, None) == (None, None)
    motion, _ = flow.step(light, "result", None, 0.0)
    assert motion is not None
    assert motion.backward_px.abs().max() < 1e-3


@pytest.mark.parametrize("size", [(5, 7), (20, 20), (40, 33), (64, 64)])
def test_where_there_is_nothing_to_see_nothing_moves(size: tuple[int, int]) -> None:
    flat = torch.full((3, *size), 0.2)
    motion = estimate(flat, flat)
    assert motion.backward_px.shape == (2, *size)
    assert motion.backward_px.abs().max() == 0
    assert motion.forward_px.abs().max() == 0


def test_black_and_wild_frames_give_finite_motion() -> None:
    noise = torch.rand(3, H, W, generator=torch.Generator().manual_seed(4))
    other = torch.rand(3, H, W, generator=torch.Generator().manual_seed(5))
    black = torch.zeros(3, H, W)
    for before, now in ((noise, other), (black, noise), (noise, black), (noise, noise.flip(2))):
        motion = estimate(before, now)
        assert bool(motion.backward_px.isfinite().all())
        assert bool(motion.forward_px.isfinite().all())


def measure(camera: NDArray[np.float64], gains: list[float]) -> tuple[list[FrameFlicker], list[float]]:
    """A result of floats over a steady source of 8 bits, as a report measures it; and its exposure jitter."""
    lattice = make_lattice(H, W)
    meter, flow = FlickerMeter(lattice), ReferenceFlow(H, W, SRGB)
    frames, before, at = [], None, REST
    for gain in gains:
        light = scene(places(at))
        pictures = {"result": Picture(stops(gain * light)), "source": Picture(stops(rounded(light)))}
        step = None if before is None else exposure_step(pictures["source"], before, lattice)
        before, at = pictures["source"], at @ camera
        levels = {name: small_light(picture.stops, (H, W), None) for name, picture in pictures.items()}
        motion, _ = flow.step(levels, "source", "source", step)
        frame = meter.add(pictures, "source", motion)
        frames += [frame] if frame else []
    exposures = [None, *(frame.by_name["result"].exposure_stops for frame in frames)]
    return frames, [value for value in exposure_jitter(exposures) if value is not None]


@pytest.mark.parametrize("camera", [REST, PAN, ZOOM, TURN])
def test_flicker_reads_what_was_put_in(camera: NDArray[np.float64]) -> None:
    frames, jitter = measure(camera, [1.0, 1.01, 1.0, 1.01, 1.0])
    assert jitter == pytest.approx([PER_CENT] * 3, rel=0.02)
    assert mean(f.by_name["result"].flicker_stops for f in frames) == pytest.approx(PER_CENT, rel=0.05)
    steady, jitter = measure(camera, [1.0] * 5)
    result, source = (mean(f.by_name[name].flicker_stops for f in steady) for name in ("result", "source"))
    assert max(jitter) < 0.0003
    assert result < 0.001
    assert camera is REST or result < source - 0.001


@pytest.mark.parametrize(
    ("frame", "small_frame"),
    [((288, 512), (288, 512)), ((864, 1536), (432, 768)), ((2160, 3840), (432, 768)), ((1, 500_000), (1, 250_000))],
)
def test_large_frames_are_divided_by_whole_numbers(frame: tuple[int, int], small_frame: tuple[int, int]) -> None:
    assert flow_size(*frame) == small_frame


def test_small_pictures_are_means_in_stops_and_common_primaries() -> None:
    light = torch.tensor([[0.1, 0.4], [0.2, 0.2]]).expand(3, 2, 2).contiguous()
    assert small_light(stops(light), (1, 1), None).flatten().tolist() == pytest.approx([0.2] * 3, rel=1e-3)
    assert small_light(stops(light), (2, 2), None)[0] == pytest.approx(light, rel=1e-4)
    colour = torch.tensor([0.1, 0.3, 0.7]).view(3, 1, 1)
    matrix = primaries_matrix(SRGB, get_encoding("acescg")).float()
    expected = (matrix @ colour.flatten()).tolist()
    assert small_light(stops(colour), (1, 1), matrix).flatten().tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("unit", [1e-3, 1e3, 3e4])
def test_a_picture_lit_in_another_unit_moves_alike(unit: float) -> None:
    """Renders in candela per square metre are thousands of times as bright as diffuse white at 1."""
    before, now = (small(scene(places(camera)) * unit) for camera in (REST, PAN))
    flow = ReferenceFlow(H, W, None)
    flow.step({"result": before}, "result", None, None)
    motion, _ = flow.step({"result": now}, "result", None, 0.0)
    assert motion is not None
    assert float(off_px(motion.backward_px, flow_of(PAN)).median()) < 0.05


def test_pictures_are_shown_as_the_source_is_or_compressed() -> None:
    light = torch.tensor([-BLACK_LIGHT, 0.0, 0.18, 1.0, 8.0]).expand(1, 3, 1, 5)
    own = display_picture(light, SRGB)[0, 0, 0]
    assert own.tolist() == pytest.approx([0, 0, float(SRGB.encode(torch.tensor(0.18))), 1, 1])
    compressed = display_picture(light, None)[0, 0, 0]
    expected = SRGB.encode(torch.tensor([0, 0, 0.18 / 1.18, 0.5, 8 / 9])).tolist()
    assert compressed.tolist() == pytest.approx(expected, abs=1e-6)
