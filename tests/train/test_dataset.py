"""Batches by number: the same ones whenever they are asked for, with the shares that were asked for."""

from __future__ import annotations

import dataclasses
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from flow import warp
from seqhdr.train import dataset
from seqhdr.train.batch import ClipBatch
from seqhdr.train.config import DataConfig, SceneConfig
from seqhdr.train.dataset import ClipBatches, stream_batches
from seqhdr.train.panorama import Panorama
from seqhdr.train.sources import ClipSource, PanoramaSource, batch_of_one
from tests.train.small_data import data, same

Scene = Callable[..., SceneConfig]


@dataclasses.dataclass(frozen=True)
class Noise:
    """A source that costs nothing: ``level`` is its codes' mean, and its exact flow is (3, -2) everywhere."""

    level: int = 100

    def clip(self, rng: np.random.Generator, frames: int, size: int) -> ClipBatch:
        rough = np.rint(rng.normal(self.level, 4, (frames, 3, size, size)).clip(0, 255)).astype(np.float32)
        codes = torch.from_numpy(rough)
        flow_px = torch.tensor((3.0, -2.0)).view(1, 2, 1, 1).repeat(frames, 1, size, size)
        flow_px[0] = 0
        visible = torch.ones(frames, 1, size, size, dtype=torch.bool)
        return batch_of_one(codes, codes, torch.zeros_like(codes), flow_px, visible, 0.5, "acescct")


class Threads:
    """A source whose codes are the threads that OpenCV and PyTorch have where they are made."""

    def clip(self, rng: np.random.Generator, frames: int, size: int) -> ClipBatch:
        batch = Noise().clip(rng, frames, size)
        batch.codes[0, 0, 0], batch.codes[0, 0, 1] = cv2.getNumThreads(), torch.get_num_threads()
        return batch


class Moving:
    """Soft noise that truly moves: what is at a pixel was 3 px to the right and 2 above in the frame before."""

    def clip(self, rng: np.random.Generator, frames: int, size: int) -> ClipBatch:
        noise = cv2.GaussianBlur(rng.normal(size=(size + 40, size + 40)), (0, 0), 2.5)
        values = 128 + 40 * noise / noise.std()
        windows = [values[20 - 2 * t : 20 - 2 * t + size, 3 * t : 3 * t + size] for t in range(frames)]
        codes = torch.from_numpy(np.rint(np.stack(windows)).clip(0, 255)).float()[:, None].repeat(1, 3, 1, 1)
        flow_px = torch.zeros(frames, 2, size, size)  # nobody told it
        visible = torch.ones(frames, 1, size, size, dtype=torch.bool)
        return batch_of_one(codes, codes, torch.zeros_like(codes), flow_px, visible, 0.5, "acescct")


def batches(config: DataConfig, seed: int = 1, sources: Sequence[ClipSource] = (Noise(),), **more: Any) -> ClipBatches:
    return ClipBatches([(source, 1.0) for source in sources], config, seed, **more)


def kind_of(flow_px: Tensor) -> str:
    """What made a flow (T, 2, H, W) of a clip of Noise, by its looks; DIS has none of pictures this small."""
    later = flow_px[1:]
    exact = torch.tensor((3.0, -2.0)).view(1, 2, 1, 1)
    if bool((later == exact).all()):
        return "exact"
    return "dis" if not later.any() else "none" if float(later.abs().min()) > 1e4 else "broken"


def test_a_number_is_a_batch_whatever_was_asked_before(painted: Panorama, plain_scene: Scene) -> None:
    sources = (Noise(), PanoramaSource((painted,), SceneConfig()))
    config = data(
        crops={32: 2, 40: 1}, crop_shares={32: 0.5, 40: 0.5}, flow={"dis": 0.5, "broken": 0.3, "exact": 0.2}, frames=2
    )
    used = batches(config, sources=sources)
    first = {number: used[number] for number in (0, 5, 3, 4)}
    again = {number: used[number] for number in (3, 4, 5)}
    fresh = batches(config, sources=sources)
    for number in (5, 3, 4):
        assert same(first[number], again[number])
        assert same(first[number], fresh[number])
    assert not same(first[3], first[4])
    assert not same(first[5], batches(config, seed=2, sources=sources)[5])
    # Clips of one batch differ too.
    batch = next(b for b in first.values() if len(b.encodings) == 2)
    assert not torch.equal(batch.codes[0], batch.codes[1])


