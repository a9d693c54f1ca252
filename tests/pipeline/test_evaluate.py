"""Measuring models on clips: from the files to the tables."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console

from seqhdr.color.encodings import get_encoding
from seqhdr.errors import FrameError, ShotError, UnknownNameError, UsageError
from seqhdr.model.cards import load_model, read_card, save_model
from seqhdr.model.net import ModelConfig
from seqhdr.model.predict import Predictor
from seqhdr.pipeline.evaluate import EvalReport, InputScore, evaluate
from seqhdr.pipeline.evaluate_flicker import ClipFlicker, FlickerScore
from seqhdr.pipeline.evaluate_tables import show, to_dict, to_markdown
from seqhdr.quality.strata import StrataScore, worst_scene
from seqhdr.train.pairs import ClipInfo, find_clips, read_pair, write_clip_info, write_pair

WIDTH, HEIGHT, FRAMES = 48, 32, 4
STEP_PX = 2


def write_clip(
    folder: Path, scene: str, encoding: str, *, w: float = 0.5, seed: int = 0, flow: bool = False, frames: int = FRAMES
) -> ClipInfo:
    """A ramp with some noise on its right and a lamp, moving to the left by 2 px per frame."""
    numbers = tuple(range(1001, 1001 + frames))
    info = ClipInfo(folder, numbers, WIDTH, HEIGHT, encoding, w, scene, has_flow=flow)
    for kind in ("input", "truth", *(["flow"] if flow else [])):
        (folder / kind).mkdir(parents=True)
    rng = np.random.default_rng(seed)
    wide = 90 + np.arange(HEIGHT)[:, None] / 15 + np.arange(WIDTH + STEP_PX * frames) / 13
    value = np.repeat(wide[None], 3, axis=0) + rng.uniform(0, 9, (3, 1, 1))
    value[:, :, WIDTH // 2 :] += rng.uniform(0, 60, (3, *value[0, :, WIDTH // 2 :].shape))
    value[:, 2:7, 10:18] = 255 + rng.uniform(0, 40, (3, 5, 8))
    space = get_encoding(encoding)
    for index, frame in enumerate(numbers):
        seen = torch.from_numpy(value[:, :, STEP_PX * index : STEP_PX * index + WIDTH].copy())
        noise = rng.uniform(-1, 1, seen.shape) * (w - 0.5)
        codes = np.rint(seen.numpy() + noise).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
        exact: dict[str, NDArray[Any]] = {}
        if flow:
            exact["flow_px"] = np.full((HEIGHT, WIDTH, 2), (STEP_PX, 0), np.float32)
            exact["visible"] = np.ones((HEIGHT, WIDTH), bool)
        write_pair(info, frame, np.ascontiguousarray(codes), space.decode(seen / 255), float_truth=True, **exact)
    write_clip_info(info)
    return info


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes, two encodings, and one clip from a compressed source."""
    folder = tmp_path_factory.mktemp("eval") / "shots"
    write_clip(folder / "attic_log", "attic", "acescct", seed=1, flow=True)
    write_clip(folder / "beach_log", "beach", "acescct", seed=2, flow=True)
    write_clip(folder / "attic_srgb", "attic", "srgb", seed=3, frames=2)
    write_clip(folder / "beach_srgb", "beach", "srgb", seed=4, frames=2)
    write_clip(folder / "beach_jpeg", "beach", "srgb", w=2.0, seed=5, frames=2)
    return folder


@pytest.fixture(scope="module")
def report(data: Path, tiny_model: str) -> EvalReport:
    return evaluate([data], [tiny_model])


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> str:
    """A network of the same shape that does something else."""
    net = load_model(tiny_model)
    path = tmp_path_factory.mktemp("model") / "other.safetensors"
    tensors = {name: -value for name, value in net.state_dict().items()}
    save_model(path, ModelConfig("opposite", net.config.channels), tensors, {"data": "none"})
    return str(path)


