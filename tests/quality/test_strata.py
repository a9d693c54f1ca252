"""The strata against plain loops, and the numbers that can be worked out by hand."""

from __future__ import annotations

import json
import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from pytorch_msssim import ssim
from torch import Tensor

from seqhdr.color.encodings import get_encoding
from seqhdr.quality.strata import (
    PERFECT_DB,
    STRATA,
    StrataScore,
    StratumRow,
    Table,
    flat_mask,
    strata_rows,
    worst_scene,
)

ACESCCT, SRGB = get_encoding("acescct"), get_encoding("srgb")
Frame = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def make_frame(seed: int, height: int = 12, width: int = 14) -> Frame:
    """Codes, truth, its stops, predicted offsets and stops: flat on the left, noise on the right, a clipped corner."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(100, 102, (3, height, width)).astype(np.float32)
    codes[:, :, width // 2 :] = rng.integers(5, 250, (3, height, width - width // 2))
    codes[:2, :3, -4:] = 255
    codes[2, 0, -2] = 254
    codes[0, 0, -5] = 253
    stops = np.where(codes >= 250, rng.uniform(0, 4, codes.shape), 0).astype(np.float32)
    value = codes + rng.uniform(-0.5, 0.5, codes.shape).astype(np.float32)
    offset = rng.uniform(-0.5, 0.5, codes.shape).astype(np.float32)
    gain = np.where(codes >= 250, rng.uniform(0, 3, codes.shape), 0).astype(np.float32)
    codes_, value_, stops_, offset_, gain_ = (torch.from_numpy(a) for a in (codes, value, stops, offset, gain))
    return codes_, value_, stops_, offset_, gain_


def score(*frames: Frame, encoding: str = "acescct", w: float = 0.5, with_ssim: bool = False) -> StrataScore:
    out = StrataScore(with_ssim=with_ssim)
    for index, frame in enumerate(frames):
        out.add_frame(index, *frame, get_encoding(encoding), w)
    return out


def curve(value: float, encoding: str) -> float:
    """A value in codes on the ACEScct curve, from the formulas of the standards."""
    v = value / 255
    if encoding == "acescct":
        return v
    light = v / 12.9232 if v <= 0.03929 else ((v + 0.055) / 1.055) ** 2.4
    return (math.log2(light) + 9.72) / 17.52 if light > 2**-7 else 10.5402377416545 * light + 0.0729055341958355


def naive_flat(codes: np.ndarray) -> np.ndarray:
    _, height, width = codes.shape
    flat = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            window = codes[:, max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4]
            flat[y, x] = all(channel.max() - channel.min() <= 1 for channel in window)
    return flat


def naive_table(frames: list[Frame], encoding: str, w: float) -> Table:
    """The same table, a channel at a time."""
    lists: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    total = 0
    for index, frame in enumerate(frames):
        codes, value, stops, offset, gain = (tensor.numpy().astype(np.float64) for tensor in frame)
        flat = naive_flat(codes)
        for at in np.ndindex(codes.shape):
            total += 1
            c, v, o = codes[at], value[at], offset[at]
            if c + w >= 255:
                lists["clipped"].append((gain[at] - stops[at], 0 - stops[at], 0, 0))
                continue
            error, identity = (curve(x, encoding) - curve(v, encoding) for x in (c + o, c))
            for name in ("whole", "flat" if flat[at[1:]] else "texture", naive_time(index)):
                lists[name].append((error, identity, c + o - v, c - v))
    out: Table = {}
    for name in STRATA:
        if name not in lists:
            continue
        ours, identity, codes_ours, codes_identity = np.array(lists[name]).T
        out[name] = {"share": len(ours) / total}
        if name == "clipped":
            out[name] |= {"rmse_stops": float(np.sqrt((ours**2).mean())), "bias_stops": float(ours.mean())}
            out[name]["identity_rmse_stops"] = float(np.sqrt((identity**2).mean()))
            out[name]["identity_bias_stops"] = float(identity.mean())
            continue
        for key, mine, its, peak in (("", ours, identity, 1), ("_codes", codes_ours, codes_identity, 255)):
            if key and w == 0.5:
                continue
            a, b = (10 * math.log10(peak**2 / float((e**2).mean())) for e in (mine, its))
            out[name] |= {f"psnr{key}_db": a, f"identity_psnr{key}_db": b, f"gain{key}_db": a - b}
    return out


def naive_time(index: int) -> str:
    return ["first frame", "frames 2-3", "frames 2-3", "late frames", "late frames"][index]


def assert_same(table: Table, other: Table, rel: float = 1e-9) -> None:
    assert list(table) == list(other)
    for name in table:
        assert table[name] == pytest.approx(other[name], rel=rel, abs=rel), name


def test_flat_is_what_a_loop_calls_flat_borders_included() -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(100, 102, (2, 3, 15, 17)).astype(np.float32)
    codes[0, 1, 0, 0] = 103  # in a corner: not flat as far as three pixels away, and no further
    codes[1, 2, 9, 16] = 98
    expected = np.stack([naive_flat(frame) for frame in codes])[:, None]
    mask = flat_mask(torch.from_numpy(codes))
    assert mask.dtype == torch.bool
    assert np.array_equal(mask.numpy(), expected)
    assert not mask[0, 0, 3, 3]
    assert mask[0, 0, 4, 0]


@pytest.mark.parametrize(("encoding", "w"), [("acescct", 0.5), ("srgb", 0.5), ("srgb", 2.0), ("acescct", 2.0)])
def test_every_stratum_is_what_a_loop_counts(encoding: str, w: float) -> None:
    frames = [make_frame(seed) for seed in range(5)]
    table = score(*frames, encoding=encoding, w=w).table()
    assert list(table) == list(STRATA)
    # The loop has the rounded constants of the sRGB standard.
    assert_same(table, naive_table(frames, encoding, w), rel=1e-9 if encoding == "acescct" else 2e-4)
    assert ("psnr_codes_db" in table["flat"]) == (w > 0.5)


def test_a_wider_bin_makes_more_channels_clipped() -> None:
    narrow, wide = (score(make_frame(0), w=w).table() for w in (0.5, 2.0))
    total = 3 * 12 * 14
    assert narrow["clipped"]["share"] == pytest.approx(24 / total)
    assert wide["clipped"]["share"] == pytest.approx(26 / total)  # the 254 and the 253 too
    for table in (narrow, wide):
        assert table["whole"]["share"] + table["clipped"]["share"] == pytest.approx(1)
        assert table["flat"]["share"] + table["texture"]["share"] == pytest.approx(table["whole"]["share"])


def test_strata_without_channels_are_left_out() -> None:
    codes = torch.full((3, 12, 12), 90.0)
    zero = torch.zeros_like(codes)
    assert list(score((codes, codes + 0.2, zero, zero, zero)).table()) == ["whole", "flat", "first frame"]
    assert list(score((codes + 165, codes + 165, zero, zero, zero), with_ssim=True).table()) == ["clipped"]
    assert StrataScore().table() == {}


def test_a_batch_of_one_is_a_frame() -> None:
    frame = make_frame(2)
    batch = tuple(tensor[None] for tensor in frame)
    assert_same(score(batch, with_ssim=True).table(), score(frame, with_ssim=True).table())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected one shape"):
        score((frame[0][:, :-1], *frame[1:]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected one shape"):
        score(tuple(torch.stack((t, t)) for t in frame))  # type: ignore[arg-type]


def test_merged_scores_are_the_score_of_all_frames() -> None:
    frames = [make_frame(seed) for seed in range(5)]
    whole, parts = StrataScore(), StrataScore()
    for index, frame in enumerate(frames):
        encoding, w = (SRGB, 2.0) if index == 3 else (ACESCCT, 0.5)
        part = StrataScore()
        for into in (whole, part):
            into.add_frame(index, *frame, encoding, w)
        parts.merge(part)
    assert_same(parts.table(), whole.table(), rel=1e-12)
    # Codes are scored for compressed sources only: here for one late frame.
    assert {name for name, row in whole.table().items() if "psnr_codes_db" in row} == {
        "whole",
        "flat",
        "texture",
        "late frames",
    }


@pytest.mark.parametrize("encoding", ["acescct", "srgb", "ailog"])
def test_identity_gains_exactly_nothing(encoding: str) -> None:
    codes, value, stops, _, _ = make_frame(3)
    zero = torch.zeros_like(codes)
    table = score((codes, value, stops, zero, zero), encoding=encoding, w=1.5, with_ssim=True).table()
    for name, row in table.items():
        if name == "clipped":
            assert row["rmse_stops"] == row["identity_rmse_stops"] > 0
            assert row["bias_stops"] == row["identity_bias_stops"] < 0
        else:
            assert row["gain_db"] == row["gain_codes_db"] == 0
            assert row["psnr_db"] == row["identity_psnr_db"] < 100
    assert table["whole"]["ssim"] == table["whole"]["identity_ssim"] < 1


@pytest.mark.parametrize("encoding", ["acescct", "srgb"])
def test_what_has_no_error_is_as_good_as_json_can_say(encoding: str) -> None:
    codes, _, stops, _, _ = make_frame(4)
    offset = torch.full_like(codes, 0.25)
    table = score((codes, codes + offset, stops, offset, stops), encoding=encoding, w=2, with_ssim=True).table()
    for name in ("whole", "flat", "texture", "first frame"):
        row = table[name]
        assert row["psnr_db"] == row["psnr_codes_db"] == PERFECT_DB
        assert row["identity_psnr_codes_db"] == pytest.approx(20 * math.log10(255 / 0.25))
        assert row["gain_db"] == PERFECT_DB - row["identity_psnr_db"]
    assert table["whole"]["ssim"] == 1
    assert table["clipped"]["rmse_stops"] == table["clipped"]["bias_stops"] == 0
    assert json.loads(json.dumps(table, allow_nan=False)) == table


def test_a_prediction_that_is_not_a_number_does_not_pass_as_perfect() -> None:
    codes, value, stops, offset, gain = make_frame(5)
    offset[0, 0, 0] = math.nan
    table = score((codes, value, stops, offset, gain)).table()
    assert math.isnan(table["whole"]["psnr_db"])
    assert math.isnan(table["flat"]["gain_db"])
    assert math.isfinite(table["texture"]["psnr_db"])
    offset[0, 0, 0] = math.inf
    assert score((codes, value, stops, offset, gain)).table()["whole"]["psnr_db"] == -math.inf


def test_rounding_alone_is_58_92_db() -> None:
    value = torch.rand((3, 300, 300), generator=torch.Generator().manual_seed(1)) * 200 + 20
    codes, zero = value.round(), torch.zeros_like(value)
    row = score((codes, value, zero, zero, zero)).table()["whole"]
    assert row["identity_psnr_db"] == pytest.approx(10 * math.log10(12 * 255**2), abs=0.05)


def test_bias_has_the_sign_of_prediction_minus_truth() -> None:
    codes, zero = torch.full((3, 12, 12), 255.0), torch.zeros(3, 12, 12)
    row = score((codes, codes, zero + 2, zero, zero + 3.5)).table()["clipped"]
    assert row == pytest.approx(
        {"share": 1, "rmse_stops": 1.5, "bias_stops": 1.5, "identity_rmse_stops": 2, "identity_bias_stops": -2}
    )


def test_ssim_is_the_mean_over_frames_and_highlights_do_not_decide_it() -> None:
    frames = [make_frame(seed, 24, 28) for seed in (6, 7)]
    expected = []
    for codes, value, _, offset, _ in frames:
        clipped = codes >= 254.5
        truth, ours, same = ((x.double() / 255)[None] for x in (value, codes.double() + offset, codes))
        shown = [torch.where(clipped, truth, x) for x in (ours, same)]
        expected.append([float(ssim(x, truth, data_range=1.0)) for x in shown])
    row = score(*frames, with_ssim=True).table()["whole"]
    # The library's window is in float32.
    assert [row["ssim"], row["identity_ssim"]] == pytest.approx(np.mean(expected, axis=0), abs=1e-7)
    for codes, _, _, offset, gain in frames:
        offset[codes == 255] -= 40
        gain[codes == 255] += 3
    assert score(*frames, with_ssim=True).table()["whole"]["ssim"] == row["ssim"]


def test_ssim_can_be_left_out_and_is_where_the_frame_is_smaller_than_its_window() -> None:
    assert "ssim" not in score(make_frame(0, 24, 28)).table()["whole"]
    assert "ssim" not in score(make_frame(0, 10, 28), with_ssim=True).table()["whole"]
    assert "ssim" in score(make_frame(0, 11, 11), with_ssim=True).table()["whole"]


def unclipped(gain: float, **more: float) -> dict[str, float]:
    return {"share": 1, "psnr_db": 60 + gain, "identity_psnr_db": 60, "gain_db": gain, **more}


def lamps(rmse: float, identity: float, bias: float) -> dict[str, float]:
    return {"rmse_stops": rmse, "identity_rmse_stops": identity, "bias_stops": bias, "identity_bias_stops": -identity}


def test_the_worst_scene_is_the_worst() -> None:
    scenes = {
        "a": {"whole": unclipped(3), "clipped": lamps(2, 4, -1.5)},
        "b": {"whole": unclipped(-1), "clipped": lamps(1, 1, 0.2)},
        "c": {"whole": unclipped(1)},
    }
    assert worst_scene(scenes, "whole") == "b"
    assert worst_scene(scenes, "clipped") == "b"  # a is twice as far off, and still gains more
    rows = {row.label: (row.worst, row.scene) for row in strata_rows(scenes["a"], scenes)}
    assert rows == {
        "whole": ("-1.00", "b"),
        "clipped, log2 RMSE in stops": ("x 1.00", "b"),
        "clipped, bias in stops": ("-1.500", "a"),
    }
    scenes["c"]["whole"] = unclipped(math.nan)
    assert worst_scene(scenes, "whole") == "c"
    scenes["c"]["clipped"] = lamps(0.1, 0, 0.1)  # nothing to gain, and yet something lost
    assert worst_scene(scenes, "clipped") == "c"


def test_rows_say_what_the_table_says() -> None:
    codes = {"psnr_codes_db": 41.5, "identity_psnr_codes_db": 40, "gain_codes_db": 1.5}
    total = {
        "whole": unclipped(6.756, ssim=0.99987, identity_ssim=0.9981),
        "late frames": unclipped(2, **codes),
        "clipped": lamps(0.91, 0.903, 0.25),
    }
    assert strata_rows(total, {"kiara": total}) == [
        StratumRow("whole", "66.76 dB", "60.00", "+6.76", "+6.76", "kiara"),
        StratumRow("fourth frame on", "62.00 dB", "60.00", "+2.00", "+2.00", "kiara"),
        StratumRow("fourth frame on, PSNR of the codes", "41.50 dB", "40.00", "+1.50", "+1.50", "kiara"),
        StratumRow("whole, SSIM", "0.99987", "0.99810", "+0.00177", "+0.00177", "kiara"),
        StratumRow("clipped, log2 RMSE in stops", "0.910", "0.903", "x 1.008", "x 1.01", "kiara"),
        StratumRow("clipped, bias in stops", "+0.250", "-0.903", "", "+0.250", "kiara"),
    ]


def test_a_truth_beyond_the_range_counts_up_to_its_top() -> None:
    """A codec smears a lamp: code 250 where the truth is 4000. No code could say that."""
    codes = torch.full((3, 16, 16), 250.0)
    score = StrataScore(with_ssim=False)
    score.add_frame(0, codes, codes + 3750, codes * 0, codes * 0 + 2, codes * 0, get_encoding("acescct"), 2.0)
    whole = score.table()["whole"]
    assert whole["identity_psnr_codes_db"] == pytest.approx(20 * math.log10(255 / 4.5))
    assert whole["psnr_codes_db"] == pytest.approx(20 * math.log10(255 / 2.5))
    assert whole["identity_psnr_db"] == pytest.approx(20 * math.log10(255 / 4.5))