def test_batches_of_one_step_have_one_size() -> None:
    config = data(crops={8: 3, 12: 2, 16: 1}, crop_shares={8: 1.0, 12: 1.0, 16: 1.0}, frames=1)
    grouped = batches(config, group=4)
    sizes = [grouped[number].codes.shape for number in range(160)]
    steps = [sizes[start : start + 4] for start in range(0, 160, 4)]
    assert all(len(set(step)) == 1 for step in steps)
    assert {step[0] for step in steps} == {(3, 1, 3, 8, 8), (2, 1, 3, 12, 12), (1, 1, 3, 16, 16)}
    alone = batches(config)
    assert len({tuple(alone[number].codes.shape for number in range(n, n + 4)) for n in range(0, 40, 4)}) > 5


def test_sizes_come_as_often_as_their_shares() -> None:
    config = data(crops={4: 1, 6: 1, 8: 1}, crop_shares={4: 3.0, 6: 2.0, 8: 5.0}, frames=1)
    drawn = batches(config)
    counted = Counter(drawn[number].codes.shape[-1] for number in range(600))
    for size, share in ((4, 0.3), (6, 0.2), (8, 0.5)):
        # Four standard deviations at most.
        assert abs(counted[size] - 600 * share) < 4 * np.sqrt(600 * share * (1 - share))


def test_flows_come_as_often_as_their_shares() -> None:
    shares = {"dis": 4.0, "exact": 3.0, "broken": 2.0, "none": 1.0}
    drawn = batches(data(flow=shares, frames=2))
    counted = Counter(kind_of(drawn[number].flow_px[0]) for number in range(600))
    for kind, share in shares.items():
        assert abs(counted[kind] - 60 * share) < 4 * np.sqrt(60 * share * (1 - share / 10)), counted


def test_sources_come_as_often_as_their_shares() -> None:
    drawn = ClipBatches([(Noise(50), 3.0), (Noise(200), 1.0)], data(frames=1, crops={8: 4}), 1)
    levels = torch.cat([drawn[number].codes.mean(dim=(1, 2, 3, 4)) for number in range(100)])
    assert abs(int((levels < 100).sum()) - 300) < 4 * np.sqrt(400 * 0.75 * 0.25)
    silent = ClipBatches([(Noise(50), 0.0), (Noise(200), 1.0)], data(frames=1), 1)
    assert min(float(silent[number].codes.mean()) for number in range(20)) > 150


def test_no_flow_points_outside_from_everywhere() -> None:
    batch = batches(data(flow={"none": 1.0}))[0]
    _, inside = warp(batch.codes[0, :-1], batch.flow_px[0, 1:])
    assert not inside.any()
    assert not batch.flow_px[:, 0].any()
    # What it really is stays known, for the losses.
    assert kind_of(batch.exact_flow_px[0]) == "exact"
    assert bool(batch.visible[:, 1:].all())


