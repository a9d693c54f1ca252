"""How large networks are: multiply-adds, weights and strides of configurations, and those that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from seqhdr.model.net import ModelConfig, SeqNet
from seqhdr.model.source import Source

CONFIGS = Path(__file__).parents[2] / "configs" / "model"


def config_of(name: str) -> ModelConfig:
    config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    return ModelConfig(config["name"], tuple(config["channels"]), config["blocks"])


def counted_macs(net: SeqNet, side: int) -> float:
    total = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        total += module.weight.numel() * output.shape[-1] * output.shape[-2]

    handles = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d)]
    source = Source(torch.tensor([0.5]), torch.zeros(1, 256))
    with torch.no_grad():
        net.step(torch.zeros(1, 3, side, side), None, source, None)
    for handle in handles:
        handle.remove()
    return total / side**2


@pytest.mark.parametrize("config", [ModelConfig("two", (8, 12), 2), ModelConfig("three", (4, 6, 10)), config_of("s")])
def test_multiply_adds_are_those_that_run(config: ModelConfig) -> None:
    made = SeqNet(config)
    assert made.macs_per_pixel() == pytest.approx(counted_macs(made, 512), rel=1e-3)


def test_s_is_small() -> None:
    made = SeqNet(config_of("s"))
    assert made.macs_per_pixel() <= 24_000
    assert 0.8e6 <= sum(p.numel() for p in made.parameters()) <= 2e6


def test_l_has_the_widths_of_the_classic_u_net() -> None:
    with torch.device("meta"):
        made = SeqNet(config_of("l"))
    assert made.config.channels == (64, 128, 256, 512, 1024)
    assert made.enter.out_channels == 64
    assert made.memory.gates.out_channels == 4 * 1024
    without_memory = sum(p.numel() for name, p in made.named_parameters() if not name.startswith("memory"))
    assert 26e6 < without_memory < 36e6
    assert made.stride == 32


def test_a_very_deep_network_comes_to_an_end() -> None:
    deep = SeqNet(ModelConfig("deep", (4,) * 7)).requires_grad_(False)
    source = Source(torch.tensor([0.5]), torch.zeros(1, 256))
    prediction, _ = deep.step(torch.full((1, 3, 200, 140), 90.0), None, source, None)
    assert prediction.offset_lsb.abs().max() <= 0.5


@pytest.mark.parametrize("levels", [2, 5, 6])
def test_the_stride_serves_blurs_and_bottleneck(levels: int) -> None:
    with torch.device("meta"):
        assert SeqNet(ModelConfig("deep", (4,) * levels)).stride == max(32, 2**levels)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig("flat", (8,)), "'flat' has 1 levels: expected 2 or more"),
        (ModelConfig("empty", (8, 8), 0), "'empty' has 0 blocks at a level: expected 1 or more"),
    ],
)
def test_bad_configs_are_named(config: ModelConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SeqNet(config)
