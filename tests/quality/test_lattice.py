"""The lattice and what is read on it and between the pixels, against loops over single pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from seqhdr.color.encodings import get_encoding, primaries_matrix
from seqhdr.model.motion import occluded
from seqhdr.quality.lattice import (
    MAX_SAMPLES,
    Lattice,
    Motion,
    Picture,
    all_usable,
    make_lattice,
    sample,
    whole_around,
)
from seqhdr.quality.stops import stops

H, W = 23, 31


def noise(seed: int = 3, channels: int = 3) -> Tensor:
    return torch.rand(channels, H, W, generator=torch.Generator().manual_seed(seed))


def places(seed: int = 5, count: int = 60, reach: float = 3.0) -> Tensor:
    """(6, count / 6, 2) places, some of them outside the image."""
    generator = torch.Generator().manual_seed(seed)
    scattered = torch.rand(count, 2, generator=generator) * torch.tensor([W - 1 + 2 * reach, H - 1 + 2 * reach])
    return (scattered - reach).view(6, count // 6, 2)


@pytest.mark.parametrize(
    ("height", "width", "stride"), [(864, 1536, 6), (2160, 3840, 15), (144, 256, 1), (200, 200, 1), (201, 200, 2)]
)
def test_the_stride_is_the_smallest_that_keeps_within_the_limit(height: int, width: int, stride: int) -> None:
    lattice = make_lattice(height, width)
    assert lattice.stride == stride
    assert lattice.rows * lattice.columns <= MAX_SAMPLES
    if stride > 1:
        finer = make_lattice(height, width, stride - 1)
        assert finer.rows * finer.columns > MAX_SAMPLES


@pytest.mark.parametrize("stride", [1, 2, 5, 6])
def test_samples_are_every_stride_th_pixel(stride: int) -> None:
    image, lattice = noise(), make_lattice(H, W, stride)
    y, x = range(stride // 2, H, stride), range(stride // 2, W, stride)
    assert (lattice.rows, lattice.columns) == (len(y), len(x))
    at_px = lattice.positions_px()
    for j, down in enumerate(y):
        for i, right in enumerate(x):
            assert at_px[j, i].tolist() == [right, down]
    assert torch.equal(lattice.pick(image), image[:, y, :][:, :, x])
    assert torch.equal(lattice.pick(image[0] > 0.5), image[0][y, :][:, x] > 0.5)


def test_neighbours_of_samples_end_at_the_border() -> None:
    image, lattice = noise(), make_lattice(H, W, 2)
    beside = lattice.pick(image, right=2, down=-3)
    for j, y in enumerate(range(1, H, 2)):
        for i, x in enumerate(range(1, W, 2)):
            assert torch.equal(beside[:, j, i], image[:, max(y - 3, 0), min(x + 2, W - 1)])


def test_impossible_lattices_are_refused() -> None:
    for height, width, stride in ((10, 10, 0), (10, 4, 8), (0, 10, 1)):
        with pytest.raises(ValueError, match=f"got stride {stride} for {width}x{height}: expected a sample"):
            Lattice(height, width, stride)
    with pytest.raises(ValueError, match=r"got an image of shape .* expected \(\.\.\., 23, 31\)"):
        make_lattice(H, W).pick(torch.zeros(3, W, H))


def cubic(distance: float) -> float:
    """Keys' kernel with a = -0.75."""
    a, d = -0.75, abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def test_bicubic_values_are_the_sixteen_pixels_weighted() -> None:
    image = noise(channels=2)
    at_px = places(reach=0)
    values, inside = sample(image, at_px, "bicubic")
    assert inside.all()
    for j, i in np.ndindex(at_px.shape[:2]):
        x, y = at_px[j, i].tolist()
        left, top = math.floor(x), math.floor(y)
        expected = torch.zeros(2)
        for n in range(top - 1, top + 3):
            for m in range(left - 1, left + 3):
                pixel = image[:, min(max(n, 0), H - 1), min(max(m, 0), W - 1)]
                expected += cubic(x - m) * cubic(y - n) * pixel
        assert torch.allclose(values[:, j, i], expected, atol=2e-5)


def test_a_plane_is_read_exactly_and_goes_on_level_outside() -> None:
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    plane = (0.3 * x - 0.2 * y)[None].float()
    at_px = places()
    values, inside = sample(plane, at_px, "bilinear")
    right, down = at_px.unbind(-1)
    expected = 0.3 * right.clamp(0, W - 1) - 0.2 * down.clamp(0, H - 1)
    assert torch.allclose(values[0], expected, atol=1e-4)
    assert torch.equal(inside, (right >= 0) & (right <= W - 1) & (down >= 0) & (down <= H - 1))
    assert 0 < inside.sum() < inside.numel()


