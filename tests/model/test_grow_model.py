"""Weights of the former layout in the present one: nothing lost, and what is new says nothing yet."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from seqhdr.model.cards import load_model, read_card, save_model
from seqhdr.model.net import ModelConfig, SeqNet

TOOL = Path(__file__).parents[2] / "tools" / "grow_model.py"
CONFIG = ModelConfig("small", (4, 6))
# Of the former layout: 24 differences of single pixels, 8 blurs of 3 channels, 13 of level, width of a code, clipping,
# gains and validity, age, w; and 9 blurs and the memory to choose from for each of four pixels, 26 outputs, and the
# signed weights of the same ten.
INPUTS, OUTPUTS = 24 + 24 + 13 + 2, 4 * 10 + 26 + 4 * 10

Call = Callable[..., None]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("grow_model", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fresh() -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return SeqNet(CONFIG).state_dict()


@pytest.fixture
def former(fresh: dict[str, Tensor]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    shapes = {key: list(value.shape) for key, value in fresh.items()}
    shapes["enter.weight"][1] = INPUTS
    shapes["leave.weight"][0] = shapes["leave.bias"][0] = OUTPUTS
    return {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}


@pytest.fixture
def call(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Call:
    def call(*words: object) -> None:
        monkeypatch.setattr("sys.argv", ["grow_model.py", *map(str, words)])
        tool.main()

    return call


def test_the_tensors_fit_the_present_layout(
    tool: ModuleType, former: dict[str, Tensor], fresh: dict[str, Tensor]
) -> None:
    grown = tool.grow(former, fresh)
    assert {key: value.shape for key, value in grown.items()} == {key: value.shape for key, value in fresh.items()}
    for key in grown.keys() - {"enter.weight", "leave.weight", "leave.bias"}:
        assert torch.equal(grown[key], former[key])


def test_the_network_sees_what_it_saw_and_is_blind_to_what_is_new(
    tool: ModuleType, former: dict[str, Tensor], fresh: dict[str, Tensor]
) -> None:
    weight = tool.grow(former, fresh)["enter.weight"]
    seen = torch.randn(1, INPUTS, 6, 6, generator=torch.Generator().manual_seed(3))
    coarser, level = 100 * torch.ones(1, 3, 6, 6), 100 * torch.ones(1, 1, 6, 6)
    # Single pixels and blurs, the smaller frame, what says where and how bright, age, w, the level.
    present = torch.cat((seen[:, :48], coarser, seen[:, 48:], level), dim=1)
    torch.testing.assert_close(F.conv2d(present, weight), F.conv2d(seen, former["enter.weight"]))


def test_the_network_says_what_it_said_and_more_softly_of_what_is_new(
    tool: ModuleType, former: dict[str, Tensor], fresh: dict[str, Tensor]
) -> None:
    grown = tool.grow(former, fresh)
    features = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(4))
    was = F.conv2d(features, former["leave.weight"], former["leave.bias"], padding="same")
    now = F.conv2d(features, grown["leave.weight"], grown["leave.bias"], padding="same")
    blurs, coarser, memory, rest, signed, new, last = torch.split(now, [36, 4, 4, 26, 36, 4, 4], dim=1)
    torch.testing.assert_close(torch.cat((blurs, memory, rest, signed, last), dim=1), was)
    # The smaller frame begins like the blur over cells of 32, the sixth.
    torch.testing.assert_close(coarser, was[:, 20:24] - 1)
    assert not new.any()


def test_a_file_is_grown_and_says_what_it_came_from(
    call: Call, tool: ModuleType, former: dict[str, Tensor], fresh: dict[str, Tensor], tmp_path: Path, capsys: Capture
) -> None:
    before, after = tmp_path / "before.safetensors", tmp_path / "grown.safetensors"
    card = save_model(before, CONFIG, former, {"data": "made up"})
    call(before, "-o", after)
    assert load_model(after).config == CONFIG
    grown_card = read_card(after)
    assert grown_card.training == {"data": "made up", "grown_from": card.sha256}
    assert capsys.readouterr().out == f"{after}  sha256 {grown_card.sha256}\n"
    wanted, written = tool.grow(former, fresh), load_file(after)
    assert all(torch.equal(written[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("present", ["enter.weight", "leave.weight"])
def test_weights_of_another_layout_are_refused(
    call: Call, former: dict[str, Tensor], fresh: dict[str, Tensor], tmp_path: Path, capsys: Capture, present: str
) -> None:
    path = tmp_path / "present.safetensors"
    save_model(path, CONFIG, {**former, present: fresh[present]}, {})
    with pytest.raises(SystemExit):
        call(path, "-o", tmp_path / "x.safetensors")
    assert f"{path} is not of the former layout: give weights from before it" in capsys.readouterr().err
    assert not (tmp_path / "x.safetensors").exists()
