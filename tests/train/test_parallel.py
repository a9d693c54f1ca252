"""Several processes: they learn together what one learns alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from seqhdr.errors import UsageError
from seqhdr.train.checkpoint import peek_progress
from seqhdr.train.folder import CHECKPOINT
from seqhdr.train.parallel import World, any_of, from_first, join_world

SMOKE = Path(__file__).parents[2] / "configs" / "train" / "smoke.yaml"
WORDS = (
    "data.panoramas=['procedural:1']",
    "data.frames=3",
    "data.crops={32: 1}",
    "data.crop_shares={32: 1}",
    "data.flow={exact: 1}",
    "data.validation_clips=1",
    "data.validation_size=32",
    "train.epochs=1",
    "train.steps_per_epoch=3",
    "train.log_every=1",
    "train.tensorboard=false",
    # Rounding errors of a sum of two gradients must not be blown up by AdamW's division.
    "train.lr=1e-4",
    "train.warmup_steps=0",
)


def train(folder: Path, *more: str, processes: int = 0, config: Path = SMOKE) -> str:
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"] if processes else []
    words = [f"--set={word}" for word in (*WORDS, *more)]
    command = [sys.executable, "-m", *launcher, "seqhdr", "train", str(config), "-o", str(folder), *words]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {key: value for key, value in load_file(folder / CHECKPOINT).items() if key.startswith("net.")}


@pytest.mark.parametrize("cut", [0, 2])
def test_two_processes_do_what_one_does_with_twice_the_batches(tmp_path: Path, cut: int) -> None:
    # With truncation and coherence gradients are gathered over several passes before they are exchanged.
    more = (f"train.back_frames={cut}", f"loss.coherence={0.1 if cut else 0}")
    printed = train(tmp_path / "two", *more, processes=2)
    train(tmp_path / "one", "train.accumulate=2", *more)
    assert printed.count('"kind": "train", "step": 3') == 1, "only one process speaks"
    assert peek_progress(tmp_path / "two" / CHECKPOINT).step == 3
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    moved = max(float((value - value.mean()).abs().max()) for value in one.values())
    assert moved > 1e-3
    if cut == 0:
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, atol=2e-5, rtol=1e-4, msg=key)
    assert all(bool(torch.isfinite(value).all()) for value in two.values())


def test_phases_follow_one_another_in_all_processes(tmp_path: Path) -> None:
    text = f"base: {SMOKE}\ntrain: {{epochs: 1, steps_per_epoch: 2}}\n"
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "phases.yaml").write_text("phases: [one.yaml, two.yaml, three.yaml]\n")
    # Processes that part and meet again can miss each other, now and then: three phases, three chances.
    train(tmp_path / "run", "train.steps_per_epoch=2", processes=2, config=tmp_path / "phases.yaml")
    for name in ("one", "two", "three"):
        assert peek_progress(tmp_path / "run" / name / CHECKPOINT).finished


def test_a_world_of_one_under_torchrun_is_the_same_run(tmp_path: Path) -> None:
    train(tmp_path / "launched", processes=1)
    train(tmp_path / "alone")
    for key, value in weights(tmp_path / "alone").items():
        torch.testing.assert_close(weights(tmp_path / "launched")[key], value, atol=1e-6, rtol=1e-5)


def test_alone_nobody_has_to_be_asked() -> None:
    with join_world("cpu") as world:
        assert world == World(0, 1, torch.device("cpu"), parallel=False)
        assert world.first
        assert any_of(world, True)
        assert not any_of(world, False)
        assert from_first(world, 0.25) == 0.25


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="--device cuda:7: not usable here"), join_world("cuda:7"):
        pass
