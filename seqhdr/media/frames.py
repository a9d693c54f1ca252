"""Reading one frame: integer codes exactly as the file holds them, through OpenImageIO.

What comes back is never scaled, premultiplied or colour-managed: the bin of a code is only as good as the
code.  A file whose content is not what its extension says is refused, since the container decides how far
its codes can be trusted (a JPEG named ``.png`` is not lossless).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import OpenImageIO as oiio  # noqa: N813 - the name its own documentation uses
from numpy.typing import NDArray

from seqhdr.errors import FrameError, UsageError
from seqhdr.media.shot import SOURCE_EXTENSIONS
from seqhdr.media.timecode import parse_fps, timecode_unpack

__all__ = ["Frame", "FrameInfo", "probe_frame", "read_frame"]

_SUFFIX = {"jpeg": "jpg", "targa": "tga", "tiff": "tif", "openexr": "exr"}
_TIFF_PALETTE = 3
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class FrameInfo:
    """What the header of one image file says.

    ``width`` and ``height`` are in pixels as displayed (after the orientation tag), ``bits`` is 8..16 and the
    codes run over 0 .. 2**bits - 1, ``channels`` counts those in the file (1 grey, 2 grey and alpha, 3 RGB,
    4 RGBA), ``format`` is one of the values of SOURCE_EXTENSIONS, ``orientation`` is the EXIF number 1..8,
    ``profile`` is the name of an embedded ICC profile.
    """

    width: int
    height: int
    bits: int
    channels: int
    format: str
    orientation: int = 1
    pixel_aspect: float = 1.0
    frames_per_second: Fraction | None = None
    timecode: str | None = None
    profile: str | None = None

    @property
    def has_alpha(self) -> bool:
        """Whether the file carries an alpha channel."""
        return self.channels in (2, 4)


@dataclass(frozen=True)
class Frame:
    """One decoded frame.

    ``codes`` is (H, W, 3), uint8 for 8 bits and uint16 above, integers in 0 .. 2**bits - 1; grey is repeated
    three times.  ``alpha`` is (H, W) on the same scale or None, and is not multiplied into the codes.
    """

    codes: NDArray[Any]
    bits: int
    alpha: NDArray[Any] | None
    info: FrameInfo

    @property
    def timecode(self) -> str | None:
        """``HH:MM:SS:FF`` when the file carries one (DPX)."""
        return self.info.timecode

    @property
    def frames_per_second(self) -> Fraction | None:
        """The rate in the header, when there is one (DPX)."""
        return self.info.frames_per_second

    @property
    def pixel_aspect(self) -> float:
        """Width of a pixel over its height."""
        return self.info.pixel_aspect


def probe_frame(path: str | Path) -> FrameInfo:
    """Read the header of one image file, not its pixels.

    Raises FrameError, in one sentence, when the file is not there, cannot be opened, is cut off in the
    header, or holds something else than 8- to 16-bit integer grey or RGB with or without alpha.
    """
    path = Path(path)
    source = _open(path, whole=False)
    info = _info(path, source)
    source.close()
    return info


def read_frame(path: str | Path, expect: FrameInfo | None = None) -> Frame:
    """Read one image file whole.

    With ``expect``, the header of the shot's first frame, a frame of another size, bit depth or alpha is
    refused.  The picture is turned upright by its orientation tag.  Raises FrameError as probe_frame does,
    and when the pixels end early or do not decode: a partial picture is never returned.
    """
    path = Path(path)
    source = _open(path, whole=True)
    info = _info(path, source)
    if expect is not None:
        _check_same(path, info, expect)
    pixels = source.read_image(format="uint8" if info.bits == 8 else "uint16")
    # JPEG hands back a picture with its lower part grey and only leaves a note; both must be looked at.
    trouble = source.geterror()
    source.close()
    if pixels is None or trouble:
        raise FrameError(
            f"{path}: the picture is cut off or damaged ({_first_line(trouble)}): render or copy it again."
        )
    if 8 < info.bits < 16:
        # The upper bits are the code; what follows below them is padding made from the code itself.
        pixels >>= 16 - info.bits
    pixels = _upright(pixels, info.orientation)
    alpha = np.ascontiguousarray(pixels[..., -1]) if info.has_alpha else None
    codes = pixels[..., :3] if info.channels >= 3 else np.repeat(pixels[..., :1], 3, axis=-1)
    return Frame(np.ascontiguousarray(codes), info.bits, alpha, info)


def _open(path: Path, *, whole: bool) -> Any:
    """Open with OpenImageIO; tell apart what the file system refuses from what the decoder refuses."""
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            cut = stream.read(8) == _PNG_SIGNATURE and not _png_ends(stream, size, whole=whole)
    except FileNotFoundError:
        raise FrameError(f"{path}: the file is not there (any more): render or copy it again.") from None
    except IsADirectoryError:
        raise FrameError(f"{path}: is a folder, not a picture: give the pattern of its frames.") from None
    except PermissionError:
        raise FrameError(f"{path}: no permission to read it: change its mode or owner.") from None
    except OSError as error:
        raise FrameError(f"{path}: cannot be read ({error.strerror}): check the disk or the mount.") from None
    if size == 0:
        raise FrameError(f"{path}: the file is empty: render or copy it again.")
    if cut:
        raise FrameError(f"{path}: the PNG is cut off after {size} bytes: render or copy it again.")
    if path.suffix.lower() not in SOURCE_EXTENSIONS:
        raise FrameError(
            f"{path}: {path.suffix or 'no extension'} is not a frame format this program reads: "
            f"convert it to one of {' '.join(sorted(SOURCE_EXTENSIONS))}."
        )
    wish = oiio.ImageSpec()
    # The default multiplies by alpha in 8 bits and so destroys the codes.
    wish.attribute("oiio:UnassociatedAlpha", 1)
    source = oiio.ImageInput.open(str(path), wish)
    if source is None:
        raise FrameError(
            f"{path}: is not a readable {SOURCE_EXTENSIONS[path.suffix.lower()].upper()} "
            f"({_first_line(oiio.geterror())}): render or copy it again."
        )
    return source


def _info(path: Path, source: Any) -> FrameInfo:
    """Check the header of an opened file and put it in our words."""
    spec = source.spec()
    kind = source.format_name()
    claimed = SOURCE_EXTENSIONS[path.suffix.lower()]
    if kind != claimed:
        ending = _SUFFIX.get(kind, kind)
        raise FrameError(
            f"{path}: is {kind.upper()} inside, not {claimed.upper()}: rename the frames to end in .{ending}."
        )
    base = str(spec.format)
    if base not in ("uint8", "uint16"):
        raise FrameError(f"{path}: holds {base} values, not 8- to 16-bit integers: convert it to 16-bit PNG or TIFF.")
    model = spec.get_string_attribute(f"{kind}:ColorSpace")
    if model in ("CMYK", "YCCK") or not 1 <= spec.nchannels <= 4 or spec.nchannels % 2 != (spec.alpha_channel < 0):
        what = model or f"{spec.nchannels} channels ({', '.join(spec.channelnames)})"
        raise FrameError(f"{path}: holds {what}: convert it to grey or RGB, with or without alpha.")
    if spec.get_int_attribute("tiff:PhotometricInterpretation") == _TIFF_PALETTE:
        # Its 16-bit entries are rounded on the way to 8 bits, and a code off by one is a broken promise.
        raise FrameError(f"{path}: holds a palette: convert it to RGB.")
    stored = spec.get_int_attribute("oiio:BitsPerSample")
    bits = 8 if base == "uint8" else stored if 8 < stored <= 16 else 16
    turn = spec.get_int_attribute("Orientation", 1)
    turn = turn if 1 <= turn <= 8 else 1
    if kind == "dpx" and turn != 1:
        raise FrameError(f"{path}: its header asks for a rotation or a flip: write it upright.")
    width, height = (spec.height, spec.width) if turn > 4 else (spec.width, spec.height)
    aspect = spec.get_float_attribute("PixelAspectRatio", 1.0)
    return FrameInfo(
        width,
        height,
        bits,
        spec.nchannels,
        kind,
        turn,
        aspect if aspect > 0 else 1.0,
        _rate(spec),
        _timecode(spec),
        spec.get_string_attribute("ICCProfile:profile_description") or None,
    )


def _rate(spec: Any) -> Fraction | None:
    """Frames per second out of a DPX header; unset fields hold 0, infinity or NaN."""
    for key in ("dpx:FrameRate", "dpx:TemporalFrameRate"):
        value = spec.get_float_attribute(key, 0.0)
        if 1 <= value <= 1000:
            try:
                return parse_fps(round(value, 4))
            except UsageError:
                return None
    return None


def _timecode(spec: Any) -> str | None:
    """SMPTE timecode out of a DPX header; unset is all ones, which no time of day is."""
    packed = spec.getattribute("smpte:TimeCode")
    return timecode_unpack(int(packed[0])) if packed else None


def _check_same(path: Path, info: FrameInfo, expect: FrameInfo) -> None:
    def words(i: FrameInfo) -> str:
        return f"{i.width}x{i.height} {i.bits}-bit {'with' if i.has_alpha else 'without'} alpha"

    if words(info) != words(expect):
        raise FrameError(
            f"{path}: is {words(info)}, but the shot began {words(expect)}: "
            "run the two parts one by one with --frames, or convert the frame."
        )


def _png_ends(stream: BinaryIO, size: int, *, whole: bool) -> bool:
    """Whether a PNG goes on to its first pixels or, when ``whole``, to the end mark.

    The decoder stops at the last pixel, so a file cut off inside the end mark would pass; and it writes about
    one cut off earlier to stderr, past our own message.
    """
    at = len(_PNG_SIGNATURE)
    while at + 12 <= size:
        stream.seek(at)
        head = stream.read(8)
        at += 12 + int.from_bytes(head[:4], "big")
        if head[4:] == b"IEND" or (head[4:] == b"IDAT" and not whole):
            return at <= size or not whole
    return False


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn (H, W, C) the way the EXIF orientation 1..8 asks for."""
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    # After the transpose of 5..8, each pair of numbers differs by the same flips as in 1..4.
    down = orientation in (3, 4, 7, 8)
    across = orientation in (2, 3, 6, 7)
    return pixels[:: -1 if down else 1, :: -1 if across else 1]


def _first_line(message: str) -> str:
    lines = message.strip().splitlines()
    return lines[0].strip().rstrip(".:") if lines else "no reason given"
