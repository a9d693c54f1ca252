"""Measure one shot from its files, frame by frame, in memory that does not depend on its length."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.bins import BinAudit, merge
from seqhdr.color.encodings import convert_linear, get_encoding, primaries_matrix
from seqhdr.media.cuts import parse_cuts
from seqhdr.media.threads import read_ahead
from seqhdr.pipeline.fidelity import bin_numbers, picked, stored_numbers
from seqhdr.pipeline.footage import Footage, StoredFrame
from seqhdr.pipeline.material import Frames, Material, read_frames, rec709_light
from seqhdr.pipeline.reference_flow import ReferenceFlow, display_exposure, display_picture, flow_size, small_light
from seqhdr.quality.flicker import FlickerMeter, FrameFlicker, colour_jitter, exposure_jitter
from seqhdr.quality.lattice import Picture
from seqhdr.quality.levelling import exposure_step
from seqhdr.quality.levels import FrameLevels, frame_levels
from seqhdr.quality.light_range import FrameRange
from seqhdr.quality.perceptual import fit_within, temporal_lpips
from seqhdr.quality.temporal_std import StdSummary
from seqhdr.quality.thumbnails import thumbnail
from seqhdr.quality.truth import TruthMeter

__all__ = ["Measured", "measure_shot"]

Row = dict[str, Any]

_CONTACTS = 24
_THUMB_PX = 200
# Heat maps kept while the shot goes by: of the frames that flicker most, and of those that flicker most over the
# source; more than are shown, since a frame may be shown for something else.
_HEATS = 4
# With less of a frame to be seen, it says nothing of the rest.
_SEEN_SHARE = 0.1


@dataclass
class Measured:
    """Everything that was found out about a shot; rows are added frame by frame.

    Attributes:
        rows: per frame, as ``frames`` of a report.
        std: temporal standard deviations, once all frames are in.
        audit: of the bins, at the lattice; None without a source, or where no bound is claimed.
        heats: (h, w) residuals in stops of the frames that flicker most.
        thumbnails: frame and JPEG, evenly spaced.
        cuts: frames that start a new shot.
        accuracy: rows against the truth; empty without one.
        ranges: of light, per frame.
        gains: channels that are clipped, and the sum of their stops.
    """

    rows: list[Row] = field(default_factory=list)
    std: StdSummary | None = None
    audit: BinAudit | None = None
    heats: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    thumbnails: list[tuple[int, bytes]] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    accuracy: list[Row] = field(default_factory=list)
    ranges: list[FrameRange] = field(default_factory=list)
    gains: tuple[int, float] = (0, 0.0)


def measure_shot(material: Material, on_frame: Callable[[int, int], None] = lambda done, of: None) -> Measured:
    """Measure every frame of a shot.

    Args:
        material: the sequences.
        on_frame: told how many frames are done, of how many.

    Raises:
        FrameError: a frame is missing, damaged, or of another size.
        ShotError: the source or the truth lacks a frame.
        UsageError: cuts outside the shot, or a metric whose package is missing.
    """
    total = len(material.result.shot.frames)
    with ThreadPoolExecutor(1, thread_name_prefix="fidelity") as beside:
        meter = _ShotMeter(material, beside)
        for number, starts, frames in read_ahead(_read(material)):
            meter.add(number, starts, frames)
            on_frame(len(meter.measured.rows), total)
    return meter.finish()


def _read(material: Material) -> Iterator[tuple[int, bool, Frames]]:
    for segment in material.result.shot.segments:
        for number in segment:
            yield number, number == segment[0], read_frames(material, number)


class _ShotMeter:
    """What has to be remembered from frame to frame."""

    def __init__(self, material: Material, beside: Executor) -> None:
        self._material = material
        self.measured = Measured()
        result, common = material.result, material.common
        self._reference = material.against or "result"
        self._cuts = parse_cuts(material.cuts, result.shot.available, bits=_bits(common))
        self._shown_as = material.source.encoding if material.source else None
        self._flow = ReferenceFlow(result.height, result.width, self._shown_as)
        self._before: Picture | None = None
        self._blank: set[str] = set()
        self._beside = beside
        self._flow_size = flow_size(result.height, result.width)
        self._flicker = FlickerMeter(material.lattice)
        self._to_common = {
            name: None
            if footage.encoding.primaries == common.encoding.primaries
            else primaries_matrix(footage.encoding, common.encoding).float()
            for name, footage in material.sequences.items()
        }
        self._audits: list[BinAudit] = []
        self._exposures: dict[str, list[Any]] = {name: [] for name in material.sequences}
        self._colours: dict[str, list[Any]] = {name: [] for name in material.sequences}
        self._heats: dict[str, list[tuple[float, int, NDArray[np.float32]]]] = {}
        frames = result.shot.frames
        count = min(_CONTACTS, len(frames))
        self._contacts = {frames[i * (len(frames) - 1) // max(count - 1, 1)] for i in range(count)}
        self._since_cut = 0
        self._lpips_before: dict[str, Tensor] = {}
        self._truth = self._truth_meter()

    def _truth_meter(self) -> TruthMeter | None:
        material = self._material
        if material.truth is None:
            return None
        source = material.source
        return TruthMeter(
            encoding=source.encoding if source else None,
            half_width_lsb=material.half_width_lsb,
            bits=_bits(source) if source else 8,
            lpips=material.lpips,
            extra=material.extra,
            frames_per_second=material.frames_per_second,
        )

    def add(self, number: int, starts: bool, frames: Frames) -> None:
        """Measure the next frame."""
        material = self._material
        # The second core counts levels, and later bins and bands, which share nothing with the motion.
        counting = self._beside.submit(self._levels, frames)
        stops = {name: footage.stops(frames[name].pixels) for name, footage in material.sequences.items()}
        small = {name: small_light(stops[name], self._flow_size, self._to_common[name]) for name in stops}
        starts = self._starts(number, frames, small, starts=starts)
        levels = counting.result()
        pictures = {
            name: Picture(stops[name], self._to_common[name], self._usable(name, frames[name], levels[name]))
            for name in stops
        }
        compared = "truth" if material.truth else "source" if material.source else None
        reference, before = pictures[self._reference], self._before
        self._before = reference
        step = None if starts or before is None else exposure_step(reference, before, material.lattice)
        fidelity = self._beside.submit(self._fidelity, number, frames, levels)
        motion, tof_px = self._flow.step(small, self._reference, compared, step)
        quantum_stops = material.sequences[self._reference].quantum(
            picked(frames[self._reference].pixels, material.lattice)
        )
        flicker = self._flicker.add(pictures, self._reference, motion, quantum_stops)
        row: Row = {"frame": number, "starts_segment": starts, "blind": self._blind(pictures, flicker)}
        row |= self._flicker_numbers(number, flicker)
        row |= {"tof_px": tof_px, "tlp": self._tlp(frames, compared, starts=starts)}
        row |= fidelity.result()
        row |= self._accuracy(frames)
        self.measured.rows.append(row)
        if number in self._contacts:
            self.measured.thumbnails.append((number, self._thumbnail(frames["result"])))

    def _blind(self, pictures: dict[str, Picture], flicker: FrameFlicker | None) -> bool:
        """Whether flicker cannot be seen because the result alone is clipped or not a number almost all over."""
        masks = {name: picture.usable for name, picture in pictures.items() if picture.usable is not None}
        blank = {name for name, mask in masks.items() if float(mask.float().mean()) < _SEEN_SHARE}
        before, self._blank = self._blank, blank
        blank = before | blank
        if flicker is None or "result" not in blank:
            return False
        return self._reference == "result" or self._reference not in blank

    def _levels(self, frames: Frames) -> dict[str, FrameLevels]:
        return {name: frame_levels(frames[name].pixels, f.light_of) for name, f in self._material.sequences.items()}

    def _starts(self, number: int, frames: Frames, small: dict[str, Tensor], *, starts: bool) -> bool:
        """Whether a frame has none before it: at the start of a segment, and after a cut."""
        looked_at = frames[self._reference].pixels
        if looked_at.dtype.kind == "f":
            light = small[self._reference]
            shown = display_picture(light, self._shown_as, display_exposure(light))[0]
            looked_at = (shown.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        # Asked of every frame: the detector compares neighbours.
        cut = self._cuts.is_cut(number, looked_at)
        if cut and not starts:
            self.measured.cuts.append(number)
        self._since_cut = 0 if starts or cut else self._since_cut + 1
        return starts or cut

    def _usable(self, name: str, frame: StoredFrame, levels: FrameLevels) -> Tensor | None:
        """(H, W) bool, where all channels are finite and none is clipped; None where that is everywhere."""
        pixels = frame.pixels
        if frame.max_code is not None:
            source = name == "source"
            reach = self._material.half_width_lsb if source and math.isfinite(self._material.half_width_lsb) else 0.5
            below = np.array([c.values.max() if len(c.values) else 0 for c in levels.channels]) + reach < frame.max_code
            if below.all():
                return None
            limit = math.ceil(frame.max_code - reach)
            red, green, blue = (channel.plane < limit for channel in levels.channels)
            return torch.from_numpy(red & green & blue)
        if not any(channel.nan_count or channel.inf_count for channel in levels.channels):
            return None
        return torch.from_numpy(np.isfinite(pixels).all(axis=2))

    def _flicker_numbers(self, number: int, flicker: FrameFlicker | None) -> Row:
        row: Row = {"counted_share": flicker.counted_share if flicker else None}
        for name in self._exposures:
            one = flicker.by_name.get(name) if flicker else None
            prefix = "" if name == "result" else f"{name}_"
            row[f"{prefix}flicker_stops"] = one.flicker_stops if one else None
            row[f"{prefix}exposure_stops"] = one.exposure_stops if one else None
            self._exposures[name].append(one.exposure_stops if one else None)
            self._colours[name].append(one.colour_stops if one else None)
        row["excess_flicker_stops"] = _excess(row, "flicker_stops", self._material.against)
        for key in ("flicker_stops", "excess_flicker_stops"):
            heats = self._heats.setdefault(key, [])
            if flicker is not None and row[key] is not None:
                heapq.heappush(heats, (row[key], number, flicker.heat_stops))
                if len(heats) > _HEATS:
                    heapq.heappop(heats)
        return row

    def _fidelity(self, number: int, frames: Frames, levels: dict[str, FrameLevels]) -> Row:
        row, extent = stored_numbers(levels, self._reference)
        self.measured.ranges.append(extent)
        found = bin_numbers(number, frames, self._material)
        if found is None:
            return row | dict.fromkeys(("inside_share", "exact_share", "clipped_share", "gain_max_stops"))
        count, stops = self.measured.gains
        self.measured.gains = count + found.clipped, stops + found.gain_stops
        if found.audit is not None:
            self._audits.append(found.audit)
        return row | found.row

    def _tlp(self, frames: Frames, compared: str | None, *, starts: bool) -> float | None:
        distance = self._material.lpips
        if distance is None or compared is None:
            return None
        sequences, log = self._material.sequences, get_encoding("acescct")
        before, self._lpips_before = self._lpips_before, {}
        for name in ("result", compared):
            rgb_log = log.encode(rec709_light(sequences[name], frames[name].pixels))
            self._lpips_before[name] = fit_within(rgb_log, 512)
        if starts or not before:
            return None
        pairs = [(before[name], self._lpips_before[name]) for name in ("result", compared)]
        with torch.inference_mode():
            return temporal_lpips(distance, *pairs[0], *pairs[1])

    def _accuracy(self, frames: Frames) -> Row:
        truth = self._material.truth
        if self._truth is None or truth is None:
            return {"psnr_db": None, "identity_psnr_db": None}
        source = self._material.source
        space = source.encoding if source else get_encoding("lin_rec709")
        ours, ideal = (
            convert_linear(footage.light(frames[name].pixels), footage.encoding, space)
            for name, footage in (("result", self._material.result), ("truth", truth))
        )
        score = self._truth.add(self._since_cut, ours, ideal, frames["source"].pixels if source else None)
        return {"psnr_db": score.psnr_db, "identity_psnr_db": score.identity_psnr_db}

    def _thumbnail(self, frame: StoredFrame) -> bytes:
        step = max(1, frame.pixels.shape[1] // (2 * _THUMB_PX))
        light = rec709_light(self._material.result, np.ascontiguousarray(frame.pixels[::step, ::step]))
        return thumbnail(light.permute(1, 2, 0).numpy(), _THUMB_PX)

    def finish(self) -> Measured:
        """Everything that only the whole shot tells."""
        found, against = self.measured, self._material.against
        for name in self._exposures:
            prefix = "" if name == "result" else f"{name}_"
            jitters = exposure_jitter(self._exposures[name]), colour_jitter(self._colours[name])
            for row, exposure, colour in zip(found.rows, *jitters, strict=True):
                row[f"{prefix}jitter_stops"], row[f"{prefix}colour_jitter_stops"] = exposure, colour
        for row in found.rows:
            row["excess_jitter_stops"] = _excess(row, "jitter_stops", against)
        found.std = self._flicker.finish()
        found.audit = merge(self._audits) if self._audits else None
        found.heats = {number: heat for heats in self._heats.values() for _, number, heat in heats}
        found.accuracy = self._truth.rows() if self._truth else []
        return found


def _bits(footage: Footage) -> int:
    return int(footage.first.max_code or 255).bit_length()


def _excess(row: Row, key: str, against: str | None) -> float | None:
    mine, its = row[key], row[f"{against}_{key}"] if against else None
    return mine - its if mine is not None and its is not None else None
