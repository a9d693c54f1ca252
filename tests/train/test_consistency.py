"""Coherence: a picture that moves and its result move together, whatever a network knows of places."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from seqhdr.model.head import Prediction
from seqhdr.model.source import Source
from seqhdr.train.batch import ClipBatch
from seqhdr.train.consistency import coherence
from tests.train.objective_batches import HALF_WIDTHS, make_batch


class Painter(nn.Module):
    """Says a fixed function of codes and place; remembers what it was asked."""

    def __init__(self, by_place: float = 0.0, scale: float = 0.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.by_place = by_place
        self.seen: list[Tensor] = []
        self.with_graph: list[bool] = []

    def forward(
        self, codes: Tensor, state: None, source: Source, flow_px: None
    ) -> tuple[list[Prediction], dict[str, Tensor]]:
        assert state is None
        assert flow_px is None
        assert codes.shape[1] == 1
        self.seen.append(codes[:, 0])
        self.with_graph.append(torch.is_grad_enabled())
        place = torch.arange(codes.shape[-1]) % 2 * self.by_place
        offset = self.scale * torch.sin(codes[:, 0]) + place
        zeros = torch.zeros_like(offset)
        return [Prediction(offset, zeros, zeros[:, :1] + 1)], {}


def flat_batch(code: float) -> ClipBatch:
    batch = make_batch(frames=2, size=32)
    return dataclasses.replace(batch, codes=torch.full_like(batch.codes, code))


def test_a_network_that_moves_along_is_coherent() -> None:
    loss = coherence(Painter(scale=0.3), flat_batch(100.0), np.random.default_rng(0))
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5)


def test_a_network_that_knows_where_it_is_is_not() -> None:
    loss = coherence(Painter(by_place=0.4), flat_batch(100.0), np.random.default_rng(0), rotation_deg=0, zoom=0)
    # A whole column's shift would cost all of it in every pixel.
    assert 0.01 < float(loss.detach()) < 0.4


def test_keeping_the_code_costs_only_the_rounding(batch: ClipBatch) -> None:
    still = dataclasses.replace(batch, half_width_lsb=torch.full((3,), 0.5))
    loss = coherence(Painter(), still, np.random.default_rng(0))
    # What rounding cuts off is anything up to half a code.
    assert float(loss.detach()) == pytest.approx(0.25, abs=0.02)


def test_coherence_agrees_with_a_transform_of_another_library() -> None:
    batch, net = make_batch(frames=1, size=32, seed=3), Painter(by_place=0.2, scale=0.3)
    batch.codes[..., 12:18, 14:20] = 255
    given = {"shift_px": 9.0, "rotation_deg": 4.0, "zoom": 0.05}
    loss = coherence(net, batch, np.random.default_rng(5), **given)

    draws = np.random.default_rng(5).uniform(-1, 1, (3, 4)) * (9.0, 9.0, np.deg2rad(4.0), 0.05)
    above = below = 0.0
    for index, (x, y, angle, zoom) in enumerate(draws):
        w = HALF_WIDTHS[index]
        turn = (1 + zoom) * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # rows, columns
        centre = np.array([15.5, 15.5])
        back = np.linalg.inv(turn)
        start = centre - back @ (centre + np.array([y, x]))

        def move(picture: np.ndarray, back: np.ndarray = back, start: np.ndarray = start, **kw: Any) -> np.ndarray:
            return ndimage.affine_transform(picture, back, start, order=1, **{"mode": "nearest"} | kw)

        place = np.arange(32) % 2 * 0.2
        inside = move(np.ones((32, 32)), mode="grid-constant") > 0.999
        for codes in batch.codes[index, 0].double().numpy():
            moved = np.rint(move(codes))
            error = moved + 0.3 * np.sin(moved) + place - move(codes + 0.3 * np.sin(codes) + place)
            counts = inside & (move((codes + w >= 255).astype(float)) < 1e-3)
            above += (np.abs(error) / (2 * w) * counts)[4:-4, 4:-4].sum()
            below += counts[4:-4, 4:-4].sum()
    # A value next to a half may be rounded otherwise by the other library.
    assert float(loss.detach()) == pytest.approx(above / below, rel=1e-3)
    assert bool((net.seen[1] == net.seen[1].round()).all())
    assert not torch.equal(net.seen[0], net.seen[1])


def test_only_the_moved_picture_is_pulled_and_lights_do_not_count() -> None:
    net = Painter(scale=0.3)
    batch = make_batch(frames=1, size=32)
    coherence(net, batch, np.random.default_rng(1)).backward()
    assert net.with_graph == [False, True]
    assert net.scale.grad is not None
    assert float(net.scale.grad) != 0
    white = coherence(Painter(by_place=0.4), flat_batch(255.0), np.random.default_rng(0))
    assert float(white.detach()) == 0


def test_moves_repeat_with_their_seed() -> None:
    batch, net = make_batch(frames=1, size=32), Painter(scale=0.3, by_place=0.2)
    first, again, other = (float(coherence(net, batch, np.random.default_rng(s)).detach()) for s in (1, 1, 2))
    assert first == again
    assert first != other
