"""Training pairs on disk: what is written comes back, and what is broken is refused by name."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.encodings import ColorEncoding, convert_linear, get_encoding, primaries_matrix
from seqhdr.errors import FrameError, InputError, ShotError, UsageError
from seqhdr.quality.truth_light import light_to_truth
from seqhdr.train.pairs import (
    ClipInfo,
    encode_truth,
    find_clips,
    make_folder,
    read_pair,
    remove_clip,
    truth_to_light,
    write_clip_info,
    write_pair,
)

H, W = 11, 14


def clip(folder: Path, encoding: str = "srgb", **more: Any) -> ClipInfo:
    info = ClipInfo(folder / "alley_01", (1001, 1002), W, H, encoding, 0.5, "alley", **more)
    for kind in ("input", "truth", "flow"):
        (info.folder / kind).mkdir(parents=True, exist_ok=True)
    return info


def light(seed: int = 0, stops: float = 2.5) -> Tensor:
    """(3, H, W) float64, far above and a little below the range."""
    rgb = np.exp2(np.random.default_rng(seed).normal(-2, stops, (3, H, W)))
    rgb[:, 0, 0] = (-0.004, 0.0, 40.0)
    return torch.from_numpy(rgb)


def rounded(rgb_lin: Tensor, encoding: ColorEncoding) -> NDArray[np.uint8]:
    value = encoding.encode(rgb_lin).numpy() * 255
    return np.ascontiguousarray(np.clip(np.rint(value), 0, 255).astype(np.uint8).transpose(1, 2, 0))


def made(folder: Path, encoding: str = "srgb", *, float_truth: bool = True, flow: bool = True) -> ClipInfo:
    """A finished clip of two frames."""
    info = clip(folder, encoding, has_flow=flow, made={"seed": 7, "pan": (1, 2)})
    rng = np.random.default_rng(5)
    for frame in info.frames:
        rgb_lin = light(frame)
        extra: dict[str, Any] = {}
        if flow:
            extra = {
                "flow_px": rng.normal(0, 30, (H, W, 2)).astype(np.float32),
                "visible": rng.random((H, W)) < 0.7,
            }
        write_pair(info, frame, rounded(rgb_lin, get_encoding(encoding)), rgb_lin, float_truth=float_truth, **extra)
    write_clip_info(info)
    return info


@pytest.mark.parametrize("float_truth", [True, False], ids=["float", "half"])
@pytest.mark.parametrize("name", ["srgb", "logc3", "acescct"])
def test_a_frame_comes_back(tmp_path: Path, name: str, float_truth: bool) -> None:
    info, encoding = clip(tmp_path, name), get_encoding(name)
    rgb_lin = light()
    codes = rounded(rgb_lin, encoding)
    write_pair(info, 1002, codes, rgb_lin, float_truth=float_truth)
    pair = read_pair(info, 1002)
    assert pair.flow_px is None
    assert pair.visible is None
    np.testing.assert_array_equal(pair.codes, codes)
    assert pair.codes.dtype == np.uint8
    assert pair.value_lsb.dtype == pair.gain_stops.dtype == torch.float32
    value = encoding.encode(rgb_lin) * 255
    top = float(encoding.decode(torch.tensor(254.5 / 255, dtype=torch.float64)))
    gain = torch.log2(rgb_lin.clamp_min(1e-9) / top).clamp(0, 12)
    assert gain.max() > 3 or name != "srgb"
    # V from ½ to 2 is rounded by 2^-11 at most, that is 17.52 · 2^-11 stops of each channel; what is lost in a bright
    # channel the matrix brings into the dark ones.
    truth = get_encoding("acescct")
    stops = 17.52 * (2.0**-24 if float_truth else 2.0**-11) + 1e-6
    spread = convert_linear(rgb_lin, encoding, truth).abs().clamp_min(2.0**-7) * (2**stops - 1)
    spread = torch.einsum("ij,jhw->ihw", primaries_matrix(truth, encoding).abs(), spread)
    low, high = (encoding.encode(rgb_lin + sign * spread) * 255 for sign in (-1, 1))
    # float32 on the way back, around codes of some thousands at most.
    assert bool((low - 1e-3 <= pair.value_lsb).all())
    assert bool((pair.value_lsb <= high + 1e-3).all())
    # In colours as they come, that is a small part of a code.
    error = (pair.value_lsb - value).abs()[:, torch.from_numpy((codes.min(axis=-1) > 30) & (codes.max(axis=-1) < 255))]
    assert error.numel() > 30
    assert float(error.median()) < (1e-3 if float_truth else 0.15)
    assert float((pair.gain_stops.double() - gain).abs().max()) < (1e-4 if float_truth else 0.1)


def test_values_are_not_cut_off(tmp_path: Path) -> None:
    info, encoding = clip(tmp_path), get_encoding("srgb")
    rgb_lin = light()
    write_pair(info, 1001, rounded(rgb_lin, encoding), rgb_lin, float_truth=True)
    value = read_pair(info, 1001).value_lsb
    # 12.92 times the light below the toe's end; the power above it.
    assert float(value[0, 0, 0]) == pytest.approx(-0.004 * 12.92 * 255, abs=0.02)
    assert float(value[2, 0, 0]) == pytest.approx((1.055 * 40 ** (1 / 2.4) - 0.055) * 255, rel=1e-4)


def test_the_same_encoding_needs_no_detour(tmp_path: Path) -> None:
    info = clip(tmp_path, "acescct")
    for float_truth in (True, False):
        stored = encode_truth(light(), get_encoding("acescct"), float_truth=float_truth)
        write_pair(info, 1001, np.zeros((H, W, 3), np.uint8), light(), float_truth=float_truth)
        np.testing.assert_array_equal(read_pair(info, 1001).value_lsb.numpy(), stored.astype(np.float32) * 255)


def test_another_reader_sees_acescct(tmp_path: Path) -> None:
    info = clip(tmp_path, "acescct")
    rgb_lin = light()
    codes = rounded(rgb_lin, get_encoding("acescct"))
    for float_truth, kind in ((True, np.float32), (False, np.float16)):
        write_pair(info, 1001, codes, rgb_lin, float_truth=float_truth)
        with OpenEXR.File(str(info.path("truth", 1001)), separate_channels=True) as file:
            planes = {name: channel.pixels.copy() for name, channel in file.channels().items()}
            assert file.header()["colorInteropID"] == "ocio:acescct_ap1_scene"
        assert set(planes) == set("RGB")
        above = rgb_lin > 2.0**-7
        expected = (torch.log2(rgb_lin) + 9.72) / 17.52
        for index, name in enumerate("RGB"):
            assert planes[name].dtype == kind
            np.testing.assert_allclose(
                planes[name][above[index]], expected[index][above[index]], rtol=2.0**-11 if kind == np.float16 else 1e-6
            )
    # OpenCV reads blue first.
    picture = cv2.imread(str(info.path("input", 1001)), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(picture[..., ::-1], codes)


def test_half_holds_what_is_far_below_black() -> None:
    rgb_lin = torch.tensor([-65504.0, -1.0, 65504.0]).view(3, 1, 1)
    stored = encode_truth(rgb_lin, get_encoding("acescct"), float_truth=False)
    assert np.isfinite(stored).all()
    assert stored[0, 0, 0] == -65504
    assert np.isfinite(encode_truth(rgb_lin, get_encoding("srgb"), float_truth=True)).all()


def test_gain_counts_stops_above_the_top_of_the_range() -> None:
    encoding = get_encoding("srgb")
    top = ((254.5 / 255 + 0.055) / 1.055) ** 2.4
    rgb_lin = torch.tensor([0.2, 1, 2, 8, 5000, -3]) * top
    value, gain = light_to_truth(rgb_lin.view(3, 1, 2), encoding)
    np.testing.assert_allclose(gain.flatten(), (0, 0, 1, 3, 12, 0), atol=1e-5)
    assert float(value.flatten()[1]) == pytest.approx(254.5, abs=1e-3)


@pytest.mark.parametrize("name", ["srgb", "logc3", "acescct"])
def test_values_and_gains_say_everything_of_light(name: str) -> None:
    encoding, rgb_lin = get_encoding(name), light(stops=5)
    back = truth_to_light(*light_to_truth(rgb_lin, encoding), encoding)
    top = float(encoding.decode(torch.tensor(254.5 / 255, dtype=torch.float64)))
    known = rgb_lin < top * 2.0**12
    np.testing.assert_allclose(back[known], rgb_lin[known], rtol=1e-6, atol=1e-9)
    assert bool((rgb_lin > top).any())


def test_flow_comes_back_exactly(tmp_path: Path) -> None:
    info = made(tmp_path)
    rng = np.random.default_rng(5)
    for frame in info.frames:
        flow_px, visible = rng.normal(0, 30, (H, W, 2)).astype(np.float32), rng.random((H, W)) < 0.7
        pair = read_pair(info, frame)
        np.testing.assert_array_equal(pair.flow_px, flow_px)
        np.testing.assert_array_equal(pair.visible, visible)
        assert pair.visible is not None
        assert pair.visible.dtype == np.bool_
        assert read_pair(info, frame, flow=False).flow_px is None


def test_a_clip_describes_itself(tmp_path: Path) -> None:
    info = made(tmp_path / "train")
    other = dataclasses.replace(info, folder=tmp_path / "val" / "roof", scene="roof", has_flow=False, made={})
    other.folder.mkdir(parents=True)
    write_clip_info(other)
    (tmp_path / "val" / "unfinished" / "input").mkdir(parents=True)
    found = find_clips(tmp_path)
    assert found == (dataclasses.replace(info, made={"seed": 7, "pan": [1, 2]}), other)
    assert found[0].name == "alley_01"
    assert found[0].path("input", 7) == tmp_path / "train/alley_01/input/alley_01.0007.png"
    assert found[0].path("truth", 12345) == tmp_path / "train/alley_01/truth/alley_01.12345.exr"
    assert str(tmp_path) not in (info.folder / "clip.json").read_text()


def test_the_same_clip_makes_the_same_bytes(tmp_path: Path) -> None:
    one, two = made(tmp_path / "a"), made(tmp_path / "b")
    files = sorted(p.relative_to(one.folder) for p in one.folder.rglob("*") if p.is_file())
    assert len(files) == 7
    for file in files:
        assert (one.folder / file).read_bytes() == (two.folder / file).read_bytes()


def test_no_clips_is_no_answer(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ShotError, match=re.escape(f"{folder}: holds no clips")):
            find_clips(folder)


@pytest.mark.parametrize(
    "change",
    [
        "not json",
        [],
        "a string",
        {"format": 2},
        {"format": None},
        {"encoding": "nonsense"},
        {"encoding": 3},
        {"frames": 7},
        {"frames": ["x"]},
        {"surplus": 1},
        {"scene": ...},
    ],
    ids=str,
)
def test_a_broken_description_is_refused(tmp_path: Path, change: Any) -> None:
    path = made(tmp_path).folder / "clip.json"
    if change == "not json":
        path.write_text("{")
    elif isinstance(change, dict):
        text = {**json.loads(path.read_text()), **change}
        path.write_text(json.dumps({k: v for k, v in text.items() if v is not ...}))
    else:
        path.write_text(json.dumps(change))
    with pytest.raises(InputError, match=r"clip\.json: is not a clip's description \(.*make the clip again"):
        find_clips(tmp_path)


def again(info: ClipInfo, kind: str, rows: int, columns: int) -> None:
    """Write one kind of frame 1001 in another size."""
    small = dataclasses.replace(info, width=columns, height=rows)
    keep = {k: info.path(k, 1001).read_bytes() for k in ("input", "truth", "flow") if k != kind}
    flow_px, visible = np.zeros((rows, columns, 2), np.float32), np.ones((rows, columns), bool)
    codes, rgb_lin = np.zeros((rows, columns, 3), np.uint8), torch.zeros(3, rows, columns)
    write_pair(small, 1001, codes, rgb_lin, float_truth=True, flow_px=flow_px, visible=visible)
    for k, content in keep.items():
        info.path(k, 1001).write_bytes(content)


@pytest.mark.parametrize("kind", ["input", "truth", "flow"])
@pytest.mark.parametrize("trouble", ["missing", "cut short", "empty", "other size", "one column more"])
def test_a_bad_file_is_refused_by_name(tmp_path: Path, kind: str, trouble: str) -> None:
    info = made(tmp_path)
    path = info.path(kind, 1001)
    if trouble == "missing":
        path.unlink()
    elif trouble == "cut short":
        path.write_bytes(path.read_bytes()[:-30])
    elif trouble == "empty":
        path.write_bytes(b"")
    elif trouble == "other size":
        again(info, kind, W, H)
    else:
        again(info, kind, H, W + 1)
    with pytest.raises(FrameError, match=re.escape(str(path))):
        read_pair(info, 1001)
    read_pair(info, 1002)
    if kind == "flow":
        read_pair(info, 1001, flow=False)


def test_missing_channels_and_deeper_inputs_are_refused(tmp_path: Path) -> None:
    info = made(tmp_path)
    truth, flow = info.path("truth", 1001).read_bytes(), info.path("flow", 1001)
    info.path("truth", 1001).write_bytes(flow.read_bytes())
    with pytest.raises(FrameError, match=r"truth/alley_01\.1001\.exr: has no channel R, G, B"):
        read_pair(info, 1001)
    info.path("truth", 1001).write_bytes(truth)
    flow.write_bytes(truth)
    with pytest.raises(FrameError, match=r"flow/alley_01\.1001\.exr: has no channel backward\.u"):
        read_pair(info, 1001)
    cv2.imwrite(str(info.path("input", 1002)), np.zeros((H, W, 3), np.uint16))
    with pytest.raises(FrameError, match=r"input/alley_01\.1002\.png: has 16 bits instead of 8"):
        read_pair(info, 1002)


@pytest.mark.parametrize("float_truth", [False, True])
def test_what_is_written_is_handed_back(tmp_path: Path, float_truth: bool) -> None:
    info, rgb_lin = clip(tmp_path), light()
    codes = rounded(rgb_lin, get_encoding("srgb"))
    stored = write_pair(info, 1001, codes, rgb_lin, float_truth=float_truth)
    with OpenEXR.File(str(info.path("truth", 1001))) as file:
        np.testing.assert_array_equal(stored, file.channels()["RGB"].pixels.transpose(2, 0, 1))


def test_a_clip_is_removed_with_its_files_and_no_others(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a"), made(tmp_path / "b")
    kept = second.folder / "truth" / "alley_01.1003.exr"
    kept.write_text("mine")
    for info in (first, second):
        remove_clip(info)
        remove_clip(info)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [kept]
    assert not first.folder.exists()
    assert not (second.folder / "input").exists()
    second.path("truth", 1002).mkdir()
    with pytest.raises(UsageError, match=r"b/alley_01: cannot be replaced \(.*\): give another -o"):
        remove_clip(second)


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "out", tmp_path / "file", tmp_path / ("x" * 300)):
        with pytest.raises(UsageError, match=re.escape(f"{folder}: cannot become a folder (")):
            make_folder(folder)
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