def test_each_kind_of_input_has_its_own_table(report: EvalReport, tiny_model: str) -> None:
    (model,) = report.models
    assert (report.clips, report.frames, report.flow, report.device, report.data) == (5, 14, "dis", "cpu", ("shots",))
    assert (model.model, model.name, model.sha256) == ("tiny.safetensors", "tiny", read_card(tiny_model).sha256)
    assert model.seconds_per_frame > 0
    kinds = [(part.encoding, part.compressed, part.clips, part.frames, list(part.scenes)) for part in model.inputs]
    assert kinds == [
        ("acescct", False, 2, 8, ["attic", "beach"]),
        ("srgb", False, 2, 4, ["attic", "beach"]),
        ("srgb", True, 1, 2, ["beach"]),
    ]
    log, srgb, compressed = model.inputs
    assert list(log.total) == ["whole", "flat", "texture", "first frame", "frames 2-3", "late frames", "clipped"]
    assert "late frames" not in srgb.total  # no clip has four frames
    assert "psnr_codes_db" in compressed.total["whole"]
    assert "psnr_codes_db" not in srgb.total["whole"]
    assert log.total["whole"]["identity_psnr_db"] == pytest.approx(58.92, abs=0.3)


@pytest.mark.parametrize("flow", ["off", "exact"])
def test_the_numbers_are_those_of_a_plain_loop(data: Path, tiny_model: str, tmp_path: Path, flow: Any) -> None:
    # The exact flow is constant here, so that a loop needs no adapter.
    motion = torch.tensor([float(STEP_PX), 0.0]).view(1, 2, 1, 1).expand(1, 2, HEIGHT, WIDTH)
    total = StrataScore()
    logs = [clip for clip in find_clips(data) if clip.encoding == "acescct"]
    space = get_encoding("acescct")
    for clip in logs:
        estimator = None if flow == "off" else lambda current, previous: motion
        predictor = Predictor(load_model(tiny_model), input_space="acescct", flow=estimator)
        pairs = [read_pair(clip, frame) for frame in clip.frames]
        for index, prediction in enumerate(predictor.stream(pair.codes for pair in pairs)):
            codes = torch.from_numpy(pairs[index].codes).permute(2, 0, 1).float()
            truth = (codes, pairs[index].value_lsb, pairs[index].gain_stops)
            total.add_frame(index, *truth, prediction.offset_lsb, prediction.gain_stops, space, 0.5)
    measured = evaluate([clip.folder for clip in logs], [tiny_model], flow=flow).models[0].inputs[0]
    assert measured.total == {name: pytest.approx(row, rel=1e-12) for name, row in total.table().items()}


def test_flow_reaches_the_network(data: Path, tiny_model: str, report: EvalReport) -> None:
    logs = [data / "attic_log", data / "beach_log"]
    still, exact = (evaluate(logs, [tiny_model], flow=flow).models[0].inputs[0].total for flow in ("off", "exact"))
    dis = report.models[0].inputs[0].total
    assert still["first frame"] == exact["first frame"] == dis["first frame"]
    assert len({t["late frames"]["psnr_db"] for t in (still, exact, dis)}) == 3


def test_the_half_width_is_the_clip_s(data: Path, tiny_model: str, tmp_path: Path) -> None:
    (clip,) = find_clips(data / "beach_jpeg")
    net, pair = load_model(tiny_model), read_pair(clip, 1001)
    prediction, _ = Predictor(net, input_space="srgb", half_width_lsb=2.0).step(pair.codes, None)
    assert float(prediction.offset_lsb.abs().max()) > 0.5
    codes = torch.from_numpy(pair.codes).permute(2, 0, 1).float()
    known = codes + 2 < 255
    error = (codes + prediction.offset_lsb[0] - pair.value_lsb)[known].double()
    row = evaluate([data / "beach_jpeg"], [tiny_model]).models[0].inputs[0].total["first frame"]
    assert row["psnr_codes_db"] == pytest.approx(float(10 * torch.log10(255**2 / error.square().mean())))


def test_models_come_in_the_order_asked_for_and_do_not_disturb_each_other(
    data: Path, tiny_model: str, other_model: str, report: EvalReport
) -> None:
    both = evaluate([data], [other_model, tiny_model])
    assert [(m.model, m.name) for m in both.models] == [("other.safetensors", "opposite"), ("tiny.safetensors", "tiny")]
    assert both.models[1].inputs == report.models[0].inputs
    first, second = (model.inputs[0].total["whole"] for model in both.models)
    assert first["psnr_db"] != second["psnr_db"]
    assert first["identity_psnr_db"] == second["identity_psnr_db"]


