"""Reading frames: the codes that went in come out, in every format and depth."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest
from numpy.typing import NDArray

from seqhdr.media.frames import probe_frame, read_frame


def write(path: Path, pixels: NDArray[Any], bits: int = 0, **attributes: Any) -> Path:
    """Write (H, W, C) with OpenImageIO; ``bits`` asks for a depth between 8 and 16."""
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], str(pixels.dtype))
    spec.attribute("oiio:UnassociatedAlpha", 1)
    if bits:
        spec.attribute("oiio:BitsPerSample", bits)
    for name, value in attributes.items():
        spec.attribute(name, value) if not isinstance(value, tuple) else spec.attribute(name, *value)
    out = oiio.ImageOutput.create(str(path))
    assert out is not None
    assert out.open(str(path), spec), out.geterror()
    assert out.write_image(np.ascontiguousarray(pixels)), out.geterror()
    out.close()
    out.geterror()
    return path


def random(shape: tuple[int, ...], bits: int = 8) -> NDArray[Any]:
    kind = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(7).integers(0, 1 << bits, shape, dtype=kind)


@pytest.mark.parametrize("extension", ["png", "PNG", "tif", "tiff", "tga", "bmp", "dpx"])
def test_eight_bits_come_back_exactly(tmp_path: Path, extension: str) -> None:
    pixels = random((19, 23, 3))
    frame = read_frame(write(tmp_path / f"a.{extension}", pixels))
    assert frame.codes.dtype == np.uint8
    assert frame.bits == 8
    assert frame.alpha is None
    assert frame.codes.flags.c_contiguous
    np.testing.assert_array_equal(frame.codes, pixels)


def test_lossless_webp_comes_back_exactly(tmp_path: Path) -> None:
    pixels = random((19, 23, 3))
    frame = read_frame(write(tmp_path / "a.webp", pixels, compression="lossless"))
    np.testing.assert_array_equal(frame.codes, pixels)


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "webp"])
def test_lossy_formats_come_back_close(tmp_path: Path, extension: str) -> None:
    ramp = np.repeat(np.linspace(20, 220, 64).astype(np.uint8)[None, :, None], 3, -1).repeat(48, 0)
    frame = read_frame(write(tmp_path / f"a.{extension}", ramp))
    assert frame.bits == 8
    assert np.abs(frame.codes.astype(int) - ramp).max() < 8


@pytest.mark.parametrize("extension", ["png", "tif", "dpx"])
def test_sixteen_bits_come_back_exactly(tmp_path: Path, extension: str) -> None:
    pixels = random((256, 256, 3), 16)
    frame = read_frame(write(tmp_path / f"a.{extension}", pixels))
    assert (frame.codes.dtype, frame.bits) == (np.uint16, 16)
    np.testing.assert_array_equal(frame.codes, pixels)


@pytest.mark.parametrize(("extension", "bits"), [("dpx", 10), ("dpx", 12), ("tif", 10), ("tif", 12), ("tif", 14)])
def test_every_code_of_a_depth_between_comes_back_as_that_code(tmp_path: Path, extension: str, bits: int) -> None:
    codes = np.resize(np.arange(1 << bits, dtype=np.uint16), ((1 << bits) // 31 + 1, 31, 3))
    # Bit replication, so that 0 and full scale keep their meaning in 16 bits.
    widened = (codes << (16 - bits)) | (codes >> (2 * bits - 16))
    path = write(tmp_path / f"a.{extension}", widened, bits)
    assert probe_frame(path).bits == bits
    frame = read_frame(path)
    assert frame.bits == bits
    assert frame.codes.dtype == np.uint16
    np.testing.assert_array_equal(frame.codes, codes)


@pytest.mark.parametrize("bits", [10, 12])
def test_a_depth_between_packed_by_hand(tmp_path: Path, bits: int) -> None:
    """A baseline TIFF of our own making, so that the reader is not only held against its own writer."""
    codes = np.arange(1 << bits).reshape(-1, 16, 1).repeat(3, -1)
    height, width, _ = codes.shape
    row_bits = ["".join(format(int(v), f"0{bits}b") for v in row.ravel()) for row in codes]
    data = b"".join(int(r, 2).to_bytes(len(r) // 8, "big") for r in row_bits)
    tags = [
        (256, 3, width),
        (257, 3, height),
        (258, 3, 0),
        (259, 3, 1),
        (262, 3, 2),
        (273, 4, 0),
        (277, 3, 3),
    ]
    tags += [(278, 3, height), (279, 4, len(data)), (284, 3, 1)]
    after = 8 + 2 + 12 * len(tags) + 4
    body = struct.pack("<H", len(tags))
    for tag, kind, value in tags:
        count = 3 if tag == 258 else 1
        value = {258: after, 273: after + 6}.get(tag, value)
        body += struct.pack("<HHII", tag, kind, count, value)
    header = b"II*\0" + struct.pack("<I", 8)
    path = tmp_path / "a.tif"
    path.write_bytes(header + body + struct.pack("<IHHH", 0, bits, bits, bits) + data)
    frame = read_frame(path)
    assert frame.bits == bits
    np.testing.assert_array_equal(frame.codes, codes)


def test_grey_is_repeated(tmp_path: Path) -> None:
    pixels = random((8, 9, 1))
    for extension in ("png", "tif", "tga"):
        frame = read_frame(write(tmp_path / f"grey.{extension}", pixels))
        np.testing.assert_array_equal(frame.codes, pixels.repeat(3, -1))
        assert frame.info.channels == 1


def test_grey_with_alpha(tmp_path: Path) -> None:
    pixels = random((8, 9, 2))
    frame = read_frame(write(tmp_path / "a.png", pixels, **{"oiio:UnassociatedAlpha": 1}))
    np.testing.assert_array_equal(frame.codes, pixels[..., :1].repeat(3, -1))
    np.testing.assert_array_equal(frame.alpha, pixels[..., 1])


@pytest.mark.parametrize(
    ("extension", "bits"), [("png", 8), ("png", 16), ("tif", 8), ("tif", 16), ("tga", 8), ("bmp", 8)]
)
def test_alpha_is_untouched_and_does_not_touch_the_codes(tmp_path: Path, extension: str, bits: int) -> None:
    pixels = random((64, 64, 4), bits)
    pixels[..., 3] = np.arange(64)[None] % 4  # nearly transparent: multiplying would leave nothing
    path = write(tmp_path / f"a.{extension}", pixels)
    frame = read_frame(path)
    assert probe_frame(path).has_alpha
    np.testing.assert_array_equal(frame.codes, pixels[..., :3])
    np.testing.assert_array_equal(frame.alpha, pixels[..., 3])
    if extension == "png":
        plain = oiio.ImageInput.open(str(path))
        assert plain is not None
        spoiled = plain.read_image(format=str(pixels.dtype))
        assert not np.array_equal(spoiled, pixels), "the default reading is safe now; the setting may go"


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    """An 8-colour BMP written by hand: OpenImageIO writes no palettes."""
    palette = random((8, 3))
    indices = np.arange(8 * 8, dtype=np.uint8).reshape(8, 8) % 8
    entries = b"".join(bytes((b, g, r, 0)) for r, g, b in palette.tolist())
    offset = 14 + 40 + len(entries)
    path = tmp_path / "a.bmp"
    path.write_bytes(
        struct.pack("<2sIHHI", b"BM", offset + 64, 0, 0, offset)
        + struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 8, 0, 64, 0, 0, 8, 8)
        + entries
        + indices[::-1].tobytes()
    )
    np.testing.assert_array_equal(read_frame(path).codes, palette[indices])


_TURNS = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path: Path, orientation: int) -> None:
    pixels = random((5, 9, 3))
    path = write(tmp_path / "a.tif", pixels, Orientation=orientation)
    info, frame = probe_frame(path), read_frame(path)
    np.testing.assert_array_equal(frame.codes, _TURNS[orientation](pixels))
    assert frame.codes.shape[:2] == (info.height, info.width)


@pytest.mark.parametrize("descriptor", [0x00, 0x20])
def test_targa_rows_run_either_way(tmp_path: Path, descriptor: int) -> None:
    pixels = random((2, 3, 3))
    head = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 3, 2, 24, descriptor)
    rows = pixels if descriptor else pixels[::-1]
    (tmp_path / "a.tga").write_bytes(head + rows[..., ::-1].tobytes())
    np.testing.assert_array_equal(read_frame(tmp_path / "a.tga").codes, pixels)


def test_dpx_carries_time_and_pixel_aspect(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.dpx",
        random((8, 8, 3)),
        **{"smpte:TimeCode": ("timecode", (0x01020304, 0)), "dpx:FrameRate": 23.976, "PixelAspectRatio": 2.0},
    )
    frame = read_frame(path)
    assert frame.timecode == "01:02:03:04"
    assert frame.frames_per_second == Fraction(24000, 1001)
    assert frame.pixel_aspect == 2.0


def test_a_header_without_time(tmp_path: Path) -> None:
    for extension in ("dpx", "png"):
        info = probe_frame(write(tmp_path / f"a.{extension}", random((8, 8, 3))))
        assert (info.timecode, info.frames_per_second, info.pixel_aspect) == (None, None, 1.0)
        assert (info.width, info.height, info.channels, info.format) == (8, 8, 3, extension)
