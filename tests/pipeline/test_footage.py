"""Sequences of any tool as something to measure: what is assumed, what is read, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813 - the name its own documentation uses
import pytest
import torch

from seqhdr.color.encodings import get_encoding
from seqhdr.errors import FrameError, ShotError, UnknownNameError
from seqhdr.media.exr import write_exr
from seqhdr.pipeline.footage import Footage, open_footage, partner, read_stored
from seqhdr.quality.stops import stops

ACESCG = (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767)


def exr(path: Path, pixels: Any, **header: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    channels = pixels if isinstance(pixels, dict) else {"RGB": pixels}
    write_exr(path, channels, overwrite=True, **header)
    return path


def ramp(kind: type, size: tuple[int, int] = (4, 6)) -> Any:
    values = np.linspace(-0.1, 3, size[0] * size[1] * 3).reshape(*size, 3)
    return values.astype(kind)


def opened(pattern: Path, **options: Any) -> Footage:
    return open_footage(str(pattern), option="--output-space", **options)


@pytest.mark.parametrize(
    ("header", "name", "assumed"),
    [
        ({}, "lin_rec709", True),
        ({"chromaticities": ACESCG}, "acescg", True),
        ({"attributes": {"colorInteropID": "lin_ap0_scene"}}, "aces2065-1", False),
        ({"attributes": {"seqhdr:output_space": "logc4"}}, "logc4", False),
    ],
)
def test_the_header_names_the_encoding_or_a_convention_does(
    header: Any, name: str, assumed: bool, tmp_path: Path
) -> None:
    exr(tmp_path / "comp.0001.exr", ramp(np.float16), **header)
    footage = opened(tmp_path / "comp.%04d.exr")
    assert (footage.encoding.name, footage.assumed) == (name, assumed)
    chosen = opened(tmp_path / "comp.%04d.exr", space="SLog3")
    assert (chosen.encoding.name, chosen.assumed) == ("slog3", False)


def test_primaries_of_another_space_are_not_taken_for_rec709(tmp_path: Path) -> None:
    rec709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
    rec2020 = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290)
    exr(tmp_path / "a.0001.exr", ramp(np.float16), chromaticities=rec709)
    assert opened(tmp_path / "a.%04d.exr").encoding.name == "lin_rec709"
    exr(tmp_path / "b.0001.exr", ramp(np.float16), chromaticities=rec2020)
    with pytest.raises(ShotError, match=r"b.0001.exr: its primaries are those of none of .*--output-space"):
        opened(tmp_path / "b.%04d.exr")
    assert opened(tmp_path / "b.%04d.exr", space="acescg").encoding.name == "acescg"


@pytest.mark.parametrize("top", [-3, 0, 2, 7])
@pytest.mark.parametrize("left", [-20, -2, 0, 3])
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_the_display_window_is_what_is_measured(left: int, top: int, kind: type, tmp_path: Path) -> None:
    """Data windows that are larger, smaller, beside the picture or moved, as renderers and comps write them."""
    pixels = ramp(kind)
    spec = oiio.ImageSpec(6, 4, 3, "half" if kind is np.float16 else "float")
    spec.x, spec.y = left + 100, top + 50
    spec.full_x, spec.full_y, spec.full_width, spec.full_height = 100, 50, 5, 6
    path = tmp_path / "comp.0001.exr"
    output: Any = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec)
    assert output.write_image(pixels)
    output.close()
    expected = np.zeros((6, 5, 3), kind)
    for y in range(6):
        for x in range(5):
            if 0 <= y - top < 4 and 0 <= x - left < 6:
                expected[y, x] = pixels[y - top, x - left]
    stored = read_stored(path).pixels
    assert stored.dtype == kind
    np.testing.assert_array_equal(stored, expected)


def test_integers_are_taken_as_srgb(shoot: Any) -> None:
    footage = open_footage(shoot(), option="--output-space")
    assert (footage.encoding.name, footage.assumed, footage.first.storage) == ("srgb", True, "8 bits")
    with pytest.raises(UnknownNameError, match="did you mean"):
        open_footage(shoot(), space="slog33", option="--output-space")


def test_a_space_that_is_nowhere_to_be_found_is_named(tmp_path: Path) -> None:
    exr(tmp_path / "comp.0001.exr", ramp(np.float16), attributes={"seqhdr:output_space": "House Log"})
    with pytest.raises(ShotError, match=r"is in House Log, which cannot be looked up .*--ocio, or .*--output-space"):
        opened(tmp_path / "comp.%04d.exr")


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_light_and_stops_are_those_of_the_curve(kind: type, tmp_path: Path) -> None:
    pixels = ramp(kind)
    exr(tmp_path / "log.0001.exr", pixels)
    footage = opened(tmp_path / "log.%04d.exr", space="acescct")
    stored = footage.read(1).pixels
    assert stored.dtype == kind
    light = get_encoding("acescct").decode(torch.from_numpy(pixels.astype(np.float64))).permute(2, 0, 1)
    torch.testing.assert_close(footage.light(stored).double(), light, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(footage.stops(stored).double(), stops(light), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(footage.light_of(pixels).transpose(2, 0, 1), light, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("bits", "extension"), [(8, "png"), (16, "png"), (10, "dpx")])
def test_codes_of_every_depth_are_fractions_of_the_highest(bits: int, extension: str, shoot: Any) -> None:
    footage = open_footage(shoot(range(1, 2), bits=bits, extension=extension), space="srgb", option="--output-space")
    stored = footage.first.pixels
    light = get_encoding("srgb").decode(torch.from_numpy(stored.astype(np.float64)) / (2**bits - 1)).permute(2, 0, 1)
    torch.testing.assert_close(footage.light(stored).double(), light, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_what_is_no_number_reads_as_no_light(kind: type, tmp_path: Path) -> None:
    pixels = ramp(kind)
    pixels[1, 2] = [np.nan, np.inf, -np.inf]
    exr(tmp_path / "comp.0001.exr", pixels)
    footage = opened(tmp_path / "comp.%04d.exr")
    assert (footage.light(footage.first.pixels)[:, 1, 2] == 0).all()
    assert (footage.stops(footage.first.pixels)[:, 1, 2] == 0).all()


def test_grey_is_three_times_itself_and_other_layers_are_refused(tmp_path: Path) -> None:
    grey = ramp(np.float16)[..., 0]
    stored = read_stored(exr(tmp_path / "grey.0001.exr", {"Y": grey}))
    assert (stored.pixels == grey[..., None]).all()
    with pytest.raises(FrameError, match=r"has no channels R, G and B \(it has beauty.R\)"):
        read_stored(exr(tmp_path / "layer.0001.exr", {"beauty.R": grey}))


def test_frames_of_other_sizes_and_storages_are_refused(tmp_path: Path) -> None:
    exr(tmp_path / "comp.0001.exr", ramp(np.float16))
    exr(tmp_path / "comp.0002.exr", ramp(np.float16, (5, 6)))
    exr(tmp_path / "comp.0003.exr", ramp(np.float32))
    footage = opened(tmp_path / "comp.%04d.exr")
    with pytest.raises(FrameError, match=r"comp.0002.exr: is 6x5, half, but comp.0001.exr is 6x4, half"):
        footage.read(2)
    with pytest.raises(FrameError, match=r"comp.0003.exr: is 6x4, float, but"):
        footage.read(3)


def test_pxr24_keeps_24_bits_of_a_float(tmp_path: Path) -> None:
    assert read_stored(exr(tmp_path / "a.0001.exr", ramp(np.float32), compression="pxr24")).storage == "float24"
    assert read_stored(exr(tmp_path / "b.0001.exr", ramp(np.float16), compression="pxr24")).storage == "half"


def test_every_second_frame_is_one_shot_and_a_gap_is_two(shoot: Any) -> None:
    whole = open_footage(shoot(range(1, 12, 2), name="a_"), option="--output-space")
    assert whole.shot.segments == (tuple(range(1, 12, 2)),)
    parted = open_footage(shoot([1, 2, 5, 6], name="b_"), option="--output-space")
    assert parted.shot.segments == ((1, 2), (5, 6))


def test_a_held_frame_belongs_to_the_one_it_was_held_from(shoot: Any, tmp_path: Path) -> None:
    source = open_footage(shoot([1, 2, 4]), option="--input-space")
    exr(tmp_path / "out.0003.exr", ramp(np.float16), attributes={"seqhdr:source_frame": 2})
    held = read_stored(tmp_path / "out.0003.exr")
    assert partner(source, 3, held, "--source") == 2
    with pytest.raises(ShotError, match=r"has no frame 3, on disk are 1-2, 4: check --truth, or leave frame 3 out"):
        partner(source, 3, held, "--truth")


def test_a_code_is_as_many_stops_in_a_float_as_in_the_8_bits_it_stands_for(shoot: Any, tmp_path: Path) -> None:
    coded = open_footage(shoot(range(1, 2)), option="--input-space")
    codes = np.arange(1, 255, dtype=np.uint8).reshape(1, -1, 1).repeat(3, axis=2)
    light = coded.light(codes).permute(1, 2, 0).contiguous().numpy()
    exr(tmp_path / "lin.0001.exr", light)
    floats = opened(tmp_path / "lin.%04d.exr")
    exact = stops(get_encoding("srgb").decode(torch.arange(256, dtype=torch.float64) / 255)).diff()
    up, down = exact[1:], exact[:-1]
    torch.testing.assert_close(floats.quantum(floats.first.pixels)[0, 0].double(), up, rtol=1e-2, atol=1e-5)
    torch.testing.assert_close(coded.quantum(codes)[0, 0].double(), torch.maximum(up, down), rtol=1e-4, atol=1e-6)
    beyond = floats.quantum(np.full((1, 1, 3), 40, np.float32))
    assert float(beyond.max()) == pytest.approx(float(exact[-1]), rel=0.02)
