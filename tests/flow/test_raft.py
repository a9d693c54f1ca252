"""RAFT behind our protocol: what the network is shown, where its weights come from, and what is refused."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from flow import FlowEstimator, RaftFlow, raft_net, save_raft, sequence_loss

SMALL = raft_net("small").eval()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file with an untrained ``small``."""
    path = tmp_path / "small.safetensors"
    save_raft(path, SMALL, "small", {"data": "none"})
    return path


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def pair(height: int, width: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    return noise(batch, 3, height, width), noise(batch, 3, height, width, seed=1)


class Spy(nn.Module):
    """Stands for a network: notes what it is shown, and answers with its own flow."""

    def __init__(self, answer: Callable[[Tensor], Tensor] = lambda image: torch.zeros_like(image[:, :2])) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.answer = answer
        self.shown: list[Any] = []

    def forward(self, image1: Tensor, image2: Tensor, num_flow_updates: int) -> list[Tensor]:
        self.shown = [image1, image2, num_flow_updates, self.training, torch.is_grad_enabled()]
        return [torch.full_like(image1[:, :2], 99.0), self.answer(image1) * self.scale]


# --- what the network is shown ------------------------------------------------------------------------------------


def test_the_network_run_by_hand_on_a_padded_frame(weights: Path) -> None:
    estimator: FlowEstimator = RaftFlow(weights, iterations=4)
    current, previous = pair(130, 141)
    flow_px = estimator(current, previous)
    assert flow_px.shape == (1, 2, 130, 141)
    assert flow_px.dtype == torch.float32
    # To 136x144 by repeating the last row and column, and to -1..1 as torchvision's own preset does.
    rows, columns = torch.arange(136).clamp_max(129), torch.arange(144).clamp_max(140)
    here, before = (2 * frame[:, :, rows][..., columns] - 1 for frame in (current, previous))
    with torch.no_grad():
        by_hand = SMALL(here, before, num_flow_updates=4)[-1][..., :130, :141]
    assert by_hand.abs().max() > 1
    torch.testing.assert_close(flow_px, by_hand, atol=1e-4, rtol=1e-4)


def test_the_preset_of_torchvision_maps_alike() -> None:
    from torchvision.models.optical_flow import Raft_Small_Weights

    spy, (current, previous) = Spy(), pair(128, 136)
    RaftFlow.from_net(spy)(current, previous)
    here, before = Raft_Small_Weights.DEFAULT.transforms()(current, previous)
    torch.testing.assert_close(spy.shown[0], here)
    torch.testing.assert_close(spy.shown[1], before)


def test_the_flow_goes_from_current_to_previous_and_the_last_refinement_counts() -> None:
    spy = Spy(answer=lambda image: torch.full_like(image[:, :2], 3.0))
    current, previous = torch.full((1, 3, 128, 128), 0.75), torch.full((1, 3, 128, 128), 0.25)
    flow_px = RaftFlow.from_net(spy, iterations=7)(current, previous)
    image1, image2, iterations, training, gradients = spy.shown
    assert (image1 == 0.5).all()
    assert (image2 == -0.5).all()
    assert (iterations, training, gradients) == (7, False, False)
    assert (flow_px == 3).all()
    assert not flow_px.requires_grad


def test_values_beyond_display_are_held_and_other_types_taken() -> None:
    spy = Spy()
    frame = torch.tensor([-2.0, 0.5, 7.0], dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 128, 128)
    assert RaftFlow.from_net(spy)(frame, frame).dtype == torch.float32
    assert spy.shown[0].dtype == torch.float32
    assert spy.shown[0][0, :, 0, 0].tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("height", "width", "padded"), [(48, 64, (128, 128)), (1, 200, (128, 200)), (129, 8, (136, 128))]
)
def test_small_frames_are_padded_to_what_raft_takes(height: int, width: int, padded: tuple[int, int]) -> None:
    spy = Spy()
    current, previous = pair(height, width)
    assert RaftFlow.from_net(spy)(current, previous).shape == (1, 2, height, width)
    assert spy.shown[0].shape[-2:] == padded
    assert (spy.shown[0][..., height - 1 :, width - 1 :] == 2 * current[..., -1:, -1:] - 1).all()
    flow_px = RaftFlow.from_net(SMALL, iterations=2)(current, previous)
    assert flow_px.shape == (1, 2, height, width)
    assert flow_px.isfinite().all()


