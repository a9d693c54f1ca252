"""Flicker of models on clips with truth: against closed forms, and against predictions made by hand."""

from __future__ import annotations

import io
import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from seqhdr.errors import UsageError
from seqhdr.model.cards import load_model, read_card
from seqhdr.model.head import Prediction
from seqhdr.model.motion import occluded
from seqhdr.model.predict import Predictor
from seqhdr.pipeline.evaluate import EvalReport, evaluate
from seqhdr.pipeline.evaluate_flicker import MEASURES, ClipFlicker, ClipMeter, FlickerTable, forward_flow, sum_up
from seqhdr.pipeline.evaluate_tables import show, to_dict, to_markdown
from seqhdr.train.pairs import ClipInfo, PairFrame, find_clips, read_pair
from tests.conftest import CommandLine
from tests.pipeline.test_evaluate import write_clip

HEIGHT, WIDTH, FRAMES = 36, 48, 8
# ACEScct is a straight line in stops: log2(light) = 17.52 · value - 9.72.
STOPS_PER_CODE = 17.52 / 255


def clip_of(
    *, flow: bool = True, w: float = 0.5, frames: int = FRAMES, exposure_stops: list[float] | None = None
) -> ClipInfo:
    numbers = tuple(range(1, 1 + frames))
    made = {} if exposure_stops is None else {"camera": {"exposure_stops": exposure_stops}}
    return ClipInfo(Path("made/clip"), numbers, WIDTH, HEIGHT, "acescct", w, "scene", has_flow=flow, made=made)


def still(index: int, truth_offset_lsb: float = 0.0, *, lamp: int = 255) -> PairFrame:
    """A frame of a grey that does not move, and a lamp in it."""
    codes = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    codes[4:10, 4:10] = lamp
    value = torch.from_numpy(codes.transpose(2, 0, 1).astype(np.float32)) + truth_offset_lsb
    flow_px = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    return PairFrame(codes, value, torch.zeros_like(value), flow_px, np.full((HEIGHT, WIDTH), index > 0))


def says(offset_lsb: float, gain_stops: float = 0.0) -> Prediction:
    full = torch.zeros(1, 3, HEIGHT, WIDTH)
    return Prediction(full + offset_lsb, full + gain_stops, full)


def test_an_alternation_is_measured_as_it_can_be_worked_out() -> None:
    meter = ClipMeter(clip_of())
    for index in range(FRAMES):
        sign = 1 if index % 2 else -1
        # What is clipped may do what it likes.
        made = {"model": says(0.1 * sign, 3.0 * (index % 2)), "single_frame": says(0.25 * sign)}
        meter.add(still(index, 0.05 * sign), [made])
    (found,) = meter.finish()
    assert (found.name, found.scene, found.frames, found.exact_flow) == ("clip", "scene", FRAMES, True)
    assert list(found.table) == list(MEASURES)
    # From -a to +a, each beside two of the other sign: 2a. Standard deviation of as many +a as -a: a · sqrt(n / (n-1)).
    factors = {"flicker": 2.0, "exposure jitter": 2.0, "std along motion": math.sqrt(8 / 7)}
    for measure in MEASURES:
        unit = factors.get(measure, math.sqrt(8 / 7)) * STOPS_PER_CODE
        expected = {"truth": 0.05, "model": 0.1, "single_frame": 0.25, "identity": 0.0}
        expected |= {"model_excess": 0.05, "single_frame_excess": 0.2, "identity_excess": -0.05}
        row = found.table[measure]
        assert row.pop("memory_ratio") == pytest.approx(0.25, rel=1e-3)
        assert row == {name: pytest.approx(unit * value, rel=1e-3, abs=2e-6) for name, value in expected.items()}
    lamp = np.ones((HEIGHT, WIDTH), bool)
    lamp[4:10, 4:10] = False
    assert found.static_share == pytest.approx(lamp.mean(), abs=0.1)


@pytest.mark.parametrize("w", [0.5, 4.0])
def test_offsets_reach_as_far_as_the_clip_s_bins(w: float) -> None:
    meter = ClipMeter(clip_of(w=w))
    for index in range(FRAMES):
        # With wide bins 252 is clipped too, and may do what it likes.
        meter.add(still(index, lamp=252 if w > 3 else 255), [{"model": says(2.0 * (index % 2), 3.0 * (index % 2))}])
    (found,) = meter.finish()
    assert found.table["flicker"]["model"] == pytest.approx(min(w, 2) * STOPS_PER_CODE, rel=1e-3)
    assert "single_frame" not in found.table["flicker"]
    assert "memory_ratio" not in found.table["flicker"]


