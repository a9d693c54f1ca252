"""LPIPS: the same as by hand, from every kind of weights file, and what is refused."""

from __future__ import annotations

import urllib.error
from pathlib import Path

import lpips
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import vgg16

from seqhdr.errors import UsageError, WeightsError
from seqhdr.quality.perceptual import PerceptualDistance, load_lpips

Tensors = dict[str, Tensor]


@pytest.fixture(scope="session")
def features() -> Tensors:
    """Random features of a VGG16, half precision, keys ``0.weight`` and so on."""
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in vgg16(weights=None).features.state_dict().items()}
    generator = torch.Generator().manual_seed(5)
    return {
        key: (torch.randn(shape, generator=generator) * (2 / max(shape[1:].numel(), 9)) ** 0.5).half()
        for key, shape in shapes.items()
    }


@pytest.fixture(scope="session")
def weights_file(features: Tensors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "features.pth"
    torch.save({f"features.{key}": value for key, value in features.items()}, path)
    return path


@pytest.fixture(scope="session")
def distance(weights_file: Path) -> PerceptualDistance:
    return load_lpips(weights_file)


def pictures(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.random(shape, np.float32)), torch.from_numpy(rng.random(shape, np.float32))


def by_hand(features: Tensors, a: Tensor, b: Tensor) -> float:
    """LPIPS from its definition: ImageNet's mean and deviation, five layers, unit length, calibrated squares."""
    linear = torch.load(
        Path(lpips.__file__).parent / "weights" / "v0.1" / "vgg.pth", map_location="cpu", weights_only=True
    )
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    a, b = ((x - mean.view(3, 1, 1)) / deviation.view(3, 1, 1) for x in (a, b))
    total, layer = 0.0, 0
    for number in range(30):
        if number in (4, 9, 16, 23):
            a, b = F.max_pool2d(a, 2), F.max_pool2d(b, 2)
        elif f"{number}.weight" in features:
            kernel, bias = features[f"{number}.weight"].float(), features[f"{number}.bias"].float()
            a, b = (F.conv2d(x, kernel, bias, padding=1).relu() for x in (a, b))
        if number in (3, 8, 15, 22, 29):
            squares = (F.normalize(a, dim=1) - F.normalize(b, dim=1)) ** 2
            total += float((squares * linear[f"lin{layer}.model.1.weight"]).sum(dim=1).mean())
            layer += 1
    return total


def test_the_distance_is_the_one_computed_by_hand(features: Tensors, distance: PerceptualDistance) -> None:
    a, b = pictures(2, 3, 32, 40)
    expected = by_hand(features, a, b)
    assert expected > 0.01
    assert float(distance(a, b)) == pytest.approx(expected, rel=1e-3)
    assert float(distance(a, a)) == 0


def test_clips_are_pictures_in_a_row(distance: PerceptualDistance) -> None:
    a, b = pictures(1, 2, 3, 16, 16)
    torch.testing.assert_close(distance(a, b), distance(a[0], b[0]))


def test_log_values_are_cut_to_what_a_picture_can_show(distance: PerceptualDistance) -> None:
    a, b = pictures(1, 3, 32, 32, seed=2)
    torch.testing.assert_close(distance(3 * a - 1, b), distance((3 * a - 1).clamp(0, 1), b))


def test_it_pulls_the_picture_and_stays_as_it_is(distance: PerceptualDistance) -> None:
    a, b = pictures(1, 3, 32, 32, seed=3)
    a.requires_grad_()
    distance.train()
    assert not any(module.training for module in distance.modules())
    distance(a, b).backward()
    assert not any(p.requires_grad for p in distance.parameters())
    assert all(p.dtype == torch.float32 and p.device.type == "cpu" for p in distance.parameters())
    step = a.detach() - 0.1 * a.grad / a.grad.norm()
    assert float(distance(step, b)) < float(distance(a.detach(), b))


def test_silent_features_have_a_gradient_of_zero(features: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "silent.safetensors"
    save_file({f"features.{key}": torch.zeros_like(value) for key, value in features.items()}, path)
    a, b = pictures(1, 3, 16, 16, seed=4)
    a.requires_grad_()
    loss = load_lpips(path)(a, b)
    loss.backward()
    assert float(loss.detach()) == 0
    assert float(a.grad.abs().max()) == 0


def test_bare_keys_and_safetensors_are_read_too(
    features: Tensors, distance: PerceptualDistance, tmp_path: Path
) -> None:
    path = tmp_path / "bare.safetensors"
    save_file({**features, "classifier.0.weight": torch.zeros(2)}, path)
    a, b = pictures(1, 3, 16, 16, seed=5)
    torch.testing.assert_close(load_lpips(str(path))(a, b), distance(a, b), rtol=0, atol=0)


@pytest.mark.parametrize("backbone", [None, "torchvision"])
def test_torchvisions_own_weights_come_from_its_cache(
    backbone: str | None,
    weights_file: Path,
    distance: PerceptualDistance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / "vgg16-397923af.pth").symlink_to(weights_file)
    a, b = pictures(1, 3, 16, 16, seed=6)
    torch.testing.assert_close(load_lpips(backbone)(a, b), distance(a, b), rtol=0, atol=0)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("backbone", [None, "torchvision"])
def test_without_a_network_it_says_what_to_do(
    backbone: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(WeightsError, match=r"cannot be had .*no network.* lpips_backbone the path of a \.pth"):
        load_lpips(backbone)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["missing", "text", "cut short", "list", "odd safetensors"])
def test_what_is_no_weights_file_is_refused_by_name(kind: str, weights_file: Path, tmp_path: Path) -> None:
    path = tmp_path / ("bad.safetensors" if kind == "odd safetensors" else "bad.pth")
    if kind in ("text", "odd safetensors"):
        path.write_text("not weights")
    elif kind == "cut short":
        path.write_bytes(weights_file.read_bytes()[:5000])
    elif kind == "list":
        torch.save([torch.zeros(3)], path)
    with pytest.raises(WeightsError, match=r"bad\.(pth|safetensors): .*lpips_backbone"):
        load_lpips(path)


def test_weights_of_another_network_are_refused(features: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    small = {key: value for key, value in features.items() if value.numel() < 10**5}
    save_file(small, path)
    with pytest.raises(WeightsError, match=r"features\.7\.weight is missing"):
        load_lpips(path)
    save_file({**small, "2.weight": torch.zeros(64, 64, 5, 5)}, path)
    with pytest.raises(WeightsError, match=r"features\.2\.weight has shape \(64, 64, 5, 5\)"):
        load_lpips(path)


def test_crops_that_vanish_inside_vgg_are_refused(distance: PerceptualDistance) -> None:
    with pytest.raises(UsageError, match="16 pixels or more, got 40x15"):
        distance(*pictures(1, 3, 15, 40))
