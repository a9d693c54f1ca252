"""The loop: resumed runs are the same runs, stalled ones end, and what it leaves behind can be used."""

from __future__ import annotations

import dataclasses
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
from safetensors.torch import load_file

from seqhdr.errors import OutputExistsError, UsageError
from seqhdr.model.cards import load_model, read_card
from seqhdr.train import loop
from seqhdr.train.checkpoint import peek_progress
from seqhdr.train.config import TrainConfig
from seqhdr.train.config_file import build_config, read_yaml, set_keys
from seqhdr.train.folder import CHECKPOINT, WEIGHTS
from seqhdr.train.loop import train
from seqhdr.train.validate import Validation

SMOKE = Path(__file__).parents[2] / "configs" / "train" / "smoke.yaml"
# Ten steps of a few milliseconds.
SMALL = (
    "data.panoramas=['procedural:1']",
    "data.frames=2",
    "data.crops={32: 1}",
    "data.crop_shares={32: 1}",
    "data.flow={exact: 1}",
    "data.validation_clips=1",
    "data.validation_size=32",
    "train.schedule=plateau",
    "train.epochs=2",
    "train.steps_per_epoch=5",
    "train.log_every=1",
    "train.tensorboard=false",
    "train.warmup_steps=3",
)

OnRow = Callable[[str, int, dict[str, float]], None]


def settings(*more: str) -> TrainConfig:
    return build_config(TrainConfig, set_keys(read_yaml(SMOKE), (*SMALL, *more)), "smoke.yaml")


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = load_file(folder / CHECKPOINT)
    return loaded


def assert_same_run(a: Path, b: Path) -> None:
    one, other = tensors(a), tensors(b)
    assert one.keys() == other.keys()
    assert any(key.startswith("optimizer.") for key in one)
    for key, value in one.items():
        assert torch.equal(value, other[key]), key
    first, second = peek_progress(a / CHECKPOINT), peek_progress(b / CHECKPOINT)
    assert dataclasses.replace(first, seconds=0.0) == dataclasses.replace(second, seconds=0.0)


def rows(folder: Path) -> list[dict[str, float]]:
    timing = ("steps_per_s", "data_wait")
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in timing} for line in lines]


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


def test_an_existing_run_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    train(settings("train.epochs=1"), tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(OutputExistsError, match="holds a run already: --resume it, --overwrite it"):
        train(settings("train.epochs=1"), tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert train(settings("train.epochs=1", "train.seed=3"), tmp_path, overwrite=True).step == 5


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


def scripted(losses: list[float]) -> Callable[..., Validation]:
    left = iter(losses)
    return lambda *args: Validation(next(left), {}, torch.zeros(3, 2, 6))


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
