"""Frames that a decoder made: its rounding is undone before the network, and the bins are those of the codes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from seqhdr.classic.deband import ClassicDeband
from seqhdr.media.compression import estimate_half_width
from seqhdr.media.exr import read_exr
from seqhdr.media.shot import find_shot
from seqhdr.media.unround import unrounding
from seqhdr.media.ycbcr import LATTICES
from seqhdr.model.cards import load_model
from seqhdr.model.predict import Predictor
from seqhdr.pipeline.evaluate import _decoder
from seqhdr.pipeline.options import RunOptions
from seqhdr.pipeline.setup import prepare_shot
from seqhdr.train.codecs import h264
from seqhdr.train.pairs import ClipInfo, PairFrame

FULL, CUT_DOWN = (
    next(lattice for lattice in LATTICES if lattice.name == name)
    for name in ("full-range BT.601", "limited BT.601, cut down")
)


def view(frame: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A smooth sky over coloured texture, moving."""
    y, x = np.mgrid[:96, :128].astype(np.float64)
    x = x + 1.5 * frame
    sky = np.stack([90 + 0.3 * y + 8 * np.sin(x / 31), 120 + 0.4 * y, 160 + 0.2 * y + 6 * np.cos(x / 23)], axis=-1)
    ground = np.stack([120 + 60 * np.sin(x / 2.3), 100 + 50 * np.sin(x / 3.1 + y), 90 + 40 * np.cos(y / 1.7)], axis=-1)
    return np.rint(np.where((y > 60)[..., None], ground, sky)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def once_jpeg(tmp_path: Path) -> str:
    """PNG frames that were JPEG before; the lower right corner is black and white."""
    (tmp_path / "in").mkdir()
    for frame in range(3):
        picture = view(frame)
        picture[80:, 96:112], picture[80:, 112:] = 0, 255
        data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
        cv2.imwrite(str(tmp_path / "in" / f"shot_{frame + 1:04d}.png"), cv2.imdecode(data, 1))
    return str(tmp_path / "in" / "shot_%04d.png")


def test_a_run_puts_back_what_the_decoder_rounded_away_and_stays_in_the_bins(
    once_jpeg: str, convert: Any, seqhdr: Any, tmp_path: Path
) -> None:
    assert convert(once_jpeg, "--bit-depth", "float", out="auto").code == 0
    summary = json.loads((tmp_path / "auto" / "shot_acescct.json").read_text())
    assert summary["bins"]["unrounded"] == FULL.name
    assert summary["bins"]["reason"].endswith("what that decoder's rounding took is put back first")
    ran = seqhdr("verify", tmp_path / "auto" / "shot_acescct.%04d.exr", "--source", once_jpeg)
    assert ran.code == 0
    assert "promise                            kept" in ran.out


@pytest.mark.parametrize("bins", ["strict", "1.5"])
def test_bins_that_were_given_take_the_codes_as_they_are(
    bins: str, once_jpeg: str, convert: Any, tmp_path: Path
) -> None:
    assert convert(once_jpeg, "--bins", bins, out=bins).code == 0
    summary = json.loads((tmp_path / bins / "shot_acescct.json").read_text())
    assert summary["bins"]["unrounded"] is None


def test_a_clean_shot_has_nothing_to_undo(shoot: Any, convert: Any, tmp_path: Path) -> None:
    assert convert(shoot(range(1, 3))).code == 0
    assert json.loads((tmp_path / "out" / "shot_acescct.json").read_text())["bins"]["unrounded"] is None


def test_the_network_sees_the_decoder_s_own_values() -> None:
    net, w = load_model("s"), 2.4
    codes = h264(np.stack([view(t) for t in range(2)]), 20, cut_down=True)
    table = unrounding(CUT_DOWN)
    undoing = Predictor(net, half_width_lsb=w, unrounding=table)
    plain = Predictor(net, half_width_lsb=w)
    memory, known = None, None
    for frame in codes:
        lift = table.lift_lsb(frame)
        prediction, memory = undoing.step(frame, memory)
        expected, known = plain.step(frame + lift, known)  # type: ignore[arg-type]
        lifted = (expected.offset_lsb[0].permute(1, 2, 0) + torch.from_numpy(lift)).clamp(-w, w)
        torch.testing.assert_close(prediction.offset_lsb[0].permute(1, 2, 0), lifted, atol=1e-4, rtol=0)
        assert torch.equal(prediction.gain_stops, expected.gain_stops)
    assert float(prediction.offset_lsb.abs().max()) <= w + 1e-6
    # The darkening of the quick conversion is gone: a code in R and B, one and a half in G.
    mean = prediction.offset_lsb.mean(dim=(0, 2, 3))
    assert 0.5 < float(mean[0]) < 1.5
    assert 0.9 < float(mean[1]) < 2


def test_nothing_is_lifted_into_the_open_bins() -> None:
    seen = []

    class Spy(ClassicDeband):
        def step(self, codes: Any, *rest: Any) -> Any:
            seen.append(codes.clone())
            return super().step(codes, *rest)

    frame = np.zeros((32, 32, 3), np.uint8)
    frame[:] = np.arange(224, 256, dtype=np.uint8)[:, None]
    w = 2.4
    Predictor(Spy(), half_width_lsb=w, unrounding=unrounding(CUT_DOWN)).step(frame, None)
    codes = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    assert torch.equal(seen[0] + w >= 255, codes + w >= 255)
    assert float((seen[0] - codes).max()) > 0.5


def test_smooth_places_of_extracted_frames_come_closer_to_the_truth() -> None:
    y, x = np.mgrid[:96, :128].astype(np.float64)
    truth = [
        np.stack([90 + 0.3 * y + 8 * np.sin((x + t) / 31), 120 + 0.4 * y, 150 + 0.2 * y + 5 * np.cos(x / 23)], axis=-1)
        for t in range(4)
    ]
    clip = h264(np.rint(np.stack(truth)).astype(np.uint8), 16, cut_down=True)
    errors = {}
    for table in (None, unrounding(CUT_DOWN)):
        predictor = Predictor(load_model("s"), half_width_lsb=2.4, unrounding=table)
        memory, total = None, 0.0
        for codes, wanted in zip(clip, truth, strict=True):
            prediction, memory = predictor.step(codes, memory)
            value = codes + prediction.offset_lsb[0].permute(1, 2, 0).numpy()
            total += float(np.square(value - wanted).mean())
        errors[table is not None] = total
    assert errors[True] < 0.5 * errors[False]


def test_a_run_brightens_extracted_frames_by_what_the_decoder_took(convert: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for frame, codes in enumerate(h264(np.stack([view(t) for t in range(3)]), 18, cut_down=True)):
        cv2.imwrite(str(tmp_path / "in" / f"shot_{frame + 1:04d}.png"), codes[..., ::-1])
    pattern = str(tmp_path / "in" / "shot_%04d.png")
    assert convert(pattern, "--output-space", "srgb", "--bit-depth", "float", out="auto").code == 0
    bins = json.loads((tmp_path / "auto" / "shot_srgb.json").read_text())["bins"]
    assert bins["unrounded"] == CUT_DOWN.name
    given = ("--bins", bins["half_width_lsb"])
    assert convert(pattern, "--output-space", "srgb", "--bit-depth", "float", *given, out="given").code == 0
    undone, plain = (read_exr(tmp_path / name / "shot_srgb.0002.exr")[0] for name in ("auto", "given"))
    # What the network makes of codes that nobody told it are dark is its own affair; what a decoder that rounds says of
    # the same stream is known. The network is a random one, so it may move a mean by a little itself.
    nearest = h264(np.stack([view(t) for t in range(3)]), 18)
    for place, (channel, taken) in enumerate((("R", 1.0), ("G", 1.5), ("B", 1.0))):
        before = float(nearest[1, ..., place].mean())
        assert float(undone[channel].mean()) * 255 == pytest.approx(before, abs=0.5 * taken)
        assert float(plain[channel].mean()) * 255 < before - 0.4 * taken


def test_what_was_undone_decides_the_bytes(once_jpeg: str, tmp_path: Path) -> None:
    options = RunOptions(output=tmp_path)
    setup = prepare_shot(find_shot(once_jpeg), options, torch.device("cpu"), None)
    other = dataclasses.replace(setup, bins=dataclasses.replace(setup.bins, unrounded=None))
    net = load_model("s")
    assert setup.bins.unrounded is not None
    assert setup.settings(options, net) != other.settings(options, net)


def test_a_decoder_is_recognised_by_most_of_its_colours_only() -> None:
    clip = np.stack([view(t) for t in range(3)])
    cut_down = estimate_half_width(list(h264(clip, 20, cut_down=True)), container="png")
    interpolated = estimate_half_width(list(h264(clip, 20)), container="mp4")
    assert cut_down.lattice == CUT_DOWN
    # Chroma enlarged cubically leaves the lattice, whatever few of its colours fall onto it.
    assert interpolated.evidence["lattice_share"] < 0.5
    assert interpolated.lattice is None
    assert estimate_half_width(list(clip), container="png").lattice is None


def test_eval_undoes_what_a_run_would() -> None:
    codes = h264(view(0)[None], 20, cut_down=True)[0]
    clip = ClipInfo(Path("clip"), (1,), 128, 96, "srgb", 2.4, "scene")
    pair = PairFrame(codes, torch.zeros(3, 96, 128), torch.zeros(3, 96, 128))
    found = _decoder(clip, pair)
    assert found is not None
    assert found.lattice == CUT_DOWN
    # What is declared lossless is taken as it is.
    assert _decoder(dataclasses.replace(clip, half_width_lsb=0.5), pair) is None