def test_a_batch_is_one_by_one(weights: Path) -> None:
    flow = RaftFlow(weights, iterations=3)
    current, previous = pair(128, 136, batch=2)
    together = flow(current, previous)
    for index in range(2):
        alone = flow(current[index : index + 1], previous[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, atol=1e-3, rtol=1e-3)


def test_the_same_again_bit_for_bit(weights: Path) -> None:
    current, previous = pair(131, 140)
    one, two = (RaftFlow(weights)(current, previous) for _ in range(2))
    assert torch.equal(one, two)


def test_a_training_step_s_autocast_does_not_reach_it(weights: Path) -> None:
    flow, frames = RaftFlow(weights, iterations=2), pair(128, 128)
    plain = flow(*frames)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(flow(*frames), plain)


def test_a_frame_with_too_many_pixels_is_estimated_on_a_smaller_copy() -> None:
    # The answer, in pixels of the copy, is a ramp: position along x and y.
    def ramp(image: Tensor) -> Tensor:
        y, x = torch.meshgrid(*(torch.arange(float(n)) for n in image.shape[-2:]), indexing="ij")
        return torch.stack((x, y))[None]

    spy = Spy(answer=ramp)
    fade = torch.linspace(0, 1, 600).expand(1, 3, 400, 600)
    flow_px = RaftFlow.from_net(spy, most_pixels=200 * 300)(fade, fade)
    assert spy.shown[0].shape == (1, 3, 200, 304)
    torch.testing.assert_close(spy.shown[0][0, 0, 0, :300], torch.linspace(-1, 1, 300), atol=4e-3, rtol=0)
    assert flow_px.shape == (1, 2, 400, 600)
    # The centre of pixel n lies at (n + 0.5) / 2 - 0.5 of the copy, and a pixel there is two here.
    torch.testing.assert_close(flow_px[0, 0, 7, 1:-1], torch.arange(1.0, 599.0) - 0.5, atol=1e-3, rtol=0)
    torch.testing.assert_close(flow_px[0, 1, 1:-1, 7], torch.arange(1.0, 399.0) - 0.5, atol=1e-3, rtol=0)
    assert RaftFlow.from_net(spy, most_pixels=400 * 600)(fade, fade).shape == (1, 2, 400, 600)
    assert spy.shown[0].shape == (1, 3, 400, 600)


def test_the_smaller_copy_is_filtered() -> None:
    spy = Spy()
    stripes = torch.tensor([0.0, 0.0, 1.0]).repeat(200).expand(1, 3, 450, 600)
    RaftFlow.from_net(spy, most_pixels=150 * 200)(stripes, stripes)
    assert spy.shown[0].shape == (1, 3, 152, 200)
    torch.testing.assert_close(spy.shown[0][..., 2:-2], torch.full((1, 3, 152, 196), 2 / 3 - 1), atol=1e-4, rtol=0)


def test_both_axes_are_enlarged_by_what_rounding_left_of_them() -> None:
    spy = Spy(answer=lambda image: torch.ones_like(image[:, :2]))
    narrow = torch.zeros(1, 3, 401, 9)
    flow_px = RaftFlow.from_net(spy, most_pixels=900)(narrow, narrow)
    assert flow_px[0, :, 200, 4].tolist() == pytest.approx([9 / 4, 401 / 200])


def test_the_pyramid_of_costs_is_let_go() -> None:
    RaftFlow.from_net(SMALL, iterations=1)(*pair(128, 128))
    assert SMALL.corr_block.corr_pyramid == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_the_same_flow(weights: Path) -> None:
    current, previous = pair(130, 141)
    here = RaftFlow(weights, iterations=3)(current, previous)
    there = RaftFlow(weights, iterations=3, device="cuda")(current, previous)
    assert there.device.type == "cpu"
    torch.testing.assert_close(here, there, atol=0.1, rtol=0.01)


@pytest.mark.parametrize(
    ("one", "two"),
    [((1, 3, 128, 128), (1, 3, 128, 136)), ((1, 1, 128, 128), (1, 1, 128, 128)), ((3, 128, 128), (3, 128, 128))],
)
def test_frames_that_do_not_belong_together_are_refused(one: tuple[int, ...], two: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"got frames of shape \(.*\) and \(.*\): expected \(B, 3, H, W\) twice"):
        RaftFlow.from_net(SMALL)(torch.zeros(one), torch.zeros(two))


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"most_pixels": 0}])
def test_senseless_numbers_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected 1 or more of both"):
        RaftFlow.from_net(SMALL, **wrong)


