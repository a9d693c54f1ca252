"""Configurations: every key stands in s.yaml, files stand on each other, and what is wrong is named."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml

from seqhdr.errors import InputError, UnknownNameError, UsageError
from seqhdr.train.config import DataConfig, LoopConfig, SceneConfig, TrainConfig
from seqhdr.train.config_file import build_config, read_yaml, set_keys
from seqhdr.train.phases import read_runs

CONFIGS = Path(__file__).parents[2] / "configs" / "train"
FILES = sorted(path.name for path in CONFIGS.glob("*.yaml"))
PHASES = [f"phase{n}.yaml" for n in range(1, 6)]
DATA = "data.panoramas=[procedural:1]"
SMALL = {"model": {"name": "x", "channels": [8, 8]}, "data": {"panoramas": ["procedural:1"]}}


def read(name: str, *assignments: str) -> TrainConfig:
    return build_config(TrainConfig, set_keys(read_yaml(CONFIGS / name), (DATA, *assignments)), name)


def build(*assignments: str) -> TrainConfig:
    return build_config(TrainConfig, set_keys(SMALL, assignments), "mine.yaml")


def keys(kind: Any, prefix: str = "") -> Iterator[str]:
    """The dotted names of all fields that are no sections."""
    for name, hint in get_type_hints(kind).items():
        yield from keys(hint, f"{prefix}{name}.") if dataclasses.is_dataclass(hint) else (f"{prefix}{name}",)


def leaves(text: dict[str, Any], kind: Any = TrainConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The same of a file, with values."""
    hints = get_type_hints(kind)
    for name, value in text.items():
        section = dataclasses.is_dataclass(hints.get(name))
        yield from leaves(value, hints[name], f"{prefix}{name}.") if section else ((f"{prefix}{name}", value),)


def lines(node: yaml.MappingNode, prefix: str = "") -> Iterator[tuple[str, int]]:
    for key, value in node.value:
        yield f"{prefix}{key.value}", key.start_mark.line
        if isinstance(value, yaml.MappingNode):
            yield from lines(value, f"{prefix}{key.value}.")


def test_s_yaml_has_every_key_and_no_other() -> None:
    names = [name for name, _ in leaves(read_yaml(CONFIGS / "s.yaml"))]
    assert sorted(names) == sorted(keys(TrainConfig))
    assert {"model.channels", "data.crops", "scene.camera.moves", "scene.degrade.crush", "loss.fft"} <= set(names)


def test_every_key_of_s_yaml_is_explained_on_its_line() -> None:
    text = (CONFIGS / "s.yaml").read_text()
    where = dict(lines(yaml.compose(text)))
    for name in keys(TrainConfig):
        line = text.splitlines()[where[name]]
        assert re.search(r"\s# ?\S", line), line


def test_s_yaml_repeats_the_defaults_but_for_its_schedule() -> None:
    named, default = read("s.yaml"), build()
    for name in keys(TrainConfig):
        ours, theirs = named, default
        for part in name.split("."):
            ours, theirs = getattr(ours, part), getattr(theirs, part)
        # The shipped model was given a fixed number of steps.
        chosen = name.startswith("model.") or name in ("train.schedule", "train.epochs", "train.stop_patience")
        assert (ours != theirs) if name == "train.schedule" else chosen or ours == theirs, name


@pytest.mark.parametrize("name", FILES)
def test_all_files_build(name: str) -> None:
    runs = read_runs(CONFIGS / name, (DATA,))
    assert len(runs) == (5 if name == "phases.yaml" else 1)
    for config in runs.values():
        assert config.data.panoramas == ("procedural:1",)
        assert config.model.channels == ((64, 128, 256, 512, 1024) if name == "l.yaml" else config.model.channels)


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("s.yaml", "phases.yaml")])
def test_files_state_only_what_is_different(name: str) -> None:
    text = yaml.safe_load((CONFIGS / name).read_text())
    below = dict(leaves(read_yaml(CONFIGS / text.pop("base"))))
    said = dict(leaves(text))
    assert said
    phase = name.startswith("phase")
    assert not phase or {"train.lr", "train.epochs"} <= set(said)
    for key, value in said.items():
        # How long a phase lasts is said in any case.
        assert below[key] != value or (phase and key == "train.epochs"), key


