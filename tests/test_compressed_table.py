"""The table of compressed sources: what is counted, what a run decides, and the numbers of a whole small table."""

from __future__ import annotations

import importlib.util
import io
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from seqhdr import api
from seqhdr.media.exr import read_exr
from seqhdr.model.cards import load_model
from seqhdr.quality.blocks import BlockSums, block_sums, error_luma
from seqhdr.train.codecs import h264, jpeg
from seqhdr.train.config import SceneConfig
from seqhdr.train.config_file import build_config, read_yaml
from seqhdr.train.synthetic import make_clip, open_panorama

ROOT = Path(__file__).parents[1]
SIZE, FRAMES = (96, 64), 2


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = ROOT / "tools" / "compressed_table.py"
    spec = importlib.util.spec_from_file_location("compressed_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def frame(seed: int, size: tuple[int, int] = (48, 56)) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, truth and offsets (3, H, W): a smooth half with noisy codes, texture, lamps that clip here or there."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    truth = np.stack([90 + 0.05 * x + 0.06 * y + channel for channel in range(3)])
    truth[:, :, size[1] // 2 :] += rng.normal(0, 20, (3, size[0], size[1] - size[1] // 2))
    codes = np.rint(truth + rng.normal(0, 1.2, truth.shape))
    truth[1, 3:6, 40:44], codes[1, 3:6, 40:44] = 900, 240  # what a codec made of a lamp
    codes[0, 20:22, 50:52] = codes[2, 30:32, 10:12] = 254  # clipped by w only; the second where the truth is flat
    offset = rng.uniform(-1.5, 1.5, truth.shape)
    return tuple(torch.from_numpy(array.astype(np.float32)) for array in (codes, truth, offset))


def naive_flat(truth: np.ndarray) -> np.ndarray:
    _, height, width = truth.shape
    flat = np.zeros((height, width), bool)
    for y, x in np.ndindex(height, width):
        window = truth[:, max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4]
        flat[y, x] = all(float(channel.max()) - float(channel.min()) <= 1 for channel in window)
    return flat


def test_a_frame_is_counted_as_a_loop_over_its_channels_would(tool: ModuleType) -> None:
    codes, truth, offset = frame(1)
    flat = naive_flat(truth.numpy())
    assert 0.2 < flat.mean() < 0.6
    sums = {name: np.zeros(3) for name in ("whole", "flat", "as eval")}
    for at in np.ndindex(codes.shape):
        code, value, moved = (float(tensor[at]) for tensor in (codes, truth, offset))
        if code + 1.5 >= 255:
            continue
        counted = np.array([1, (code + moved - value) ** 2, (code - value) ** 2])
        most = min(value, 254.5)
        sums["as eval"] += np.array([1, (code + moved - most) ** 2, (code - most) ** 2])
        if value < 254.5:
            sums["whole"] += counted
            sums["flat"] += counted if flat[at[1:]] else 0
    score = tool.score_frame(codes, truth, offset, 1.5)
    assert (score.pixels, score.flat_pixels) == (flat.size, flat.sum())
    for name, expected in sums.items():
        assert score.squares[name] == pytest.approx(expected, rel=1e-6)
    numbers = score.numbers()
    for name, (count, ours, its) in sums.items():
        both = [10 * math.log10(255**2 * count / squares) for squares in (ours, its)]
        assert (numbers[name]["result"], numbers[name]["identity"]) == pytest.approx(both)
        assert numbers[name]["gain"] == pytest.approx(both[0] - both[1])


def test_blocks_are_those_of_the_luma_of_unclipped_errors(tool: ModuleType) -> None:
    codes, truth, offset = frame(2)
    seen = ((codes + 1.5 < 255) & (truth < 254.5)).all(dim=0)
    assert not seen.all()
    flat = torch.from_numpy(naive_flat(truth.numpy()))
    score = tool.score_frame(codes, truth, offset, 1.5)
    for name, mask in (("blocks", seen), ("flat blocks", seen & flat)):
        for mine, error in zip(score.blocks[name], (codes + offset - truth, codes - truth), strict=True):
            expected = block_sums(error_luma(error.double()), mask)
            assert mine.lines == pytest.approx(expected.lines, rel=1e-5)
            assert mine.between == pytest.approx(expected.between, rel=1e-5)


def test_the_noise_of_a_codec_does_not_empty_what_counts_as_flat(tool: ModuleType) -> None:
    codes, truth, offset = frame(3)
    assert naive_flat(codes.numpy()).mean() < 0.01
    assert tool.score_frame(codes, truth, offset, 1.5).flat_pixels > 0.2 * codes[0].numel()


def blocky(seed: int, kept: float) -> tuple[Tensor, Tensor, Tensor]:
    """A flat truth, codes with blocks, and a result that keeps so much of each block."""
    heights = np.random.default_rng(seed).integers(-2, 3, (1, 12, 16)).repeat(8, 1).repeat(8, 2).repeat(3, 0)
    truth = torch.full(heights.shape, 100.0)
    codes = truth + torch.from_numpy(heights).float()
    return codes, truth, (kept - 1) * (codes - truth)


def test_a_result_that_halves_the_blocks_has_a_quarter_of_their_energy_and_6_db_more(tool: ModuleType) -> None:
    numbers = tool.score_frame(*blocky(1, 0.5), 1.5).numbers()
    for name in ("blocks", "flat blocks"):
        assert numbers[name]["gain"] == pytest.approx(0.25, rel=1e-6)
    for name in ("whole", "flat"):
        assert numbers[name]["gain"] == pytest.approx(20 * math.log10(2), rel=1e-6)


def test_a_result_without_an_error_is_perfect_and_one_that_is_no_number_is_worst(tool: ModuleType) -> None:
    numbers = tool.score_frame(*blocky(1, 0.0), 1.5).numbers()
    assert (numbers["whole"]["result"], numbers["blocks"]["gain"]) == (200, 0)
    codes, truth, offset = blocky(1, 0.5)
    broken = tool.score_frame(codes, truth, offset * torch.nan, 1.5).numbers()
    good = tool.score_frame(codes, truth, offset, 1.5).numbers()
    for name in ("whole", "blocks"):
        scene, gain = tool.worst_scene({"good": good, "broken": broken}, name)
        assert scene == "broken"
        assert math.isnan(gain)


def test_without_blocks_in_the_source_there_is_no_ratio(tool: ModuleType) -> None:
    codes, truth, offset = blocky(1, 0.5)
    noise = torch.from_numpy(np.random.default_rng(3).normal(0, 1, codes.shape)).float()
    numbers = tool.score_frame(truth + noise, truth, 0 * offset, 1.5).numbers()["blocks"]
    assert numbers["gain"] is None
    assert abs(numbers["identity"]) < 0.2


def test_scores_add_up_and_the_worst_scene_gains_least_or_keeps_most_blocks(tool: ModuleType) -> None:
    parts = {f"keeps {kept}": tool.score_frame(*blocky(seed, kept), 1.5) for seed, kept in enumerate((0.8, 0.2))}
    one, two = parts.values()
    total = sum(parts.values(), tool.Score())
    assert total.pixels == one.pixels + two.pixels
    for name in total.squares:
        assert total.squares[name] == pytest.approx(np.add(one.squares[name], two.squares[name]))
    assert total.blocks["blocks"][1] == one.blocks["blocks"][1] + two.blocks["blocks"][1] + BlockSums()
    tables = {scene: score.numbers() for scene, score in parts.items()}
    assert tool.worst_scene(tables, "whole")[0] == tool.worst_scene(tables, "blocks")[0] == "keeps 0.8"
    assert tool.worst_scene(tables, "blocks")[1] == pytest.approx(0.64, rel=1e-5)


def test_scenes_without_flat_areas_are_not_the_worst_in_them(tool: ModuleType) -> None:
    codes, truth, offset = blocky(1, 0.5)
    rough = truth + torch.from_numpy(np.random.default_rng(3).normal(0, 9, codes.shape)).float()
    tables = {
        "flat": tool.score_frame(codes, truth, offset, 1.5).numbers(),
        "rough": tool.score_frame(codes, rough, offset, 1.5).numbers(),
    }
    assert tables["rough"]["flat"] == {"result": None, "identity": None, "gain": None}
    assert tool.worst_scene(tables, "flat")[0] == "flat"
    assert tool.worst_scene({"rough": tables["rough"]}, "flat") is None
    # A handful of flat pixels is no area, but their sums count in the whole.
    few = tool.Score(100_000, 99, {**tool.Score().squares, "flat": (297.0, 30.0, 300.0)}, tool.Score().blocks)
    assert few.numbers()["flat"]["gain"] is None
    assert few.numbers()["flat"]["result"] == pytest.approx(10 * math.log10(255**2 * 297 / 30))


def test_clips_of_one_scene_count_together(tool: ModuleType) -> None:
    scores = [tool.score_frame(*blocky(seed, kept), 1.5) for seed, kept in enumerate((0.9, 0.3, 0.6))]
    clips = [
        tool.ClipScore("JPEG 85", scene, score, w, undone, seconds)
        for scene, score, w, undone, seconds in zip(
            "aab", scores, (1.6, 0.5, 1.4), ("x", None, "x"), (1, 2, 3), strict=True
        )
    ]
    part = tool.sum_up("JPEG 85", clips, frames=4)
    assert part["scenes"] == {"a": (scores[0] + scores[1]).numbers(), "b": scores[2].numbers()}
    total = sum(scores, tool.Score()).numbers()
    assert {name: part["measures"][name]["gain"] for name in total} == {name: total[name]["gain"] for name in total}
    assert part["measures"]["whole"]["worst"]["scene"] == "a"
    assert part["half_width_lsb"] == [0.5, 1.4, 1.6]
    assert part["unrounded"] == ["nothing", "x"]
    assert (part["flat_share"], part["seconds_per_frame"]) == (1, 0.5)


def test_what_is_wanted_is_1_db_of_jpeg_half_of_video_1_5_in_flat_areas_and_six_tenths_of_the_blocks(
    tool: ModuleType,
) -> None:
    rows = {source: [tool.wanted(source, name) for name in (*tool.PSNRS, *tool.BLOCKS)] for source in tool.CODECS}
    assert rows["lossless"] == [None] * 5
    assert rows["JPEG 85"] == [1.0, 1.5, None, 0.6, 0.6]
    for crf in (18, 23, 28):
        for way in ("nearest", "cut down"):
            assert rows[f"H.264 crf {crf}, {way}"] == [0.5, 1.5, None, 0.6, 0.6]
    assert len(rows) == 8


def test_every_line_is_the_codec_it_is_called(tool: ModuleType) -> None:
    codes = np.random.default_rng(1).integers(0, 256, (2, 32, 48, 3)).astype(np.uint8)
    expected = {"lossless": codes, "JPEG 85": jpeg(codes, 85)}
    for crf in (18, 23, 28):
        expected[f"H.264 crf {crf}, nearest"] = h264(codes, crf)
        expected[f"H.264 crf {crf}, cut down"] = h264(codes, crf, cut_down=True)
    assert list(tool.CODECS) == ["lossless", "JPEG 85", *sorted(expected, key=lambda name: "cut" in name)[2:]]
    for source, codec in tool.CODECS.items():
        assert np.array_equal(codec(codes), expected[source])


def test_the_light_is_that_of_synths_clips_and_nothing_but_rounded(tool: ModuleType) -> None:
    config = build_config(SceneConfig, read_yaml(ROOT / "configs" / "synth" / "compressed.yaml"), "compressed.yaml")
    filmed = list(tool.film(("procedural:1", "procedural:2"), 2, FRAMES, SIZE))
    panoramas = [open_panorama(f"procedural:{seed}") for seed in (1, 2)]
    assert [scene for scene, _ in filmed] == [panoramas[place].name for place in (0, 0, 1, 1)]
    for (_, clip), number in zip(filmed, (0, 2, 1, 3), strict=True):
        rng = np.random.default_rng((2026, number))
        synth = make_clip(panoramas[number % 2], config, rng, FRAMES, SIZE[1], SIZE[0])
        assert np.array_equal(clip.value_lsb, synth.degraded.value_lsb)
        assert np.array_equal(clip.codes, np.rint(clip.value_lsb).clip(0, 255))
        assert clip.half_width_lsb == 0.5


def moving() -> np.ndarray:
    """(T, H, W, 3) true values in codes: a coloured sky over texture, moving by a pixel."""
    y, x = np.mgrid[:96, :160].astype(np.float64)
    shots = []
    for moved in (x, x + 1):
        sky = [90 + 0.3 * y + 8 * np.sin(moved / 31), 120 + 0.4 * y, 160 + 0.2 * y + 6 * np.cos(moved / 23)]
        ground = [120 + 60 * np.sin(moved / 2.3), 100 + 50 * np.sin(moved / 3.1 + y), 90 + 40 * np.cos(y / 1.7)]
        shots.append(np.where((y > 60)[..., None], np.stack(ground, axis=-1), np.stack(sky, axis=-1)))
    return np.stack(shots)


def test_w_and_the_decoder_are_what_a_run_finds_in_png_frames(tool: ModuleType) -> None:
    codes = np.rint(moving()).astype(np.uint8)
    clean = tool.set_up(codes, None)
    assert (clean.bins.mode, clean.bins.half_width_lsb, clean.bins.unrounded) == ("auto", 0.5, None)
    was_jpeg = tool.set_up(jpeg(codes, 85), None)
    assert was_jpeg.bins.unrounded == "full-range BT.601"
    assert 1.2 < was_jpeg.bins.half_width_lsb < 2
    assert tool.set_up(h264(codes, 23, cut_down=True), None).bins.unrounded == "limited BT.601, cut down"


def test_the_result_is_what_a_run_writes(tool: ModuleType, tiny_model: str, tmp_path: Path) -> None:
    truth = moving()
    codes = h264(np.rint(truth).astype(np.uint8), 28, cut_down=True)
    value = torch.from_numpy(truth.transpose(0, 3, 1, 2)).float()
    measured = tool.measure("H.264", "here", codes, value, load_model(tiny_model))
    for number, frame in enumerate(codes, start=1):
        cv2.imwrite(str(tmp_path / f"shot_{number:04d}.png"), frame[..., ::-1])
    options: dict[str, Any] = {"output_space": "srgb", "bit_depth": "float", "model": tiny_model, "report": False}
    api.run(tmp_path / "shot_%04d.png", output=tmp_path / "out", **options)
    summary = json.loads((tmp_path / "out" / "shot_srgb.json").read_text())["bins"]
    assert (measured.half_width_lsb, measured.unrounded) == (summary["half_width_lsb"], summary["unrounded"])
    squares = []
    for number, frame in enumerate(codes, start=1):
        arrays = read_exr(tmp_path / "out" / f"shot_srgb.{number:04d}.exr")[0]
        result = 255 * np.stack([arrays[channel] for channel in "RGB"], axis=-1).astype(np.float64)
        known = (frame + measured.half_width_lsb < 255) & (truth[number - 1] < 254.5)
        squares += list((result - truth[number - 1])[known] ** 2)
    count, total, _ = measured.score.squares["whole"]
    assert count == len(squares)
    assert total == pytest.approx(sum(squares), rel=1e-4)


@pytest.fixture(scope="module")
def whole_table(tool: ModuleType, tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("table") / "table.json"
    words = ["--model", tiny_model, "--clips", "1", "--frames", str(FRAMES), "--size", "96x64", "--json", str(path)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["compressed_table.py", "procedural:1", "procedural:2", *words])
        tool.main()
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def test_a_whole_table_holds_every_codec_and_every_scene(tool: ModuleType, whole_table: dict[str, Any]) -> None:
    assert [part["source"] for part in whole_table["sources"]] == list(tool.CODECS)
    assert (whole_table["clips"], whole_table["frames"], whole_table["seed"]) == (2, FRAMES, 2026)
    for part in whole_table["sources"]:
        assert list(part["measures"]) == ["whole", "flat", "as eval", "blocks", "flat blocks"]
        assert len(part["scenes"]) == len(part["half_width_lsb"]) == 2
        assert part["flat_share"] == whole_table["sources"][0]["flat_share"]
        gains = {scene: numbers["whole"]["gain"] for scene, numbers in part["scenes"].items()}
        worst = min(gains, key=lambda scene: gains[scene])
        assert part["measures"]["whole"]["worst"] == {"scene": worst, "gain": gains[worst]}


def test_identity_in_the_table_is_the_codec_against_the_truth(tool: ModuleType, whole_table: dict[str, Any]) -> None:
    parts = {part["source"]: part for part in whole_table["sources"]}
    clips = [clip for _, clip in tool.film(("procedural:1", "procedural:2"), 1, FRAMES, SIZE)]
    for source in ("lossless", "JPEG 85", "H.264 crf 28, cut down"):
        squares: list[float] = []
        for clip in clips:
            codes = tool.CODECS[source](clip.codes)
            w = tool.set_up(codes, None).bins.half_width_lsb
            known = (codes + w < 255) & (clip.value_lsb < 254.5)
            squares += list(((codes.astype(np.float64) - clip.value_lsb)[known]) ** 2)
        measured = parts[source]["measures"]["whole"]
        assert measured["identity"] == pytest.approx(10 * math.log10(255**2 / np.mean(squares)), abs=1e-6)
        # Random weights move every channel, within w.
        assert measured["result"] != measured["identity"]
        assert measured["gain"] == measured["result"] - measured["identity"]


def test_what_is_met_is_said_and_printed(tool: ModuleType, whole_table: dict[str, Any]) -> None:
    for part in whole_table["sources"]:
        for name, numbers in part["measures"].items():
            goal = tool.wanted(part["source"], name)
            assert numbers["wanted"] == goal
            if goal is None or numbers["gain"] is None:
                assert numbers["met"] is None
            else:
                assert numbers["met"] == (numbers["gain"] <= goal if "blocks" in name else numbers["gain"] >= goal)
    printed = io.StringIO()
    shown = {"gain": 9.87, "result": 9.87, "identity": 1.0, "wanted": 0.6, "met": False, "worst": None}
    report = json.loads(json.dumps(whole_table))
    report["sources"][1]["measures"]["blocks"] = shown
    tool.show(report, Console(width=150, file=printed))
    text = printed.getvalue()
    (line,) = (line for line in text.splitlines() if "x 9.87" in line)
    assert [cell.strip() for cell in line.split("│")][2:8] == ["blocks", "9.870", "1.000", "x 9.87", "x 0.60", "NO"]
    assert all(source in text for source in tool.CODECS)
