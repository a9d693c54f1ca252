"""Sources of clips: panoramas give batches that fit, pairs are cut, moved and remade alike in all their parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from seqhdr.color.bins import bin_width_stops
from seqhdr.color.encodings import get_encoding, primaries_matrix
from seqhdr.errors import ShotError
from seqhdr.model.source import log_width_table
from seqhdr.train import sources
from seqhdr.train.augment import AugmentConfig
from seqhdr.train.batch import ClipBatch, stack_clips
from seqhdr.train.config import SceneConfig
from seqhdr.train.pairs import ClipInfo, PairFrame, read_pair, write_clip_info, write_pair
from seqhdr.train.panorama import Panorama
from seqhdr.train.sources import PairSource, PanoramaSource

Scene = Callable[..., SceneConfig]
WriteClip = Callable[..., ClipInfo]
T, SIZE = 3, 32


def draw(source: PairSource, seed: int, frames: int = T, size: int = SIZE) -> ClipBatch:
    return source.clip(np.random.default_rng(seed), frames, size)


def check_form(batch: ClipBatch, frames: int = T, size: int = SIZE, clips: int = 1) -> None:
    """Shapes, types and order in memory of everything."""
    channels = {"codes": 3, "value_lsb": 3, "gain_stops": 3, "flow_px": 2, "exact_flow_px": 2, "visible": 1}
    for name, count in channels.items():
        tensor = getattr(batch, name)
        assert tensor.shape == (clips, frames, count, size, size), name
        assert tensor.dtype == (torch.bool if name == "visible" else torch.float32), name
        assert tensor.is_contiguous(), name
    assert 0 <= float(batch.codes.min()) <= float(batch.codes.max()) <= 255
    assert float(batch.gain_stops.min()) >= 0
    assert not batch.flow_px[:, 0].any()
    assert not batch.visible[:, 0].any()
    assert torch.equal(batch.flow_px, batch.exact_flow_px)
    assert batch.half_width_lsb.shape == (clips,)
    assert batch.half_width_lsb.dtype == batch.log_width.dtype == torch.float32
    assert len(batch.encodings) == clips
    for clip, name in enumerate(batch.encodings):
        torch.testing.assert_close(batch.log_width[clip], log_width_table(get_encoding(name), 255))
        torch.testing.assert_close(batch.width_stops[clip], bin_width_stops(get_encoding(name), 255))


def test_a_panorama_gives_batches_that_fit(painted: Panorama, plain_scene: Scene) -> None:
    source = PanoramaSource((painted,), SceneConfig())
    clips = [source.clip(np.random.default_rng(seed), T, SIZE) for seed in range(5)]
    for clip in clips:
        check_form(clip)
    check_form(stack_clips(clips), clips=5)
    # What is written into the batch is what the clip is.
    plain = PanoramaSource((painted,), plain_scene("srgb")).clip(np.random.default_rng(1), T, SIZE)
    assert plain.encodings == ("srgb",)
    assert plain.half_width_lsb.tolist() == [0.5]
    assert float((plain.codes - plain.value_lsb.clamp(0, 255)).abs().max()) <= 0.5
    top = get_encoding("srgb").decode(torch.tensor(254.5 / 255, dtype=torch.float64))
    light = get_encoding("srgb").decode(plain.value_lsb.double() / 255)
    torch.testing.assert_close(plain.gain_stops.double(), torch.log2(light.clamp_min(top) / top), rtol=1e-3, atol=1e-3)
    assert bool((plain.gain_stops > 0).any())


def test_all_panoramas_get_their_turn(painted: Panorama, plain_scene: Scene) -> None:
    worlds = [dataclasses.replace(painted, name=name) for name in "abc"]
    seen = []

    class Listening(list[Panorama]):
        def __getitem__(self, index: int) -> Panorama:  # type: ignore[override]
            seen.append(index)
            return super().__getitem__(index)

    source = PanoramaSource(Listening(worlds), plain_scene())
    rng = np.random.default_rng(0)
    for _ in range(20):
        source.clip(rng, 1, 8)
    assert set(seen) == {0, 1, 2}


def truth_of(codes: Tensor) -> Tensor:
    """(T, 3, H, W) codes of a clip that knows where it is → its truth in codes."""
    x, y = codes[:, :1], codes[:, 1:2]
    channel = torch.arange(3.0).view(1, 3, 1, 1)
    return codes + ((7 * x + 11 * y + 5 * channel) % 9 - 4) / 10


def turned_by(codes: Tensor) -> Tensor:
    """How a step to the right and one down in the crop were steps in the clip: (2, 2), columns are these steps."""
    place = codes[0, :2]
    right, down = place[:, :, 1:] - place[:, :, :-1], place[:, 1:] - place[:, :-1]
    matrix = torch.stack((right[:, 0, 0], down[:, 0, 0]), dim=1)
    assert bool((right == matrix[:, :1, None]).all())
    assert bool((down == matrix[:, 1:, None]).all())
    return matrix


def test_crops_and_turns_take_codes_truth_and_flow_along(
    tmp_path: Path, plain_scene: Scene, clip_that_knows_where: WriteClip
) -> None:
    info = clip_that_knows_where(tmp_path / "clip", frames=5)
    source = PairSource([info], plain_scene(augment=AugmentConfig()), T)
    turns, corners, starts = set(), set(), set()
    for seed in range(40):
        batch = draw(source, seed)
        codes = batch.codes[0]
        # The same place in all frames, and frames in their order.
        assert bool((codes[:, :2] == codes[:1, :2]).all())
        t = (codes[:, 2, 0, 0] - 100) / 10
        assert bool((codes[:, 2] == 100 + 10 * t.view(-1, 1, 1)).all())
        assert t.diff().tolist() == [1.0] * (T - 1)
        torch.testing.assert_close(batch.value_lsb[0], truth_of(codes), rtol=0, atol=2e-3)
        assert torch.equal(batch.value_lsb[0].round(), codes)
        x, y = codes[:, 0], codes[:, 1]
        seen = (x + 2 * y + t.view(-1, 1, 1)) % 3 != 0
        assert torch.equal(batch.visible[0, 1:, 0], seen[1:])
        matrix = turned_by(codes)
        in_clip = torch.einsum("ij,tjhw->tihw", matrix, batch.flow_px[0])
        expected = torch.stack((x - 20.5, 2 * y + t.view(-1, 1, 1) / 4), dim=1) / 16
        torch.testing.assert_close(in_clip[1:], expected[1:], rtol=0, atol=1e-5)
        turns.add(tuple(matrix.flatten().int().tolist()))
        corners.add((float(x.min()), float(y.min())))
        starts.add(float(t[0]))
        if seed < 3:
            check_form(batch)
    assert len(turns) == 8
    assert len(corners) > 25
    assert max(x for x, _ in corners) > 20
    assert starts == {0.0, 1.0, 2.0}
    assert max(y for _, y in corners) <= 12


def test_brightness_does_not_touch_codes(tmp_path: Path, plain_scene: Scene, clip_that_knows_where: WriteClip) -> None:
    info = clip_that_knows_where(tmp_path / "clip")
    batch = draw(PairSource([info], plain_scene(augment=AugmentConfig(brightness_stops=(2.0, 2.0))), T), 0)
    torch.testing.assert_close(batch.value_lsb[0], truth_of(batch.codes[0]), rtol=0, atol=2e-3)


def test_a_still_is_panned_over_by_whole_pixels(
    tmp_path: Path, plain_scene: Scene, clip_that_knows_where: WriteClip
) -> None:
    info = clip_that_knows_where(tmp_path / "still", frames=1, flow=False)
    steps = set()
    for augment in (AugmentConfig(flip=False, rotate=False), AugmentConfig()):
        source = PairSource([info], plain_scene(augment=augment), T)
        for seed in range(25):
            batch = draw(source, seed)
            check_form(batch)
            codes, flow_px = batch.codes[0], batch.flow_px[0]
            torch.testing.assert_close(batch.value_lsb[0], truth_of(codes), rtol=0, atol=2e-3)
            assert torch.equal(flow_px, flow_px.round())
            for frame in range(1, T):
                # One by one, each pixel is looked up where its flow says that it was.
                y, x = np.mgrid[:SIZE, :SIZE]
                was_x, was_y = np.add((x, y), flow_px[frame].numpy().astype(int))
                inside = (was_x >= 0) & (was_x < SIZE) & (was_y >= 0) & (was_y < SIZE)
                np.testing.assert_array_equal(batch.visible[0, frame, 0], inside)
                before = codes[frame - 1].numpy()[:, was_y[inside], was_x[inside]]
                np.testing.assert_array_equal(codes[frame].numpy()[:, inside], before)
                steps.add(tuple(flow_px[frame, :, 0, 0].tolist()))
    assert len(steps) > 20
    # 44 and 56 rows and columns leave room for 6 and 8 (no more) pixels per frame.
    assert np.abs(np.array(list(steps))).max() <= 8


def test_a_still_without_room_stands_still(
    tmp_path: Path, plain_scene: Scene, clip_that_knows_where: WriteClip
) -> None:
    info = clip_that_knows_where(tmp_path / "still", frames=1, size=(SIZE, SIZE), flow=False)
    batch = draw(PairSource([info], plain_scene(), T), 0)
    assert not batch.flow_px.any()
    assert bool(batch.visible[:, 1:].all())
    assert bool((batch.codes == batch.codes[:, :1]).all())
    single = draw(PairSource([info], plain_scene(), 1), 0, frames=1)
    check_form(single, frames=1)


def test_short_clips_are_left_out_and_only_short_ones_refused(
    tmp_path: Path, plain_scene: Scene, clip_that_knows_where: WriteClip
) -> None:
    short = clip_that_knows_where(tmp_path / "short", frames=2)
    with pytest.raises(ShotError, match=r"no clip has 3 frames, the longest has 2: lower data\.frames"):
        PairSource([short], plain_scene(), T)
    long = clip_that_knows_where(tmp_path / "long", frames=3, encoding="logc3")
    source = PairSource([short, long], plain_scene(), T)
    assert {draw(source, seed).encodings for seed in range(8)} == {("logc3",)}


def test_longer_clips_are_drawn_more_often(
    tmp_path: Path, plain_scene: Scene, clip_that_knows_where: WriteClip
) -> None:
    infos = [clip_that_knows_where(tmp_path / f"{n}", frames=n, encoding=e) for n, e in ((3, "acescct"), (9, "logc3"))]
    source = PairSource(infos, plain_scene(), T)
    drawn = [draw(source, seed, size=8).encodings[0] for seed in range(200)]
    # Nine frames of twelve: 150 ± 4 standard deviations of 6.1.
    assert 125 < drawn.count("logc3") < 175


def test_a_clip_smaller_than_the_crop_is_refused_by_name(
    tmp_path: Path, plain_scene: Scene, clip_that_knows_where: WriteClip
) -> None:
    source = PairSource([clip_that_knows_where(tmp_path / "low")], plain_scene(), T)
    with pytest.raises(ShotError, match=r"low: is 56x44, smaller than a crop of 48: lower data\.crops"):
        draw(source, 0, size=48)


@pytest.mark.parametrize("frames", [4, 1], ids=["clip", "still"])
def test_a_remade_input_is_other_codes_of_the_same_light(
    tmp_path: Path, plain_scene: Scene, clip_that_knows_where: WriteClip, frames: int
) -> None:
    info = clip_that_knows_where(tmp_path / "clip", frames=frames, flow=frames > 1)
    scene = plain_scene("logc3", augment=AugmentConfig())
    kept, remade = (PairSource([info], scene, T, remake=remake) for remake in (False, True))
    for seed in range(4):
        old, new = draw(kept, seed), draw(remade, seed)
        check_form(new)
        assert (old.encodings, new.encodings) == (("acescct",), ("logc3",))
        assert torch.equal(new.flow_px, old.flow_px)
        assert torch.equal(new.visible, old.visible)
        assert float((new.codes - new.value_lsb.clamp(0, 255)).abs().max()) <= 0.5
        source, target = get_encoding("acescct"), get_encoding("logc3")
        light = source.decode(old.value_lsb[0].double() / 255)
        moved = torch.einsum("ij,tjhw->tihw", primaries_matrix(source, target).double(), light).clamp_min(0)
        again = target.decode(new.value_lsb[0].double() / 255)
        # Very dark light is rounded by float32 on its way through the curves.
        bright = moved > 0.05
        exposure = (again / moved)[bright]
        assert bright.float().mean() > 0.1
        torch.testing.assert_close(exposure, exposure.median().expand_as(exposure), rtol=1e-3, atol=0)
        assert abs(float(exposure.median()) - 1) > 1e-3


def test_the_stops_above_clip_of_a_remade_input_are_those_of_its_truth(tmp_path: Path, plain_scene: Scene) -> None:
    info = ClipInfo(tmp_path / "sun", (1,), SIZE, SIZE, "srgb", 0.5, "sun")
    for kind in ("input", "truth"):
        (info.folder / kind).mkdir(parents=True)
    light = torch.exp2(torch.linspace(-8, 6, SIZE * SIZE, dtype=torch.float64)).view(1, SIZE, SIZE).repeat(3, 1, 1)
    codes = np.zeros((SIZE, SIZE, 3), np.uint8)
    write_pair(info, 1, codes, light, float_truth=True)
    batch = draw(PairSource([info], plain_scene("srgb"), T, remake=True), 0)
    top = float(get_encoding("srgb").decode(torch.tensor(254.5 / 255, dtype=torch.float64)))
    value = get_encoding("srgb").decode(batch.value_lsb[0].double() / 255)
    known = batch.gain_stops[0] > 0
    assert 0.05 < known.float().mean() < 0.9
    seen = torch.where(known, top * torch.exp2(batch.gain_stops[0].double()), value)
    ratio = (seen / light)[..., light[0] > 2**-6]
    torch.testing.assert_close(ratio, ratio.median().expand_as(ratio), rtol=2e-3, atol=0)


class Reader:
    """Stands in for ``read_pair`` and counts."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __call__(self, info: ClipInfo, frame: int) -> PairFrame:
        self.read.append(frame)
        return read_pair(info, frame)


