"""Checkpoints: everything comes back, nothing is executed, and a broken file is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from seqhdr.errors import UsageError, WeightsError
from seqhdr.model.net import ModelConfig, SeqNet
from seqhdr.train.checkpoint import Progress, load_checkpoint, peek_progress, save_checkpoint

Parts = tuple[SeqNet, SeqNet, torch.optim.AdamW]


def parts(seed: int, channels: tuple[int, ...] = (4, 6)) -> Parts:
    """A network, its running mean and an optimizer that has taken two steps."""
    torch.manual_seed(seed)
    net, average = (SeqNet(ModelConfig("tiny", channels)).to(memory_format=torch.channels_last) for _ in range(2))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01 * seed, weight_decay=0.1)
    for _ in range(2):
        for parameter in net.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    return net, average, optimizer


def test_everything_comes_back_bit_for_bit(tmp_path: Path) -> None:
    net, average, optimizer = parts(1)
    progress = Progress(7, 0.25, 3, 12.5, False, {"best": 0.25, "num_bad_epochs": 3, "mode_worse": float("inf")})
    save_checkpoint(tmp_path / "c.safetensors", net, average, optimizer, progress, {"train": {"lr": 0.01}})
    other = parts(2)
    loaded, config = load_checkpoint(tmp_path / "c.safetensors", *other)
    assert loaded == progress
    assert config == {"train": {"lr": 0.01}}
    for mine, its in ((net, other[0]), (average, other[1])):
        for key, value in mine.state_dict().items():
            assert torch.equal(value, its.state_dict()[key]), key
    mine, its = optimizer.state_dict(), other[2].state_dict()
    assert mine["state"].keys() == its["state"].keys()
    assert mine["param_groups"] == [{**group, "betas": tuple(group["betas"])} for group in its["param_groups"]]
    for index, entry in mine["state"].items():
        for key, value in entry.items():
            assert torch.equal(value, its["state"][index][key]), (index, key)
    # The next step is the same step.
    for these in ((net, optimizer), (other[0], other[2])):
        torch.manual_seed(9)
        for parameter in these[0].parameters():
            parameter.grad = torch.randn_like(parameter)
        these[1].step()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other[0].parameters(), strict=True))


def test_progress_can_be_read_alone(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.safetensors", *parts(1), Progress(step=41, finished=True), {})
    assert peek_progress(tmp_path / "c.safetensors") == Progress(step=41, finished=True)


def test_a_network_of_other_sizes_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.safetensors", *parts(1), Progress(), {})
    with pytest.raises(WeightsError, match=r"c\.safetensors: .* has shape \(.*resume with the configuration"):
        load_checkpoint(tmp_path / "c.safetensors", *parts(1, (4, 8)))


def test_weights_that_are_no_numbers_do_not_replace_the_last_good_ones(tmp_path: Path) -> None:
    net, average, optimizer = parts(1)
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, net, average, optimizer, Progress(step=1), {})
    before = path.read_bytes()
    with torch.no_grad():
        next(net.parameters())[0, 0, 0, 0] = float("nan")
    with pytest.raises(UsageError, match=r"is no longer finite: lower train\.lr"):
        save_checkpoint(path, net, average, optimizer, Progress(step=2), {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["missing", "text", "cut short", "a model", "another version"])
def test_what_is_no_checkpoint_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "c.safetensors"
    if kind == "text":
        path.write_text("no tensors here")
    elif kind == "a model":
        save_file({"x": torch.zeros(1)}, path, metadata={"seqhdr": "{}"})
    elif kind != "missing":
        save_checkpoint(path, *parts(1), Progress(), {})
        if kind == "cut short":
            path.write_bytes(path.read_bytes()[:-100])
        else:
            with safe_open(path, framework="pt") as file:
                header = json.loads(file.metadata()["seqhdr_training"])
            save_file(load_file(path), path, metadata={"seqhdr_training": json.dumps({**header, "format": 99})})
    with pytest.raises(WeightsError, match=r"c\.safetensors: .*begin again without --resume"):
        load_checkpoint(path, *parts(1))
