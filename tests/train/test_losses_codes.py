"""The terms in codes and stops: what a bin allows, what a code is worth, and what is clipped."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from seqhdr.train import losses
from tests.train.loss_oracles import naive_roughness, noise


def test_clipped_channels_weigh_less_the_less_they_are_known() -> None:
    clipped = torch.tensor([False, True, True]).view(3, 1, 1).expand(3, 1, 2)
    error = torch.tensor([0.0, 3.0]).view(1, 1, 2).requires_grad_()
    weight = losses.noise_aware_weight(clipped, error, 0.5, 2.0)
    np.testing.assert_allclose(weight[:, 0], [[1, 1], [0.5, 0.5 / 7], [0.5, 0.5 / 7]])
    assert not weight.requires_grad


def test_offsets_miss_what_the_bin_allows() -> None:
    codes = torch.tensor([10.0, 10.0, 10.0, 254.0, 255.0]).expand(2, 1, 3, 1, 5)
    value = codes + torch.tensor([0.25, -3.0, 3.0, 0.5, 0.0])
    given = torch.tensor([0.5, 0.5, 0.5, 0.25, 0.25]).expand_as(codes)
    w = torch.tensor([0.5, 2.0])
    clipped = codes + w.view(2, 1, 1, 1, 1) >= 255
    miss = losses.offset_miss(given, codes, value, w, clipped)
    np.testing.assert_allclose(miss[0, 0, 0, 0], [0.25, 1.0, 0.0, -0.25, 0.0])
    np.testing.assert_allclose(miss[1, 0, 0, 0], [0.25 / 4, 2.5 / 4, -1.5 / 4, 0.0, 0.0])
    assert float(losses.offset(miss)) == pytest.approx((0.25 + 1 + 0.25 + (0.25 + 2.5 + 1.5) / 4) / 10)


def test_offsets_weigh_as_much_as_their_codes_are_wide() -> None:
    codes = torch.tensor([0.0, 1.0]).expand(1, 2, 3, 1, 2).clone()
    codes[:, 1] = torch.tensor([1.0, 2.0])
    miss = torch.tensor([1.0, -3.0]).expand(1, 2, 3, 1, 2)
    width = torch.zeros(1, 256)
    width[0, :3] = torch.tensor([9.0, 0.25, 0.1])
    first = (1 * 0.5 + 3 * 0.25) / 0.75  # a width of 9 counts as 0.5
    second = (1 * 0.25 + 3 * 0.1) / 0.35
    assert float(losses.offset_stops(miss, codes, width)) == pytest.approx((first + second) / 2)


def test_each_clip_has_its_own_widths() -> None:
    codes = torch.full((2, 1, 3, 4, 4), 7.0)
    miss = torch.cat((torch.ones(1, 1, 3, 4, 4), torch.zeros(1, 1, 3, 4, 4)))
    width = torch.tensor([0.3, 0.1]).view(2, 1).expand(2, 256)
    assert float(losses.offset_stops(miss, codes, width)) == pytest.approx(0.3 / 0.4)


@pytest.mark.parametrize("term", [losses.offset_gradient, losses.gain_gradient])
def test_ripples_agree_with_a_loop(term: Callable[[Tensor], Tensor]) -> None:
    miss = noise(1, 3, 5, 6) - 0.5
    assert float(term(miss[None])) == pytest.approx(naive_roughness(miss, torch.ones_like(miss)))


def test_stops_are_missed_only_where_clipped() -> None:
    clipped = torch.tensor([True, True, False, False]).expand(1, 1, 3, 1, 4)
    given = torch.tensor([1.0, 0.0, 5.0, 0.0]).expand(1, 1, 3, 1, 4)
    truth = torch.tensor([3.0, 0.5, 0.0, 0.0]).expand(1, 1, 3, 1, 4)
    miss = losses.gain_miss(given, truth, clipped)
    np.testing.assert_array_equal(miss[0, 0, 0, 0], [-2, -0.5, 0, 0])
    assert float(losses.gain(miss)) == pytest.approx(2.5 / 4)


def test_the_expected_error_that_costs_least_is_the_mean_miss() -> None:
    clipped = torch.ones(1, 1, 3, 1, 4, dtype=torch.bool)
    miss = torch.tensor([1.0, -2.0, 0.5, 0.5], dtype=torch.float64).expand(1, 1, 3, 1, 4).requires_grad_()

    def cost(scale: float) -> float:
        bound = torch.full((1, 1, 1, 1, 4), scale, dtype=torch.float64)
        return float(losses.gain_error(miss, bound, clipped))

    assert cost(1.0) == pytest.approx(1.0)  # log 1 + mean |miss|
    assert cost(1.0) < min(cost(0.99), cost(1.01))
    bound = torch.full((1, 1, 1, 1, 4), 2.0, dtype=torch.float64, requires_grad=True)
    losses.gain_error(miss, bound, clipped).backward()
    np.testing.assert_allclose(bound.grad.sum(), 1 / 2 - 1 / 4)
    assert miss.grad is None
    assert float(losses.gain_error(miss, bound, ~clipped).detach()) == 0


def test_codes_between_two_weigh_like_the_nearest() -> None:
    """Codes are not whole where a decoder's rounding was undone."""
    miss, width = torch.tensor([1.0, 0.0]).expand(1, 1, 3, 1, 2), torch.zeros(1, 256)
    width[0, 7:9] = torch.tensor([0.1, 0.3])
    codes = torch.tensor([7.75, 7.25]).expand(1, 1, 3, 1, 2)
    assert float(losses.offset_stops(miss, codes, width)) == pytest.approx(0.3 / 0.4)


def test_what_is_left_of_the_squared_error_is_a_mean_over_clips() -> None:
    truth, codes = noise(3, 2, 3, 4, 5), noise(3, 2, 3, 4, 5, seed=1)
    clipped = torch.rand(truth.shape, generator=torch.Generator().manual_seed(3)) < 0.3
    guess = truth + (codes - truth) * torch.tensor([0.5, 0.0, 1.0]).view(3, 1, 1, 1, 1)
    guess[clipped] = 99.0  # what is clipped has no say
    assert float(losses.square_left(guess, truth, codes, clipped)) == pytest.approx((0.25 + 0 + 1) / 3)
    # One clip a thousand times as far off as the others counts no more than they do.
    factor = torch.tensor([1.0, 1e3, 1.0]).view(3, 1, 1, 1, 1)
    far = losses.square_left(guess * factor, truth * factor, codes * factor, clipped)
    assert float(far) == pytest.approx((0.25 + 0 + 1) / 3)


def test_codes_without_error_are_not_divided_by() -> None:
    truth = torch.zeros(1, 1, 3, 2, 2)
    unclipped = torch.zeros_like(truth, dtype=torch.bool)
    assert float(losses.square_left(truth, truth, truth, unclipped)) == 0
    assert float(losses.square_left(truth + 1e-4, truth, truth, unclipped)) == pytest.approx(1)
    assert float(losses.square_left(truth + 1, truth, truth + 1, ~unclipped)) == 0