def test_frames_are_read_once_and_memory_is_bounded(
    tmp_path: Path, plain_scene: Scene, clip_that_knows_where: WriteClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = clip_that_knows_where(tmp_path / "clip", frames=12)
    reader = Reader()
    monkeypatch.setattr(sources, "read_pair", reader)
    large, small = (PairSource([info], plain_scene(), T, cache_mb=megabytes) for megabytes in (100, 0))
    first = [draw(large, seed) for seed in range(30)]
    assert sorted(reader.read) == list(info.frames)
    reader.read.clear()
    again = [draw(small, seed) for seed in range(30)]
    assert len(reader.read) > 80
    for one, other in zip(first, again, strict=True):
        for name in ("codes", "value_lsb", "gain_stops", "flow_px", "visible"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_the_frames_used_last_are_kept(
    tmp_path: Path, plain_scene: Scene, clip_that_knows_where: WriteClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A frame takes 45 bytes a pixel, 110,880 in all: nine fit into a megabyte.
    info = clip_that_knows_where(tmp_path / "clip", frames=12)
    reader = Reader()
    monkeypatch.setattr(sources, "read_pair", reader)
    source = PairSource([info], plain_scene(), T, cache_mb=1)
    for place in (*range(9), 0, 9, 10):
        source._frame(0, place)
    assert reader.read == list(range(1001, 1012))
    reader.read.clear()
    for place in (0, 9, 10, 8, 3):
        source._frame(0, place)
    assert reader.read == []
    for place in (1, 2):
        source._frame(0, place)
    assert reader.read == [1002, 1003]
    held = sum(part.nbytes for entry in source._cached.values() for part in entry)
    assert held <= 2**20


def moving_texture(folder: Path, step: tuple[int, int], frames: int = 4, size: int = 48) -> ClipInfo:
    """A clip without flow: a window that moves over soft noise by ``step`` (x, y) per frame."""
    info = ClipInfo(folder, tuple(range(frames)), size, size, "acescct", 0.5, "noise")
    for kind in ("input", "truth"):
        (folder / kind).mkdir(parents=True)
    noise = np.random.default_rng(0).normal(size=(100, 100))
    soft = cv2.GaussianBlur(noise, (0, 0), 2.5)
    value = np.repeat(128 + 40 * soft[None] / soft.std(), 3, axis=0).clip(10, 240)
    for t in range(frames):
        left, top = 20 + step[0] * t, 20 + step[1] * t
        window = torch.from_numpy(value[:, top : top + size, left : left + size].copy())
        codes = np.rint(window.numpy().transpose(1, 2, 0)).astype(np.uint8)
        write_pair(info, t, codes, get_encoding("acescct").decode(window / 255), float_truth=True)
    write_clip_info(info)
    return info


def test_a_clip_without_flow_is_given_an_estimate(tmp_path: Path, plain_scene: Scene) -> None:
    source = PairSource([moving_texture(tmp_path / "noise", (3, -2))], plain_scene(), T)
    batch = draw(source, 0, size=40)
    check_form(batch, size=40)
    flow_px, visible = batch.flow_px[0, 1:], batch.visible[0, 1:, 0]
    # What is at a pixel now was three to the right and two above in the frame before.
    error = (flow_px - torch.tensor((3.0, -2.0)).view(1, 2, 1, 1)).norm(dim=1)
    assert float(error[visible].median()) < 0.2
    assert 0.6 < visible.float().mean() < 1
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    was_x, was_y = x + flow_px[:, 0], y + flow_px[:, 1]
    outside = (was_x < 0) | (was_x > 39) | (was_y < 0) | (was_y > 39)
    assert bool(outside.any())
    assert not visible[outside].any()


def test_an_estimate_says_what_was_hidden(tmp_path: Path, plain_scene: Scene) -> None:
    info = moving_texture(tmp_path / "noise", (0, 0), frames=2, size=80)
    # A square with a texture of its own slides over the still noise by 8 px, and uncovers what was behind it.
    noise = cv2.GaussianBlur(np.random.default_rng(1).normal(size=(40, 40)), (0, 0), 2.5)
    square = 128 + 40 * noise / noise.std()
    for t, left in ((0, 16), (1, 24)):
        value = read_pair(info, t).value_lsb
        value[:, 20:60, left : left + 40] = torch.from_numpy(square).float()
        codes = np.rint(value.numpy().transpose(1, 2, 0)).astype(np.uint8)
        write_pair(info, t, codes, get_encoding("acescct").decode(value / 255), float_truth=True)
    batch = draw(PairSource([info], plain_scene(), 2), 0, frames=2, size=80)
    visible = batch.visible[0, 1, 0]
    assert visible[24:56, 16:24].float().mean() < 0.4
    assert visible[24:56, 30:60].float().mean() > 0.95
    assert visible[2:14, 2:-2].float().mean() > 0.95