# --- where the weights come from ----------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["small", "large"])
def test_torchvision_s_own_file_and_ours_give_the_same(tmp_path: Path, arch: str) -> None:
    net = raft_net(arch, seed=4)
    said = save_raft(tmp_path / "ours.safetensors", net, arch, {})
    torch.save(net.state_dict(), tmp_path / "theirs.pth")
    save_file(net.state_dict(), tmp_path / "bare.safetensors")
    for name in ("ours.safetensors", "theirs.pth", "bare.safetensors"):
        flow = RaftFlow(tmp_path / name)
        assert flow.weights_sha256 == said == RaftFlow.from_net(net).weights_sha256
        assert RaftFlow(str(tmp_path / name), arch=arch).weights_sha256 == said
        wanted = net.state_dict()
        for key, value in flow._net.state_dict().items():
            assert torch.equal(value, wanted[key])
    assert RaftFlow.from_net(raft_net(arch, seed=5)).weights_sha256 != said


def test_a_seed_gives_the_same_network_and_leaves_the_dice_alone(weights: Path) -> None:
    torch.manual_seed(11)
    wanted = torch.rand(3)
    torch.manual_seed(11)
    one, two, other = (RaftFlow.from_net(raft_net("small", seed)).weights_sha256 for seed in (1, 1, 2))
    RaftFlow(weights)
    assert torch.equal(torch.rand(3), wanted)
    assert one == two != other


def test_a_saved_file_is_whole_readable_and_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = {"data": "shifts", "steps": 3}
    for name in ("a", "b"):
        sha256 = save_raft(tmp_path / f"{name}.safetensors", SMALL, "small", card)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        said = json.loads(file.metadata()["flow_raft"])
    assert said == {"format": 1, "arch": "small", "card": card, "sha256": sha256}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    before = (tmp_path / "a.safetensors").read_bytes()
    monkeypatch.setattr("flow.raft.save_file", full)
    with pytest.raises(OSError, match="No space"):
        save_raft(tmp_path / "a.safetensors", raft_net("small", 2), "small", card)
    assert (tmp_path / "a.safetensors").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors", "plain"]


def test_saving_under_a_false_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got a network of architecture small: expected large"):
        save_raft(tmp_path / "a.safetensors", SMALL, "large", {})
    with pytest.raises(ValueError, match=r"expected a name that ends in \.safetensors"):
        save_raft(tmp_path / "a.pth", SMALL, "small", {})
    assert not list(tmp_path.iterdir())


def without(key: str) -> dict[str, Tensor]:
    return {name: value for name, value in SMALL.state_dict().items() if name != key}


