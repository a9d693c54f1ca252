"""RAFT (Teed and Deng, ECCV 2020) as torchvision builds it: the flow for machines with a GPU.

torchvision takes seconds to import, so it waits until a network is built.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

__all__ = ["RaftFlow", "raft_net", "save_raft", "sequence_loss"]

_ARCHS = ("small", "large")
# The first layer's width tells the two networks apart.
_FIRST_LAYER = "feature_encoder.convnormrelu.0.weight"
_ARCH_OF_WIDTH = {32: "small", 64: "large"}
_CARD = "flow_raft"
_REMEDY = "give a file that save_raft wrote, or torchvision's .pth of raft_small or raft_large"
# RAFT works at an eighth of the size and halves that three times; of the last level two places must be left.
_STRIDE = 8
_SMALLEST_SIDE = 128


class RaftFlow:
    """Backward flow by RAFT.

    The costs of all pairs of places need (H·W / 64)² · 4 bytes, and for a moment twice that: 11 GB at 2048x1152. A
    frame with more pixels than ``most_pixels`` is therefore estimated on a smaller copy, and its flow enlarged.

    Holds the network, which keeps scratch memory: use one object per thread.

    Args:
        weights: a file that :func:`save_raft` wrote (``.safetensors``), torchvision's ``.pth`` state dict, or the word
            ``download``, which lets torchvision fetch the weights it publishes into its own cache.
        arch: ``small`` or ``large``; None takes what the file holds, and ``large`` to download.
        iterations: refinements of the flow.
        device: where the network runs; frames may come from another one.
        most_pixels: H·W up to which a frame is used in full.

    Attributes:
        weights_sha256: of the tensors' names, types, shapes and bytes, however they were stored.

    Raises:
        ValueError: the weights cannot be had or are not those of the network; one sentence says what to do.
    """

    def __init__(
        self,
        weights: str | Path,
        *,
        arch: str | None = None,
        iterations: int = 12,
        device: torch.device | str = "cpu",
        most_pixels: int = 2048 * 1152,
    ) -> None:
        if arch is not None:
            _check_arch(arch)
        if weights == "download":
            arch = arch or "large"
            name, tensors = f"torchvision's weights of raft_{arch}", _download(arch)
        else:
            name, tensors = str(weights), _read(Path(weights))
        self._hold(_filled(name, tensors, arch).to(device), iterations, most_pixels)

    @classmethod
    def from_net(cls, net: nn.Module, *, iterations: int = 12, most_pixels: int = 2048 * 1152) -> RaftFlow:
        """Use a network that is in memory already, on the device where it is.

        Args:
            net: from :func:`raft_net`. It is not copied: each call puts it into evaluation mode, and training goes on
                after ``net.train()``. ``weights_sha256`` is of the weights as they are now.
            iterations, most_pixels: as for the class.
        """
        flow = cls.__new__(cls)
        flow._hold(net, iterations, most_pixels)
        return flow

    def _hold(self, net: nn.Module, iterations: int, most_pixels: int) -> None:
        if iterations < 1 or most_pixels < 1:
            raise ValueError(f"got {iterations} iterations and {most_pixels} pixels: expected 1 or more of both")
        self._net, self._iterations, self._most_pixels = net, iterations, most_pixels
        self.weights_sha256 = _digest(net.state_dict())

    def __call__(self, current: Tensor, previous: Tensor) -> Tensor:
        """See :class:`flow.FlowEstimator`; without gradients, in float32, on the device of ``current``.

        Raises:
            ValueError: the frames differ in shape, or are not (B, 3, H, W).
        """
        if current.ndim != 4 or current.shape[1] != 3 or previous.shape != current.shape:
            raise ValueError(
                f"got frames of shape {tuple(current.shape)} and {tuple(previous.shape)}: expected (B, 3, H, W) twice"
            )
        height, width = current.shape[-2:]
        shrink = min(1.0, (self._most_pixels / (height * width)) ** 0.5)
        size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
        device = next(self._net.parameters()).device
        self._net.eval()
        # Within a training step under autocast the flow would lose its fractions of a pixel.
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            here, before = (_prepared(frame.to(device, torch.float32), size) for frame in (current, previous))
            flow_px: Tensor = self._net(here, before, num_flow_updates=self._iterations)[-1]
            flow_px = flow_px[..., : size[0], : size[1]]
            if size != (height, width):
                per_px = flow_px.new_tensor([width / size[1], height / size[0]]).view(1, 2, 1, 1)
                flow_px = F.interpolate(flow_px, (height, width), mode="bilinear") * per_px
        costs: Any = getattr(self._net, "corr_block", None)
        if costs is not None:
            costs.corr_pyramid = []  # gigabytes, which torchvision would keep until the next frame
        return flow_px.to(current.device).contiguous()


def raft_net(arch: str, seed: int = 0) -> nn.Module:
    """Build an untrained RAFT.

    Args:
        arch: ``small`` (1.0 M weights) or ``large`` (5.3 M).
        seed: of the first weights; torch's own generator is left as it was.

    Returns:
        torchvision's network. ``net(image1, image2, num_flow_updates=12)`` takes two (B, 3, H, W) in -1..1, sides a
        multiple of 8 and at least 128, and returns a list of (B, 2, H, W), the flow from the first to the second in
        pixels after each refinement.

    Raises:
        ValueError: an architecture nobody knows.
    """
    _check_arch(arch)
    from torchvision.models import optical_flow

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        net: nn.Module = getattr(optical_flow, f"raft_{arch}")(weights=None, progress=False)
    return net


def save_raft(path: Path, net: nn.Module, arch: str, card: dict[str, Any]) -> str:
    """Write a RAFT's weights; the file appears whole or not at all, and the same weights give the same bytes.

    Args:
        path: ``.safetensors``; its folder exists.
        net: from :func:`raft_net`.
        arch: what ``net`` is.
        card: how it was trained and what it reached, JSON-able; written into the file's header.

    Returns:
        ``weights_sha256`` of the file.

    Raises:
        ValueError: ``net`` is of another architecture, or ``path`` has another extension.
        OSError: the file cannot be written.
    """
    path = Path(path)
    tensors = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    if arch != _arch_of(tensors):
        raise ValueError(f"got a network of architecture {_arch_of(tensors)}: expected {arch}")
    if path.suffix != ".safetensors":
        raise ValueError(f"got {path}: expected a name that ends in .safetensors")
    digest = _digest(tensors)
    text = json.dumps({"format": 1, "arch": arch, "card": card, "sha256": digest}, sort_keys=True)
    hidden = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        hidden.touch()
        mode = hidden.stat().st_mode
        save_file(tensors, hidden, metadata={_CARD: text})
        hidden.chmod(mode)  # safetensors makes files that only their owner can read
        os.replace(hidden, path)
    finally:
        hidden.unlink(missing_ok=True)
    return digest


def sequence_loss(flow_predictions: Sequence[Tensor], exact_px: Tensor, valid: Tensor, gamma: float = 0.8) -> Tensor:
    """How far all refinements are from the exact flow, the later ones weighing more (Teed and Deng 2020, eq. 7).

    Args:
        flow_predictions: N of (B, 2, H, W), what the network returns, in pixels.
        exact_px: (B, 2, H, W) exact flow in pixels; what it says outside ``valid`` does not matter.
        valid: (B, 1, H, W) bool, the pixels to learn from.
        gamma: weight of a refinement relative to the next one.

    Returns:
        Scalar: the sum over i of gamma^(N-1-i) times the mean over valid pixels of |f_i - f|₁; zero where none is
        valid.
    """
    # Masked before the difference: a NaN in the exact flow would come back as the gradient.
    exact = exact_px.masked_fill(~valid, 0.0)
    count = valid.sum().clamp_min(1)
    total = exact.new_zeros(())
    for index, flow_px in enumerate(flow_predictions):
        off = (flow_px - exact).abs().sum(dim=1, keepdim=True).masked_fill(~valid, 0.0)
        total = total + gamma ** (len(flow_predictions) - 1 - index) * off.sum() / count
    return total


def _prepared(frame: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 3, H, W) in 0..1 → -1..1 at ``size`` (height, width), its border repeated up to a size RAFT takes."""
    frame = frame.clamp(0, 1)
    if frame.shape[-2:] != size:
        frame = F.interpolate(frame, size, mode="bilinear", antialias=True)
    height, width = (max(_SMALLEST_SIDE, -(-side // _STRIDE) * _STRIDE) for side in size)
    return F.pad(frame * 2 - 1, (0, width - size[1], 0, height - size[0]), mode="replicate")


def _check_arch(arch: str) -> None:
    if arch not in _ARCHS:
        raise ValueError(f"unknown RAFT architecture {arch!r}: expected one of {', '.join(_ARCHS)}")


def _arch_of(tensors: dict[str, Tensor]) -> str | None:
    first = tensors.get(_FIRST_LAYER)
    return None if first is None or first.ndim == 0 else _ARCH_OF_WIDTH.get(first.shape[0])


def _download(arch: str) -> dict[str, Tensor]:
    from torchvision.models import optical_flow

    source = getattr(optical_flow, f"Raft_{arch.capitalize()}_Weights").DEFAULT
    try:
        # torch announces a download, on one or the other by version, among our caller's own lines.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            tensors: dict[str, Tensor] = source.get_state_dict(
                progress=False, check_hash=True, map_location="cpu", weights_only=True
            )
    except (OSError, HTTPException, RuntimeError) as error:
        raise ValueError(
            f"the weights of raft_{arch} cannot be downloaded ({_first_line(error)}): "
            f"get {source.url} where there is a network, and give its path"
        ) from error
    return tensors


def _read(path: Path) -> dict[str, Tensor]:
    text = None
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                text = (file.metadata() or {}).get(_CARD)
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        said = None if text is None else json.loads(text)["sha256"]
    except Exception as error:  # there are as many kinds as there are ways to damage a pickle
        raise ValueError(f"{path}: not readable as RAFT weights ({_first_line(error)}): {_REMEDY}") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError(f"{path}: holds something else than a network's tensors: {_REMEDY}")
    if said is not None and said != _digest(tensors):
        raise ValueError(
            f"{path}: hash of the weights is {_digest(tensors)[:12]}, its card says {str(said)[:12]}: "
            "the file is damaged, get it again"
        )
    return tensors


def _filled(name: str, tensors: dict[str, Tensor], arch: str | None) -> nn.Module:
    """The network, in evaluation mode, with tensors that are checked against it."""
    arch = arch or _arch_of(tensors)
    if arch is None:
        raise ValueError(f"{name}: has no first layer of a RAFT ({_FIRST_LAYER}): {_REMEDY}")
    net = raft_net(arch)
    wanted = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    got = {key: tuple(value.shape) for key, value in tensors.items()}
    for key in sorted(wanted.keys() | got.keys()):
        if wanted.get(key) != got.get(key):
            raise ValueError(
                f"{name}: {key} {_shape(got.get(key))}, in raft_{arch} it {_shape(wanted.get(key))}: {_REMEDY}"
            )
        if not torch.isfinite(tensors[key]).all():
            raise ValueError(f"{name}: {key} holds numbers that are not finite: the file is damaged, get it again")
    net.load_state_dict(tensors)
    return net.eval().requires_grad_(False)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "is missing" if shape is None else f"has shape {shape}"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        tensor = tensors[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