def test_the_five_phases_are_those_of_the_plan() -> None:
    assert yaml.safe_load((CONFIGS / "phases.yaml").read_text()) == {"phases": PHASES}
    runs = read_runs(CONFIGS / "phases.yaml", (DATA,))
    assert list(runs) == ["phase1", "phase2", "phase3", "phase4", "phase5"]
    phases = list(runs.values())
    assert [run.train.lr for run in phases] == [5e-5, 2e-5, 1e-5, 5e-6, 2e-6]
    assert 100 <= phases[0].train.epochs <= 200
    assert [run.train.epochs for run in phases[1:]] == [50, 30, 30, 50]
    for run in phases:
        assert run.train.schedule == "plateau"
        assert 0 < run.train.plateau_patience < run.train.stop_patience < run.train.epochs
        assert run.model == phases[0].model
    added = [
        {"l1_log", "gradient", "ssim"},
        {"lpips"},
        {"color_consistency"},
        {"fft", "multi_scale_gradient"},
        {"laplacian"},
    ]
    wanted: set[str] = set()
    before: set[str] = set()
    for run, new in zip(phases, added, strict=True):
        wanted |= new
        here = {term for term, weight in dataclasses.asdict(run.loss).items() if isinstance(weight, float) and weight}
        assert wanted <= here
        assert before <= here
        assert not here & set().union(*added) - wanted
        before = here
    assert phases[0].loss.gradient == 1.5
    assert phases[2].loss.color_consistency == 0.2


def test_files_stand_on_files_of_other_folders(tmp_path: Path) -> None:
    (tmp_path / "low").mkdir()
    (tmp_path / "low" / "a.yaml").write_text("train: {lr: 1.0, seed: 2}\ndata: {crops: {64: 1, 96: 2}}\n")
    (tmp_path / "low" / "b.yaml").write_text("base: a.yaml\ntrain: {lr: 3.0}\n")
    (tmp_path / "c.yaml").write_text("base: low/b.yaml\ntrain: {epochs: 7}\ndata: {crops: {32: 1}, frames: 2}\n")
    # Sections are merged key by key; a table of sizes or shares is one value.
    assert read_yaml(tmp_path / "c.yaml") == {
        "train": {"lr": 3.0, "seed": 2, "epochs": 7},
        "data": {"crops": {32: 1}, "frames": 2},
    }


def test_shares_and_parts_of_a_scene_go_by_the_same_rule() -> None:
    text = {"scene": {"camera": {"moves": {"pan": 1, "zoom": 2}, "pitch_deg": 3}, "degrade": {"dither_share": 0.5}}}
    assert set_keys(text, ["scene.camera.moves.whip=1", "scene.camera.roll_deg=4"]) == {
        "scene": {"camera": {"moves": {"whip": 1}, "pitch_deg": 3, "roll_deg": 4}, "degrade": {"dither_share": 0.5}}
    }
    assert text["scene"]["camera"] == {"moves": {"pan": 1, "zoom": 2}, "pitch_deg": 3}


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("train.lr=5e-5", 5e-5),
        ("train.lr=2e-3", 2e-3),
        ("train.lr=1", 1.0),
        ("train.lr = 0.25", 0.25),
        ("train.epochs=3", 3),
        ("train.start=null", None),
        ("train.start=", None),
        ("train.start=runs/a=b.safetensors", "runs/a=b.safetensors"),
        ("train.recompute=true", True),
        ("train.recompute=no", False),
        ("train.compile=off", "off"),
        ("train.compile=inductor", "inductor"),
        ("data.panoramas=[a folder, procedural:2]", ("a folder", "procedural:2")),
        ("data.crops={64: 3, 128: 1}", {64: 3, 128: 1}),
        ("scene.camera.speed_px=[1, 2.5]", (1.0, 2.5)),
        ("scene.augment.flip=false", False),
        ("model.channels=[8,16,32]", (8, 16, 32)),
    ],
)
def test_single_keys_go_on_top(assignment: str, value: object) -> None:
    more = ["data.crop_shares={64: 1, 128: 1}"] if "crops" in assignment else []
    found: Any = build(assignment, *more)
    for part in assignment.partition("=")[0].strip().split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


