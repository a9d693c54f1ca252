"""The loop: resumed runs are the same runs, and what they leave behind can be used."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from seqhdr.errors import UsageError
from seqhdr.model.cards import load_model, read_card
from seqhdr.model.head import GAIN_OUTPUTS
from seqhdr.train import loop
from seqhdr.train.checkpoint import peek_progress
from seqhdr.train.config import TrainConfig
from seqhdr.train.config_file import build_config, read_yaml
from seqhdr.train.folder import CHECKPOINT, WEIGHTS
from seqhdr.train.loop import train
from tests.train.small_runs import SMALL, SMOKE, assert_same_run, rows, scripted, settings, tensors

OnRow = Callable[[str, int, dict[str, float]], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten steps in one sitting."""
    folder = tmp_path_factory.mktemp("whole")
    result = train(settings(), folder)
    assert (result.step, result.finished) == (10, True)
    return folder


def interrupt_at(step: int, number: int = signal.SIGTERM) -> OnRow:
    def on_row(kind: str, at: int, row: dict[str, float]) -> None:
        if kind == "train" and at == step:
            os.kill(os.getpid(), number)

    return on_row


@pytest.mark.parametrize(("step", "number"), [(5, signal.SIGTERM), (3, signal.SIGINT)])
def test_ten_steps_are_some_and_the_rest_bit_for_bit(tmp_path: Path, whole: Path, step: int, number: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(settings(), tmp_path, on_row=interrupt_at(step, number))
    assert peek_progress(tmp_path / CHECKPOINT).step == step
    result = train(settings(), tmp_path, resume=True)
    assert (result.step, result.finished) == (10, True)
    assert_same_run(whole, tmp_path)
    assert rows(whole) == rows(tmp_path)


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path, whole: Path) -> None:
    words = [f"--set={word}" for word in (*SMALL, "train.checkpoint_minutes=0")]
    command = [sys.executable, "-m", "seqhdr", "train", str(SMOKE), "-o", str(tmp_path), *words]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    for line in running.stdout:
        if '"step": 4' in line:
            break
    running.kill()  # SIGKILL: nothing of ours can still run
    running.wait()
    running.stdout.close()
    assert 3 <= peek_progress(tmp_path / CHECKPOINT).step <= 10
    train(settings(), tmp_path, resume=True)
    assert_same_run(whole, tmp_path)


def test_workers_make_the_same_run(tmp_path: Path, whole: Path) -> None:
    train(settings("data.workers=1"), tmp_path)
    assert_same_run(whole, tmp_path)


def test_another_seed_is_another_run(tmp_path: Path, whole: Path) -> None:
    train(settings("train.seed=2"), tmp_path)
    one, other = tensors(whole), tensors(tmp_path)
    assert not torch.equal(one["net.enter.weight"], other["net.enter.weight"])


def test_time_runs_out_and_the_run_can_be_resumed(tmp_path: Path, whole: Path) -> None:
    result = train(settings("train.minutes=1e-9"), tmp_path)
    assert (result.step, result.finished) == (1, False)
    while not result.finished:
        result = train(settings("train.minutes=1e-9"), tmp_path, resume=True)
    assert_same_run(whole, tmp_path)