def test_the_exposure_of_the_camera_is_no_flicker() -> None:
    exposure_stops = [0.3 * (index % 2) + 0.01 * index for index in range(FRAMES)]
    # A list of another length is not that of these frames.
    for told, listed in ((True, exposure_stops), (False, None), (False, exposure_stops[:-1])):
        meter = ClipMeter(clip_of(exposure_stops=listed))
        for index, exposure in enumerate(exposure_stops):
            change_lsb = exposure / STOPS_PER_CODE
            meter.add(still(index, change_lsb), [{"model": says(0.25 * (index % 2))}])
        table = meter.finish()[0].table
        if told:
            assert all(table[measure]["truth"] < 1e-4 for measure in MEASURES)
            assert table["flicker"]["identity"] == pytest.approx((4 * 0.31 + 3 * 0.29) / 7, rel=1e-3)
        else:
            assert table["flicker"]["truth"] == pytest.approx((4 * 0.31 + 3 * 0.29) / 7, rel=1e-3)


@pytest.mark.parametrize(("resting_rows", "known"), [(3, True), (1, False)])
def test_a_sliver_at_rest_does_not_count(resting_rows: int, known: bool) -> None:
    meter = ClipMeter(clip_of())
    for index in range(FRAMES):
        pair = still(index)
        assert pair.flow_px is not None
        pair.flow_px[..., 0] = 0.5
        pair.flow_px[20 : 20 + resting_rows, 8:24] = 0
        meter.add(pair, [{"model": says(0.0)}])
    (found,) = meter.finish()
    assert 0 < found.static_share < 0.05
    assert ("std at rest" in found.table) is known


def test_models_are_told_apart_and_keep_their_order() -> None:
    meter = ClipMeter(clip_of())
    for index in range(FRAMES):
        meter.add(still(index), [{"model": says(0.4 * (index % 2))}, {"model": says(0.1 * (index % 2))}])
    numbers = [found.table["flicker"]["model"] / STOPS_PER_CODE for found in meter.finish()]
    assert numbers == pytest.approx([0.4, 0.1], rel=1e-3)


def test_a_short_clip_has_the_measures_it_is_long_enough_for() -> None:
    lists = []
    for frames in (1, 2, 3, 4):
        meter = ClipMeter(clip_of(frames=frames))
        for index in range(frames):
            meter.add(still(index), [{"model": says(0.0)}])
        (found,) = meter.finish()
        lists.append(list(found.table))
        assert (found.static_share > 0) == (frames == 4)
    assert lists == [[], list(MEASURES[:1]), list(MEASURES[:2]), list(MEASURES)]


def smooth(x: Tensor, y: Tensor) -> Tensor:
    """(3, h, w) codes of a smooth pattern at places in pixels."""
    return torch.stack([120 + 8 * torch.sin(x / 6 + k) + 8 * torch.cos(y / 5) for k in range(3)])


def test_estimated_motion_does_not_take_exposure_for_motion() -> None:
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    meter = ClipMeter(clip_of(flow=False))
    for index in range(FRAMES):
        value = smooth(x + 1.0 * index, y).float() + 2 * (index % 2)
        codes = value.round().byte().permute(1, 2, 0).contiguous().numpy()
        zero = torch.zeros_like(value)
        meter.add(PairFrame(codes, value, zero), [{"model": says(0.0)}])
    (found,) = meter.finish()
    assert found.table["flicker"]["truth"] == pytest.approx(2 * STOPS_PER_CODE, rel=0.02)
    assert found.table["exposure jitter"]["truth"] == pytest.approx(2 * STOPS_PER_CODE, rel=0.02)


@pytest.mark.parametrize(("flow", "least_gain"), [(True, 50), (False, 5)])
def test_what_moves_does_not_count_as_flicker(flow: bool, least_gain: float) -> None:
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    meter, in_place, last = ClipMeter(clip_of(flow=flow)), [], None
    for index in range(FRAMES):
        value = smooth(x + 1.5 * index, y - 0.5 * index).float()
        codes = value.round().byte().permute(1, 2, 0).contiguous().numpy()
        exact = (np.full((HEIGHT, WIDTH, 2), (1.5, -0.5), np.float32), np.ones((HEIGHT, WIDTH), bool))
        pair = PairFrame(codes, value, torch.zeros_like(value), *(exact if flow else (None, None)))
        offset = (value - value.round())[None]
        zero = torch.zeros_like(offset)
        meter.add(pair, [{"model": Prediction(offset, zero, zero)}])
        if last is not None:
            in_place.append(float((value - last).abs().mean()))
        last = value
    (found,) = meter.finish()
    assert found.exact_flow is flow
    plain = STOPS_PER_CODE * sum(in_place) / len(in_place)
    row = found.table["flicker"]
    assert row["truth"] < plain / least_gain
    assert row["model"] == pytest.approx(row["truth"], abs=1e-6)
    assert row["identity_excess"] > 0.005
    assert found.table["std along motion"]["truth"] < plain / least_gain
    assert "std at rest" not in found.table or not flow