def test_the_total_is_all_scenes_and_the_worst_is_among_them(report: EvalReport) -> None:
    for part in report.models[0].inputs:
        for stratum, row in part.total.items():
            worst = part.worst[stratum]
            assert worst == worst_scene(part.scenes, stratum)
            if stratum == "clipped":
                ratio = {
                    s: t[stratum]["rmse_stops"] / t[stratum]["identity_rmse_stops"] for s, t in part.scenes.items()
                }
                assert ratio[worst] == max(ratio.values())
                continue
            gains = {scene: table[stratum]["gain_db"] for scene, table in part.scenes.items()}
            assert gains[worst] == min(gains.values())
            # The mean error of all lies between those of the scenes.
            reached = [table[stratum]["psnr_db"] for table in part.scenes.values()]
            assert min(reached) - 1e-9 <= row["psnr_db"] <= max(reached) + 1e-9
    assert report.models[0].inputs[0].scenes["attic"] != report.models[0].inputs[0].scenes["beach"]


def test_the_limit_counts_for_each_kind_and_spreads(data: Path, tiny_model: str, tmp_path: Path) -> None:
    few = evaluate([data], [tiny_model], flow="off", limit=1)
    assert [part.clips for part in few.models[0].inputs] == [1, 1, 1]
    assert (few.clips, few.frames) == (3, 8)
    for number in range(5):
        write_clip(tmp_path / f"clip{number}", f"scene{number}", "acescct", seed=number, frames=1)
    two = evaluate([tmp_path], [tiny_model], limit=2)
    assert list(two.models[0].inputs[0].scenes) == ["scene0", "scene2"]
    assert evaluate([tmp_path], [tiny_model], limit=9).clips == 5


def test_a_clip_counts_once_however_often_it_is_named(data: Path, tiny_model: str) -> None:
    twice = evaluate([data / "attic_log", data / "attic_log" / ".." / "attic_log"], [tiny_model], flow="off")
    assert (twice.clips, twice.data) == (1, ("attic_log", "attic_log"))


def test_progress_counts_every_frame_once(data: Path, tiny_model: str) -> None:
    seen: list[tuple[int, int]] = []
    evaluate([data], [tiny_model, tiny_model], flow="off", on_frame=lambda done, of: seen.append((done, of)))
    assert seen == [(done, 14) for done in range(1, 15)]


def test_json_holds_the_whole_report(report: EvalReport, data: Path) -> None:
    text = json.dumps(to_dict(report), allow_nan=False)
    assert str(data.parent) not in text
    read = json.loads(text)
    assert read["data"] == ["shots"]
    assert read["models"][0]["sha256"] == report.models[0].sha256
    for part, expected in zip(read["models"][0]["inputs"], report.models[0].inputs, strict=True):
        clips = tuple(ClipFlicker(**clip) for clip in part["flicker"].pop("clips"))
        flicker = FlickerScore(**part.pop("flicker"), clips=clips)
        assert InputScore(**part, flicker=flicker) == expected


def test_json_says_null_where_there_is_no_number(report: EvalReport) -> None:
    part = report.models[0].inputs[0]
    odd = replace(part, total={"whole": {"psnr_db": float("nan"), "gain_db": float("-inf"), "share": 1.0}})
    broken = replace(report, models=(replace(report.models[0], inputs=(odd,)),))
    read = json.loads(json.dumps(to_dict(broken), allow_nan=False))
    assert read["models"][0]["inputs"][0]["total"] == {"whole": {"psnr_db": None, "gain_db": None, "share": 1.0}}