def test_a_finished_run_stays_finished_until_it_gets_more_epochs(tmp_path: Path, whole: Path) -> None:
    train(settings("train.epochs=1"), tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    assert train(settings("train.epochs=1"), tmp_path, resume=True).step == 5
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    # Plateau and warm-up do not look at the end, so the longer run is the same run.
    assert train(settings(), tmp_path, resume=True).step == 10
    assert_same_run(whole, tmp_path)


def test_the_weights_are_a_model_that_knows_where_it_comes_from(whole: Path) -> None:
    net = load_model(whole / WEIGHTS)
    card = read_card(whole / WEIGHTS)
    assert card.training["steps"] in (5, 10)
    assert card.training["data"] == ["procedural-1"]
    assert card.training["config"]["train"]["steps_per_epoch"] == 5
    assert "after" not in card.training
    if card.training["steps"] == 10:
        average = {k.removeprefix("average."): v for k, v in tensors(whole).items() if k.startswith("average.")}
        assert all(torch.equal(value, average[key]) for key, value in net.state_dict().items())


def test_the_running_mean_follows_its_formula(tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    original = loop.train_step

    def spy(net: torch.nn.Module, *args: object) -> dict[str, torch.Tensor]:
        if not seen:
            seen.append({k: v.clone() for k, v in net.state_dict().items()})
        means = original(net, *args)  # type: ignore[arg-type]
        seen.append({k: v.clone() for k, v in net.state_dict().items()})
        return means

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train_step", spy)
        train(settings("train.epochs=1", "train.ema=0.1"), tmp_path)
    expected = seen[0]
    for step, weights in enumerate(seen[1:]):
        decay = min(0.1, (step + 1) / (step + 21))
        expected = {k: decay * v + (1 - decay) * weights[k] for k, v in expected.items()}
    stored = tensors(tmp_path)
    for key, value in expected.items():
        torch.testing.assert_close(stored[f"average.{key}"], value, atol=1e-6, rtol=1e-5)


def test_a_new_learning_rate_is_taken_up_on_resuming(tmp_path: Path) -> None:
    train(settings("train.epochs=1", "train.lr=0.01"), tmp_path)
    more = ("train.lr=0.002", "train.weight_decay=0.5", "train.plateau_factor=0.25", "train.plateau_patience=7")
    train(settings(*more), tmp_path, resume=True)
    assert [row["lr"] for row in rows(tmp_path) if row["kind"] == "train"][5:] == [0.002] * 5
    with safe_open(tmp_path / CHECKPOINT, framework="pt") as file:
        header = json.loads(file.metadata()["seqhdr_training"])
    assert header["groups"][0]["weight_decay"] == 0.5
    plateau = peek_progress(tmp_path / CHECKPOINT).plateau
    assert (plateau["factor"], plateau["patience"]) == (0.25, 7)


def test_another_loss_begins_the_record_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "validate", scripted([0.1, 0.7, 0.9]))
    train(settings("train.epochs=1"), tmp_path)
    result = train(settings("train.epochs=2", "loss.l1_log=1"), tmp_path, resume=True)
    assert result.best == 0.7
    assert train(settings("train.epochs=3", "loss.l1_log=1"), tmp_path, resume=True).best == 0.7


def test_training_starts_from_given_weights(tmp_path: Path, whole: Path) -> None:
    more = (f"train.start={whole / WEIGHTS}", "train.lr=1e-12", "train.weight_decay=0", "train.epochs=1")
    train(settings(*more), tmp_path)
    begun = load_model(whole / WEIGHTS).state_dict()
    written = read_card(tmp_path / WEIGHTS).training
    assert written["after"] == read_card(whole / WEIGHTS).training
    assert written["config"]["train"]["start"] == WEIGHTS, "a card travels, so it holds no paths"
    for key, value in tensors(tmp_path).items():
        if key.startswith("net."):
            torch.testing.assert_close(value, begun[key.removeprefix("net.")], atol=1e-8, rtol=0)
    with pytest.raises(UsageError, match="give both the same sizes"):
        train(settings(f"train.start={whole / WEIGHTS}", "model.channels=[8, 8]"), tmp_path / "other")


def test_a_run_for_the_gains_alone_moves_nothing_else(tmp_path: Path, whole: Path) -> None:
    more = (f"train.start={whole / WEIGHTS}", "train.learn=gains", "train.lr=0.01", "train.weight_decay=0")
    train(settings(*more, "loss.gain_square=1.0"), tmp_path)
    begun, ended = load_model(whole / WEIGHTS).state_dict(), tensors(tmp_path)
    moved = {key for key in begun if not torch.equal(begun[key], ended[f"net.{key}"])}
    assert moved == {"leave.weight", "leave.bias"}
    rows_moved = (begun["leave.bias"] != ended["net.leave.bias"]).nonzero().flatten().tolist()
    assert rows_moved
    assert set(rows_moved) <= set(range(len(begun["leave.bias"]))[GAIN_OUTPUTS])


def test_checkpoints_come_as_often_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    original = loop.save_checkpoint

    def spy(path: Path, net: object, average: object, optimizer: object, progress: object, config: object) -> None:
        steps.append(progress.step)  # type: ignore[attr-defined]
        original(path, net, average, optimizer, progress, config)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "save_checkpoint", spy)
    train(settings("train.checkpoint_minutes=0", "train.epochs=1"), tmp_path / "often")
    assert sorted(set(steps)) == [1, 2, 3, 4, 5]
    steps.clear()
    train(settings("train.checkpoint_minutes=1000"), tmp_path / "seldom")
    assert steps == [5, 10]


def test_a_smoke_run_learns(tmp_path: Path) -> None:
    config = build_config(TrainConfig, read_yaml(SMOKE), str(SMOKE))
    train(config, tmp_path)
    losses = [row["loss"] for row in rows(tmp_path) if row["kind"] == "validation" and "loss" in row]
    assert len(losses) == config.train.epochs
    assert losses[-1] < losses[0]