FIRST, LAST = "feature_encoder.convnormrelu.0.weight", "update_block.flow_head.conv2.bias"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (without(FIRST), "has no first layer of a RAFT"),
        (without(LAST), f"{LAST} is missing, in raft_small it has shape (2,): give a file"),
        (SMALL.state_dict() | {LAST: torch.zeros(3)}, f"{LAST} has shape (3,), in raft_small it has shape (2,)"),
        (SMALL.state_dict() | {"z": torch.zeros(1)}, "z has shape (1,), in raft_small it is missing"),
        (SMALL.state_dict() | {LAST: torch.tensor([0.0, float("nan")])}, f"{LAST} holds numbers that are not finite"),
        ({"model": {"a": 1}}, "holds something else than a network's tensors"),
        ([1, 2], "holds something else than a network's tensors"),
        (Path("code"), "not readable as RAFT weights"),
    ],
)
def test_weights_of_something_else_are_refused(tmp_path: Path, content: Any, reason: str) -> None:
    torch.save(content, tmp_path / "odd.pth")
    refused(tmp_path / "odd.pth", reason)


def refused(path: Path, reason: str, **options: Any) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the sentence is looked at below
        RaftFlow(path, **options)
    assert str(error.value).startswith(f"{path}: ")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert any(remedy in str(error.value) for remedy in ("give a file that save_raft wrote", "get it again"))


def test_the_other_architecture_is_refused(weights: Path) -> None:
    refused(weights, "in raft_large it ", arch="large")
    with pytest.raises(ValueError, match="unknown RAFT architecture 'huge': expected one of small, large"):
        RaftFlow(weights, arch="huge")
    with pytest.raises(ValueError, match="unknown RAFT architecture 'huge'"):
        raft_net("huge")


@pytest.mark.parametrize("extension", ["safetensors", "pth"])
@pytest.mark.parametrize("content", [b"", b"\x80\x02no weights at all\n" * 9, b"<html>moved</html>"])
def test_files_that_are_no_weights_are_refused(tmp_path: Path, extension: str, content: bytes) -> None:
    path = tmp_path / f"odd.{extension}"
    refused(path, "not readable as RAFT weights")
    path.write_bytes(content)
    refused(path, "not readable as RAFT weights")


