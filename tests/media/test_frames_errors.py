"""Files that are not whole frames are refused in one sentence, whatever the decoder makes of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest

from seqhdr.errors import FrameError
from seqhdr.media.frames import probe_frame, read_frame


def write(path: Path, channels: int = 3, kind: str = "uint8", size: tuple[int, int] = (32, 48)) -> Path:
    height, width = size
    spec = oiio.ImageSpec(width, height, channels, kind)
    out = oiio.ImageOutput.create(str(path))
    assert out is not None
    assert out.open(str(path), spec), out.geterror()
    pixels = np.random.default_rng(3).random((height, width, channels))
    wide = pixels if kind in ("float", "half") else pixels * np.iinfo(kind).max
    assert out.write_image(wide.astype({"float": "float32", "half": "float16"}.get(kind, kind)))
    out.close()
    out.geterror()
    return path


def refusal(path: Path) -> str:
    with pytest.raises(FrameError) as caught:
        read_frame(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.mark.parametrize("extension", ["png", "jpg", "tif", "tga", "bmp", "webp", "dpx"])
def test_a_file_cut_off_anywhere_in_its_pixels_is_refused(tmp_path: Path, extension: str) -> None:
    whole = write(tmp_path / f"whole.{extension}")
    data, good = whole.read_bytes(), read_frame(whole).codes
    cut_file = tmp_path / f"cut.{extension}"
    if extension == "tga":
        # Behind the pixels comes what few writers write, and nothing is lost with it.
        data = data[: 18 + good.size]
        cut_file.write_bytes(data)
        np.testing.assert_array_equal(read_frame(cut_file).codes, good)
    for part in (0.0, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99):
        cut_file.write_bytes(data[: int(len(data) * part)])
        refusal(cut_file)
    for missing in (1, 2, 3, 4, 8, 12, 13, 16, 20, 40):
        cut_file.write_bytes(data[:-missing])
        refusal(cut_file)


def test_a_cut_png_is_found_before_the_decoder_complains_to_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.png")
    data = path.read_bytes()
    for size in (8, 20, 33, len(data) - 500, len(data) - 1):
        path.write_bytes(data[:size])
        assert "cut off" in refusal(path)
        if size <= 33:
            with pytest.raises(FrameError, match="cut off"):
                probe_frame(path)
        else:
            assert probe_frame(path).width == 48
    assert capfd.readouterr() == ("", "")


def test_damage_inside_a_png_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert "damaged" in refusal(path)


def test_not_there_empty_folder_text(tmp_path: Path) -> None:
    assert "not there" in refusal(tmp_path / "gone.png")
    (tmp_path / "empty.png").touch()
    assert "empty" in refusal(tmp_path / "empty.png")
    (tmp_path / "folder.png").mkdir()
    assert "is a folder" in refusal(tmp_path / "folder.png")
    for extension in ("png", "jpg", "tif", "tga", "bmp", "webp", "dpx"):
        path = tmp_path / f"text.{extension}"
        path.write_text("not a picture at all\n" * 50)
        assert "is not a readable" in refusal(path)
    assert "is not a frame format" in refusal(write(tmp_path / "a.ppm"))


@pytest.fixture
def not_root() -> Iterator[None]:
    """Give up root for a while, since root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.name != "posix", reason="modes are a POSIX matter")
def test_no_permission(request: pytest.FixtureRequest) -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        path = write(Path(name) / "a.png")
        path.chmod(0)
        request.getfixturevalue("not_root")
        assert "no permission" in refusal(path)
        if os.getuid() == 0:
            os.seteuid(0)


@pytest.mark.parametrize(
    ("inside", "named", "fix"),
    [
        ("png", "jpg", "PNG inside, not JPEG.*.png"),
        ("jpg", "png", "JPEG inside.*.jpg"),
        ("tif", "tga", "TIFF.*.tif"),
    ],
)
def test_a_wrong_extension_names_the_right_one(tmp_path: Path, inside: str, named: str, fix: str) -> None:
    path = write(tmp_path / f"a.{inside}").rename(tmp_path / f"b.{named}")
    with pytest.raises(FrameError, match=fix):
        probe_frame(path)


@pytest.mark.parametrize("kind", ["float", "half", "int16"])
def test_only_integers_without_sign(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.tif", kind=kind)
    with pytest.raises(FrameError, match="not 8- to 16-bit integers"):
        probe_frame(path)


def test_too_many_channels(tmp_path: Path) -> None:
    assert "5 channels" in refusal(write(tmp_path / "a.tif", channels=5))


def test_a_tiff_palette(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("P", (16, 16), 3).save(tmp_path / "a.tif")
    assert "holds a palette: convert it to RGB" in refusal(tmp_path / "a.tif")


def test_cmyk(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for extension in ("jpg", "tif"):
        path = tmp_path / f"a.{extension}"
        image.new("CMYK", (16, 16), (10, 20, 30, 40)).save(path)
        assert "holds CMYK: convert it to grey or RGB" in refusal(path)


def test_a_change_mid_shot_names_both(tmp_path: Path) -> None:
    first = probe_frame(write(tmp_path / "s_1.png"))
    assert read_frame(write(tmp_path / "s_2.png"), first).bits == 8
    changes = {
        "48x20 8-bit without alpha": {"size": (20, 48)},
        "48x32 16-bit without alpha": {"kind": "uint16"},
        "48x32 8-bit with alpha": {"channels": 4},
    }
    for words, change in changes.items():
        path = write(tmp_path / "s_3.png", **change)  # type: ignore[arg-type]
        with pytest.raises(FrameError, match=f"is {words}, but the shot began 48x32 8-bit without.*--frames"):
            read_frame(path, first)


def test_grey_among_colour_is_no_change(tmp_path: Path) -> None:
    first = probe_frame(write(tmp_path / "s_1.png"))
    assert read_frame(write(tmp_path / "s_2.png", channels=1), first).codes.shape == (32, 48, 3)
    assert replace(first, channels=1).has_alpha is False