def test_a_broken_flow_errs_smoothly_or_by_one_shift_or_does_not_move() -> None:
    drawn = batches(data(flow={"broken": 1.0}, crops={64: 1}, crop_shares={64: 1.0}))
    smooth, shifts, still = [], [], 0
    for number in range(120):
        batch = drawn[number]
        assert not batch.flow_px[:, 0].any()
        error = (batch.flow_px - batch.exact_flow_px)[0, 1:]
        span = float((error - error[:, :, :1, :1]).abs().max())
        if not batch.flow_px.any():
            still += 1
        elif span < 1e-4:
            assert torch.allclose(error, error[:1].expand_as(error), atol=1e-5)
            shifts.append(float(error[0, :, 0, 0].norm()))
        else:
            # Four points across and a cubic between them: from one pixel to the next little happens.
            assert float(error.diff(dim=-1).abs().max()) < 0.3 * span
            assert float(error.diff(dim=-2).abs().max()) < 0.3 * span
            assert not torch.equal(error[0], error[1])
            smooth.append(float(error.std()))
    assert abs(len(smooth) - 72) < 22
    assert abs(len(shifts) - 30) < 19
    assert abs(still - 18) < 16
    assert min(smooth) < 0.2
    assert 3 < max(smooth) < 12
    assert 0.4 < np.median(smooth) < 1.8
    assert max(shifts) > 3 > 0.5 > min(shifts)


def test_dis_is_estimated_from_the_codes() -> None:
    batch = batches(data(flow={"dis": 1.0}, crops={64: 1}, crop_shares={64: 1.0}), sources=(Moving(),))[0]
    assert not batch.exact_flow_px.any()
    assert not batch.flow_px[:, 0].any()
    error = (batch.flow_px[0, 1:] - torch.tensor((3.0, -2.0)).view(1, 2, 1, 1)).norm(dim=1)
    assert float(error[:, 8:-8, 8:-8].median()) < 0.2


def test_raft_is_made_of_the_weights_that_were_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def make_flow(*what: Any) -> Callable[[Tensor, Tensor], Tensor]:
        asked.append(what)
        return lambda current, previous: (current - previous)[:, :2] * 255

    monkeypatch.setattr(dataset, "make_flow", make_flow)
    drawn = batches(data(flow={"raft": 1.0}, raft_weights="raft.pth"))
    for number in range(3):
        batch = drawn[number]
        torch.testing.assert_close(batch.flow_px[0, 1:], batch.codes[0].diff(dim=0)[:, :2])
    assert asked == [("raft", "raft.pth", "cpu")]


@pytest.mark.parametrize("flow", ["exact", "none", "broken", "dis"])
def test_a_single_frame_has_no_flow(flow: str) -> None:
    assert not batches(data(flow={flow: 1.0}, frames=1))[0].flow_px.any()


@pytest.fixture
def two_threads() -> Iterator[None]:
    """OpenCV with two threads, and an end to waiting for a process that waits for them."""

    def give_up(number: int, frame: FrameType | None) -> None:
        raise TimeoutError("the worker does not answer")

    threads, handler = cv2.getNumThreads(), signal.signal(signal.SIGALRM, give_up)
    cv2.setNumThreads(2)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, handler)
    cv2.setNumThreads(threads)


@pytest.mark.usefixtures("two_threads")
def test_workers_give_the_same_batches_in_order(painted: Panorama) -> None:
    config = data(crops={32: 1}, crop_shares={32: 1.0}, frames=2, flow={"dis": 1.0}, workers=1, prefetch=2)
    source = batches(config, sources=(PanoramaSource((painted,), SceneConfig()),))
    numbers = [7, 2, 5]
    # Made here first: from then on OpenCV has threads, which no worker inherits.
    expected = [source[number] for number in numbers]
    streamed = list(stream_batches(source, numbers, config, pin=False))
    assert cv2.getNumThreads() == 2
    assert len(streamed) == 3
    for one, batch in zip(expected, streamed, strict=True):
        assert same(batch, one)
        torch.testing.assert_close(batch.log_width, one.log_width)
    # Batches are made side by side; more threads would only stand in each other's way.
    (here,) = stream_batches(batches(config, sources=(Threads(),)), [0], config, pin=False)
    assert here.codes[0, 0, :2, 0, 0].tolist() == [1, 1]
    alone = list(stream_batches(source, numbers[:1], dataclasses.replace(config, workers=0), pin=False))
    assert same(alone[0], streamed[0])
