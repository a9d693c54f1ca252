"""Sequences for the tests of reports, written where a test wants them, and a reader of the pages that come out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seqhdr.media.exr import write_exr
from tests.conftest import picture, write_frame

Array = np.ndarray[Any, np.dtype[Any]]

#: Stops between neighbouring frames that alternate by 1 %.
ONE_PERCENT_STOPS = np.log2(1.01)


def write_exrs(
    folder: Path, frames: Iterable[int], pixels_of: Callable[[int], Array], *, name: str = "comp_", **header: Any
) -> str:
    """Write float16 or float32 (H, W, 3) pixels, or (H, W) as grey; returns the pattern."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame in frames:
        pixels = pixels_of(frame)
        channels = {"Y": pixels} if pixels.ndim == 2 else {"RGB": pixels}
        write_exr(folder / f"{name}{frame:04d}.exr", channels, overwrite=True, **header)
    return str(folder / f"{name}%04d.exr")


def write_codes(
    folder: Path, frames: Iterable[int], codes_of: Callable[[int], Array], *, name: str = "shot_", bits: int = 8
) -> str:
    """Write (H, W, 3) codes as PNG; returns the pattern."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame in frames:
        write_frame(folder / f"{name}{frame:04d}.png", codes_of(frame), bits)
    return str(folder / f"{name}%04d.png")


def source_values(frame: int, *, first: int = 1, size: tuple[int, int] = (64, 48)) -> Array:
    """Codes of :func:`tests.conftest.picture` as float32 0..1: what leaves every code as it is."""
    return (picture(frame - first, size=size) / 255).astype(np.float32)


def hills(size: tuple[int, int] = (256, 144), *, shift_px: float = 0.0, seed: int = 5) -> Array:
    """(H, W, 3) float32 light below 1 of smooth hills with fine texture; ``shift_px`` moves it to the left."""
    moved = np.array([[1, 0, shift_px + 8], [0, 1, 0]])
    stops = cv2.warpAffine(_terrain_stops(*size, seed), moved, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    return (2 ** stops.clip(-8, -0.1)[..., None] * np.array([1.0, 0.9, 0.8])).astype(np.float32)


@cache
def _terrain_stops(width: int, height: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    stops = np.full((height, width + 64), -4.0)
    for sigma_px, stops_rms in ((3, 0.15), (12, 0.35), (40, 1.0)):
        noise = cv2.GaussianBlur(rng.standard_normal(stops.shape), (0, 0), sigma_px)
        stops += stops_rms * noise / noise.std()
    return stops


def srgb_codes(rgb_lin: Array, bits: int) -> Array:
    """Light as sRGB codes (IEC 61966-2-1), rounded to nearest."""
    rgb_lin = rgb_lin.astype(np.float64)
    curve = np.where(rgb_lin <= 0.0031308, 12.92 * rgb_lin, 1.055 * rgb_lin.clip(1e-9) ** (1 / 2.4) - 0.055)
    return np.rint(curve.clip(0, 1) * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def srgb_light(codes: Array) -> Array:
    """Light of 8-bit sRGB codes."""
    values = codes / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def strict_json(path: Path) -> Any:
    """What a parser reads that knows neither NaN nor Infinity."""

    def refuse(word: str) -> None:
        raise ValueError(f"{path} holds {word}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


class Page(HTMLParser):
    """A page as a browser takes it apart.

    Attributes:
        elements: name and names of the attributes of every element, in order.
        attributes: of every element, by name.
        texts: of the elements that hold text themselves, by the name of the element.
    """

    _VOID = ("meta", "img", "link", "br", "input", "hr", "source")

    def __init__(self, path: Path) -> None:
        """Read a page."""
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.attributes.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self._VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that closes itself."""
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        """Note text."""
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)

    @property
    def ids(self) -> set[str]:
        """What a link can lead to."""
        return {attributes["id"] for _, attributes in self.attributes if "id" in attributes}

    @property
    def hrefs(self) -> list[str]:
        """Where links lead."""
        return [attributes["href"] for tag, attributes in self.attributes if tag == "a" and "href" in attributes]

    @property
    def sources(self) -> list[str]:
        """What images and scripts load."""
        return [attributes["src"] for _, attributes in self.attributes if "src" in attributes]

    @property
    def all_text(self) -> str:
        """What can be read, and scripts."""
        return "".join("".join(texts) for texts in self.texts.values())

    def text(self, tag: str) -> str:
        """All text directly inside elements of a name."""
        return "".join(self.texts.get(tag, ()))
