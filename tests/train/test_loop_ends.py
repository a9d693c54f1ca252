"""How runs end or never begin: signals, folders in the way, losses that stall or are no number."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from seqhdr.errors import OutputExistsError, UsageError
from seqhdr.model.cards import read_card
from seqhdr.train import loop
from seqhdr.train.folder import CHECKPOINT, WEIGHTS
from seqhdr.train.loop import train
from tests.train.small_runs import rows, scripted, settings


def test_a_second_signal_does_not_wait_for_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[bool] = []

    def stuck(*args: object) -> dict[str, torch.Tensor]:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        ended.append(True)
        return {}

    monkeypatch.setattr(loop, "train_step", stuck)
    with pytest.raises(KeyboardInterrupt):
        train(settings(), tmp_path)
    assert not ended
    assert not (tmp_path / CHECKPOINT).exists()


def test_signals_are_heard_as_before_afterwards(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train(settings("train.epochs=1"), tmp_path)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_an_existing_run_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    train(settings("train.epochs=1"), tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(OutputExistsError, match="holds a run already: --resume it, --overwrite it"):
        train(settings("train.epochs=1"), tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert train(settings("train.epochs=1", "train.seed=3"), tmp_path, overwrite=True).step == 5


def test_overwriting_removes_the_run_before_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(settings("train.epochs=1", "train.tensorboard=true"), tmp_path)
    (tmp_path / "notes.txt").write_text("mine")

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "load_material", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(settings("train.seed=5"), tmp_path, overwrite=True)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["notes.txt"]


def test_an_epoch_that_diverges_leaves_no_weights(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the loss is .* at step 5: begin again with a lower train\.lr"):
        train(settings("train.lr=1e30", "train.log_every=100", "train.clip_norm=0", "train.warmup_steps=0"), tmp_path)
    assert not (tmp_path / WEIGHTS).exists()
    assert not (tmp_path / CHECKPOINT).exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UsageError, match=r"cannot become a folder .*: give another -o"):
            train(settings(), folder)


def test_a_stalled_run_lowers_its_rate_and_then_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "validate", scripted([1.0, 0.5, 0.6, 0.7, 0.8, 0.9]))
    more = ("train.epochs=6", "train.plateau_patience=1", "train.stop_patience=3", "train.lr=0.01")
    result = train(settings(*more), tmp_path)
    # Best in epoch 2; two worse ones halve the rate, the third ends the run.
    assert (result.step, result.best, result.finished) == (25, 0.5, True)
    rates = [row["lr"] for row in rows(tmp_path) if row["kind"] == "train"]
    assert rates[3:20] == [0.01] * 17
    assert rates[20:] == [0.005] * 5
    assert read_card(tmp_path / WEIGHTS).training["steps"] == 10
    assert train(settings(*more), tmp_path, resume=True).step == 25


def test_a_loss_that_is_no_number_ends_the_run_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = loop.train_step

    def broken(*args: object) -> dict[str, torch.Tensor]:
        return {**original(*args), "loss": torch.tensor(float("nan"))}  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "train_step", broken)
    with pytest.raises(UsageError, match=r"the loss is nan at step 1: begin again with a lower train\.lr"):
        train(settings(), tmp_path)