def test_markdown_reads_back_as_the_numbers(report: EvalReport, data: Path) -> None:
    text = to_markdown(report)
    model = report.models[0]
    assert f"## tiny.safetensors (tiny, sha256 {model.sha256[:12]})" in text
    assert "shots: 5 clips, 14 frames; flow dis" in text
    assert str(data.parent) not in text
    tables = re.findall(r"\| (.*) in \| model \| identity \| gain \| worst scene \|\n\|[-|]+\|\n((?:\|.*\n)+)", text)
    assert [title for title, _ in tables] == ["8-bit ACEScct", "8-bit sRGB", "compressed 8-bit sRGB"]
    names = {"flat areas": "flat", "fourth frame on": "late frames"}
    for (_, body), part in zip(tables, model.inputs, strict=True):
        rows = {cells[0]: cells[1:] for cells in ([c.strip() for c in r.split("|")[1:-1]] for r in body.splitlines())}
        for label, (ours, identity, gain, worst) in rows.items():
            name, _, kind = label.partition(", ")
            stratum = names.get(name, name)
            row, scene = part.total[stratum], part.scenes[part.worst[stratum]][stratum]
            if kind in ("", "PSNR of the codes"):
                key = "_codes_db" if kind else "_db"
                expected = [f"{row['psnr' + key]:.2f} dB", f"{row['identity_psnr' + key]:.2f}"]
                assert [ours, identity, gain] == [*expected, f"{row['gain' + key]:+.2f}"]
                assert worst == f"{scene['gain' + key]:+.2f}"
            elif kind == "SSIM":
                assert [float(ours), float(identity)] == pytest.approx([row["ssim"], row["identity_ssim"]], abs=5e-6)
                assert float(gain) == pytest.approx(row["ssim"] - row["identity_ssim"], abs=5e-6)
            elif kind == "log2 RMSE in stops":
                ratio = row["rmse_stops"] / row["identity_rmse_stops"]
                expected = [f"{row['rmse_stops']:.3f}", f"{row['identity_rmse_stops']:.3f}", f"x {ratio:.3f}"]
                assert [ours, identity, gain] == expected
            else:
                assert kind == "bias in stops"
                assert [ours, identity] == [f"{row['bias_stops']:+.3f}", f"{row['identity_bias_stops']:+.3f}"]
        unclipped = {names.get(label, label) for label in rows if ", " not in label}
        assert unclipped == set(part.total) - {"clipped"}
        assert {"whole, SSIM", "clipped, log2 RMSE in stops", "clipped, bias in stops"} <= rows.keys()
    worst = model.inputs[0].worst
    assert f"2 clips, 8 frames; worst scene by stratum: whole {worst['whole']}, flat {worst['flat']}, " in text


def test_the_terminal_shows_the_same_rows_with_scenes_by_name(report: EvalReport) -> None:
    part = report.models[0].inputs[2]
    odd = replace(part, scenes={"[red]beach": part.scenes["beach"]})
    stream = io.StringIO()
    show(replace(report, models=(replace(report.models[0], inputs=(odd,)),)), Console(file=stream, width=120))
    row = odd.total["whole"]
    line = next(line for line in stream.getvalue().splitlines() if "│ whole  " in line)
    cells = [cell.strip() for cell in line.split("│")[1:-1]]
    assert cells == [
        "whole",
        f"{row['psnr_db']:.2f} dB",
        f"{row['identity_psnr_db']:.2f}",
        f"{row['gain_db']:+.2f}",
        f"{row['gain_db']:+.2f} [red]beach",
    ]


def test_the_stops_of_a_network_of_zeros_can_be_worked_out(data: Path, tiny_model: str, tmp_path: Path) -> None:
    net = load_model(tiny_model)
    tensors = {name: torch.zeros_like(value) for name, value in net.state_dict().items()}
    save_model(tmp_path / "mute.safetensors", net.config, tensors, {"data": "none"})
    (part, *_) = evaluate([data], [tmp_path / "mute.safetensors"], flow="off").models[0].inputs
    # softplus(-2) stops in every clipped channel: the bias is that much higher than identity's.
    clipped = part.total["clipped"]
    assert clipped["bias_stops"] - clipped["identity_bias_stops"] == pytest.approx(np.log1p(np.exp(-2)), abs=1e-6)


def test_exact_flow_needs_flow_files(data: Path, tiny_model: str) -> None:
    with pytest.raises(UsageError, match=r"attic_srgb: has no exact flow \(3 of 5 clips\): measure with --flow dis"):
        evaluate([data], [tiny_model], flow="exact")


def test_what_cannot_be_measured_is_refused_with_a_cure(data: Path, tiny_model: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown model 'nobody'"):
        evaluate([data], [tiny_model, "nobody"])
    with pytest.raises(UnknownNameError, match="unknown value of --flow 'diss': did you mean dis"):
        evaluate([data], [tiny_model], flow="diss")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="add --flow-weights"):
        evaluate([data], [tiny_model], flow="raft")
    with pytest.raises(UsageError, match="--flow-weights is for RAFT"):
        evaluate([data], [tiny_model], flow_weights="raft.pth")
    with pytest.raises(UsageError, match="--limit 0"):
        evaluate([data], [tiny_model], limit=0)
    with pytest.raises(UsageError, match="at least one folder of clips and one model"):
        evaluate([data], [])
    with pytest.raises(ShotError, match="holds no clips"):
        evaluate([data, tmp_path], [tiny_model])


def test_a_damaged_frame_is_named(tiny_model: str, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip", "scene", "acescct", frames=2)
    picture = clip.path("input", 1002)
    picture.write_bytes(picture.read_bytes()[:-20])
    with pytest.raises(FrameError, match=r"clip\.1002\.png"):
        evaluate([tmp_path], [tiny_model])