def test_damaged_files_are_refused(tmp_path: Path, weights: Path) -> None:
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1000])
    refused(weights, "not readable as RAFT weights")
    weights.write_bytes(whole[:-1000] + bytes([whole[-1000] ^ 1]) + whole[-999:])
    refused(weights, "hash of the weights is ")
    torch.save(SMALL.state_dict(), tmp_path / "whole.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:-1000])
    refused(tmp_path / "half.pth", "not readable as RAFT weights")


@pytest.mark.parametrize("arch", [None, "small"])
def test_without_a_network_the_download_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arch: str | None
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(
        ValueError, match=r"cannot be downloaded \(.*Name or service not known.*give its path$"
    ) as error:
        RaftFlow("download", arch=arch)
    assert f"https://download.pytorch.org/models/raft_{arch or 'large'}_" in str(error.value)
    assert "\n" not in str(error.value)
    assert capsys.readouterr() == ("", "")


def test_a_download_that_is_not_what_it_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Answer(io.BytesIO):
        headers: dict[str, str] = {}  # noqa: RUF012 - as urllib has it

        def info(self) -> Answer:
            return self

        def get_all(self, _: str) -> None:
            return None

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", lambda *_, **__: Answer(b"log in to this network first"))
    with pytest.raises(ValueError, match=r"cannot be downloaded \(invalid hash value.*give its path$"):
        RaftFlow("download", arch="small")
    assert not list(tmp_path.rglob("*.pth"))


@pytest.mark.parametrize("arch", [None, "small"])
def test_a_download_is_used_and_checked_by_torchvision(monkeypatch: pytest.MonkeyPatch, arch: str | None) -> None:
    net, asked = raft_net(arch or "large", seed=8), []

    def fetch(source: Any, **how: Any) -> dict[str, Tensor]:
        asked.append((source.url, how))
        return net.state_dict()

    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", fetch)
    assert RaftFlow("download", arch=arch).weights_sha256 == RaftFlow.from_net(net).weights_sha256
    ((url, how),) = asked
    assert f"raft_{arch or 'large'}" in url
    assert how["check_hash"]
    assert how["weights_only"]


# --- training -----------------------------------------------------------------------------------------------------


def test_the_loss_in_closed_form() -> None:
    exact = torch.zeros(2, 2, 3, 4)
    valid = torch.zeros(2, 1, 3, 4, dtype=torch.bool)
    valid[0, 0, 1, 2] = valid[1, 0, 0, 0] = valid[1, 0, 2, 3] = True
    exact[:, :, 0, 1] = float("nan")  # nobody looks there
    exact[1, :, 0, 0] = torch.tensor([1.0, -2.0])
    guesses = [torch.zeros_like(exact).requires_grad_() for _ in range(3)]
    with torch.no_grad():
        guesses[0][0, :, 1, 2] = torch.tensor([3.0, 4.0])
        guesses[2][1, :, 0, 0] = torch.tensor([1.0, -1.5])
        guesses[2][0, :, 2, 2] = 1e6  # not valid
    loss = sequence_loss(guesses, exact, valid, gamma=0.5)
    # |f - f*|₁ summed over the three valid pixels: 7 + 3, then 3, then 0.5.
    assert loss.item() == pytest.approx((0.25 * 10 + 0.5 * 3 + 0.5) / 3)
    loss.backward()
    for guess in guesses:
        assert guess.grad is not None
        assert guess.grad.isfinite().all()
        assert not guess.grad[~valid.expand_as(exact)].any()
    assert guesses[2].grad is not None
    assert guesses[2].grad[1, :, 0, 0].tolist() == pytest.approx([0, 1 / 3])
    assert sequence_loss(guesses, exact, torch.zeros_like(valid)).item() == 0


def test_the_paper_s_gamma_is_the_default() -> None:
    ones, valid = torch.ones(1, 2, 2, 2), torch.ones(1, 1, 2, 2, dtype=torch.bool)
    assert sequence_loss([ones, ones], torch.zeros_like(ones), valid).item() == pytest.approx(2 * 0.8 + 2)


def test_a_network_can_be_asked_between_steps_of_training() -> None:
    net = raft_net("small", seed=3)
    flow, frames = RaftFlow.from_net(net, iterations=2), pair(128, 128)
    before = flow(*frames)
    net.train()
    exact, valid = torch.full((1, 2, 128, 128), 2.0), torch.ones(1, 1, 128, 128, dtype=torch.bool)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-5)
    here, there = (2 * frame - 1 for frame in frames)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        loss = sequence_loss(net(here, there, num_flow_updates=2), exact, valid)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    assert not torch.equal(flow(*frames), before)


# --- real weights -------------------------------------------------------------------------------------------------


@pytest.mark.weights
@pytest.mark.parametrize(("dx", "dy"), [(2.5, -1.25), (-0.5, 3.75)])
def test_real_weights_find_a_shift_to_a_fraction_of_a_pixel(dx: float, dy: float) -> None:
    path = os.environ.get("SEQHDR_RAFT_WEIGHTS")
    if not path:
        pytest.skip("set SEQHDR_RAFT_WEIGHTS to a file with RAFT weights")
    # Four times too large, so that quarters of a pixel are whole steps.
    rng = np.random.default_rng(2)
    world = sum(
        cv2.GaussianBlur(rng.normal(size=(1000, 1200, 3)).astype(np.float32), (0, 0), sigma) * sigma
        for sigma in (6, 12, 24, 48)
    )
    world = (world - world.min()) / (world.max() - world.min())
    views = []
    for x, y in ((0.0, 0.0), (dx, dy)):
        left, top = round(60 + 4 * x), round(60 + 4 * y)
        large = torch.from_numpy(world[top : top + 4 * 200, left : left + 4 * 240]).permute(2, 0, 1)[None]
        views.append(F.avg_pool2d(large, 4))
    previous, current = views
    flow_px = RaftFlow(path)(current, previous)
    # What is at (x, y) now was at (x + dx, y + dy) before.
    error = (flow_px - torch.tensor([dx, dy]).view(1, 2, 1, 1)).square().sum(1).sqrt()[..., 16:-16, 16:-16]
    assert error.median() < 0.3
    assert error.mean() < 0.5 * float(np.hypot(dx, dy)), "no flow at all would be as good"
