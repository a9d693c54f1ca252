"""Flicker of clips that flicker by a known amount, at rest and moving, in float and in 8 bits."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from statistics import mean

import numpy as np
import pytest
import torch
from torch import Tensor

from seqhdr.color.encodings import get_encoding, primaries_matrix
from seqhdr.model.motion import DisFlow
from seqhdr.quality.flicker import (
    FlickerMeter,
    FrameFlicker,
    colour_jitter,
    exposure_jitter,
    flow_difference_px,
)
from seqhdr.quality.lattice import Motion, Picture, make_lattice
from seqhdr.quality.levelling import exposure_step
from seqhdr.quality.stops import stops

H, W, FRAMES = 96, 128, 6
PER_CENT = math.log2(1.01)
SRGB, ACESCCT = get_encoding("srgb"), get_encoding("acescct")
REST, PAN = (0.0, 0.0), (1.37, -0.61)
Step = tuple[float, float]
Exposure = Callable[[int], tuple[float, float, float]]


def scene(dx: float, dy: float, height: int = H, width: int = W) -> Tensor:
    """(3, H, W) light, moved by (dx, dy) pixels: smooth at the top, fine texture at the bottom; exact."""
    y, x = np.mgrid[:height, :width].astype(np.float64) - np.array([dy, dx]).reshape(2, 1, 1)
    smooth = 1.1 * np.sin(x / 41 + 1) * np.cos(y / 37) + 0.5 * np.sin(x / 97 - y / 53)
    texture = 0.25 * np.sin(x / 1.3 + np.sin(y / 5)) * np.sin(y / 1.7 + 0.8 * np.sin(x / 9))
    light = 0.22 * 2 ** (smooth + texture / (1 + np.exp((0.55 * height - y) / 4)))
    return torch.from_numpy(np.stack([0.8 * light, light, 1.05 * light**0.95])).float()


def alternating(t: int) -> tuple[float, float, float]:
    return (1.01 ** (t % 2),) * 3


def steady(t: int) -> tuple[float, float, float]:
    return (1.0,) * 3


def fading(t: int) -> tuple[float, float, float]:
    return (0.8 * 1.02**t,) * 3


def in_red(t: int) -> tuple[float, float, float]:
    return (1.03 ** (t % 2), 1.0, 1.0)


def rounded(light: Tensor, bits: int) -> Tensor:
    """What is left of light in sRGB codes."""
    top = 2**bits - 1
    return SRGB.decode((SRGB.encode(light).clamp(0, 1) * top).round() / top)


def clip(step: Step, exposure: Exposure, bits: int | None = None) -> Iterator[Picture]:
    for t in range(FRAMES):
        light = scene(step[0] * t, step[1] * t) * torch.tensor(exposure(t)).view(3, 1, 1)
        yield Picture(stops(light if bits is None else rounded(light, bits)))


def moves(step: Step, height: int = H, width: int = W) -> Motion:
    flow_px = torch.tensor(step).view(2, 1, 1).expand(2, height, width)
    return Motion(-flow_px, flow_px)


def measure(step: Step, exposure: Exposure, bits: int | None = None) -> tuple[list[FrameFlicker], FlickerMeter]:
    """With the exact flow."""
    meter = FlickerMeter(make_lattice(H, W))
    frames = []
    for t, picture in enumerate(clip(step, exposure, bits)):
        frame = meter.add({"result": picture}, "result", moves(step) if t else None)
        assert (frame is None) == (t == 0)
        frames += [frame] if frame else []
    return frames, meter


def exposures(frames: list[FrameFlicker], name: str = "result") -> list[float | None]:
    return [None, *(frame.by_name[name].exposure_stops for frame in frames)]


def known(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def jitter(frames: list[FrameFlicker], name: str = "result") -> list[float]:
    return known(exposure_jitter(exposures(frames, name)))


def flicker(frames: list[FrameFlicker], name: str = "result") -> float:
    return mean(frame.by_name[name].flicker_stops for frame in frames)


@pytest.mark.parametrize("step", [REST, PAN])
def test_an_alternation_by_a_per_cent_reads_so(step: Step) -> None:
    frames, _ = measure(step, alternating)
    assert len(jitter(frames)) == FRAMES - 2
    assert jitter(frames) == pytest.approx([PER_CENT] * (FRAMES - 2), rel=0.02)
    assert flicker(frames) == pytest.approx(PER_CENT, rel=0.02)
    signs = [round(value / PER_CENT) for value in known(exposures(frames))]
    assert signs == [1, -1, 1, -1, 1]


@pytest.mark.parametrize("step", [REST, PAN])
def test_a_steady_clip_reads_nothing(step: Step) -> None:
    frames, meter = measure(step, steady)
    std = meter.finish().by_name["result"].motion_std_stops
    assert std is not None
    assert max(flicker(frames), std, *jitter(frames)) < 0.001
    assert all(frame.counted_share > 0.95 for frame in frames)


@pytest.mark.parametrize("step", [REST, PAN])
@pytest.mark.parametrize("bits", [None, 8])
def test_a_fade_is_no_jitter(step: Step, bits: int | None) -> None:
    frames, _ = measure(step, fading, bits)
    assert known(exposures(frames)) == pytest.approx([math.log2(1.02)] * (FRAMES - 1), rel=0.03)
    assert max(jitter(frames)) < 0.0005


@pytest.mark.parametrize("step", [REST, PAN])
def test_eight_bits_neither_hide_nor_make_jitter(step: Step) -> None:
    assert jitter(measure(step, alternating, 8)[0]) == pytest.approx([PER_CENT] * (FRAMES - 2), rel=0.05)
    assert max(jitter(measure(step, steady, 8)[0])) < 0.0005


@pytest.mark.parametrize("step", [REST, PAN])
@pytest.mark.parametrize("bits", [None, 8])
def test_a_channel_that_flickers_is_colour_and_a_third_exposure(step: Step, bits: int | None) -> None:
    frames, _ = measure(step, in_red, bits)
    change = math.log2(1.03)
    colours = [None, *(frame.by_name["result"].colour_stops for frame in frames)]
    assert known(colour_jitter(colours)) == pytest.approx([change * 2 / 3] * (FRAMES - 2), rel=0.03)
    assert jitter(frames) == pytest.approx([change / 3] * (FRAMES - 2), rel=0.03)
    red, green, blue = frames[0].by_name["result"].colour_stops
    assert (red, green, blue) == pytest.approx((change * 2 / 3, -change / 3, -change / 3), rel=0.05)


def test_rounding_to_eight_bits_flickers_and_sixteen_do_not() -> None:
    meter = FlickerMeter(make_lattice(H, W))
    frames = []
    pairs = zip(clip(PAN, steady, 8), clip(PAN, steady, 16), strict=True)
    for t, (source, truth) in enumerate(pairs):
        pictures = {"result": truth, "source": source}
        frames += [meter.add(pictures, "source", moves(PAN) if t else None)]
    measured = [frame for frame in frames if frame]
    assert flicker(measured, "source") > 4 * flicker(measured, "result")
    by_name = meter.finish().by_name
    assert (by_name["source"].motion_std_stops or 0) > 4 * (by_name["result"].motion_std_stops or 0) > 0


def test_flicker_of_a_part_is_seen_there() -> None:
    height, width, change = 144, 256, math.log2(1.03)
    lattice = make_lattice(height, width, 2)
    meter = FlickerMeter(lattice)
    frames = []
    for t in range(3):
        light = scene(PAN[0] * t, PAN[1] * t, height, width) ** 0.1  # gradients of a frame ten times as large
        light[:, : height // 2, : width // 2] *= 1.03 ** (t % 2)
        frames += [meter.add({"result": Picture(stops(light))}, "result", moves(PAN, height, width) if t else None)]
    frame = frames[1]
    assert frame is not None
    heat = frame.heat_stops
    assert heat.dtype == np.float32
    assert heat.shape == (lattice.rows, lattice.columns)
    smooth = heat[: lattice.rows // 4]  # far from the texture
    assert np.nanmedian(smooth[:, : lattice.columns // 2 - 2]) > 0.5 * change
    assert np.nanmax(smooth[:, lattice.columns // 2 + 2 :]) < 0.1 * change
    assert abs(frame.by_name["result"].exposure_stops) < 0.001  # most of the frame is steady
    # Flat places weigh more, and there are more of them in the upper half.
    assert 0.2 * change < frame.by_name["result"].flicker_stops < 0.6 * change


def test_edges_do_not_flicker_when_the_flow_is_a_little_off() -> None:
    at_px, meter = (0.15, 0.1), FlickerMeter(make_lattice(H, W))
    y, x = np.mgrid[:H, :W]
    light = torch.from_numpy(np.where((x // 16 + y // 16) % 2 == 0, 0.05, 0.8)).float().expand(3, H, W)
    picture = Picture(stops(light.clone()))
    meter.add({"result": picture}, "result", None)
    frame = meter.add({"result": picture}, "result", moves(at_px))
    assert frame is not None
    assert frame.by_name["result"].flicker_stops < 0.002
    assert np.nanmax(frame.heat_stops) < 0.01
    moved = picture.at(meter._at_px - torch.tensor(at_px)) - picture.stops
    assert float(moved.abs().mean()) > 0.03  # what a plain mean would say


def test_what_a_layer_hid_does_not_count() -> None:
    meter = FlickerMeter(make_lattice(H, W))
    step = 9
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")

    def layer(left: int) -> Tensor:
        return (x >= left) & (x < left + 40) & (y >= 30) & (y < 70)

    before, now = layer(40), layer(40 + step)
    backward_px, forward_px = torch.zeros(2, H, W), torch.zeros(2, H, W)
    backward_px[0][now], forward_px[0][before] = -step, step
    pictures = [Picture(stops(torch.where(mask, 1.5, 0.1).expand(3, H, W))) for mask in (before, now)]
    meter.add({"result": pictures[0]}, "result", None)
    frame = meter.add({"result": pictures[1]}, "result", Motion(backward_px, forward_px))
    assert frame is not None
    assert np.array_equal(np.isnan(frame.heat_stops), (before & ~now).numpy())
    assert frame.counted_share == pytest.approx(1 - step * 40 / (H * W))
    assert frame.by_name["result"].flicker_stops < 1e-4


def test_pixels_clipped_in_any_sequence_count_in_none() -> None:
    lattice = make_lattice(H, W)
    light = scene(0, 0)
    first, second = torch.ones(2, H, W, dtype=torch.bool).unbind()
    first[10:30], second[50:60] = False, False
    wild = stops(light)
    wild[:, 10:30] += 7
    meter = FlickerMeter(lattice)
    quiet = Picture(stops(light))
    meter.add({"result": Picture(stops(light), usable=second), "source": quiet}, "source", None)
    frame = meter.add({"result": quiet, "source": Picture(wild, usable=first)}, "source", moves(REST))
    assert frame is not None
    uncounted = np.isnan(frame.heat_stops).all(axis=1)
    # Of the frame before, all rows that bicubic interpolation reads have to be good.
    assert set(np.flatnonzero(uncounted)) >= set(range(10, 30)) | set(range(50, 60))
    assert uncounted.sum() <= 20 + 10 + 4
    assert frame.by_name["source"].flicker_stops < 1e-4


def test_a_frame_without_anything_to_count_has_no_numbers() -> None:
    meter = FlickerMeter(make_lattice(H, W))
    nothing = Picture(stops(scene(0, 0)), usable=torch.zeros(H, W, dtype=torch.bool))
    meter.add({"result": nothing}, "result", None)
    frame = meter.add({"result": nothing}, "result", moves(REST))
    assert frame is not None
    assert (frame.by_name, frame.counted_share) == ({}, 0)
    assert np.isnan(frame.heat_stops).all()


def test_the_same_light_in_other_primaries_reads_the_same() -> None:
    matrix = primaries_matrix(SRGB, ACESCCT)
    meter = FlickerMeter(make_lattice(H, W))
    frames = []
    for t in range(3):
        light = scene(PAN[0] * t, PAN[1] * t) * torch.tensor(in_red(t)).view(3, 1, 1)
        wide = torch.einsum("ij,jyx->iyx", matrix.float(), light)
        pictures = {"source": Picture(stops(light), matrix.float()), "result": Picture(stops(wide))}
        frames += [meter.add(pictures, "source", moves(PAN) if t else None)]
    for frame in frames[1:]:
        assert frame is not None
        source, result = frame.by_name["source"], frame.by_name["result"]
        assert source.exposure_stops == pytest.approx(result.exposure_stops, abs=2e-4)
        assert source.colour_stops == pytest.approx(result.colour_stops, abs=2e-4)
        assert source.flicker_stops == pytest.approx(result.flicker_stops, rel=0.01)


def test_after_a_cut_nothing_is_compared_with_before() -> None:
    meter = FlickerMeter(make_lattice(H, W))
    frames = []
    for t in range(6):
        light = scene(PAN[0] * t, PAN[1] * t) if t < 3 else 0.3 * scene(PAN[0] * t + 500, 0)
        step = PAN if t < 3 else (PAN[0], 0.0)
        frames += [meter.add({"result": Picture(stops(light))}, "result", moves(step) if t % 3 else None)]
    assert [frame is None for frame in frames] == [True, False, False] * 2
    assert all(frame.by_name["result"].flicker_stops < 0.001 for frame in frames if frame)


@pytest.mark.parametrize("size", [(5, 7), (16, 16), (40, 33)])
def test_small_frames_have_an_exposure_too(size: tuple[int, int]) -> None:
    meter = FlickerMeter(make_lattice(*size))
    light = scene(0, 0, *size)
    meter.add({"result": Picture(stops(light))}, "result", None)
    frame = meter.add({"result": Picture(stops(1.01 * light))}, "result", moves(REST, *size))
    assert frame is not None
    assert frame.by_name["result"].exposure_stops == pytest.approx(PER_CENT, rel=0.01)


def test_few_blocks_are_divided() -> None:
    size = (16, 16)
    meter = FlickerMeter(make_lattice(*size))
    light = torch.full((3, *size), 0.2)
    after = light.clone()
    after[:, :, :4] *= 1.5
    meter.add({"result": Picture(stops(light))}, "result", None)
    frame = meter.add({"result": Picture(stops(after))}, "result", moves(REST, *size))
    assert frame is not None
    # Four of sixteen blocks are brighter. Of four blocks two would be, and their median between the two.
    assert frame.by_name["result"].exposure_stops == pytest.approx(0, abs=1e-5)


def test_uncounted_pixels_stay_out_of_their_blocks() -> None:
    meter = FlickerMeter(make_lattice(H, W))
    light = scene(0, 0)
    usable = (torch.arange(H) % 2 == 0)[:, None].expand(H, W)
    after = torch.where(usable, 1.01 * light, 9 * light)
    meter.add({"result": Picture(stops(light))}, "result", None)
    frame = meter.add({"result": Picture(stops(after), usable=usable)}, "result", moves(REST))
    assert frame is not None
    assert frame.by_name["result"].exposure_stops == pytest.approx(PER_CENT, rel=0.01)


def test_the_reference_alone_gives_the_weights() -> None:
    flat, textured = (Picture(stops(light)) for light in (torch.full((3, H, W), 0.2), scene(0, 0)))
    seen = {}
    for reference in ("source", "result"):
        meter = FlickerMeter(make_lattice(H, W))
        pictures = {"result": textured, "source": flat}
        meter.add(pictures, reference, None)
        frame = meter.add(pictures, reference, moves((0.2, 0.2)))
        assert frame is not None
        seen[reference] = frame.by_name["result"].flicker_stops
    assert seen["source"] > 2 * seen["result"]


def test_half_counted_blocks_are_enough_and_fewer_are_not() -> None:
    # Left 3 of 8 columns of each block darken by far but are too few; of what is counted nothing else changes.
    size = (64, 64)
    meter = FlickerMeter(make_lattice(*size))
    usable = torch.ones(size, dtype=torch.bool)
    usable[:, 32:] = (torch.arange(32) % 8 < 3)[None]
    light = torch.full((3, *size), 0.2)
    after = light.clone()
    after[:, :, 32:] *= 1.5
    after[:, :20] *= 1.1
    meter.add({"result": Picture(stops(light))}, "result", None)
    frame = meter.add({"result": Picture(stops(after), usable=usable)}, "result", moves(REST, *size))
    assert frame is not None
    # 32 whole blocks; rows 0-15 are 8 of them brighter by 10 %, a third row half so: the median is 0.
    assert frame.by_name["result"].exposure_stops == pytest.approx(0, abs=1e-5)


def test_jitter_of_a_list_by_hand() -> None:
    cumulated = [0.0, 0.3, 0.1, 0.1, 0.7]
    steps = [None, *np.diff(cumulated)]
    expected = [abs(cumulated[t] - (cumulated[t - 1] + cumulated[t + 1]) / 2) for t in (1, 2, 3)]
    out = exposure_jitter([*steps, None, 0.2, 0.2, 0.1])
    assert out == pytest.approx([None, *expected, None, None, 0, 0.05, None])
    assert exposure_jitter([]) == []
    assert exposure_jitter([None]) == [None]
    colours = [None, (0.1, 0.0, -0.1), (0.1, 0.3, -0.3), None]
    assert colour_jitter(colours) == pytest.approx([None, 0.15, None, None])


def test_the_difference_of_flows_is_the_sum_of_both_directions() -> None:
    a = torch.zeros(2, 4, 6)
    b = a.clone()
    b[0] += 0.3
    b[1, :2] -= 0.5
    assert flow_difference_px(a, b) == pytest.approx(0.3 + 0.25)
    assert flow_difference_px(b, b) == 0
    with pytest.raises(ValueError, match=r"got flows of .* expected \(2, H, W\) twice"):
        flow_difference_px(a, b[:, :2])


def levelled(light: Tensor, gain_stops: float) -> Tensor:
    return SRGB.encode(light * 2**gain_stops)[None]


@pytest.mark.parametrize("bits", [None, 8])
def test_with_estimated_flow_the_numbers_hold(bits: int | None) -> None:
    height, width = 144, 256
    lattice, estimate = make_lattice(height, width, 2), DisFlow()
    numbers = {}
    for exposure in (steady, alternating):
        meter = FlickerMeter(lattice)
        frames: list[FrameFlicker] = []
        lights: list[Tensor] = []
        for t in range(5):
            light = scene(PAN[0] * t, PAN[1] * t, height, width) * torch.tensor(exposure(t)).view(3, 1, 1)
            light = light if bits is None else rounded(light, bits)
            motion, picture = None, Picture(stops(light))
            if lights:
                gain = exposure_step(picture, Picture(stops(lights[-1])), lattice)
                here, before = levelled(light, 0), levelled(lights[-1], gain)
                motion = Motion(estimate(here, before)[0], estimate(before, here)[0])
            lights.append(light)
            frame = meter.add({"result": picture}, "result", motion)
            frames += [frame] if frame else []
        numbers[exposure] = jitter(frames), flicker(frames)
    assert numbers[alternating][0] == pytest.approx([PER_CENT] * 3, rel=0.05)
    assert max(numbers[steady][0]) < 0.0005
    if bits is None:
        assert numbers[alternating][1] == pytest.approx(PER_CENT, rel=0.05)
        assert numbers[steady][1] < 0.002


def reachable_bytes(root: object) -> int:
    """Of all tensors and arrays that hang on an object."""
    seen, queue, total = set(), [root], 0
    while queue:
        item = queue.pop()
        if id(item) in seen or isinstance(item, type) or type(item).__name__ in {"module", "function"}:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            total += item.untyped_storage().nbytes()
        elif isinstance(item, np.ndarray):
            total += item.nbytes
        else:
            total += 32 * len(item) if isinstance(item, list | dict) else 0
            queue += gc.get_referents(item)
    return total


def test_memory_does_not_grow_with_the_shot() -> None:
    meter = FlickerMeter(make_lattice(24, 32))
    picture = Picture(stops(scene(0, 0, 24, 32)))
    sizes = []
    for t in range(60):
        meter.add({"result": picture}, "result", moves(REST, 24, 32) if t else None)
        sizes.append(reachable_bytes(meter))
    assert sizes[11] == sizes[59] > 24 * 32 * 12


def test_frames_that_do_not_belong_to_the_shot_are_refused() -> None:
    picture, small = Picture(stops(scene(0, 0))), Picture(stops(scene(0, 0, H, W - 1)))
    meter = FlickerMeter(make_lattice(H, W))
    with pytest.raises(ValueError, match="got motion for the first frame"):
        meter.add({"result": picture}, "result", moves(REST))
    with pytest.raises(ValueError, match=r"got pictures and flows of .*127.*: expected \(96, 128\)"):
        meter.add({"result": small}, "result", None)
    with pytest.raises(ValueError, match=r"got pictures of \['source'\]: expected 'source' and 'result' in them"):
        meter.add({"source": picture}, "source", None)
    meter.add({"result": picture}, "result", None)
    with pytest.raises(ValueError, match=r"got pictures and flows of"):
        meter.add({"result": picture}, "result", moves(REST, H, W - 1))
    with pytest.raises(ValueError, match=r"expected \['result'\], as before"):
        meter.add({"result": picture, "source": picture}, "source", moves(REST))
