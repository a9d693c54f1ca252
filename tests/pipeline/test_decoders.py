"""--model classic: frames without a network, told apart from a network's, and offered where weights fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seqhdr
from seqhdr.classic.deband import ClassicDeband
from seqhdr.errors import UnknownNameError, UsageError, WeightsError
from seqhdr.media.exr import read_exr
from seqhdr.model.net import SeqNet
from seqhdr.pipeline.decoders import load_decoder
from seqhdr.pipeline.evaluate import evaluate


def test_names_are_networks_or_the_classic_method(tiny_model: str) -> None:
    assert isinstance(load_decoder("classic"), ClassicDeband)
    assert load_decoder("classic", "meta").device.type == "meta"
    net = load_decoder(tiny_model)
    assert isinstance(net, SeqNet)
    assert (net.name, net.device.type, net.remembers) == ("tiny", "cpu", True)


def test_a_name_nobody_knows_is_offered_the_classic_one(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown model 'clasic': did you mean classic, luminance\? A path"):
        load_decoder("clasic")


def test_where_weights_fail_it_says_what_needs_none(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=r"broken\.safetensors: .*; --model classic debands without weights$"):
        load_decoder(broken)


def test_a_run_without_a_network_keeps_every_bin_and_says_what_made_it(shoot: Any, seqhdr: Any, tmp_path: Path) -> None:
    pattern, out = shoot(), tmp_path / "out"
    ran = seqhdr("run", pattern, "-o", out, "--model", "classic", "--bins", "strict", "--bit-depth", "float")
    assert ran.code == 0, ran.err
    assert seqhdr("verify", out / "shot_acescct.%04d.exr", "--source", pattern).code == 0
    attributes = read_exr(out / "shot_acescct.1002.exr")[1].attributes
    assert attributes["seqhdr:model"] == "classic"
    assert not attributes.get("seqhdr:model_sha256")
    summary = json.loads((out / "shot_acescct.json").read_text())
    assert summary["model"] == "classic"


def test_its_frames_are_not_kept_as_a_networks(shoot: Any, seqhdr: Any, tmp_path: Path, tiny_model: str) -> None:
    pattern, out = shoot(range(1, 3)), tmp_path / "out"
    assert seqhdr("run", pattern, "-o", out, "--model", "classic").code == 0
    ran = seqhdr("run", pattern, "-o", out, "--model", tiny_model, "--skip-existing")
    assert "2 frames written, 0 kept" in ran.err
    ran = seqhdr("run", pattern, "-o", out, "--model", tiny_model, "--skip-existing")
    assert "0 frames written, 2 kept" in ran.err


def test_it_has_no_card_to_write(tmp_path: Path) -> None:
    from seqhdr import api_train

    with pytest.raises(UsageError, match="classic has no weights to copy: leave it out"):
        api_train.evaluate(tmp_path, ["classic"], card=tmp_path / "copy.safetensors")


def test_it_is_what_the_facade_runs_too(shoot: Any, tmp_path: Path) -> None:
    report = seqhdr.run(shoot(range(1, 3)), output=tmp_path / "out", model="classic", report=False)
    assert len(report.shots[0].frames) == 2


def test_motion_is_neither_estimated_nor_claimed_for_it_and_no_frame_read_ahead(
    shoot: Any, seqhdr: Any, tmp_path: Path
) -> None:
    pattern, out = shoot(range(1, 5)), tmp_path / "out"
    ran = seqhdr("run", pattern, "-o", out, "--model", "classic", "--frames", "3-4")
    assert ran.code == 0, ran.err
    settings = json.loads(read_exr(out / "shot_acescct.0003.exr")[1].attributes["seqhdr:settings"])
    assert settings["flow"] == "off"
    assert settings["model"] == "classic"
    ran = seqhdr("run", pattern, "-o", out, "--model", "classic", "--frames", "3-4", "--flow", "off", "--skip-existing")
    assert "0 frames written, 2 kept" in ran.err


def test_a_dry_run_and_its_confidence_know_it(shoot: Any, seqhdr: Any, tmp_path: Path) -> None:
    pattern, out = shoot(range(1, 3)), tmp_path / "out"
    ran = seqhdr("run", pattern, "-o", out, "--model", "classic", "--dry-run")
    assert ran.code == 0, ran.err
    assert "classic" in ran.out + ran.err
    assert seqhdr("run", pattern, "-o", out, "--model", "classic", "--aov", "clip,confidence").code == 0
    channels, _ = read_exr(out / "shot_acescct.0001.exr")
    clipped = np.maximum.reduce([value for name, value in channels.items() if name.startswith("clip")]) > 0
    (confidence,) = (value for name, value in channels.items() if name.startswith("confidence"))
    assert clipped.any()
    np.testing.assert_allclose(confidence[clipped], 2.0**-4)
    np.testing.assert_allclose(confidence[~clipped], 1)


def test_it_is_measured_like_a_model_and_has_no_hash(seqhdr: Any, tmp_path: Path) -> None:
    words = ("procedural:1", "-o", tmp_path / "clips", "--clips", 1, "--frames", 2, "--size", "64x48")
    assert seqhdr("synth", *words).code == 0
    numbers = tmp_path / "numbers.json"
    ran = seqhdr("eval", tmp_path / "clips", "--model", "classic", "--single-frame", "--json", numbers)
    assert ran.code == 0, ran.err
    assert "classic (classic, no weights)" in ran.out
    (model,) = json.loads(numbers.read_text())["models"]
    assert (model["name"], model["sha256"]) == ("classic", "")
    given = evaluate([tmp_path / "clips"], [load_decoder("classic")], flicker=False).models[0]
    assert (given.model, given.name) == ("classic", "classic")
    assert given.inputs[0].total["whole"]["gain_db"] == model["inputs"][0]["total"]["whole"]["gain_db"]