def test_the_flow_is_turned_round_as_a_zoom_tells() -> None:
    # Backward q = c + s (p - c), so forward p = c + (q - c) / s.
    height, width, s = 40, 56, 1.25
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    place = torch.stack((x, y))
    from_middle = place - torch.tensor([(width - 1) / 2, (height - 1) / 2]).view(2, 1, 1)
    backward = from_middle * (s - 1)
    found = forward_flow(backward, torch.ones(height, width, dtype=torch.bool))
    assert (found.dtype, found.shape) == (torch.float32, backward.shape)
    assert torch.allclose(found, from_middle * (1 / s - 1), atol=0.1)
    # What leaves the frame is hidden: nothing that is seen now comes from the border.
    inward = forward_flow(from_middle * -0.04, torch.ones(height, width, dtype=torch.bool))
    assert torch.allclose(inward[:, 5:-5, 5:-5], (from_middle * (1 / 0.96 - 1))[:, 5:-5, 5:-5], atol=0.02)
    assert bool((inward[:, 0] > width).all())


def test_what_a_thing_hides_and_uncovers_is_found_from_both_sides() -> None:
    # A square of 10 px goes 6 px to the right over a still ground, from columns 10..19 to 16..25.
    backward, visible = torch.zeros(2, 30, 40), torch.ones(30, 40, dtype=torch.bool)
    backward[0, 8:18, 16:26] = -6
    visible[8:18, 10:16] = False  # uncovered ground
    forward = forward_flow(backward, visible)
    expected = torch.zeros(2, 30, 40)
    expected[0, 8:18, 10:20] = 6
    hidden = torch.zeros(30, 40, dtype=torch.bool)
    hidden[8:18, 20:26] = True
    assert torch.equal(forward[:, ~hidden], expected[:, ~hidden])
    assert torch.equal(occluded(forward[None], backward[None])[0, 0], hidden)
    assert torch.equal(occluded(backward[None], forward[None])[0, 0], ~visible)
    assert bool(forward.isfinite().all())


def test_half_pixels_are_shared_out() -> None:
    backward = torch.full((2, 12, 16), 0.5)
    forward = forward_flow(backward, torch.ones(12, 16, dtype=torch.bool))
    assert torch.allclose(forward[:, 1:, 1:], torch.tensor(-0.5))
    assert bool((forward[:, 0, 0] > 16).all())  # a quarter of a pixel lands in the corner


def clip_with(scene: str, frames: int, share: float, **rows: dict[str, float]) -> ClipFlicker:
    table = {name.replace("_", " "): row for name, row in rows.items()}
    return ClipFlicker(scene, scene, frames, True, share, table)


def test_clips_are_summed_up_by_their_frames_and_by_what_rests() -> None:
    clips = [
        clip_with("a", 10, 0.5, flicker={"model": 0.3, "identity": 0.5, "truth": 0.1, "single_frame": 0.2}),
        clip_with("a", 30, 0.1, flicker={"model": 0.1, "identity": 0.1, "truth": 0.0, "single_frame": 0.4}),
        clip_with("b", 10, 0.1, flicker={"model": 0.3, "identity": 0.1, "truth": 0.2, "single_frame": 0.2}),
    ]
    clips[0].table["std at rest"] = {"model": 1.0, "identity": 0.0, "truth": 0.0, "single_frame": 0.0}
    clips[2].table["std at rest"] = {"model": 4.0, "identity": 0.0, "truth": 0.0, "single_frame": 0.0}
    score = sum_up(clips)
    flicker = score.total["flicker"]
    assert flicker["model"] == pytest.approx((0.3 * 10 + 0.1 * 30 + 0.3 * 10) / 50)
    assert flicker["truth"] == pytest.approx(0.06)
    assert flicker["model_excess"] == pytest.approx(0.18 - 0.06)
    assert flicker["identity_excess"] == pytest.approx(0.18 - 0.06)
    assert flicker["memory_ratio"] == pytest.approx(0.12 / (0.32 - 0.06))
    # 5 frames' worth of rest in the first, 1 in the third; no ratio, as there is no excess without memory.
    assert score.total["std at rest"]["model"] == pytest.approx((1.0 * 5 + 4.0 * 1) / 6)
    assert "memory_ratio" not in score.total["std at rest"]
    assert list(score.scenes) == ["a", "b"]
    assert score.scenes["a"]["flicker"]["model_excess"] == pytest.approx(0.15 - 0.025)
    assert score.scenes["b"]["flicker"]["model_excess"] == pytest.approx(0.1)
    assert score.worst == {"flicker": "a", "std at rest": "b"}
    assert score.clips == tuple(clips)


