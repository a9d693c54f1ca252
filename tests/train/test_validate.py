"""Validation: the mean of the objective, and strata that are those of the frames it saw."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from seqhdr.color.encodings import get_encoding
from seqhdr.model.cards import load_model
from seqhdr.model.head import Prediction
from seqhdr.model.net import SeqNet
from seqhdr.quality.strata import StrataScore
from seqhdr.train.batch import ClipBatch
from seqhdr.train.board import before_after
from seqhdr.train.config import SceneConfig
from seqhdr.train.layers import LayerConfig
from seqhdr.train.objective import LossConfig, objective
from seqhdr.train.panorama import Panorama
from seqhdr.train.sources import PanoramaSource
from seqhdr.train.validate import validate

LOSS = LossConfig(l1_log=0.5, coherence=0.7)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def batches(painted: Panorama, plain_scene: Callable[..., SceneConfig]) -> list[ClipBatch]:
    """Three clips of two encodings, of four frames each."""
    return [
        PanoramaSource((painted,), plain_scene(encoding, layers=LayerConfig(share=1.0))).clip(
            np.random.default_rng(seed), 4, 40
        )
        for seed, encoding in enumerate(("acescct", "srgb", "acescct"))
    ]


@pytest.fixture(scope="module")
def net(tiny_model: str) -> SeqNet:
    return load_model(tiny_model).eval()


@torch.inference_mode()
def predicted(net: SeqNet, batch: ClipBatch) -> list[Prediction]:
    """Frame after frame, the state handed on by hand."""
    out, state = [], None
    for frame in range(batch.codes.shape[1]):
        piece = batch.frames(frame, frame + 1)
        predictions, state = net(piece.codes, state, piece.source, piece.flow_px)
        out += predictions
    return out


def test_the_loss_is_the_mean_of_the_objective(net: SeqNet, batches: list[ClipBatch]) -> None:
    found = validate(net, batches, LOSS, CPU)
    losses = [float(objective(batch, predicted(net, batch), LOSS)[0]) for batch in batches]
    assert len(set(losses)) == 3
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert validate(net, batches[1:2], LOSS, CPU).loss == pytest.approx(losses[1], rel=1e-5)


def test_the_tables_are_those_of_the_frames_by_encoding(net: SeqNet, batches: list[ClipBatch]) -> None:
    found = validate(net, batches, LOSS, CPU)
    scores = {name: StrataScore(with_ssim=False) for name in ("acescct", "srgb")}
    for batch in batches:
        (name,) = batch.encodings
        for index, one in enumerate(predicted(net, batch)):
            truth = (batch.codes[:, index], batch.value_lsb[:, index], batch.gain_stops[:, index])
            scores[name].add_frame(index, *truth, one.offset_lsb, one.gain_stops, get_encoding(name), 0.5)
    assert list(found.tables) == ["acescct", "srgb"]
    for name, score in scores.items():
        expected = score.table()
        assert found.tables[name].keys() == expected.keys()
        for stratum, row in expected.items():
            assert found.tables[name][stratum] == pytest.approx(row, rel=1e-4, abs=1e-5), stratum
    # By hand, without the score: identity on whatever is not clipped, and times that are told apart.
    first = {"first frame", "frames 2-3", "late frames"}
    assert first <= found.tables["acescct"].keys()
    squares = [
        ((batch.codes - batch.value_lsb) / 255).double().square()[~batch.clipped]
        for batch in batches
        if batch.encodings == ("acescct",)
    ]
    identity = -10 * math.log10(torch.cat(squares).mean())
    assert found.tables["acescct"]["whole"]["identity_psnr_db"] == pytest.approx(identity, abs=1e-6)
    clipped = batches[1].clipped
    assert bool(clipped.any())
    rmse = batches[1].gain_stops[clipped].square().mean().sqrt()
    assert found.tables["srgb"]["clipped"]["identity_rmse_stops"] == pytest.approx(float(rmse), rel=1e-5)


def test_the_picture_is_of_the_first_clips_last_frame(net: SeqNet, batches: list[ClipBatch]) -> None:
    found = validate(net, batches, LOSS, CPU)
    last = predicted(net, batches[0])[-1]
    expected = before_after(batches[0].codes[0, -1], last.offset_lsb[0], batches[0].value_lsb[0, -1])
    torch.testing.assert_close(found.picture, expected, rtol=0, atol=1e-4)


def test_validation_leaves_no_gradients(net: SeqNet, batches: list[ClipBatch]) -> None:
    found = validate(net, batches[:1], LOSS, CPU)
    assert not found.picture.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())


def test_without_clips_there_is_nothing_to_say(net: SeqNet, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got no batches: expected at least one clip"):
        validate(net, [], LOSS, CPU)
