"""Compressed clips are shown to the network as a run would show them: with the decoder's rounding undone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from seqhdr.media.unround import unrounding
from seqhdr.media.ycbcr import FULL_BT601, LIMITED_BT601_CUT_DOWN, Lattice, fit_lattice
from seqhdr.train import sources
from seqhdr.train.config import SceneConfig
from seqhdr.train.degrade import Degradation, DegradedClip, degrade
from seqhdr.train.pairs import ClipInfo
from seqhdr.train.panorama import Panorama, panorama_from_linear
from seqhdr.train.sources import PairSource, PanoramaSource

Scene = Callable[..., SceneConfig]
WriteClip = Callable[..., ClipInfo]


def whole(codes: Tensor) -> bool:
    return torch.equal(codes, codes.round())


COMPRESSIONS = [
    ({"jpeg_share": 1.0, "jpeg_quality": (96.0, 97.0)}, FULL_BT601),
    ({"h264_share": 1.0, "h264_crf": (16.0, 17.0), "h264_cut_down_share": 1.0}, LIMITED_BT601_CUT_DOWN),
]


def compressed(plain: SceneConfig, **parts: Any) -> SceneConfig:
    return dataclasses.replace(plain, degrade=dataclasses.replace(plain.degrade, **parts))


def soft_world(size: int = 96) -> Panorama:
    """Nothing but soft colours: what a codec loses of them is its rounding, not detail."""
    y, x = np.mgrid[:size, : 2 * size] / size
    light = np.exp2(np.stack([np.sin(3 * np.pi * x) + y, np.cos(2 * np.pi * x) + 0.5 * y, np.sin(5 * y) + 0.2], -1))
    return panorama_from_linear("soft", light.astype(np.float32))


@pytest.fixture
def degraded(monkeypatch: pytest.MonkeyPatch) -> list[DegradedClip]:
    """The clips that batches were made of."""
    seen: list[DegradedClip] = []
    as_before = sources._tensors

    def spy(clip: DegradedClip) -> tuple[Tensor, Tensor, Tensor]:
        seen.append(clip)
        return as_before(clip)

    monkeypatch.setattr(sources, "_tensors", spy)
    return seen


def closed(clip: DegradedClip, decoder: Lattice) -> Tensor:
    """(T, 3, H, W) codes with what that decoder took."""
    lift = unrounding(decoder).closed_lift_lsb(clip.codes, clip.half_width_lsb)
    return torch.from_numpy(clip.codes + lift).permute(0, 3, 1, 2)


@pytest.mark.parametrize(("compression", "decoder"), COMPRESSIONS, ids=["jpeg", "h264"])
def test_compressed_clips_come_with_the_decoder_s_rounding_undone(
    plain_scene: Scene, degraded: list[DegradedClip], compression: dict[str, Any], decoder: Lattice
) -> None:
    source = PanoramaSource((soft_world(),), compressed(plain_scene("srgb"), **compression))
    for seed in range(3):
        batch = source.clip(np.random.default_rng(seed), 2, 48)
        clip = degraded[-1]
        assert clip.decoder == decoder
        assert torch.equal(batch.codes[0], closed(clip, decoder))
        written = torch.from_numpy(clip.codes).permute(0, 3, 1, 2).float()
        below = written + clip.half_width_lsb < 250
        # Nothing has become clipped that was not.
        assert not (batch.clipped[0] & (written + clip.half_width_lsb < 255)).any()
        # And the truth is nearer.
        before, after = (torch.square(codes - batch.value_lsb[0])[below].mean() for codes in (written, batch.codes[0]))
        assert float(after) < 0.95 * float(before)


@pytest.mark.parametrize(
    "kept",
    [{}, {"dither_share": 1.0}, {"h264_share": 1.0, "h264_cut_down_share": 0.0}],
    ids=["lossless", "dithered", "h264 not cut down"],
)
def test_codes_of_no_known_decoder_stay_whole(painted: Panorama, plain_scene: Scene, kept: dict[str, Any]) -> None:
    source = PanoramaSource((painted,), compressed(plain_scene("srgb"), **kept))
    assert whole(source.clip(np.random.default_rng(0), 2, 32).codes)


@pytest.mark.parametrize(("compression", "decoder"), COMPRESSIONS, ids=["jpeg", "h264"])
def test_a_remade_input_has_its_rounding_undone_too(
    tmp_path: Path,
    plain_scene: Scene,
    clip_that_knows_where: WriteClip,
    degraded: list[DegradedClip],
    compression: dict[str, Any],
    decoder: Lattice,
) -> None:
    info = clip_that_knows_where(tmp_path / "clip")
    scene = compressed(plain_scene("srgb"), **compression)
    kept, remade = (
        PairSource([info], scene, 3, remake=remake).clip(np.random.default_rng(0), 3, 32) for remake in (False, True)
    )
    (clip,) = degraded
    assert whole(kept.codes)
    assert torch.equal(remade.codes[0], closed(clip, decoder))
    assert not whole(remade.codes)


@pytest.mark.parametrize(
    ("compression", "decoder"),
    [
        ({}, None),
        ({"dither": True}, None),
        ({"jpeg_quality": 90}, FULL_BT601),
        ({"h264_crf": 20, "h264_cut_down": True}, LIMITED_BT601_CUT_DOWN),
        ({"h264_crf": 20}, None),
    ],
)
def test_the_decoder_is_the_one_that_the_codes_betray(compression: dict[str, float], decoder: Lattice | None) -> None:
    noise = np.random.default_rng(0).normal(size=(64, 64, 6)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 4).reshape(64, 64, 2, 3).transpose(2, 0, 1, 3)
    made = degrade(np.exp2(soft / soft.std()).astype(np.float32), Degradation("srgb", -2.5, **compression))
    assert made.decoder == decoder
    fit = fit_lattice(list(made.codes))
    if decoder is not None:
        assert fit.lattice == decoder
        assert fit.share > 0.9
    else:
        # Chroma that was enlarged in fractions has left the lattice, and what was never on it has not come there.
        assert fit.share < 0.6