@pytest.mark.parametrize(("single_frame", "known"), [(2e-5, True), (2e-6, False), (-0.1, False)])
def test_rounding_is_nothing_to_divide_by(single_frame: float, known: bool) -> None:
    row = {"model": 0.1, "identity": 0.0, "truth": 0.0, "single_frame": single_frame}
    total = sum_up([clip_with("a", 8, 0, flicker=row)]).total["flicker"]
    assert total["single_frame_excess"] == single_frame
    assert ("memory_ratio" in total) is known


def test_a_scene_that_is_not_a_number_is_the_worst() -> None:
    rows = [{"model": value, "identity": 0.0, "truth": 0.0} for value in (0.1, math.nan, 0.2)]
    score = sum_up([clip_with(scene, 8, 0, flicker=row) for scene, row in zip("abc", rows, strict=True)])
    assert score.worst == {"flicker": "b"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eval") / "shots"
    write_clip(folder / "attic", "attic", "acescct", seed=1, flow=True)
    write_clip(folder / "beach", "beach", "acescct", seed=2)
    write_clip(folder / "cave", "cave", "srgb", w=2.0, seed=5)
    return folder


@pytest.fixture(scope="module")
def report(data: Path, tiny_model: str) -> EvalReport:
    return evaluate([data], [tiny_model, "s"], flow="off", single_frame=True)


def by_hand(clip: ClipInfo, model: str) -> ClipFlicker:
    predictor = Predictor(load_model(model), input_space=clip.encoding, half_width_lsb=clip.half_width_lsb)
    meter, memory = ClipMeter(clip), None
    for frame in clip.frames:
        pair = read_pair(clip, frame)
        with_memory, memory = predictor.step(pair.codes, memory)
        meter.add(pair, [{"model": with_memory, "single_frame": predictor.step(pair.codes, None)[0]}])
    return meter.finish()[0]


def test_evaluation_measures_each_clip_with_and_without_memory(data: Path, report: EvalReport, tiny_model: str) -> None:
    for model, name in zip(report.models, (tiny_model, "s"), strict=True):
        log, compressed = (part.flicker for part in model.inputs)
        assert log is not None
        assert compressed is not None
        expected = [by_hand(clip, name) for clip in find_clips(data)]
        assert [[clip.name for clip in score.clips] for score in (log, compressed)] == [["attic", "beach"], ["cave"]]
        for found, wanted in zip([*log.clips, *compressed.clips], expected, strict=True):
            assert (found.exact_flow, found.static_share) == (wanted.exact_flow, wanted.static_share)
            assert {m: pytest.approx(row, rel=1e-6) for m, row in wanted.table.items()} == found.table
        assert log == sum_up(log.clips)
        row = log.total["flicker"]
        assert row["model"] != row["single_frame"]
    assert [clip.exact_flow for clip in log.clips] == [True, False]


def test_without_memory_or_flicker_only_if_asked(data: Path, tiny_model: str, report: EvalReport) -> None:
    plain = evaluate([data], [tiny_model], flow="off").models[0].inputs
    none = evaluate([data], [tiny_model], flow="off", flicker=False).models[0].inputs
    for part, without, full in zip(plain, none, report.models[0].inputs, strict=True):
        assert without.flicker is None
        assert part.total == without.total == full.total
        assert part.flicker is not None
        assert full.flicker is not None
        for measure, row in part.flicker.total.items():
            more = full.flicker.total[measure]
            assert row == {key: value for key, value in more.items() if "single" not in key and key != "memory_ratio"}
    with pytest.raises(UsageError, match="--single-frame compares flicker, and --no-flicker measures none"):
        evaluate([data], [tiny_model], flicker=False, single_frame=True)


def numbers_of(text: str, title: str) -> dict[str, list[str]]:
    body = text[text.index(f"| {title} |") :].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in body]
    return {label: rest for label, *rest in cells}


