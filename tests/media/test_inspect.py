"""Diagnosis: every defect is put in with a known size and read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from seqhdr.errors import FrameError, InputError
from seqhdr.media.exr import write_exr
from seqhdr.media.inspect import ChannelDiagnosis, ImageDiagnosis, inspect_image, inspect_sequence

Image = np.ndarray[Any, np.dtype[Any]]
N = 128


def noise(spread: float = 0.05, size: int = N) -> Image:
    return np.random.default_rng(4).normal(0.5, spread, (size, size, 3)).astype(np.float32)


def diagnose(folder: Path, rgb: Image, **more: Any) -> ImageDiagnosis:
    write_exr(folder / "a.exr", {"RGB": rgb}, overwrite=True, **more)
    return inspect_image(folder / "a.exr")


def red(image: ImageDiagnosis) -> ChannelDiagnosis:
    return next(c for c in image.channels if c.name == "R")


def test_the_header_is_told(tmp_path: Path) -> None:
    image = diagnose(
        tmp_path,
        noise().astype(np.float16)[:100],
        compression="piz",
        attributes={"colorInteropID": "lin_ap1_scene", "seqhdr:bins": "strict"},
    )
    assert (image.width, image.height, image.compression) == (N, 100, "piz")
    assert [c.name for c in image.channels] == ["R", "G", "B"]
    assert {c.storage for c in image.channels} == {"half"}
    assert image.colour_tags["colorInteropID"] == "lin_ap1_scene"
    assert image.provenance == {"seqhdr:bins": "strict"}
    assert image.hints == ()
    assert diagnose(tmp_path, noise()).channels[0].storage == "float"


def test_shares_and_range(tmp_path: Path) -> None:
    rgb = np.full((N, N, 3), 0.25, np.float32)
    rgb[:32, :, 0] = -1.0
    rgb[32:40, :, 0] = 8.0
    rgb[40, :4, 0] = np.nan
    rgb[41, :2, 0] = np.inf
    found = red(diagnose(tmp_path, rgb))
    assert (found.minimum, found.maximum) == (-1.0, 8.0)
    assert found.range_stops == 5.0
    assert found.share_below_zero == 32 / N
    assert found.share_above_one == found.share_at_maximum == 8 / N
    assert found.share_nan == 4 / N**2
    assert found.share_inf == 2 / N**2
    assert found.distinct_levels == 3
    assert any("NaN or Inf in R" in hint for hint in inspect_image(tmp_path / "a.exr").hints)


@pytest.mark.parametrize("levels", [16, 256])
def test_eight_bits_in_a_float_file_are_seen(tmp_path: Path, levels: int) -> None:
    rgb = np.rint(np.clip(noise(0.2), 0, 1) * (levels - 1)).astype(np.float32) / (levels - 1)
    image = diagnose(tmp_path, rgb)
    assert red(image).distinct_levels == len(np.unique(rgb[..., 0]))
    assert any("8-bit" in hint for hint in image.hints)
    assert not any("8-bit" in hint for hint in diagnose(tmp_path, noise()).hints)


def test_banding_is_told_from_gradient_and_noise(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0.2, 0.4, N, dtype=np.float32)[None, :, None], (N, N, 3)).copy()
    # The quarter on the left is banded, ten pixels to a level; the rest has a level of its own per pixel.
    half_banded = ramp.copy()
    half_banded[:, :40] = np.repeat(half_banded[:, :40:10], 10, axis=1)
    assert red(diagnose(tmp_path, ramp.transpose(1, 0, 2).copy() + ramp)).plateau_share == 0
    assert red(diagnose(tmp_path, noise())).plateau_share < 0.01
    ramp8 = np.rint(ramp * 63) / np.float32(63)
    assert red(diagnose(tmp_path, ramp8)).plateau_share > 0.9
    assert any("banding" in hint for hint in diagnose(tmp_path, ramp8).hints)
    diagonal = half_banded + ramp.transpose(1, 0, 2)
    assert red(diagnose(tmp_path, diagonal)).plateau_share < 0.05
    # Flat graphics have plateaus, but far apart from each other... in the levels that others use.
    assert red(diagnose(tmp_path, np.where(noise() > 0.5, ramp, noise()))).plateau_share < 0.01


@pytest.mark.parametrize("amplitude", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["y", "x", "both"])
def test_periodic_patterns_are_measured(tmp_path: Path, kind: str, amplitude: float) -> None:
    spread = 0.02
    y, x = np.mgrid[:256, :256]
    phase = {"y": y, "x": x, "both": x + y}[kind] % 2 * 2 - 1
    rgb = noise(spread, 256) + (amplitude * spread * phase[..., None]).astype(np.float32)
    found = red(diagnose(tmp_path, rgb))
    expected = 10 * np.log10(1 + 4 / 9 * 64**2 * amplitude**2)
    measured = {k: getattr(found, f"nyquist_{k}_db") for k in ("y", "x", "both")}
    assert measured.pop(kind) == pytest.approx(expected, abs=2.0)
    assert all(abs(v) < 3.0 for v in measured.values())
    word = {"y": "scanlines", "x": "columns", "both": "checkerboard"}[kind]
    assert any(word in h for h in inspect_image(tmp_path / "a.exr").hints) == (expected > 11)


def test_blocks_of_eight_pixels_are_measured(tmp_path: Path) -> None:
    clean = red(diagnose(tmp_path, noise()))
    assert clean.blockiness_8 == pytest.approx(1.0, abs=0.1)
    offsets = np.random.default_rng(1).normal(0, 0.05, (N // 8, N // 8, 3)).astype(np.float32)
    blocky = diagnose(tmp_path, noise(0.01) + offsets.repeat(8, 0).repeat(8, 1))
    # At an edge |N(0, s)| of the offsets' step, sqrt(2) 0.05, joins the noise's sqrt(5) 0.01; a kink one pixel
    # beside an edge sees half of the step.
    beside = np.hypot(np.sqrt(5) * 0.01, 0.5 * np.sqrt(2) * 0.05)
    elsewhere = (2 * beside + 5 * np.sqrt(5) * 0.01) / 7
    expected = np.hypot(np.sqrt(5) * 0.01, np.sqrt(2) * 0.05) / elsewhere
    assert red(blocky).blockiness_8 == pytest.approx(expected, rel=0.15)
    assert any("every 8 pixels" in hint for hint in blocky.hints)


@pytest.mark.parametrize("multiplied", [True, False])
def test_alpha_is_judged(tmp_path: Path, multiplied: bool) -> None:
    alpha = np.broadcast_to(np.linspace(0, 1, N, dtype=np.float32), (N, N)).copy()
    rgb = np.clip(noise(), 0, 1) * (alpha[..., None] if multiplied else 1)
    write_exr(tmp_path / "a.exr", {"RGB": rgb, "A": alpha})
    image = inspect_image(tmp_path / "a.exr")
    assert image.alpha is not None
    assert (image.alpha.minimum, image.alpha.maximum) == (0.0, 1.0)
    assert image.alpha.associated is multiplied
    assert any("alpha" in hint for hint in image.hints) is not multiplied
    assert diagnose(tmp_path, noise()).alpha is None


@pytest.mark.parametrize("bits", [8, 16])
def test_integer_images_are_scaled_to_their_white(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    codes = np.full((64, 64, 3), top // 5, np.uint8 if bits == 8 else np.uint16)
    codes[:16] = top
    assert cv2.imwrite(str(tmp_path / "a.png"), codes)
    found = red(inspect_image(tmp_path / "a.png"))
    assert found.storage == f"uint{bits}"
    assert (found.minimum, found.maximum) == (pytest.approx(0.2), 1.0)
    assert found.share_at_maximum == 0.25
    assert found.range_stops == pytest.approx(np.log2(5), abs=1e-4)
    assert found.distinct_levels == 2


def test_small_pictures_and_constants_do_not_fail(tmp_path: Path) -> None:
    tiny = red(diagnose(tmp_path, noise()[:5, :7]))
    assert (tiny.nyquist_y_db, tiny.blockiness_8) == (None, None)
    nothing = diagnose(tmp_path, np.full((N, N, 3), np.nan, np.float32))
    assert red(nothing).share_nan == 1.0
    flat = diagnose(tmp_path, np.zeros((N, N, 3), np.float32))
    assert flat.hints == ()
    assert red(flat).nyquist_both_db == 0.0


def test_a_sequence_tells_the_worst_and_the_odd_one_out(tmp_path: Path) -> None:
    bad = noise()
    bad[3, 4, 0] = np.nan
    for i, (rgb, compression) in enumerate([(noise(), "zip"), (bad, "zip"), (noise() * 2, "piz")]):
        write_exr(tmp_path / f"s.{i}.exr", {"RGB": rgb}, compression=compression)
    summary = inspect_sequence(sorted(tmp_path.glob("s.*.exr")))
    assert summary.count == 3
    assert summary.bad_frames == (str(tmp_path / "s.1.exr"),)
    assert len(summary.differences) == 1
    assert "s.2.exr: compression" in summary.differences[0]
    worst = summary.channels[0]
    assert worst.maximum == float((noise() * 2)[..., 0].max())
    assert worst.share_nan == 1 / N**2
    assert summary.hints == ("NaN or Inf in R (1 of 3 frames)",)


def test_everything_goes_to_json(tmp_path: Path) -> None:
    rgb = noise()
    rgb[0, 0] = np.inf
    image = diagnose(tmp_path, rgb, chromaticities=(0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329))
    told = json.loads(json.dumps(image.to_dict(), allow_nan=False))
    assert told["channels"][0]["name"] == "R"
    assert told["colour_tags"]["chromaticities"][0] == pytest.approx(0.64)
    json.dumps(inspect_sequence([image.path]).to_dict(), allow_nan=False)


def test_what_cannot_be_inspected(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match=r"missing\.exr"):
        inspect_image(tmp_path / "missing.exr")
    with pytest.raises(InputError, match="no files"):
        inspect_sequence([])


def test_a_tagged_log_file_has_its_range_in_stops_of_light(tmp_path: Path) -> None:
    from seqhdr.color.encodings import get_encoding

    encoding = get_encoding("acescct")
    light = torch.tensor([0.25, 0.5, 1.0, 16.0]).repeat(16, 4)
    plane = encoding.encode(light).numpy().astype(np.float32)
    path = tmp_path / "log.1001.exr"
    write_exr(path, {"R": plane, "G": plane, "B": plane}, attributes={"colorInteropID": str(encoding.interop_id)})
    channel = inspect_image(path).channels[0]
    assert channel.range_stops == pytest.approx(6.0, abs=1e-3)
    assert channel.light_maximum == pytest.approx(16.0, rel=1e-3)
