"""The terms that compare pictures, each against a closed form, a naive loop or another library."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import pytorch_msssim
import torch
from scipy import ndimage
from torch import Tensor

from seqhdr.errors import UsageError
from seqhdr.train import losses
from tests.train.loss_oracles import naive_roughness, noise, ramp

Term = Callable[[Tensor, Tensor], Tensor]
PICTURE_TERMS: dict[str, Term] = {
    "l1": losses.l1,
    "l1_linear": losses.l1_linear,
    "gradient": losses.gradient,
    "multi_scale_gradient": losses.multi_scale_gradient,
    "ssim": losses.ssim_loss,
    "ms_ssim": losses.ms_ssim_loss,
    "color_consistency": losses.color_consistency,
    "fft": losses.fft_magnitude,
    "laplacian": losses.laplacian_pyramid,
}
WEIGHTED = ("l1", "l1_linear", "gradient", "multi_scale_gradient", "color_consistency", "laplacian")


@pytest.mark.parametrize("name", PICTURE_TERMS)
def test_a_perfect_picture_costs_nothing_and_pulls_nowhere(name: str) -> None:
    truth = noise(1, 2, 3, 24, 24)
    picture = truth.clone().requires_grad_()
    loss = PICTURE_TERMS[name](picture, truth)
    loss.backward()
    assert loss.shape == ()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-12)
    assert picture.grad is not None
    assert float(picture.grad.abs().max()) < 1e-12


@pytest.mark.parametrize("name", PICTURE_TERMS)
def test_black_pictures_have_finite_gradients(name: str) -> None:
    picture = torch.zeros(1, 1, 3, 24, 24, requires_grad=True)
    PICTURE_TERMS[name](picture, noise(1, 1, 3, 24, 24).float()).backward()
    assert picture.grad is not None
    assert torch.isfinite(picture.grad).all()


@pytest.mark.parametrize("name", PICTURE_TERMS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    truth, start = noise(1, 3, 24, 24, seed=1), noise(1, 3, 24, 24, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: PICTURE_TERMS[name](x, truth), (start,), fast_mode=True)


@pytest.mark.parametrize("name", PICTURE_TERMS)
def test_clips_are_pictures_in_a_row(name: str) -> None:
    a, b = noise(2, 3, 3, 24, 24, seed=3), noise(2, 3, 3, 24, 24, seed=4)
    pictures = PICTURE_TERMS[name](a.flatten(0, 1), b.flatten(0, 1))
    torch.testing.assert_close(PICTURE_TERMS[name](a, b), pictures)


@pytest.mark.parametrize("name", WEIGHTED)
def test_pixels_of_no_weight_do_not_count(name: str) -> None:
    truth = noise(1, 3, 32, 32, seed=5)
    picture, weight = truth.clone(), torch.ones(1, 1, 32, 32, dtype=torch.float64)
    picture[..., :8, :8] += noise(1, 3, 8, 8, seed=6)
    # Pyramids reach further than the pixels themselves.
    weight[..., :24, :24] = 0
    term = PICTURE_TERMS[name]
    assert float(term(picture, truth)) > 1e-3
    assert float(term(picture, truth, weight)) < 0.05 * float(term(picture, truth))  # type: ignore[call-arg]
    assert float(term(picture, truth, 0 * weight)) == 0  # type: ignore[call-arg]
    torch.testing.assert_close(
        term(picture, truth, torch.full_like(weight, 7.0)),  # type: ignore[call-arg]
        term(picture, truth),
    )


def test_l1_is_the_weighted_mean_of_absolute_differences() -> None:
    truth = torch.zeros(1, 3, 1, 2)
    picture = torch.tensor([1.0, -2.0]).expand(1, 3, 1, 2)
    assert float(losses.l1(picture, truth)) == pytest.approx(1.5)
    assert float(losses.l1(picture, truth, torch.tensor([3.0, 1.0]))) == pytest.approx((3 * 1 + 1 * 2) / 4)


def test_light_above_the_ceiling_does_not_count() -> None:
    truth = torch.tensor([2.0, 1e5, 1e5, 1.0]).expand(1, 3, 1, 4)
    picture = torch.tensor([0.5, 20.0, 10.0, 90.0]).expand(1, 3, 1, 4)
    assert float(losses.l1_linear(picture, truth)) == pytest.approx((1.5 + 0 + 6 + 15) / 4)
    assert float(losses.l1_linear(picture, truth, ceiling=50)) == pytest.approx((1.5 + 30 + 40 + 49) / 4)


def test_the_gradient_of_a_ramp_is_its_slopes() -> None:
    loss = losses.gradient(ramp(0.03, -0.02), ramp(0.01, 0.05))
    assert float(loss) == pytest.approx(0.02 + 0.07)


def test_the_gradient_agrees_with_a_loop() -> None:
    a, b, weight = noise(2, 3, 5, 6, seed=1), noise(2, 3, 5, 6, seed=2), noise(2, 3, 5, 6, seed=3)
    assert float(losses.gradient(a, b, weight)) == pytest.approx(naive_roughness(a - b, weight))


def test_a_ramp_is_twice_as_steep_at_every_coarser_scale() -> None:
    flat = torch.zeros(1, 3, 32, 64, dtype=torch.float64)
    assert float(losses.multi_scale_gradient(ramp(0.03, 0), flat)) == pytest.approx(0.03 * (1 + 2 + 4 + 8) / 4)
    assert float(losses.multi_scale_gradient(ramp(0.03, 0), flat, scales=2)) == pytest.approx(0.03 * 1.5)
    # Eight rows have one coarser scale, seven none.
    assert float(losses.multi_scale_gradient(ramp(0.03, 0)[..., :8, :], flat[..., :8, :])) == pytest.approx(0.045)
    assert float(losses.multi_scale_gradient(ramp(0.03, 0)[..., :7, :], flat[..., :7, :])) == pytest.approx(0.03)


def test_coarse_scales_see_bands_that_fine_ones_take_for_noise() -> None:
    bands = torch.zeros(1, 3, 64, 64, dtype=torch.float64)
    bands[..., 32:] = 0.1
    grain = 0.1 * (ramp(1, 1, 64, 64) % 2)
    flat = torch.zeros_like(bands)
    ratio = losses.gradient(bands, flat) / losses.gradient(grain, flat)
    multi = losses.multi_scale_gradient(bands, flat) / losses.multi_scale_gradient(grain, flat)
    assert float(multi) > 3 * float(ratio)


def test_weights_of_coarse_scales_are_means() -> None:
    a, b, weight = (
        noise(1, 3, 8, 10, seed=1),
        noise(1, 3, 8, 10, seed=2),
        noise(1, 1, 8, 10, seed=3).expand(1, 3, 8, 10),
    )

    def halved(x: Tensor) -> Tensor:
        return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4

    fine, coarse = naive_roughness(a - b, weight), naive_roughness(halved(a - b), halved(weight))
    assert float(losses.multi_scale_gradient(a, b, weight[:, :1])) == pytest.approx((fine + coarse) / 2)


def test_ssim_agrees_with_its_formula() -> None:
    a, b = noise(1, 3, 20, 26, seed=1).numpy(), noise(1, 3, 20, 26, seed=2).numpy()

    def blur(x: np.ndarray) -> np.ndarray:
        return np.stack([ndimage.gaussian_filter(c, 1.5, radius=5)[5:-5, 5:-5] for c in x[0]])

    mean_a, mean_b = blur(a), blur(b)
    both = blur(a * b) - mean_a * mean_b
    spread = blur(a * a) - mean_a**2 + blur(b * b) - mean_b**2
    index = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4) * (2 * both + 9e-4) / (spread + 9e-4)
    assert float(losses.ssim_loss(torch.from_numpy(a), torch.from_numpy(b))) == pytest.approx(1 - index.mean())


def test_ms_ssim_of_grey_pictures_is_the_published_one() -> None:
    a = noise(2, 1, 176, 176, seed=1).expand(2, 3, 176, 176)
    b = 0.8 * a + 0.2 * noise(2, 1, 176, 176, seed=2)
    expected = 1 - pytorch_msssim.ms_ssim(a, b, data_range=1.0)
    assert 0.01 < float(expected) < 0.9
    torch.testing.assert_close(losses.ms_ssim_loss(a, b), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("size", "exponents"), [(21, (0.0448,)), (22, (0.0448, 0.2856)), (87, (0.0448, 0.2856, 0.3001))]
)
def test_ms_ssim_has_as_many_scales_as_fit(size: int, exponents: tuple[float, ...]) -> None:
    dark, bright = (torch.full((1, 3, size, size), v, dtype=torch.float64) for v in (0.2, 0.6))
    # Flat pictures have the same contrast, nothing, so only the luminance of the coarsest scale is left. The package's
    # window is float32, which shows beside variances of zero.
    luminance = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    expected = 1 - luminance ** (exponents[-1] / sum(exponents) * 1.0001)
    assert float(losses.ms_ssim_loss(dark, bright)) == pytest.approx(expected, rel=1e-4)


def test_opposite_pictures_have_finite_gradients() -> None:
    a = noise(1, 3, 32, 32, seed=1)
    b = (1 - a).clone().requires_grad_()
    loss = losses.ms_ssim_loss(b, a)
    loss.backward()
    assert 0.9 < float(loss.detach()) < 1
    assert b.grad is not None
    assert torch.isfinite(b.grad).all()


@pytest.mark.parametrize("term", [losses.ssim_loss, losses.ms_ssim_loss])
def test_crops_smaller_than_the_window_are_refused(term: Term) -> None:
    with pytest.raises(UsageError, match="11 pixels or more, got 30x10"):
        term(torch.zeros(1, 3, 10, 30), torch.zeros(1, 3, 10, 30))


def test_grey_errors_have_no_colour() -> None:
    truth = noise(1, 3, 8, 8)
    grey = noise(1, 1, 8, 8, seed=1)
    assert float(losses.color_consistency(truth + grey, truth)) == pytest.approx(0, abs=1e-15)
    assert float(losses.gradient(truth + grey, truth)) > 0.1


def test_a_red_ramp_differs_from_green_and_blue() -> None:
    red = ramp(0.03, 0.01).clone()
    red[:, 1:] = 0
    assert float(losses.color_consistency(red, torch.zeros_like(red))) == pytest.approx((0.03 + 0.01) * 2 / 3)


def test_color_consistency_agrees_with_a_loop() -> None:
    a, b, weight = noise(1, 3, 5, 6, seed=1), noise(1, 3, 5, 6, seed=2), noise(1, 3, 5, 6, seed=3)
    e = a - b
    pairs = torch.stack((e[:, 0] - e[:, 1], e[:, 1] - e[:, 2], e[:, 2] - e[:, 0]), dim=1)
    both = torch.stack([torch.minimum(weight[:, i], weight[:, j]) for i, j in ((0, 1), (1, 2), (2, 0))], dim=1)
    assert float(losses.color_consistency(a, b, weight)) == pytest.approx(naive_roughness(pairs, both))


def test_fourier_magnitudes_are_numpys() -> None:
    a, b = noise(2, 3, 12, 10, seed=1), noise(2, 3, 12, 10, seed=2)
    bins = [np.abs(np.fft.fft2(x.numpy()))[..., : 10 // 2 + 1] / math.sqrt(12 * 10) for x in (a, b)]
    assert float(losses.fft_magnitude(a, b)) == pytest.approx(np.abs(bins[0] - bins[1]).mean())


def test_where_texture_sits_does_not_change_its_spectrum() -> None:
    a = noise(1, 3, 16, 16)
    assert float(losses.fft_magnitude(a.roll((3, 5), (-2, -1)), a)) < 1e-14
    assert float(losses.fft_magnitude(0.5 * a, a)) > 0.05


def test_the_laplacian_pyramid_is_opencvs() -> None:
    a, b, weight = noise(1, 3, 64, 96, seed=1), noise(1, 3, 64, 96, seed=2), noise(1, 1, 64, 96, seed=3)

    def levels(picture: Tensor) -> list[np.ndarray]:
        rest, parts = picture[0].permute(1, 2, 0).numpy(), []
        for _ in range(3):
            smaller = cv2.pyrDown(rest)
            parts.append(rest - cv2.pyrUp(smaller))
            rest = smaller
        return [*parts, rest]

    errors = [np.abs(x - y) for x, y in zip(levels(a), levels(b), strict=True)]
    expected = np.mean([error.mean() for error in errors])
    assert float(losses.laplacian_pyramid(a, b, levels=4)) == pytest.approx(expected, rel=1e-9)
    maps = [weight[0, 0].numpy()]
    while len(maps) < 4:
        maps.append(cv2.pyrDown(maps[-1]))
    expected = np.mean([(e * m[..., None]).sum() / (3 * m.sum()) for e, m in zip(errors, maps, strict=True)])
    assert float(losses.laplacian_pyramid(a, b, weight, levels=4)) == pytest.approx(expected, rel=1e-9)