def test_json_and_markdown_hold_what_was_measured(report: EvalReport) -> None:
    read = json.loads(json.dumps(to_dict(report), allow_nan=False))
    text = to_markdown(report)
    score = report.models[0].inputs[0].flicker
    assert score is not None
    written = read["models"][0]["inputs"][0]["flicker"]
    assert written == {**asdict(score), "clips": [asdict(clip) for clip in score.clips]}
    rows = numbers_of(text, "flicker, 1/1000 stop")
    memory = numbers_of(text, "over truth, 1/1000 stop")
    assert list(rows) == list(memory) == list(score.total)
    for measure, row in score.total.items():
        scenes: dict[str, FlickerTable] = score.scenes
        held = {scene: table[measure] for scene, table in scenes.items() if measure in table}
        worst = max(one["model_excess"] for one in held.values())
        plain = [f"{1000 * row[name]:.3f}" for name in ("model", "identity", "truth")]
        signed = [1000 * row["model_excess"], 1000 * row["identity_excess"], 1000 * worst]
        assert rows[measure] == [*plain, *(f"{value:+.3f}" for value in signed)]
        excess = [f"{1000 * row[name]:+.3f}" for name in ("model_excess", "single_frame_excess")]
        assert memory[measure][:2] == excess
        ratios = [one["memory_ratio"] for one in held.values() if "memory_ratio" in one]
        assert memory[measure][2] == (f"x {row['memory_ratio']:.2f}" if "memory_ratio" in row else "")
        assert memory[measure][3] == (f"x {max(ratios):.2f}" if ratios else "")
    worst_names = ", ".join(f"{measure} {scene}" for measure, scene in score.worst.items())
    facts = "motion known in 1 of 2 clips, else DIS between frames of the truth; "
    assert facts in text
    assert f"at rest; worst scene by measure: {worst_names}" in text


def test_a_ratio_that_is_not_there_stays_empty(report: EvalReport) -> None:
    # In one scene there is nothing to compare the memory with.
    rows = [{"model": 0.2, "identity": 0.0, "truth": 0.0, "single_frame": value} for value in (0.0, 0.1)]
    clips = [clip_with("a", 8, 0, flicker=rows[0]), clip_with("b", 8, 0, flicker=rows[1], exposure_jitter=rows[0])]
    part = replace(report.models[0].inputs[0], flicker=sum_up(clips))
    text = to_markdown(replace(report, models=(replace(report.models[0], inputs=(part,)),)))
    memory = numbers_of(text, "over truth, 1/1000 stop")
    assert memory["flicker"] == ["+200.000", "+50.000", "x 4.00", "x 2.00"]
    assert memory["exposure jitter"] == ["+200.000", "+0.000", "", ""]


def test_the_terminal_shows_the_same_with_scenes_by_name(report: EvalReport) -> None:
    stream = io.StringIO()
    show(report, Console(file=stream, width=160))
    score = report.models[0].inputs[0].flicker
    assert score is not None
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in stream.getvalue().splitlines()]
    found = [cells for cells in lines if cells and cells[0] == "flicker"]
    assert len(found) == 8  # two models, two kinds of input, over the truth and without memory
    worst = score.worst["flicker"]
    assert found[0][-1] == f"{1000 * score.scenes[worst]['flicker']['model_excess']:+.3f} {worst}"
    assert "motion known in 1 of 2 clips" in stream.getvalue()


def test_on_the_command_line_and_in_the_card(data: Path, tiny_model: str, tmp_path: Path, seqhdr: CommandLine) -> None:
    words = ("eval", data, "--model", tiny_model, "--flow", "off", "--device", "cpu")
    numbers, card = tmp_path / "n.json", tmp_path / "card.safetensors"
    ran = seqhdr(*words, "--single-frame", "--json", numbers, "--card", card)
    assert ran.code == 0
    assert "frame by frame" in ran.out
    inputs = json.loads(numbers.read_text())["models"][0]["inputs"]
    measured = read_card(card).measured
    assert measured["flicker"] == {
        kind: part["flicker"]["total"] for kind, part in zip(("acescct", "compressed srgb"), inputs, strict=True)
    }
    assert measured["acescct"] == inputs[0]["total"]
    assert "memory_ratio" in str(measured["flicker"])

    ran = seqhdr(*words, "--no-flicker", "--json", numbers, "--card", card)
    assert ran.code == 0
    assert "1/1000 stop" not in ran.out
    assert json.loads(numbers.read_text())["models"][0]["inputs"][0]["flicker"] is None
    assert "flicker" not in read_card(card).measured
    assert seqhdr(*words, "--no-flicker", "--single-frame").code == 2
