"""What all tests share: tiny procedural shots, a tiny model with random weights, and the command line in-process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest

WIDTH, HEIGHT = 64, 48

Codes = np.ndarray[Any, np.dtype[Any]]
Shoot = Callable[..., str]


def picture(frame: int, bits: int = 8, size: tuple[int, int] = (WIDTH, HEIGHT), look: int = 0) -> Codes:
    """(H, W, 3) codes of a frame: a sky that bands, a ground with texture, a lamp that clips, all moving by 1 px.

    ``look`` 1 is another place altogether, for cuts.
    """
    width, height = size
    y, x = np.mgrid[:height, :width].astype(np.float64)
    x = x + frame + 400 * look
    sky = 0.35 + 0.25 * y / height + 0.02 * np.sin(x / 40)
    rng = np.random.default_rng(7 + look)
    grain = rng.random((height, 4096))[:, (x[0].astype(int)) % 4096]
    ground = 0.15 + 0.3 * grain
    light = np.where(y > 0.6 * height, ground, sky)
    if look:
        light = 0.1 + 0.8 * (rng.random((height // 8 + 1, width // 8 + 1)).repeat(8, 0).repeat(8, 1)[:height, :width])
    rgb = np.stack([0.8 * light, 0.9 * light, 1.05 * light + 0.02], axis=-1)
    lamp = np.hypot(x - 40, y - 12) < 6
    rgb[lamp] = [1.4, 1.2, 0.9]
    rgb[:2, :2] = -0.1  # a corner below black
    return np.rint(rgb.clip(0, 1) * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def write_frame(
    path: Path, codes: Codes, bits: int = 8, alpha: Codes | None = None, attributes: dict[str, Any] | None = None
) -> None:
    """Write integer codes exactly; ``bits`` from 9 to 15 are for formats that can store them (DPX)."""
    pixels = codes if alpha is None else np.concatenate([codes, alpha[..., None]], axis=-1)
    kind = "uint8" if bits == 8 else "uint16"
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], kind)
    spec.attribute("oiio:UnassociatedAlpha", 1)
    if 8 < bits < 16:
        spec.attribute("oiio:BitsPerSample", bits)
        wide = pixels.astype(np.uint32)
        pixels = (wide << (16 - bits) | wide >> (2 * bits - 16)).astype(np.uint16)
    for name, value in (attributes or {}).items():
        if name == "smpte:TimeCode":
            spec.attribute(name, "timecode", value)
        else:
            spec.attribute(name, value)
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec)
    assert output.write_image(np.ascontiguousarray(pixels))
    output.close()


@pytest.fixture
def shoot(tmp_path: Path) -> Shoot:
    """Write a shot and return its pattern: ``shoot(frames=range(1001, 1005), name="shot_", …)``."""

    def write(
        frames: Sequence[int] = range(1001, 1005),
        *,
        name: str = "shot_",
        extension: str = "png",
        bits: int = 8,
        alpha: bool = False,
        cut: int | None = None,
        size: tuple[int, int] = (WIDTH, HEIGHT),
        folder: str = "in",
        attributes: dict[str, Any] | None = None,
    ) -> str:
        directory = tmp_path / folder
        directory.mkdir(exist_ok=True)
        for frame in frames:
            look = int(cut is not None and frame >= cut)
            codes = picture(frame - frames[0], bits, size, look)
            matte = None
            if alpha:
                ramp = np.linspace(0, 2**bits - 1, size[0]).round()
                matte = np.broadcast_to(ramp, (size[1], size[0])).astype(codes.dtype)
            write_frame(directory / f"{name}{frame:04d}.{extension}", codes, bits, matte, attributes)
        return str(directory / f"{name}%04d.{extension}")

    return write


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a small network with random weights, large enough to move every output."""
    import torch

    from seqhdr.model.cards import save_model
    from seqhdr.model.net import ModelConfig, SeqNet

    torch.manual_seed(3)
    config = ModelConfig("tiny", (8, 8, 8))
    net = SeqNet(config)
    for name, value in net.named_parameters():
        if value.ndim > 1:
            torch.nn.init.normal_(value, std=0.15)
        elif "weight" not in name:
            torch.nn.init.normal_(value, std=0.2)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, config, net.state_dict(), {"data": "none, random weights"})
    return str(path)


@dataclass(frozen=True)
class Ran:
    """What a command returned and printed."""

    code: int
    out: str
    err: str


CommandLine = Callable[..., Ran]


@pytest.fixture
def seqhdr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Call the command line inside this process: ``seqhdr("run", pattern, "-o", out)``."""

    def call(*words: object) -> Ran:
        from seqhdr.cli import main

        monkeypatch.setattr("sys.argv", ["seqhdr", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        code = left.value.code
        return Ran(0 if code is None else int(code), printed.out, printed.err)

    return call


@pytest.fixture
def convert(seqhdr: CommandLine, tiny_model: str, tmp_path: Path) -> CommandLine:
    """``seqhdr run`` with the tiny model into ``out``, without a report: ``convert(pattern, "--bins", "strict")``."""

    def call(*words: object, out: str = "out") -> Ran:
        report = () if {"--report", "--no-report"} & set(words) else ("--no-report",)
        return seqhdr("run", *words, "-o", tmp_path / out, "--model", tiny_model, "--device", "cpu", *report)

    return call


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB, where we may mount one."""
    mount = tmp_path / "tiny"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)]
    try:
        mounted = os.name == "posix" and subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("may not mount a small file system here")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)
