"""``--flow``: the estimator is built once, before the first frame, and its weights are part of the settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import seqhdr as package
from flow import raft_net, save_raft
from seqhdr.errors import UsageError, WeightsError
from seqhdr.media.exr import read_exr
from seqhdr.model.motion import DisFlow, RaftFlow, make_flow
from seqhdr.pipeline.options import RunOptions


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files with untrained networks."""
    folder = tmp_path_factory.mktemp("raft")
    paths = [folder / f"{seed}.safetensors" for seed in range(2)]
    for seed, path in enumerate(paths):
        save_raft(path, raft_net("small", seed), "small", {})
    return paths


def exrs(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*.exr"))}


def red(folder: Path) -> dict[str, bytes]:
    return {p.name: read_exr(p)[0]["R"].tobytes() for p in sorted(folder.glob("*.exr"))}


def settings(folder: Path) -> dict[str, Any]:
    _, info = read_exr(next(iter(sorted(folder.glob("*.exr")))))
    return dict(json.loads(info.attributes["seqhdr:settings"]))


def test_each_name_gives_its_estimator(weights: list[Path]) -> None:
    assert make_flow("off") is None
    assert isinstance(make_flow("dis"), DisFlow)
    raft = make_flow("raft", str(weights[0]))
    assert isinstance(raft, RaftFlow)
    assert raft.weights_sha256 == RaftFlow(weights[0]).weights_sha256
    for wrong in (("raft", None), ("pwc", None)):
        with pytest.raises(ValueError, match="expected dis, off, or raft with weights"):
            make_flow(*wrong)


def test_raft_runs_where_it_is_told(weights: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.device] = []
    monkeypatch.setattr("torch.nn.Module.to", lambda net, device: seen.append(device) or net)
    make_flow("raft", weights[0], torch.device("cuda:1"))
    assert seen == [torch.device("cuda:1")]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"flow": "raft"}, "--flow raft has no weights: add --flow-weights with a file, or with download"),
        ({"flow_weights": "a.pth"}, "--flow-weights is for RAFT, and --flow is dis: leave it out or add --flow raft"),
        ({"flow": "off", "flow_weights": "download"}, "--flow-weights is for RAFT, and --flow is off"),
    ],
)
def test_weights_and_raft_go_together(tmp_path: Path, wish: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RunOptions(output=tmp_path / "out", **wish)  # type: ignore[arg-type]
    RunOptions(output=tmp_path / "out", flow="raft", flow_weights="download")


def test_a_shot_runs_with_raft(shoot: Any, convert: Any, tmp_path: Path, weights: list[Path]) -> None:
    pattern = shoot(range(1, 4))
    raft = ("--flow", "raft", "--flow-weights", weights[0])
    for out in ("one", "two"):
        ran = convert(pattern, *raft, "--bins", "3", out=out)
        assert ran.code == 0, ran.err
    assert exrs(tmp_path / "one") == exrs(tmp_path / "two")
    assert convert(pattern, "--flow", "off", "--bins", "3", out="off").code == 0
    assert convert(pattern, "--bins", "3", out="dis").code == 0
    one, off, dis = (red(tmp_path / name) for name in ("one", "off", "dis"))
    first, *later = one
    assert one[first] == off[first] == dis[first]
    assert all(one[name] not in (off[name], dis[name]) for name in later)
    assert settings(tmp_path / "one")["flow_weights"] == RaftFlow(weights[0]).weights_sha256
    assert settings(tmp_path / "one")["flow"] == "raft"
    assert "flow_weights" not in settings(tmp_path / "dis")


def test_other_raft_weights_make_the_frames_again(
    shoot: Any, convert: Any, tmp_path: Path, weights: list[Path]
) -> None:
    pattern = shoot(range(1, 3))
    wishes = [("--flow", "raft", "--flow-weights", path) for path in weights]
    assert convert(pattern, *wishes[0]).code == 0
    # The file may move; only what it holds decides.
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(weights[0].read_bytes())
    ran = convert(pattern, "--flow", "raft", "--flow-weights", moved, "--skip-existing")
    assert "0 frames written, 2 kept" in ran.err
    ran = convert(pattern, *wishes[1], "--skip-existing")
    assert "2 frames written, 0 kept" in ran.err
    assert convert(pattern, *wishes[1], out="fresh").code == 0
    assert exrs(tmp_path / "out") == exrs(tmp_path / "fresh")


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_bad_weights_are_refused_before_the_first_frame(
    shoot: Any, convert: Any, tmp_path: Path, more: tuple[str, ...]
) -> None:
    bad = tmp_path / "bad.pth"
    bad.write_bytes(b"not a network")
    ran = convert(shoot(range(1, 3)), "--flow", "raft", "--flow-weights", bad, *more)
    assert ran.code == 3
    assert ran.err.startswith(f"seqhdr: {bad}: not readable as RAFT weights (")
    assert ran.err.count("\n") == 1
    assert ran.out == ""
    assert not (tmp_path / "out").exists()


def test_raft_without_weights_is_a_usage_error(shoot: Any, convert: Any, tmp_path: Path) -> None:
    ran = convert(shoot(range(1, 3)), "--flow", "raft")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "seqhdr: --flow raft has no weights: add --flow-weights with a file, or with download\n"
    assert convert(shoot(range(1, 3)), "--flow", "pwc").code == 2
    assert not (tmp_path / "out").exists()


def test_the_weights_are_read_once_for_all_shots(
    shoot: Any, tmp_path: Path, tiny_model: str, weights: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    patterns = [shoot(range(1, 3), name="a_"), shoot(range(1, 3), name="b_")]
    read: list[str] = []
    whole = RaftFlow.__init__

    def counted(self: RaftFlow, path: str, **options: Any) -> None:
        read.append(str(path))
        whole(self, path, **options)

    monkeypatch.setattr(RaftFlow, "__init__", counted)
    package.run(patterns, output=tmp_path / "out", model=tiny_model, flow="raft", flow_weights=str(weights[0]))
    assert read == [str(weights[0])]
    assert len(exrs(tmp_path / "out")) == 4


def test_the_python_api_refuses_bad_weights(shoot: Any, tmp_path: Path, tiny_model: str) -> None:
    options: dict[str, Any] = {"output": tmp_path / "out", "model": tiny_model, "flow": "raft"}
    with pytest.raises(WeightsError, match=r"^nowhere\.pth: not readable"):
        package.run(shoot(range(1, 3)), flow_weights="nowhere.pth", **options)