def test_a_place_is_whole_where_all_that_bicubic_reads_is_usable() -> None:
    usable = torch.rand(H, W, generator=torch.Generator().manual_seed(2)) > 0.06
    kept = usable.clone()
    at_px = places(count=240, reach=0)
    whole = whole_around(usable, at_px)
    assert torch.equal(usable, kept)
    assert 0.1 < whole.float().mean() < 0.9
    for j, i in np.ndindex(at_px.shape[:2]):
        left, top = (math.floor(v) for v in at_px[j, i].tolist())
        around = usable[max(top - 1, 0) : top + 3, max(left - 1, 0) : left + 3]
        assert bool(whole[j, i]) == bool(around.all())
    assert whole_around(torch.ones(H, W, dtype=torch.bool), places()).all()


def test_the_masks_of_all_pictures_count() -> None:
    image = noise()
    left, right = torch.rand(H, W) > 0.5, torch.rand(H, W) > 0.5
    assert all_usable([Picture(image), Picture(image)]) is None
    assert torch.equal(all_usable([Picture(image), Picture(image, usable=left)]), left)
    assert torch.equal(all_usable([Picture(image, usable=right), Picture(image, usable=left)]), left & right)


def test_a_picture_is_read_in_common_primaries() -> None:
    matrix = primaries_matrix(get_encoding("srgb"), get_encoding("acescct"))
    light = noise().double() * 2
    lattice = make_lattice(H, W, 3)
    own, same = Picture(stops(light).float(), matrix), Picture(stops(light).float())
    expected = torch.einsum("ij,jyx->iyx", matrix, light)
    assert torch.allclose(own.pick(lattice).double(), lattice.pick(stops(expected)), atol=1e-5)
    assert torch.equal(same.pick(lattice), lattice.pick(same.stops))
    assert not torch.allclose(own.pick(lattice), same.pick(lattice), atol=0.05)
    assert torch.allclose(own.at(lattice.positions_px()), own.pick(lattice), atol=1e-3)


def test_a_lamp_gets_no_dark_ring() -> None:
    light = torch.full((3, H, W), 0.1)
    light[:, :, 15:] = 50.0
    at_px = torch.tensor([[[13.5, 10.0]]])
    # Interpolated light would be far below zero beside the lamp; in stops it is a little darker.
    assert float(sample(light, at_px)[0].min()) < -1
    assert float(Picture(stops(light)).at(at_px).min()) > float(stops(torch.tensor(0.1))) - 1.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Picture(torch.zeros(4, 8, 8)),
        lambda: Picture(torch.zeros(3, 8, 8), usable=torch.ones(8, 9, dtype=torch.bool)),
        lambda: Picture(torch.zeros(3, 8, 8), torch.eye(4)),
        lambda: Motion(torch.zeros(2, 8, 8), torch.zeros(2, 8, 9)),
        lambda: Motion(torch.zeros(3, 8, 8), torch.zeros(3, 8, 8)),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r"got .* expected"):
        make()  # type: ignore[operator]


def test_occlusion_at_places_is_that_of_all_pixels_there() -> None:
    generator = torch.Generator().manual_seed(5)
    shift = torch.tensor([2.0, -1.5]).view(1, 2, 1, 1)
    backward_px = shift + 0.4 * torch.randn(2, 2, H, W, generator=generator)
    forward_px = -shift + 0.6 * torch.randn(2, 2, H, W, generator=generator)
    lattice = make_lattice(H, W, 2)
    at_px = lattice.positions_px().expand(2, -1, -1, -1)
    hidden = occluded(backward_px, forward_px)
    assert 0.1 < hidden.float().mean() < 0.9
    assert torch.equal(occluded(backward_px, forward_px, at_px=at_px), lattice.pick(hidden))
    # Between the pixels both flows are bilinear: of flows that are planes they are known.
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    there = torch.stack((0.02 * x, 0.01 * y))[None].float()
    back = torch.stack((-0.1 * x, 0.05 * y))[None].float()
    between = places(reach=-4)[None]
    right, down = between[0].unbind(-1)
    to_x, to_y = 1.02 * right, 1.01 * down
    gap = (0.02 * right - 0.1 * to_x) ** 2 + (0.01 * down + 0.05 * to_y) ** 2
    size = (0.02 * right) ** 2 + (0.1 * to_x) ** 2 + (0.01 * down) ** 2 + (0.05 * to_y) ** 2
    expected = gap > 0.01 * size + 0.5
    assert 0 < expected.sum() < expected.numel()
    assert torch.equal(occluded(there, back, at_px=between)[0, 0], expected)
    # There and back again, to a thousandth of a pixel.
    back = torch.stack((-0.02 / 1.02 * x, -0.01 / 1.01 * y))[None].float()
    assert not occluded(there, back, 0, 1e-6, at_px=between).any()
    with pytest.raises(ValueError, match=r"got places of shape .* expected \(1, h, w, 2\)"):
        occluded(there, back, at_px=between[0])
