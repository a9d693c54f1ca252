"""Weights are what they claim to be, or are refused; nothing is unpickled on the way."""

from __future__ import annotations

import json
import pickle
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from seqhdr.errors import UnknownNameError, WeightsError
from seqhdr.model import cards
from seqhdr.model.cards import load_model, read_card, save_model, shipped_models
from seqhdr.model.net import ModelConfig, SeqNet

CONFIG = ModelConfig("small", (4, 6), 1)


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return SeqNet(CONFIG).state_dict()


@pytest.fixture
def weights(tmp_path: Path, tensors: dict[str, Tensor]) -> Path:
    path = tmp_path / "w.safetensors"
    save_model(path, CONFIG, tensors, {"data": "nothing"}, {"gain_db": 3.5})
    return path


def card_text(path: Path) -> dict[str, Any]:
    size = int.from_bytes(path.read_bytes()[:8], "little")
    return dict(json.loads(json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]["seqhdr"]))


def rewrite(path: Path, **changes: object) -> None:
    """Give the file another card."""
    save_file(load_file(path), path, metadata={"seqhdr": json.dumps({**card_text(path), **changes})})


def test_round_trip(weights: Path, tensors: dict[str, Tensor]) -> None:
    card = read_card(weights)
    assert card.config == CONFIG
    assert card.training == {"data": "nothing"}
    assert card.measured == {"gain_db": 3.5}
    net = load_model(weights)
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
    assert net.weights_sha256 == card.sha256
    assert len(card.sha256) == 64
    assert all(torch.equal(net.state_dict()[key], value) for key, value in tensors.items())


def test_same_weights_same_bytes(tmp_path: Path, weights: Path, tensors: dict[str, Tensor]) -> None:
    again = tmp_path / "again.safetensors"
    shuffled = dict(reversed(tensors.items()))
    save_model(again, CONFIG, shuffled, {"data": "nothing"}, {"gain_db": 3.5})
    assert again.read_bytes() == weights.read_bytes()


def test_the_hash_covers_names_shapes_and_values(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    def sha(changed: dict[str, Tensor]) -> str:
        return save_model(tmp_path / "x.safetensors", CONFIG, changed, {}).sha256

    key = "enter.weight"
    value = tensors[key]
    variants = [
        tensors,
        {**tensors, key: value + 1e-6},
        {**tensors, key: value.reshape(-1)},
        {**tensors, key: value.bfloat16()},
        {**{k: v for k, v in tensors.items() if k != key}, "renamed": value},
    ]
    assert len({sha(variant) for variant in variants}) == len(variants)


def test_a_changed_byte_is_noticed(weights: Path) -> None:
    data = bytearray(weights.read_bytes())
    data[-100] ^= 1
    weights.write_bytes(data)
    with pytest.raises(WeightsError, match=r"hash of the weights is .* its card says .* damaged"):
        load_model(weights)


def test_a_file_cut_short_is_noticed(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-50])
    for read in (load_model, read_card):
        with pytest.raises(WeightsError, match="not a readable safetensors file"):
            read(weights)


def test_another_shape_is_noticed(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = tmp_path / "w.safetensors"
    save_model(path, CONFIG, {**tensors, "leave.bias": torch.zeros(7)}, {})
    with pytest.raises(WeightsError, match=r"leave\.bias has shape \(7,\), the network wants \(114,\)"):
        load_model(path)
    del tensors["enter.bias"]
    save_model(path, CONFIG, tensors, {})
    with pytest.raises(WeightsError, match=r"enter\.bias has shape None, the network wants \(4,\)"):
        load_model(path)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_pickle_is_refused_and_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"w{suffix}"
    path.write_bytes(pickle.dumps({"seqhdr": Bomb()}))
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        load_model(path)
    torch.save({"seqhdr": Bomb()}, path)
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        load_model(path)
    assert not Path("exploded").exists()


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"x": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="has no seqhdr card in its header"):
        load_model(path)


def test_a_later_format_is_refused(weights: Path) -> None:
    rewrite(weights, format=2)
    with pytest.raises(WeightsError, match="card format 2, this version reads 1: update seqhdr"):
        read_card(weights)


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"name": "x"}},
        {"config": None},
        {"training": 3},
        {"config": {"name": "x", "channels": 3, "blocks": 1}},
    ],
)
def test_a_mangled_card_is_refused(weights: Path, changes: dict[str, object]) -> None:
    rewrite(weights, **changes)
    with pytest.raises(WeightsError, match="its card cannot be understood"):
        load_model(weights)


def test_a_card_that_is_no_json_is_refused(weights: Path) -> None:
    save_file(load_file(weights), weights, metadata={"seqhdr": "{"})
    with pytest.raises(WeightsError, match="its card cannot be understood"):
        load_model(weights)


def test_a_card_with_a_config_that_cannot_be_is_refused(weights: Path) -> None:
    rewrite(weights, config={"name": "x", "channels": [4], "blocks": 1})
    with pytest.raises(WeightsError, match="has 1 levels: expected 2 or more; use weights made for this version"):
        load_model(weights)


def test_an_unknown_name_gets_offers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cards, "shipped_models", lambda: ("large", "small"))
    with pytest.raises(UnknownNameError, match=r"unknown model 'smal': did you mean small\? A path to"):
        load_model("smal")
    with pytest.raises(UnknownNameError, match=r"no\.safetensors"):
        load_model(tmp_path / "no.safetensors")
    with pytest.raises(UnknownNameError):
        load_model(tmp_path)


def test_a_failed_save_leaves_the_old_file(
    weights: Path, tensors: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = weights.read_bytes()

    def half(_: object, path: Path, **__: object) -> None:
        Path(path).write_bytes(b"half")
        raise RuntimeError("interrupted")

    monkeypatch.setattr(cards, "save_file", half)
    with pytest.raises(RuntimeError, match="interrupted"):
        save_model(weights, CONFIG, tensors, {})
    assert weights.read_bytes() == before
    assert [p.name for p in weights.parent.iterdir()] == [weights.name]


def test_weights_are_readable_by_others(weights: Path) -> None:
    plain = weights.with_name("plain")
    plain.touch()
    assert stat.S_IMODE(weights.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_the_shipped_models_load_and_say_what_they_are() -> None:
    assert "s" in shipped_models()
    for name in shipped_models():
        card = read_card(name)
        assert card.config.name == name
        assert card.training["data"]
        assert load_model(name).weights_sha256 == card.sha256
