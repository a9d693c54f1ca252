"""The terms that follow a clip along its flow: what moves costs nothing, what flickers does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqhdr.train import losses
from tests.train.loss_oracles import noise


def moving_clip(step_x: int, step_y: int, frames: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """A window that slides over noise: clip, its backward flow, and all visible."""
    world = noise(2, 3, 64, 64, seed=8)
    views = [world[..., 20 + step_y * t :, 20 + step_x * t :][..., :24, :24] for t in range(frames)]
    flow = torch.tensor([step_x, step_y], dtype=torch.float64).view(1, 1, 2, 1, 1).expand(2, frames, 2, 24, 24)
    return torch.stack(views, dim=1), flow, torch.ones(2, frames, 1, 24, 24, dtype=torch.bool)


def test_a_clip_that_moves_with_its_flow_is_consistent() -> None:
    clip, flow, visible = moving_clip(3, -2)
    assert float(losses.temporal_consistency(clip, flow, visible)) < 1e-12
    assert float(losses.temporal_consistency(clip, -flow, visible)) > 0.1


def test_the_first_frames_flow_is_not_used() -> None:
    clip, flow, visible = moving_clip(3, -2)
    flow = flow.clone()
    flow[:, 0] = 5
    assert float(losses.temporal_consistency(clip, flow, visible)) < 1e-12


def test_the_warp_is_bilinear() -> None:
    clip = torch.zeros(1, 2, 3, 6, 6, dtype=torch.float64)
    clip[:, 0, ..., 3] = 1
    flow = torch.zeros(1, 2, 2, 6, 6, dtype=torch.float64)
    flow[:, :, 0] = 0.25
    # Five columns look inside; two of them see the line, by a quarter and by three quarters.
    loss = losses.temporal_consistency(clip, flow, torch.ones(1, 2, 1, 6, 6, dtype=torch.bool))
    assert float(loss) == pytest.approx(1 / 5)


def test_a_light_that_flickers_is_counted_unless_the_truth_does_too() -> None:
    still = noise(1, 1, 3, 8, 8).expand(1, 5, 3, 8, 8)
    flicker = still + 0.2 * (torch.arange(5) % 2).view(1, 5, 1, 1, 1)
    flow, visible = torch.zeros(1, 5, 2, 8, 8, dtype=torch.float64), torch.ones(1, 5, 1, 8, 8, dtype=torch.bool)
    assert float(losses.temporal_consistency(flicker, flow, visible)) == pytest.approx(0.2)
    assert float(losses.temporal_residual(flicker, flicker, flow, visible)) == 0
    assert float(losses.temporal_residual(flicker, still, flow, visible)) == pytest.approx(0.2)
    assert float(losses.temporal_residual(still, flicker, flow, visible)) == pytest.approx(0.2)


def test_what_was_hidden_before_does_not_count() -> None:
    clip, flow, visible = moving_clip(1, 0, frames=2)
    clip[:, 1, :, 4:9, 5:11] += 1
    assert float(losses.temporal_consistency(clip, flow, visible)) > 0.01
    visible[:, 1, :, 4:9, 5:11] = False
    assert float(losses.temporal_consistency(clip, flow, visible)) < 1e-12
    assert float(losses.temporal_consistency(clip, flow, torch.zeros_like(visible))) == 0


def test_one_frame_alone_is_consistent() -> None:
    clip, flow, visible = moving_clip(1, 0, frames=1)
    clip.requires_grad_()
    loss = losses.temporal_consistency(clip, flow, visible)
    loss.backward()
    assert float(loss.detach()) == 0
    assert clip.grad is not None


def test_the_gradient_of_temporal_consistency_is_that_of_finite_differences() -> None:
    clip, flow, visible = moving_clip(1, 0, frames=3)
    flow = flow + 0.3 * noise(*flow.shape, seed=9)
    clip.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: losses.temporal_consistency(x, flow, visible), (clip,), fast_mode=True)
