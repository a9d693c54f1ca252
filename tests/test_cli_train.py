"""The verbs around training: from nothing to a model that runs, and every way to get it wrong."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from seqhdr import api_train
from seqhdr.media.exr import write_exr
from seqhdr.train import loop, synthetic
from seqhdr.train.panorama import Panorama
from seqhdr.train.procedural import procedural_panorama
from tests.conftest import CommandLine

CONFIGS = Path(__file__).parents[1] / "configs" / "train"
TINY = (
    "data.panoramas=['procedural:1']",
    "data.frames=2",
    "data.crops={32: 1}",
    "data.crop_shares={32: 1}",
    "data.validation_clips=1",
    "data.validation_size=32",
    "train.epochs=1",
    "train.steps_per_epoch=2",
    "train.log_every=1",
)


@pytest.fixture(autouse=True)
def _small_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    def paint(seed: int, height: int) -> Panorama:
        return procedural_panorama(seed, 128)

    monkeypatch.setattr(synthetic, "procedural_panorama", paint)


def sets(*words: str) -> list[str]:
    return [part for word in words for part in ("--set", word)]


@pytest.fixture
def clips(seqhdr: CommandLine, tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    # Of two scenes, since one is held back for validation.
    places = ("procedural:1", "procedural:3")
    ran = seqhdr("synth", *places, "-o", folder, "--clips", 3, "--frames", 3, "--size", "64x48", "-q")
    assert (ran.code, ran.out) == (0, "")
    return folder


def test_from_panorama_to_a_model_that_runs(seqhdr: CommandLine, tmp_path: Path, clips: Path, shoot: object) -> None:
    words = ("train", CONFIGS / "smoke.yaml", "-o", tmp_path / "run", *sets(*TINY))
    ran = seqhdr(*words, *sets(f"data.clips=['{clips}']"))
    assert ran.code == 0
    assert [json.loads(line)["step"] for line in ran.out.splitlines() if line.startswith("{")] == [1, 2, 2]
    assert "2 steps, lowest validation loss" in ran.out
    weights = tmp_path / "run" / loop.WEIGHTS

    table, numbers, card = tmp_path / "t.md", tmp_path / "n.json", tmp_path / "card.safetensors"
    ran = seqhdr("eval", clips, "--model", weights, "--model", "s", "--json", numbers, "--markdown", table)
    assert ran.code == 0
    assert "whole" in ran.out
    assert "identity" in ran.out
    found = json.loads(numbers.read_text())
    assert [model["name"] for model in found["models"]] == ["smoke", "s"]
    assert found["clips"] == 3
    assert table.read_text().count("| whole |") == len(found["models"][0]["inputs"]) * 2
    assert seqhdr("eval", clips, "--model", weights, "--card", card, "-q").code == 0

    assert callable(shoot)
    ran = seqhdr("run", shoot(), "-o", tmp_path / "out", "--model", card, "--device", "cpu")
    assert ran.code == 0
    assert len(list((tmp_path / "out").glob("*.exr"))) == 4


def test_from_linear_exr_to_training(seqhdr: CommandLine, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for scene in ("a", "b", "c"):
        (tmp_path / "plates" / scene).mkdir(parents=True)
        for frame in range(1001, 1004):
            light = np.exp2(rng.normal(-2, 1, (48, 64, 3))).astype(np.float32)
            write_exr(tmp_path / "plates" / scene / f"shot.{frame}.exr", {"RGB": light})
    ran = seqhdr("prepare", tmp_path / "plates", "-o", tmp_path / "set", "--encoding", "acescct")
    assert ran.code == 0
    assert "3 clips" in ran.out
    stats = json.loads((tmp_path / "set" / "stats.json").read_text())
    assert sorted(stats["splits"].values() if "splits" in stats else ["test", "train", "val"]) == [
        "test",
        "train",
        "val",
    ]
    words = ("train", CONFIGS / "smoke.yaml", "-o", tmp_path / "run")
    ran = seqhdr(*words, *sets(*TINY[1:], "data.panoramas=[]", f"data.clips=['{tmp_path / 'set'}']"))
    assert ran.code == 0


def phases(tmp_path: Path) -> Path:
    text = f"base: {CONFIGS / 'smoke.yaml'}\ntrain: {{lr: 0.001, epochs: 1, steps_per_epoch: 2, log_every: 1}}\n"
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "phases.yaml").write_text("phases: [one.yaml, two.yaml]\n")
    return tmp_path / "phases.yaml"


def test_phases_run_in_order_and_resume_in_the_middle(
    seqhdr: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("train", phases(tmp_path), *sets(*TINY[:6]))
    assert seqhdr(*command, "-o", tmp_path / "whole").code == 0
    original, steps = loop.train_step, [0]

    def interrupted(*args: object) -> object:
        steps[0] += 1
        if steps[0] == 3:  # the first of the second phase
            os.kill(os.getpid(), signal.SIGINT)
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "train_step", interrupted)
    ran = seqhdr(*command, "-o", tmp_path / "cut")
    assert ran.code == 130
    first = (tmp_path / "cut" / "one" / loop.WEIGHTS).read_bytes()
    ran = seqhdr(*command, "-o", tmp_path / "cut", "--resume")
    assert ran.code == 0
    assert steps[0] == 4, "the finished phase is not run again"
    assert (tmp_path / "cut" / "one" / loop.WEIGHTS).read_bytes() == first
    from seqhdr.model.cards import load_model

    whole, cut = (load_model(tmp_path / name / "two" / loop.WEIGHTS) for name in ("whole", "cut"))
    assert whole.weights_sha256 == cut.weights_sha256


def test_a_run_out_of_time_says_how_to_go_on(seqhdr: CommandLine, tmp_path: Path) -> None:
    command = ("train", CONFIGS / "smoke.yaml", "-o", tmp_path / "run", *sets(*TINY, "train.minutes=1e-9"))
    ran = seqhdr(*command)
    assert ran.code == 0
    assert "time is up; go on with --resume" in ran.out
    assert "time is up" not in seqhdr(*command, "--resume").out


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("synth", "procedural:1", "--size", "wide"), 2, "write it as width x height"),
        (("synth", "procedural:x"), 2, "write procedural:SEED with a number"),
        (("synth", "procedural:1", "-o", "/dev/null/out"), 2, "cannot become a folder"),
        (("synth", "nowhere"), 3, "there is no such folder or file"),
        (("synth", "procedural:1", "--set", "degrade.jpg_share=1"), 2, "did you mean degrade.jpeg_share"),
        (("synth", "procedural:1", "--set", "camera"), 2, "write it as section.key=value"),
        (("synth", "procedural:1", "--config", "nowhere.yaml"), 3, "nowhere.yaml: cannot be read"),
        (("prepare", "nowhere"), 3, "nowhere"),
        (("train", "nowhere.yaml"), 3, "nowhere.yaml: cannot be read"),
        (("train", str(CONFIGS / "s.yaml")), 2, "data.panoramas and data.clips are both empty"),
        (("train", str(CONFIGS / "smoke.yaml"), "--set", "train.lr=fast"), 2, "train.lr is 'fast'"),
        (("train", str(CONFIGS / "smoke.yaml"), "--set", "train.learning_rate=1"), 2, "unknown configuration key"),
        (("train", str(CONFIGS / "smoke.yaml"), "--resume", "--overwrite"), 2, "exclude each other"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    seqhdr: CommandLine, tmp_path: Path, words: tuple[str, ...], code: int, sentence: str
) -> None:
    ran = seqhdr(*words, *(() if "-o" in words else ("-o", tmp_path / "out")))
    assert ran.code == code
    assert sentence in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_eval_refuses_what_it_cannot_measure(seqhdr: CommandLine, tmp_path: Path, clips: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert seqhdr("eval", tmp_path / "empty").code == 3
    assert seqhdr("eval", clips, "--model", "nobody").code == 2
    ran = seqhdr("eval", clips, "--model", "s", "--model", "s", "--card", tmp_path / "x.safetensors")
    assert ran.code == 2
    assert "--card takes the numbers of one model" in ran.err


@pytest.mark.parametrize("option", ["--json", "--markdown", "--card"])
def test_eval_knows_before_it_measures_where_its_numbers_cannot_go(
    seqhdr: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr(api_train, "evaluate_models", lambda *args, **options: pytest.fail("was measured"))
    ran = seqhdr("eval", tmp_path, option, tmp_path / "nowhere" / "x.safetensors")
    assert ran.code == 2
    assert f"{option} {tmp_path}/nowhere/x.safetensors: the folder {tmp_path}/nowhere is not there" in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_eval_does_not_replace_the_model_it_measures(
    seqhdr: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_train, "evaluate_models", lambda *args, **options: pytest.fail("was measured"))
    model = tmp_path / "m.safetensors"
    model.write_text("weights")
    (tmp_path / "sub").mkdir()
    ran = seqhdr("eval", tmp_path, "--model", model, "--card", tmp_path / "sub" / ".." / "m.safetensors")
    assert ran.code == 2
    assert "is the model that is measured: give another path" in ran.err
    assert model.read_text() == "weights"