def test_of_two_values_the_later_one_counts() -> None:
    assert build("train.lr=1", "train.seed=9", "train.lr=2").train == LoopConfig(lr=2.0, seed=9)


@pytest.mark.parametrize("assignment", ["train.lr", "=3", " =3", "train.lr=[1", "data.clips=[a: b: c]"])
def test_an_assignment_that_is_none_is_quoted(assignment: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"--set {assignment}: ")):
        build(assignment)


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("train.lrr", "train.lr"),
        ("scene.camera.pich_deg", "scene.camera.pitch_deg"),
        ("los.fft", "loss"),
        ("loss.laplacien", "loss.laplacian"),
        ("model.chanels", "model.channels"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(key: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"unknown configuration key .*did you mean {near}\b"):
        build(f"{key}=1")


@pytest.mark.parametrize(
    ("assignment", "place"),
    [
        ("train.lr=fast", "train.lr is 'fast'"),
        ("train.epochs=2.5", "train.epochs is 2.5"),
        ("train=5", "train is 5"),
        ("train.lr.x=3", "train.lr is {'x': 3}"),
        ("train.tensorboard=perhaps", "train.tensorboard is 'perhaps'"),
        ("data.panoramas=folder", "data.panoramas is 'folder'"),
        ("data.crops={a: 1}", "data.crops.a"),
        ("model.channels=[8, wide]", "model.channels.1 is 'wide'"),
        ("scene.camera.speed_px=[1, 2, 3]", "scene.camera.speed_px"),
        ("loss.ssim=null", "loss.ssim is None"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_its_file(assignment: str, place: str) -> None:
    with pytest.raises(UsageError, match=rf"^mine\.yaml: {re.escape(place)}"):
        build(assignment)


@pytest.mark.parametrize(
    ("text", "key"),
    [({"data": SMALL["data"]}, "model"), ({"model": {"name": "x"}, "data": SMALL["data"]}, "model.channels")],
)
def test_a_missing_key_is_named(text: dict[str, Any], key: str) -> None:
    with pytest.raises(UsageError, match=rf"^mine\.yaml: the key {re.escape(key)} is missing: add it"):
        build_config(TrainConfig, text, "mine.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("train: {lr: 1", "is not YAML .*line"),
        ("train:\n\tlr: 1", "is not YAML"),
        (b"\xff\xfe\xd8", "is not YAML"),
        ("- 1\n- 2", "holds no keys"),
        ("", "holds no keys"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=rf"odd\.yaml: {message}"):
        read_yaml(path)
    (tmp_path / "top.yaml").write_text("base: odd.yaml\n")
    with pytest.raises(InputError, match=rf"odd\.yaml: {message}"):
        read_yaml(tmp_path / "top.yaml")


def test_a_missing_file_and_a_missing_base_are_named(tmp_path: Path) -> None:
    (tmp_path / "top.yaml").write_text("base: nowhere.yaml\n")
    for name in ("nowhere.yaml", "top.yaml"):
        with pytest.raises(InputError, match=r"nowhere\.yaml: cannot be read \(No such file"):
            read_yaml(tmp_path / name)


def test_a_file_that_stands_on_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: ./a.yaml\n")
    with pytest.raises(InputError, match=r"a\.yaml: its base stands on itself"):
        read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"panoramas": ()}, "data.panoramas and data.clips are both empty"),
        ({"frames": 0}, "data.frames is 0"),
        ({"crops": {64: 1}}, "data.crops and data.crop_shares name different sizes"),
        ({"crops": {}, "crop_shares": {}}, "data.crops and data.crop_shares name different sizes"),
        ({"crops": {64: 0}, "crop_shares": {64: 1.0}}, "data.crops is {64: 0}"),
        ({"crops": {0: 1}, "crop_shares": {0: 1.0}}, "data.crops is {0: 1}"),
        ({"crops": {64: 1}, "crop_shares": {64: 0.0}}, "data.crop_shares is {64: 0.0}"),
        ({"flow": {"dis": 0.0}}, "data.flow is {'dis': 0.0}"),
        ({"flow": {}}, "data.flow is {}"),
        ({"flow": {"dis": 2.0, "none": -1.0}}, "data.flow is {'dis': 2.0, 'none': -1.0}"),
        ({"flow": {"dis": float("nan")}}, "data.flow is {'dis': nan}"),
        ({"flow": {"raft": 0.1, "dis": 0.9}}, "data.flow asks for raft: give data.raft_weights"),
        ({"clips_share": 1.5}, "data.clips_share is 1.5"),
        ({"validation_share": 1.0}, "data.validation_share is 1.0"),
        ({"validation_clips": 0}, "data.validation_clips is 0"),
        ({"validation_size": 0}, "data.validation_size is 0"),
        ({"workers": -1}, "data.workers is -1"),
        ({"prefetch": 0}, "data.prefetch is 0"),
        ({"cache_mb": -1}, "data.cache_mb is -1"),
    ],
)
def test_data_that_cannot_work_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        DataConfig(**{"panoramas": ("procedural:1",), **changes})


def test_a_flow_nobody_knows_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"flow in data\.flow 'diss': did you mean dis\?"):
        DataConfig(panoramas=("procedural:1",), flow={"diss": 1.0})
    # Without a share, RAFT needs no weights.
    assert DataConfig(clips=("pairs",), flow={"dis": 1.0, "raft": 0.0}).flow["raft"] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "train.epochs is 0"),
        ({"steps_per_epoch": 0}, "train.steps_per_epoch is 0"),
        ({"accumulate": 0}, "train.accumulate is 0"),
        ({"log_every": 0}, "train.log_every is 0"),
        ({"lr": 0.0}, "train.lr is 0.0"),
        ({"lr": float("nan")}, "train.lr is nan"),
        ({"ema": 1.0}, "train.ema is 1.0"),
        ({"ema": -0.1}, "train.ema is -0.1"),
        ({"warmup_steps": -1}, "train.warmup_steps is -1"),
        ({"back_frames": -1}, "train.back_frames is -1"),
        ({"stop_patience": -1}, "train.stop_patience is -1"),
        ({"plateau_patience": -1}, "train.plateau_patience is -1"),
        ({"plateau_factor": 1.0}, "train.plateau_factor is 1.0"),
        ({"weight_decay": -1e-3}, "train.weight_decay is -0.001"),
        ({"memory_drop": 1.1}, "train.memory_drop is 1.1"),
        ({"schedule": "plato"}, "unknown train.schedule 'plato': did you mean plateau?"),
        ({"precision": "float16"}, "unknown train.precision 'float16': did you mean"),
    ],
)
def test_a_loop_that_cannot_work_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        LoopConfig(**changes)


@pytest.mark.parametrize("weight", ["-1", ".nan", ".inf"])
def test_a_loss_that_cannot_work_is_named(weight: str) -> None:
    with pytest.raises(UsageError, match=r"multi_scale_gradient is "):
        build(f"loss.multi_scale_gradient={weight}")


def test_a_scene_is_read_on_its_own() -> None:
    scene = build_config(SceneConfig, {"layers": {"most": 5}, "degrade": {"crush": [0.0, 0.1]}}, "scene.yaml")
    expected = SceneConfig()
    layers = dataclasses.replace(expected.layers, most=5)
    degrade = dataclasses.replace(expected.degrade, crush=(0.0, 0.1))
    assert scene == dataclasses.replace(expected, layers=layers, degrade=degrade)
