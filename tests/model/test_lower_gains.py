"""Lowered stops: less light above the clip, and nothing else."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from seqhdr.model.cards import load_model, read_card
from seqhdr.model.source import Source

TOOL = Path(__file__).parents[2] / "tools" / "lower_gains.py"


@pytest.fixture
def lowered(tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Path]:
    def lowered(shift: float) -> Path:
        path = tmp_path / f"lowered_{shift}.safetensors"
        monkeypatch.setattr("sys.argv", ["lower_gains.py", tiny_model, "--shift", str(shift), "-o", str(path)])
        runpy.run_path(str(TOOL), run_name="__main__")
        return path

    return lowered


def test_stops_go_down_and_nothing_else_moves(
    lowered: Callable[[float], Path], tiny_model: str, source: Source, clip: Callable[..., Tensor]
) -> None:
    codes = clip(1)[:, 0]
    before, after = (load_model(path).step(codes, None, source, None)[0] for path in (tiny_model, lowered(1.0)))
    assert torch.equal(before.offset_lsb, after.offset_lsb)
    assert torch.equal(before.gain_error_stops, after.gain_error_stops)
    clipped = codes == 255
    assert (after.gain_stops[clipped] < before.gain_stops[clipped]).all()
    assert (after.gain_stops >= 0).all()
    # A softplus falls by a shift of one by less than one.
    assert (before.gain_stops - after.gain_stops).max() < 1


def test_a_shift_of_nothing_is_the_same_model_and_the_card_says_what_was_done(
    lowered: Callable[[float], Path], tiny_model: str
) -> None:
    before, same = read_card(tiny_model), read_card(lowered(0.0))
    assert same.sha256 == before.sha256
    assert same.training == before.training | {"gains_lowered": {"shift": 0.0, "sha256": before.sha256}}
    assert read_card(lowered(0.5)).sha256 != before.sha256
