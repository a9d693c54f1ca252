"""Phases: in order, each from the best weights of the one before, until one is not finished."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from seqhdr.errors import InputError, UnknownNameError, UsageError
from seqhdr.model.net import ModelConfig
from seqhdr.train import phases
from seqhdr.train.config import DataConfig, LoopConfig, TrainConfig
from seqhdr.train.loop import WEIGHTS, TrainResult
from seqhdr.train.phases import read_runs, train_runs

BASE = "model: {name: x, channels: [8, 8]}\ndata: {panoramas: ['procedural:1']}\n"


def config(**loop: Any) -> TrainConfig:
    return TrainConfig(ModelConfig("x", (8, 8)), DataConfig(panoramas=("procedural:1",)), train=LoopConfig(**loop))


class Recorder:
    """Stands in for ``train`` and writes down what it was asked."""

    def __init__(self, unfinished: str = "") -> None:
        self.calls: list[tuple[TrainConfig, Path, dict[str, Any]]] = []
        self.unfinished = unfinished

    def __call__(self, config: TrainConfig, folder: Path, **options: Any) -> TrainResult:
        self.calls.append((config, folder, options))
        options["on_row"]("train", len(self.calls), {"loss": 0.5})
        return TrainResult(folder, 10, 0.1, folder.name != self.unfinished)


def record(monkeypatch: pytest.MonkeyPatch, unfinished: str = "") -> Recorder:
    recorder = Recorder(unfinished)
    monkeypatch.setattr(phases, "train", recorder)
    return recorder


def test_each_run_starts_from_the_best_weights_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = record(monkeypatch)
    runs = {"a": config(lr=3.0, start="s"), "b": config(lr=2.0, start="s"), "c": config(lr=1.0)}
    begun, rows = [], []
    results = train_runs(
        runs,
        tmp_path,
        on_run=lambda *run: begun.append(run),
        on_row=lambda *row: rows.append(row),
    )
    starts = ["s", str(tmp_path / "a" / WEIGHTS), str(tmp_path / "b" / WEIGHTS)]
    expected = [
        dataclasses.replace(run, train=dataclasses.replace(run.train, start=start))
        for run, start in zip(runs.values(), starts, strict=True)
    ]
    assert [call[0] for call in recorder.calls] == expected
    assert [call[1] for call in recorder.calls] == [tmp_path / name for name in runs]
    assert begun == [(name, run, tmp_path / name) for name, run in zip(runs, expected, strict=True)]
    assert [result.folder.name for result in results] == ["a", "b", "c"]
    assert [row[1] for row in rows] == [1, 2, 3]


def test_after_an_unfinished_run_no_other_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = record(monkeypatch, unfinished="b")
    results = train_runs({name: config() for name in "abc"}, tmp_path)
    assert [call[1].name for call in recorder.calls] == ["a", "b"]
    assert [result.finished for result in results] == [True, False]


@pytest.mark.parametrize(("resume", "overwrite"), [(False, False), (True, False), (False, True)])
def test_every_run_hears_whether_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: bool, overwrite: bool
) -> None:
    recorder = record(monkeypatch)
    train_runs({"a": config(), "b": config()}, tmp_path, resume=resume, overwrite=overwrite)
    assert [(call[2]["resume"], call[2]["overwrite"]) for call in recorder.calls] == [(resume, overwrite)] * 2


def test_a_single_run_trains_into_the_folder_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = record(monkeypatch)
    (tmp_path / "one.yaml").write_text(BASE)
    runs = read_runs(tmp_path / "one.yaml", ["train.seed=4"])
    assert runs == {"": config(seed=4)}
    train_runs(runs, tmp_path / "out")
    assert recorder.calls[0][1] == tmp_path / "out"


def test_phases_are_read_beside_their_list_in_its_order(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "z.yaml").write_text(BASE)
    (tmp_path / "a.yaml").write_text("base: deep/z.yaml\ntrain: {lr: 5.0, seed: 2}\n")
    (tmp_path / "all.yaml").write_text("phases: [deep/z.yaml, a.yaml]\n")
    runs = read_runs(tmp_path / "all.yaml", ["train.seed=3", "train.epochs=7"])
    assert list(runs.items()) == [("z", config(seed=3, epochs=7)), ("a", config(lr=5.0, seed=3, epochs=7))]


@pytest.mark.parametrize(
    "text", ["phases: a.yaml", "phases: []", "phases: [1, 2]", "phases: null", "phases: [a.yaml]\ntrain: {lr: 1.0}"]
)
def test_a_list_of_phases_is_a_list_and_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(BASE)
    (tmp_path / "all.yaml").write_text(text)
    with pytest.raises(InputError, match=r"all\.yaml: phases must list file names, and nothing may stand beside it"):
        read_runs(tmp_path / "all.yaml")


def test_two_phases_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text("phases: [one/a.yaml, two/a.yaml]")
    with pytest.raises(InputError, match=r"all\.yaml: phases lists two files of one name"):
        read_runs(tmp_path / "all.yaml")


def test_what_is_wrong_in_a_phase_names_the_phase(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BASE)
    (tmp_path / "b.yaml").write_text("base: a.yaml\ntrain: {lr: fast}\n")
    (tmp_path / "all.yaml").write_text("phases: [a.yaml, b.yaml]")
    with pytest.raises(UsageError, match=r"b\.yaml: train\.lr is 'fast'"):
        read_runs(tmp_path / "all.yaml")
    (tmp_path / "b.yaml").write_text("phases: [a.yaml]")
    with pytest.raises(UnknownNameError, match="unknown configuration key 'phases'"):
        read_runs(tmp_path / "all.yaml")
    (tmp_path / "b.yaml").unlink()
    with pytest.raises(InputError, match=r"b\.yaml: cannot be read"):
        read_runs(tmp_path / "all.yaml")
