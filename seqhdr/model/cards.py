"""Weights with a card: a safetensors file that says what it is, how it was trained and what it reached.

The header holds one JSON text under ``seqhdr``::

    {"format": 1, "config": {...}, "training": {...}, "measured": {...}, "sha256": "..."}

``sha256`` covers every tensor's name, shape and bytes, so that a damaged or edited file is noticed. Nothing is ever
unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from seqhdr.errors import UnknownNameError, WeightsError
from seqhdr.media.atomic import whole_file
from seqhdr.model.net import ModelConfig, SeqNet

__all__ = ["ModelCard", "load_model", "read_card", "save_model", "shipped_models"]

_FORMAT = 1


@dataclass(frozen=True)
class ModelCard:
    """What a weights file says of itself.

    Attributes:
        config: sizes of the network.
        training: data, steps, settings.
        measured: numbers reached, identity beside them.
        sha256: of the tensors.
    """

    config: ModelConfig
    training: dict[str, Any]
    measured: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""


def shipped_models() -> tuple[str, ...]:
    """Names of the models inside the package."""
    folder = files("seqhdr.model") / "weights"
    if not folder.is_dir():
        return ()
    return tuple(sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".safetensors")))


def load_model(name: str | Path = "s", device: torch.device | str = "cpu") -> SeqNet:
    """Build a network and fill it with weights.

    Args:
        name: a shipped model (``s``), or the path of a ``.safetensors`` file.
        device: where to put it.

    Returns:
        The network in evaluation mode, channels-last.

    Raises:
        UnknownNameError: no model of that name is shipped and no such file exists.
        WeightsError: the file is damaged, or not one of ours.
    """
    path = _path_of(name)
    card, tensors = _read(path, with_tensors=True)
    digest = _digest(tensors)
    if digest != card.sha256:
        raise WeightsError(
            f"{path}: hash of the weights is {digest[:12]}, its card says {card.sha256[:12]}: "
            "the file is damaged, get it again"
        )
    try:
        net = SeqNet(card.config)
    except ValueError as error:
        raise WeightsError(f"{path}: {error}; use weights made for this version") from error
    wanted = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    got = {key: tuple(value.shape) for key, value in tensors.items()}
    if wanted != got:
        odd = sorted(key for key in wanted.keys() | got.keys() if wanted.get(key) != got.get(key))[0]
        raise WeightsError(
            f"{path}: {odd} has shape {got.get(odd)}, the network wants {wanted.get(odd)}: "
            "use weights made for this version"
        )
    net.load_state_dict(tensors)
    net.weights_sha256 = digest
    net.eval().requires_grad_(False)
    return net.to(device).to(memory_format=torch.channels_last)


def read_card(name: str | Path = "s") -> ModelCard:
    """The card of a weights file, without its tensors; arguments and errors as :func:`load_model`."""
    return _read(_path_of(name), with_tensors=False)[0]


def save_model(
    path: Path,
    config: ModelConfig,
    tensors: dict[str, Tensor],
    training: dict[str, Any],
    measured: dict[str, Any] | None = None,
) -> ModelCard:
    """Write weights with their card; the file appears whole or not at all."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    card = ModelCard(config, training, measured or {}, _digest(tensors))
    text = json.dumps({"format": _FORMAT, **dataclasses.asdict(card)}, sort_keys=True)
    with whole_file(path) as hidden:
        mode = hidden.stat().st_mode
        save_file(tensors, hidden, metadata={"seqhdr": text})
        hidden.chmod(mode)  # safetensors makes files that only their owner can read
    return card


def _path_of(name: str | Path) -> Path:
    if isinstance(name, str) and name in shipped_models():
        return Path(str(files("seqhdr.model") / "weights" / f"{name}.safetensors"))
    path = Path(name)
    if not path.is_file():
        raise UnknownNameError("model", str(name), shipped_models(), "A path to a .safetensors file works too.")
    return path


def _read(path: Path, *, with_tensors: bool) -> tuple[ModelCard, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("seqhdr")
            tensors = {key: file.get_tensor(key) for key in file.keys()} if with_tensors else {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error}); get it again") from error
    if text is None:
        raise WeightsError(f"{path}: has no seqhdr card in its header; use weights written by seqhdr")
    try:
        card = json.loads(text)
        if card["format"] != _FORMAT:
            raise WeightsError(f"{path}: card format {card['format']}, this version reads {_FORMAT}: update seqhdr")
        config = card["config"]
        sizes = ModelConfig(str(config["name"]), tuple(int(c) for c in config["channels"]), int(config["blocks"]))
        return ModelCard(sizes, dict(card["training"]), dict(card["measured"]), str(card["sha256"])), tensors
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: its card cannot be understood ({error!r}); get the file again") from error


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        tensor = tensors[key]
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # As bytes, because NumPy has no bfloat16.
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
