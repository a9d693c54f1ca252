"""How near a sequence comes to a known truth, frame after frame, with the source as it is (identity) beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.color.containers import HALF_MAX
from seqhdr.color.encodings import ColorEncoding, convert_linear, get_encoding
from seqhdr.quality import extra as extra_metrics
from seqhdr.quality.hdr import PU21_PEAK, delta_e_itp, pu21_luminance, tone_map
from seqhdr.quality.perceptual import SMALLEST_PX, PerceptualDistance, fit_within
from seqhdr.quality.ssim import ssim
from seqhdr.quality.strata import StrataScore, Table, psnr_db
from seqhdr.quality.truth_light import light_to_truth

__all__ = ["TONE_CURVE", "FrameTruth", "TruthMeter"]

#: What :func:`seqhdr.quality.hdr.tone_map` does, in a few words.
TONE_CURVE = "Reinhard 2002, L/(1+L), sRGB"

_LPIPS_LONGEST_PX = 512
# FLIP takes a second per picture even when reduced; unlike flicker, what it sees is no matter of single frames.
_FLIP_EVERY = 4
_STRATA_LABELS = {"flat": "flat areas", "late frames": "fourth frame on"}


@dataclass(frozen=True)
class FrameTruth:
    """One frame in decibels; see :meth:`TruthMeter.add`.

    Attributes:
        psnr_db: PSNR in the ACEScct curve, peak 1; with a source, of its channels that are not clipped. None if all
            are.
        identity_psnr_db: the same of the source as it is; None without one.
    """

    psnr_db: float | None
    identity_psnr_db: float | None


@dataclass(frozen=True)
class _Row:
    """A line of the table; where there is a ``peak``, what is averaged are mean squares, and shown is their PSNR."""

    label: str
    unit: str
    better: str
    peak: float | None = None


# In the order of the table.
_ROWS = {
    "log_psnr": _Row("PSNR, whole", "dB", "higher", peak=1.0),
    "log_ssim": _Row("SSIM, whole", "", "higher"),
    "lpips": _Row("LPIPS", "", "lower"),
    "pu21_psnr": _Row("PU21-PSNR, luminance", "dB", "higher", peak=PU21_PEAK),
    "pu21_ssim": _Row("PU21-SSIM, luminance", "", "higher"),
    "delta_e_itp": _Row("ΔE ITP, mean", "", "lower"),
    "tone_psnr": _Row("PSNR, tone-mapped", "dB", "higher", peak=1.0),
    "tone_ssim": _Row("SSIM, tone-mapped", "", "higher"),
    "flip": _Row("HDR-FLIP, mean", "", "lower"),
}


@dataclass(frozen=True)
class _Views:
    """A frame as the metrics see it: scene-linear Rec.709, the ACEScct curve, PU21 luminance, a display picture."""

    rgb_lin: Tensor
    rgb_log: Tensor
    luminance_pu21: Tensor
    rgb_display: Tensor


class TruthMeter:
    """Sums over the frames of a shot; memory does not depend on its length.

    Light is compared with light. Pixels that are not a number count as black, infinite ones as ±65504. PSNRs are those
    of the squares of all frames together, everything else is a mean over the frames.

    Args:
        encoding: what the source's codes mean; None without a source.
        half_width_lsb: w, of the source; channels with code + w at the largest code or above are clipped.
        bits: of the source's codes.
        lpips: measure LPIPS, on pictures in the ACEScct curve reduced to 512 pixels; pictures below 16 have none.
        extra: measure HDR-FLIP (every fourth frame) and ColorVideoVDP too, see :mod:`seqhdr.quality.extra`.
        frames_per_second: for ColorVideoVDP.

    Raises:
        UsageError: ``extra`` is asked for and a package is missing.
        ValueError: ``extra`` is asked for without a rate above 0.
    """

    def __init__(
        self,
        *,
        encoding: ColorEncoding | None,
        half_width_lsb: float = 0.5,
        bits: int = 8,
        lpips: PerceptualDistance | None = None,
        extra: bool = False,
        frames_per_second: float = 24.0,
    ) -> None:
        if extra:
            extra_metrics.require_all()
        self._encoding = encoding
        self._space = encoding or get_encoding("lin_rec709")
        self._half_width_lsb = half_width_lsb
        self._max_code = 2**bits - 1
        self._lpips = lpips
        self._extra = extra
        self._strata = StrataScore(max_code=self._max_code)
        self._frames = 0
        # Per picture, the result and identity: name of a row → how many frames, and their sum.
        self._sums: tuple[dict[str, tuple[int, float]], ...] = ({}, {}) if encoding else ({},)
        self._videos = [extra_metrics.VideoDifference(frames_per_second) for _ in self._sums] if extra else []

    @torch.no_grad()
    def add(
        self, index_in_segment: int, result_lin: Tensor, truth_lin: Tensor, codes: NDArray[Any] | None = None
    ) -> FrameTruth:
        """Count the next frame.

        Args:
            index_in_segment: 0 for the first frame after a cut.
            result_lin, truth_lin: (3, H, W) scene-linear in the primaries of the source's encoding; Rec.709 without a
                source.
            codes: (H, W, 3) whole numbers, the source's frame; given if and only if there is an encoding.

        Raises:
            ValueError: shapes differ, or codes are given without an encoding or the other way round.
        """
        if (codes is None) != (self._encoding is None):
            raise ValueError(f"got {'no ' if codes is None else ''}codes: expected them exactly with an encoding")
        shape = tuple(truth_lin.shape)
        shapes = [tuple(result_lin.shape), shape]
        if codes is not None:
            shapes.append((codes.shape[2], *codes.shape[:2]))
        if len(shape) != 3 or shape[0] != 3 or len(set(shapes)) > 1:
            raise ValueError(f"got frames of shapes {shapes}: expected one shape (3, H, W)")
        result_lin, truth_lin = (
            torch.nan_to_num(light.detach().cpu().float(), nan=0.0, posinf=HALF_MAX, neginf=-HALF_MAX)
            for light in (result_lin, truth_lin)
        )
        pictures, truth = [self._views(result_lin)], self._views(truth_lin)
        psnrs: list[float | None] = [None, None]
        if codes is not None:
            exact = torch.from_numpy(np.ascontiguousarray(codes.transpose(2, 0, 1)).astype(np.float64))
            pictures.append(self._views(self._space.decode(exact / self._max_code).float()))
            psnrs = self._add_strata(index_in_segment, exact, result_lin, truth_lin)
        for sums, picture in zip(self._sums, pictures, strict=True):
            numbers = self._measure(picture, truth)
            if codes is None:
                psnrs[0] = psnr_db(numbers["log_psnr"])
            for name, number in numbers.items():
                frames, total = sums.get(name, (0, 0.0))
                sums[name] = frames + 1, total + number
        for video, picture in zip(self._videos, pictures, strict=False):
            video.add(picture.rgb_lin, truth.rgb_lin)
        self._frames += 1
        return FrameTruth(*psnrs)

    def _views(self, light: Tensor) -> _Views:
        rgb_lin = convert_linear(light, self._space, get_encoding("lin_rec709"))
        # Channel by channel, as in the strata: the primaries stay as they are.
        return _Views(rgb_lin, get_encoding("acescct").encode(light), pu21_luminance(rgb_lin), tone_map(rgb_lin))

    def _add_strata(self, index: int, codes: Tensor, result_lin: Tensor, truth_lin: Tensor) -> list[float | None]:
        (value, gain), (truth_value, truth_gain) = (
            light_to_truth(light.double(), self._space, self._max_code) for light in (result_lin, truth_lin)
        )
        frame = StrataScore(max_code=self._max_code)
        frame.add_frame(index, codes, truth_value, truth_gain, value - codes, gain, self._space, self._half_width_lsb)
        self._strata.merge(frame)
        whole = frame.table().get("whole", {})
        return [whole.get("psnr_db"), whole.get("identity_psnr_db")]

    def _measure(self, picture: _Views, truth: _Views) -> dict[str, float]:
        numbers: dict[str, float | None] = {
            "pu21_ssim": ssim(picture.luminance_pu21, truth.luminance_pu21, PU21_PEAK),
            "tone_ssim": ssim(picture.rgb_display, truth.rgb_display, 1.0),
            "pu21_psnr": _mean_square(picture.luminance_pu21, truth.luminance_pu21),
            "tone_psnr": _mean_square(picture.rgb_display, truth.rgb_display),
            "delta_e_itp": float(delta_e_itp(picture.rgb_lin, truth.rgb_lin).double().mean()),
        }
        small = [fit_within(view.rgb_log, _LPIPS_LONGEST_PX) for view in (picture, truth)]
        if self._lpips is not None and min(small[0].shape[1:]) >= SMALLEST_PX:
            numbers["lpips"] = float(self._lpips(*(view[None] for view in small)))
        if self._extra and self._frames % _FLIP_EVERY == 0:
            numbers["flip"] = extra_metrics.hdr_flip(picture.rgb_lin, truth.rgb_lin)
        if self._encoding is None:  # nothing is known to be clipped: all pixels; else the strata say it
            numbers["log_psnr"] = _mean_square(picture.rgb_log, truth.rgb_log)
            numbers["log_ssim"] = ssim(picture.rgb_log, truth.rgb_log, 1.0)
        return {name: number for name, number in numbers.items() if number is not None}

    def table(self) -> Table:
        """The strata, see :meth:`seqhdr.quality.strata.StrataScore.table`; empty without a source."""
        return self._strata.table()

    def rows(self) -> list[dict[str, Any]]:
        """One line per number: ``label``, ``unit``, ``result``, ``identity``, and which is ``better``.

        ``better`` is ``higher`` or ``lower``; ``identity`` is None without a source. Numbers that could not be measured
        have no line.
        """
        rows = _strata_rows(self.table())
        for name, row in _ROWS.items():
            if name in self._sums[0]:
                shown = [_shown(*sums[name], row.peak) for sums in self._sums]
                rows.append(_line(row.label, row.unit, row.better, *shown))
        jods = [video.jod() for video in self._videos]
        if jods and jods[0] is not None:
            rows.append(_line("ColorVideoVDP", "JOD", "higher", *jods))
        return rows


def _line(label: str, unit: str, better: str, result: float | None, identity: float | None = None) -> dict[str, Any]:
    return {"label": label, "unit": unit, "result": result, "identity": identity, "better": better}


def _shown(frames: int, total: float, peak: float | None) -> float:
    mean = total / frames
    return mean if peak is None else psnr_db(mean / peak**2)


def _mean_square(a: Tensor, b: Tensor) -> float:
    return float((a - b).double().square().mean())


def _strata_rows(table: Table) -> list[dict[str, Any]]:
    rows = []
    for kind, title in (("", "PSNR"), ("_codes", "PSNR of the codes")):
        for stratum, row in table.items():
            if f"psnr{kind}_db" in row:
                label = f"{title}, {_STRATA_LABELS.get(stratum, stratum)}"
                rows.append(_line(label, "dB", "higher", row[f"psnr{kind}_db"], row[f"identity_psnr{kind}_db"]))
    if "ssim" in table.get("whole", {}):
        rows.append(_line("SSIM, whole", "", "higher", table["whole"]["ssim"], table["whole"]["identity_ssim"]))
    if "clipped" in table:
        row = table["clipped"]
        rows.append(_line("clipped, log2 RMSE", "stop", "lower", row["rmse_stops"], row["identity_rmse_stops"]))
        # Its size only, so that less is better; the table has its sign.
        sizes = (abs(row["bias_stops"]), abs(row["identity_bias_stops"]))
        rows.append(_line("clipped, bias (size)", "stop", "lower", *sizes))
    return rows
