"""What all frames of a deflicker have in common: where they are, what they mean, where and how they are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.bins import clip_mask
from seqhdr.color.encodings import get_encoding
from seqhdr.errors import FrameError, OutputExistsError, UsageError
from seqhdr.media.exr import write_exr
from seqhdr.media.frames import read_frame
from seqhdr.media.shot import find_shot
from seqhdr.pipeline.deflicker_frames import (
    LayeredFrame,
    SourceBins,
    apply_gain,
    kept_header,
    own_compression,
    read_layers,
)
from seqhdr.pipeline.deflicker_options import DeflickerOptions
from seqhdr.pipeline.deflicker_small import SmallPicture, small_picture
from seqhdr.pipeline.footage import Footage, StoredFrame, partner
from seqhdr.pipeline.input_curve import check_header_curve, load_input_curve
from seqhdr.pipeline.shots import Event
from seqhdr.pipeline.verify import asked_half_width

__all__ = ["DeflickerWork"]


class DeflickerWork:
    """What all frames of a shot have in common: where they are read, what they mean, where they go."""

    def __init__(self, footage: Footage, options: DeflickerOptions, settings: str | None) -> None:
        self.footage, self.options, self.shot = footage, options, footage.shot
        self._settings = settings
        self.source = None if options.source is None else find_shot(options.source, missing="split")
        self._curve = load_input_curve(options.input_curve)
        # An EXR whose encoding is a guess is not given a tag; one made of integers would be taken for linear.
        self._tagged = not footage.assumed or footage.first.max_code is not None
        token = f"%0{self.shot.padding}d" if self.shot.padding > 1 else "%d"
        self.pattern = str(options.output / f"{self._base}{token}.exr")

    @property
    def _base(self) -> str:
        # What stands between number and extension (shot.0001.left.exr) goes before the number.
        middle = self.shot.extension.rpartition(".")[0].strip("._- ")
        return f"{self.shot.basename}{middle}." if middle else self.shot.basename or f"{self.shot.name}."

    def path(self, frame: int) -> Path:
        """Where a frame is written."""
        return self.options.output / f"{self._base}{self.shot.number(frame)}.exr"

    def refuse(self, wanted: Collection[int]) -> None:
        """Stop before anything is read where frames would be lost; make the folder."""
        folder = self.options.output
        if folder.exists() and folder.resolve() == self.shot.directory.resolve():
            raise OutputExistsError(f"{folder}: holds the frames themselves: give another -o")
        existing = [frame for frame in sorted(wanted) if self.path(frame).exists()]
        if existing and not self.options.overwrite:
            more = f" with {len(existing) - 1} more" if len(existing) > 1 else ""
            raise OutputExistsError(f"{self.path(existing[0])}: exists already{more}; use --overwrite or another -o")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder}: cannot become the output folder ({error.strerror}): give another -o") from None

    def announce(self, pattern: str, on_event: Callable[[Event], None]) -> None:
        """Say what will be done. Every frame counts twice, since it is measured and then written."""
        footage, count = self.footage, len(self.shot.frames)
        space = f"{footage.encoding.name}{' (assumed)' if footage.assumed else ''}"
        size = f"{footage.width}x{footage.height}"
        held = "in the bins of the source" if self.source is not None else "not bounded"
        message = f"{pattern}: {count} frames, {size}, {space}, deflicker {self.options.method}, {held}"
        data = {"frames": list(self.shot.frames), "of": 2 * count, "space": footage.encoding.name}
        on_event(Event("shot", pattern, message, data | {"method": self.options.method}))
        if self.shot.missing:
            message = f"{len(self.shot.missing)} frames are missing; what follows a gap starts afresh"
            on_event(Event("warning", pattern, message, {"missing": list(self.shot.missing)}))
        if (self.options.compression or "") in ("dwaa", "dwab"):
            message = f"{self.options.compression} is lossy: it puts bands back; use zip or pxr24"
            on_event(Event("warning", pattern, message, {}))

    def small(self, frame: int) -> SmallPicture:
        """A frame, read and made small."""
        stored = self.footage.read(frame)
        return small_picture(self.footage.stops(stored.pixels), self._unusable(frame, stored))

    def bins(self, frame: int, stored: StoredFrame) -> SourceBins | None:
        """The bins of a frame's source; None where there is none, or it bounds nothing."""
        if self.source is None:
            return None
        number = partner(Footage(self.source, self.footage.encoding, False, stored), frame, stored, "--source")
        original = read_frame(self.source.path(number))
        if original.codes.shape[:2] != stored.pixels.shape[:2]:
            mine, its = stored.pixels.shape, original.codes.shape
            raise FrameError(f"{stored.path}: is {mine[1]}x{mine[0]}, its source {its[1]}x{its[0]}: check --source")
        width = self._half_width(stored)
        if math.isinf(width):
            return None
        name = self.options.source_space or str(stored.attributes.get("seqhdr:input_space", "srgb"))
        check_header_curve(stored.attributes, self._curve, stored.path)
        space = get_encoding(name, self.options.ocio)
        encoding = space if self._curve is None else self._curve.on(space)
        codes = torch.from_numpy(original.codes.astype(np.float32)).permute(2, 0, 1).contiguous()
        return SourceBins(codes, width, 2**original.bits - 1, encoding, space.name)

    def write(self, frame: int, gain_stops: NDArray[np.float32] | None) -> int:
        """Read a frame again with all its layers, and write it with its gains; returns its number."""
        layered = read_layers(self.shot.path(frame))
        attributes = dict(layered.info.attributes) if layered.info is not None else {}
        stored = StoredFrame(self.shot.path(frame), layered.pixels, layered.max_code, "", attributes)
        bins = self.bins(frame, stored)
        compression = self.options.compression or own_compression(layered)
        dtype = self._dtype(layered)
        pixels = apply_gain(
            layered, gain_stops, self.footage.encoding, bins, dtype, float24=compression == "pxr24"
        )  # fmt: skip
        own: dict[str, Any] = {"seqhdr:deflicker": self.options.method}
        own["seqhdr:settings"] = self._settings or self.options.settings(str(attributes.get("seqhdr:settings", "")))
        if bins is not None:
            own["seqhdr:half_width"] = bins.half_width_lsb
            own["seqhdr:bins"] = self.options.bins or str(attributes.get("seqhdr:bins", "strict"))
            own["seqhdr:input_space"] = bins.space
            own |= self._curve.attributes if self._curve is not None else {}
        elif "seqhdr:bins" in attributes:
            # Of all frames alike, also of those that did not change: a shot makes one promise.
            own |= {"seqhdr:bins": "off", "seqhdr:half_width": -1.0}
            own["seqhdr:bins_reason"] = "deflickered without --source"
        write_exr(
            self.path(frame),
            _channels(layered, pixels),
            compression=compression,
            overwrite=True,
            **kept_header(layered, self.footage.encoding if self._tagged else None, own),
        )
        return frame

    def _dtype(self, layered: LayeredFrame) -> type[np.floating[Any]]:
        if self.options.bit_depth is not None:
            return np.float16 if self.options.bit_depth == "half" else np.float32
        return np.float32 if layered.pixels.dtype == np.float32 else np.float16

    def _half_width(self, stored: StoredFrame) -> float:
        if self.options.bins is not None:
            return asked_half_width(self.options.bins)
        claimed = float(stored.attributes.get("seqhdr:half_width", 0.5))
        return claimed if claimed >= 0 else math.inf

    def _unusable(self, frame: int, stored: StoredFrame) -> Tensor | None:
        if stored.max_code is not None:
            return torch.from_numpy(stored.pixels >= stored.max_code).permute(2, 0, 1)
        bad = torch.from_numpy(~np.isfinite(stored.pixels)).permute(2, 0, 1)
        bins = self.bins(frame, stored)
        return bad if bins is None else bad | clip_mask(bins.codes, bins.half_width_lsb, bins.max_code)


def _channels(layered: LayeredFrame, pixels: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """All layers of the file in its own order, the picture replaced."""
    picture = {name: np.ascontiguousarray(pixels[..., index]) for index, name in enumerate(layered.picture)}
    if layered.max_code is not None:
        return picture | {name: plane.astype(pixels.dtype) for name, plane in layered.layers.items()}
    return {name: picture.get(name, plane) for name, plane in layered.layers.items()}
