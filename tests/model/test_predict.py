"""Frames in, predictions out: in order, lazily, repeatably, and the same in tiles as at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.errors import UsageError
from seqhdr.model.cards import load_model
from seqhdr.model.head import Prediction
from seqhdr.model.motion import DisFlow
from seqhdr.model.net import SeqNet
from seqhdr.model.predict import Memory, Predictor

Painter = Callable[..., NDArray[np.uint8]]

# Largest and mean difference in codes between tiles and the whole frame, of bins that are one code wide. It is not
# zero, because the network's bottleneck and the widest blur see further than a tile's overlap. Seen: 0.018 and
# 0.0004 with the weights that ship.
TILE_MAX_LSB, TILE_MEAN_LSB = 0.1, 0.004


def steady(current: Tensor, previous: Tensor) -> Tensor:
    """The flow of the painted shots."""
    return torch.tensor([2.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, *current.shape[-2:])


def shot_of(paint: Painter, frames: int, height: int = 64, width: int = 96) -> list[NDArray[np.uint8]]:
    return [paint(height, width, 2 * t) for t in range(frames)]


def same(one: Prediction, two: Prediction) -> bool:
    return all(torch.equal(a, b) for a, b in zip(vars(one).values(), vars(two).values(), strict=True))


@pytest.fixture(scope="module")
def trained() -> SeqNet:
    return load_model("s")


def test_frames_are_pulled_one_at_a_time(net: SeqNet, paint: Painter) -> None:
    pulled = 0

    def endless() -> Iterator[NDArray[np.uint8]]:
        nonlocal pulled
        while True:
            pulled += 1
            yield paint(40, 40, pulled)

    results = Predictor(net, flow=steady).stream(endless())
    assert pulled == 0
    for count in range(1, 4):
        next(results)
        assert pulled == count


def test_memory_holds_one_frame_however_long_the_shot(net: SeqNet, paint: Painter) -> None:
    predictor, memory, sizes = Predictor(net, flow=steady), None, []
    for codes in shot_of(paint, 5):
        _, memory = predictor.step(codes, memory)
        (state,) = memory.states
        kept = (memory.codes, state.hidden, state.cell, state.decoded)
        sizes.append(sum(t.untyped_storage().nbytes() for t in kept))
        assert all(t.grad_fn is None and not t.requires_grad for t in kept)
    assert len(set(sizes)) == 1


def test_carried_memory_continues_the_shot(net: SeqNet, paint: Painter) -> None:
    shot = shot_of(paint, 8)
    whole = list(Predictor(net, flow=steady).stream(shot))
    memory: Memory | None = None
    parts = []
    for chunk in (shot[:4], shot[4:]):
        predictor = Predictor(net, flow=steady)  # a new one: nothing but the memory carries over
        for codes in chunk:
            prediction, memory = predictor.step(codes, memory)
            parts.append(prediction)
    assert all(same(a, b) for a, b in zip(whole, parts, strict=True))


def test_no_memory_is_a_new_start(net: SeqNet, paint: Painter) -> None:
    shot = shot_of(paint, 4)
    predictor = Predictor(net, flow=steady)
    _, memory = predictor.step(shot[0], None)
    warm, _ = predictor.step(shot[1], memory)
    cold, _ = predictor.step(shot[1], None)
    fresh, _ = Predictor(net, flow=steady).step(shot[1], None)
    assert same(cold, fresh)
    assert not same(warm, cold)


def test_stream_is_repeated_steps(net: SeqNet, paint: Painter) -> None:
    shot = shot_of(paint, 3)
    predictor, memory = Predictor(net, flow=steady), None
    for codes, prediction in zip(shot, predictor.stream(shot), strict=True):
        stepped, memory = Predictor(net, flow=steady).step(codes, memory)
        assert same(prediction, stepped)


@pytest.mark.parametrize("tile", [None, 256])
def test_same_input_same_bits(net: SeqNet, paint: Painter, tile: int | None) -> None:
    shot = shot_of(paint, 2, 64, 300)
    one, two = (list(Predictor(net, flow=DisFlow(), tile=tile).stream(shot)) for _ in range(2))
    assert all(same(a, b) for a, b in zip(one, two, strict=True))


def test_flow_sees_this_frame_and_the_one_before(net: SeqNet, paint: Painter) -> None:
    shot, seen = shot_of(paint, 3), []

    def spy(current: Tensor, previous: Tensor) -> Tensor:
        seen.append((current.clone(), previous.clone()))
        return steady(current, previous)

    list(Predictor(net, flow=spy).stream(shot))
    assert len(seen) == 2
    for (current, previous), here, before in zip(seen, shot[1:], shot[:-1], strict=True):
        for tensor, codes in ((current, here), (previous, before)):
            np.testing.assert_allclose(tensor[0].permute(1, 2, 0).numpy(), codes / 255, atol=1e-6)


def test_two_shots_may_take_turns(net: SeqNet, paint: Painter) -> None:
    small, large = shot_of(paint, 2, 40, 40), shot_of(paint, 2, 64, 96)
    predictor = Predictor(net, flow=steady)
    _, small_memory = predictor.step(small[0], None)
    _, large_memory = predictor.step(large[0], None)
    mixed = [predictor.step(small[1], small_memory)[0], predictor.step(large[1], large_memory)[0]]
    alone = [list(Predictor(net, flow=steady).stream(shot))[1] for shot in (small, large)]
    assert all(same(a, b) for a, b in zip(mixed, alone, strict=True))


def test_another_size_is_refused(net: SeqNet, paint: Painter) -> None:
    frames = [paint(40, 48), paint(40, 56)]
    results = Predictor(net).stream(frames)
    next(results)
    with pytest.raises(UsageError, match="frame of 56x40 pixels after frames of 48x40: start a new shot"):
        next(results)
    _, memory = Predictor(net).step(frames[0], None)
    with pytest.raises(UsageError, match="frame of 56x40 pixels after frames of 48x40"):
        Predictor(net).step(frames[1], memory)


def test_a_memory_of_other_tiles_is_refused(net: SeqNet, paint: Painter) -> None:
    frame = paint(64, 300)
    _, memory = Predictor(net, tile=256).step(frame, None)
    with pytest.raises(UsageError, match="memory of 2 tiles for a frame of 1: carry it only between predictors"):
        Predictor(net).step(frame, memory)


@pytest.mark.parametrize(("bits", "kind"), [(8, np.uint8), (10, np.uint16), (16, np.uint16)])
def test_all_depths_stay_in_their_bins(net: SeqNet, paint: Painter, bits: int, kind: type) -> None:
    codes = (paint(40, 48).astype(np.float64) / 255 * (2**bits - 1)).round().astype(kind)
    (result,) = Predictor(net, bits=bits).stream([codes])
    assert result.offset_lsb.abs().max() <= 0.5
    assert result.offset_lsb.abs().max() > 0.05
    clipped = torch.from_numpy((codes == 2**bits - 1).copy()).permute(2, 0, 1)[None]
    assert clipped.any()
    assert torch.equal(result.gain_stops > 0, clipped)


def test_w_and_bounded_reach_the_network(net: SeqNet, paint: Painter) -> None:
    frame = paint(40, 48)
    (wide,) = Predictor(net, half_width_lsb=3.0).stream([frame])
    assert 0.5 < wide.offset_lsb.abs().max() <= 3
    (free,) = Predictor(net, bounded=False).stream([frame])
    assert free.offset_lsb.abs().max() > 0.5


def test_the_input_space_reaches_the_network(net: SeqNet, paint: Painter) -> None:
    frame = paint(40, 48)
    results = [next(Predictor(net, input_space=space).stream([frame])).offset_lsb for space in ("srgb", "acescct")]
    assert not torch.equal(*results)


def test_the_network_decides_where_it_runs(paint: Painter, net: SeqNet) -> None:
    """On any device of this machine, the tensors go where the weights are and the results agree."""
    if not torch.cuda.is_available():
        pytest.skip("no second device")
    shot = shot_of(paint, 3)
    here = list(Predictor(net, flow=DisFlow()).stream(shot))

    there = list(Predictor(copy.deepcopy(net).to("cuda"), flow=DisFlow()).stream(shot))
    for a, b in zip(here, there, strict=True):
        assert b.offset_lsb.device.type == "cuda"
        assert (a.offset_lsb - b.offset_lsb.cpu()).abs().mean() < 0.01


def test_preroll_forgets_where_it_began(trained: SeqNet, paint: Painter) -> None:
    shot, start = shot_of(paint, 14, 64, 96), 12
    predictor = Predictor(trained, flow=DisFlow())
    whole = list(predictor.stream(shot))[start:]
    errors = []
    for preroll in (0, 2, 4, 8):
        chunk = list(predictor.stream(shot[start - preroll :]))[preroll:]
        error = torch.cat([a.offset_lsb - b.offset_lsb for a, b in zip(chunk, whole, strict=True)])
        errors.append(float(error.square().mean().sqrt()))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.02
    assert errors[-1] < 0.02


@pytest.fixture(scope="module")
def tiled_and_whole(trained: SeqNet, paint: Painter) -> tuple[Predictor, list[Prediction], list[Prediction]]:
    shot = shot_of(paint, 2, 288, 416)
    tiler = Predictor(trained, flow=steady, tile=256)
    return tiler, list(tiler.stream(shot)), list(Predictor(trained, flow=steady).stream(shot))


Pair = tuple[Predictor, list[Prediction], list[Prediction]]


def test_tiles_agree_with_the_whole_frame(tiled_and_whole: Pair) -> None:
    tiler, tiled, whole = tiled_and_whole
    assert tiler._grid is not None
    assert len(tiler._grid.tiles) == 6
    for a, b in zip(tiled, whole, strict=True):
        error = (a.offset_lsb - b.offset_lsb).abs()
        assert error.max() < TILE_MAX_LSB
        assert error.mean() < TILE_MEAN_LSB
        assert (a.gain_stops - b.gain_stops).abs().max() < 0.05
        torch.testing.assert_close(a.gain_error_stops, b.gain_error_stops, atol=0.05, rtol=0.05)


def test_tiles_leave_no_seam(tiled_and_whole: Pair) -> None:
    tiler, tiled, whole = tiled_and_whole
    assert tiler._grid is not None
    error = tiled[1].offset_lsb - whole[1].offset_lsb
    columns = {edge for t in tiler._grid.tiles for edge in (t.left, t.right)} - {0, 416}
    rows = {edge for t in tiler._grid.tiles for edge in (t.top, t.bottom)} - {0, 288}
    for steps, edges in (
        (error.diff(dim=3).abs().mean((0, 1, 2)), columns),
        (error.diff(dim=2).abs().mean((0, 1, 3)), rows),
    ):
        at_edges = [float(steps[edge - 1]) for edge in sorted(edges)]
        assert len(at_edges) >= 2
        assert max(at_edges) <= float(steps.max())
        assert max(at_edges) < 3 * float(steps.mean()) + 1e-5


def test_tiles_stay_in_their_bins(net: SeqNet, paint: Painter) -> None:
    loud = Predictor(net, flow=steady, tile=256)
    for result in loud.stream(shot_of(paint, 2, 64, 400)):
        assert result.offset_lsb.abs().max() <= 0.5
        assert result.gain_stops.min() >= 0
