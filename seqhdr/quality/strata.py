"""How far predictions are from the truth, stratum by stratum, with identity (the codes as they are) beside them.

One number over everything says nothing: rounding to 8 bits alone gives 10·log10(12·255²) = 58.92 dB, and flat
areas, texture, clipped channels and the warmth of the memory pull it in different directions. So each is counted
apart. Channels that are not clipped are compared in the ACEScct curve, clipped ones in stops.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seqhdr.color.bins import clip_mask
from seqhdr.color.encodings import ColorEncoding, get_encoding, same_curve
from seqhdr.quality.ssim import SSIM_WINDOW, ssim

__all__ = [
    "PERFECT_DB",
    "STRATA",
    "StrataScore",
    "StratumRow",
    "Table",
    "flat_mask",
    "psnr_db",
    "strata_rows",
    "worst_scene",
]

#: PSNR of what has no error at all, instead of infinity, which JSON cannot hold. float32 rounds at about 150 dB.
PERFECT_DB = 200.0
#: All strata, in the order of a table.
STRATA = ("whole", "flat", "texture", "first frame", "frames 2-3", "late frames", "clipped")

#: Stratum → name of a number → the number; see :meth:`StrataScore.table`.
Table = dict[str, dict[str, float]]

_MAX_CODE_8BIT = 255
_LATE = 3  # frames from this index on: the memory is warm


def flat_mask(codes: Tensor, spread_lsb: float = 1.0) -> Tensor:
    """Where no channel's codes differ by more than ``spread_lsb`` within 7×7 pixels; at borders the window is cut.

    Args:
        codes: (B, 3, H, W) float, whole numbers.
        spread_lsb: largest difference, in codes.

    Returns:
        (B, 1, H, W) bool.
    """
    return (_largest_7x7(codes) + _largest_7x7(-codes) <= spread_lsb).all(dim=1, keepdim=True)


def _largest_7x7(image: Tensor) -> Tensor:
    # Axis by axis, by shifts that reach 2, 4, then 7 pixels: forty times as fast as torch's pooling on a CPU.
    for axis, pad in ((-1, (3, 3)), (-2, (0, 0, 3, 3))):
        image = F.pad(image, pad, value=-math.inf)
        for step in (1, 2, 3):
            length = image.shape[axis] - step
            image = torch.maximum(image.narrow(axis, 0, length), image.narrow(axis, step, length))
    return image


class StrataScore:
    """Sums of errors by stratum, frame after frame; scores of parts add up to the score of the whole.

    Args:
        with_ssim: measure SSIM too.
        max_code: the largest code of the sources. What counts as flat stays 1/255 of the range.
    """

    def __init__(self, *, with_ssim: bool = True, max_code: int = _MAX_CODE_8BIT) -> None:
        self._with_ssim = with_ssim
        self._max_code = max_code
        # Per stratum, in float64 on the CPU. Unclipped: count, squares of the log error of the model and of identity,
        # and the same three for codes of compressed sources. Clipped: count, squares in stops of the model and of
        # identity, sums in stops of the model and of identity.
        self._sums = {name: torch.zeros(5 if name == "clipped" else 6, dtype=torch.float64) for name in STRATA}
        self._channels = 0
        self._ssim = torch.zeros(3, dtype=torch.float64)  # frames, sums of the model's and of identity's

    def add_frame(
        self,
        index: int,
        codes: Tensor,
        value_lsb: Tensor,
        gain_stops: Tensor,
        prediction_offset_lsb: Tensor,
        prediction_gain_stops: Tensor,
        encoding: ColorEncoding,
        half_width_lsb: float,
    ) -> None:
        """Count one frame of a shot. All tensors are (3, H, W) or (1, 3, H, W), on any device.

        Args:
            index: 0 for the first frame after a cut.
            codes: whole numbers, 0 to the largest code.
            value_lsb: the truth in codes, not cut off at either end; where a channel is not clipped it counts up to the
                top of the range, half a code below the largest.
            gain_stops: the truth in stops above the top of the range.
            prediction_offset_lsb: what the model adds to each code.
            prediction_gain_stops: the model's stops above the top of the range.
            encoding: what the codes mean.
            half_width_lsb: w; channels with code + w ≥ the largest code are clipped.

        Raises:
            ValueError: the shapes differ.
        """
        frame = (codes, value_lsb, gain_stops, prediction_offset_lsb, prediction_gain_stops)
        shape = codes.shape[-3:]
        if any(tensor.shape[-3:] != shape or tensor.numel() != shape.numel() for tensor in frame):
            raise ValueError(f"got frames of shapes {[tuple(t.shape) for t in frame]}: expected one shape (3, H, W)")
        # In double precision: a log curve in float32 would add errors of its own near the top of what is measured.
        here, truth, stops, offset, gain = (tensor.detach().cpu().double().reshape(shape) for tensor in frame)
        clipped = clip_mask(here, half_width_lsb, self._max_code)
        # Around lamps a lossy codec says 250 where the truth is far above the range. That no code could say; without
        # a ceiling such an error would outweigh all others.
        truth = torch.where(clipped, truth, truth.clamp_max(self._max_code - 0.5))
        target, identity, ours = (_to_log(value / self._max_code, encoding) for value in (truth, here, here + offset))
        errors = [ours - target, identity - target]
        if half_width_lsb > 0.5:
            errors += [here + offset - truth, here - truth]

        flat = flat_mask(here.float()[None], self._max_code / _MAX_CODE_8BIT)[0].expand_as(clipped)
        time = "first frame" if index == 0 else "late frames" if index >= _LATE else "frames 2-3"
        known = ~clipped
        for name, mask in (("flat", known & flat), ("texture", known & ~flat)):
            count, chosen = mask.sum().double(), mask.flatten().nonzero().squeeze(1)
            sums = [row.flatten()[chosen].square().sum() for row in errors]
            counted = torch.stack([count, *sums[:2], *([count, *sums[2:]] if len(sums) > 2 else [])])
            for stratum in ("whole", name, time):
                self._sums[stratum][: len(counted)] += counted
        beyond, above = (gain - stops)[clipped], -stops[clipped]
        numbers = (clipped.sum(), beyond.square().sum(), above.square().sum(), beyond.sum(), above.sum())
        self._sums["clipped"] += torch.stack([number.double() for number in numbers])
        self._channels += clipped.numel()

        if self._with_ssim and min(clipped.shape[1:]) >= SSIM_WINDOW and known.any():
            # Clipped channels show the truth in both, so that highlights do not decide.
            seen = (torch.where(clipped, target, picture) for picture in (ours, identity))
            alike = [ssim(picture, target, data_range=1.0) for picture in seen]
            self._ssim += torch.tensor([1.0, *alike], dtype=torch.float64)

    def merge(self, other: StrataScore) -> None:
        """Add what another score has counted."""
        for name, sums in other._sums.items():
            self._sums[name] += sums
        self._channels += other._channels
        self._ssim += other._ssim

    def table(self) -> Table:
        """The numbers of each stratum that has any channels, in the order of :data:`STRATA`.

        Every stratum has ``share``, the share of all channels of all frames that it holds. Unclipped strata have
        ``psnr_db``, ``identity_psnr_db`` and ``gain_db``: PSNR with peak 1 in the ACEScct curve. Where there were
        compressed sources (w > ½), ``psnr_codes_db``, ``identity_psnr_codes_db`` and ``gain_codes_db`` are the same
        for their codes, with the largest code as the peak. ``clipped`` has ``rmse_stops`` and ``bias_stops``,
        prediction minus truth, and ``identity_…`` of both, whose prediction is 0 stops. ``whole`` has ``ssim`` and
        ``identity_ssim``, means over the frames, if they were measured; frames below 11 pixels have none.

        A PSNR is at most :data:`PERFECT_DB`. A prediction that is not a number makes its stratum's numbers NaN.
        """
        out: Table = {}
        for name in STRATA:
            count, *sums = self._sums[name].tolist()
            if count == 0:
                continue
            row = {"share": count / self._channels}
            if name == "clipped":
                row |= {"rmse_stops": math.sqrt(sums[0] / count), "identity_rmse_stops": math.sqrt(sums[1] / count)}
                row |= {"bias_stops": sums[2] / count, "identity_bias_stops": sums[3] / count}
            else:
                row |= _decibels("", count, sums[0], sums[1], peak=1)
                if sums[2] > 0:
                    row |= _decibels("_codes", sums[2], sums[3], sums[4], peak=self._max_code)
            out[name] = row
        frames, ours, identity = self._ssim.tolist()
        if frames:
            out["whole"] |= {"ssim": ours / frames, "identity_ssim": identity / frames}
        return out


def _to_log(value: Tensor, encoding: ColorEncoding) -> Tensor:
    """Values V = code / largest code → the ACEScct curve, channel by channel: the primaries stay as they are."""
    log = get_encoding("acescct")
    return value if same_curve(encoding, log) else log.encode(encoding.decode(value))


def _decibels(kind: str, count: float, ours: float, identity: float, peak: float) -> dict[str, float]:
    mine, its = (psnr_db(squares / count / peak**2) for squares in (ours, identity))
    return {f"psnr{kind}_db": mine, f"identity_psnr{kind}_db": its, f"gain{kind}_db": mine - its}


def psnr_db(mean_square: float) -> float:
    """PSNR of a mean squared error, with peak 1: at most :data:`PERFECT_DB`; NaN stays NaN."""
    if mean_square <= 10 ** (-PERFECT_DB / 10):  # not so for NaN, which stays NaN
        return PERFECT_DB
    return -10 * math.log10(mean_square) if math.isfinite(mean_square) else -mean_square


@dataclass(frozen=True)
class StratumRow:
    """A line of a printed table: the texts of its cells, the last two for the scene that fares worst."""

    label: str
    model: str
    identity: str
    gain: str
    worst: str
    scene: str


_LABELS = {"flat": "flat areas", "late frames": "fourth frame on"}


def _ratio(row: dict[str, float]) -> float:
    """RMSE over identity's; 1 where both are zero."""
    ours, identity = row["rmse_stops"], row["identity_rmse_stops"]
    return ours / identity if identity else 1.0 if ours == 0 else math.inf


def _ssim_gain(row: dict[str, float]) -> float:
    return row["ssim"] - row["identity_ssim"] if "ssim" in row else math.inf


def _reader(key: str) -> Callable[[dict[str, float]], float]:
    """Reads one number; a scene that has none of it never has the least."""
    return lambda row: row.get(key, math.inf)


def _worst(
    scenes: dict[str, Table], stratum: str, read: Callable[[dict[str, float]], float], *, largest: bool
) -> tuple[str, float]:
    """The scene with the largest or the least number in a stratum, and the number; NaN is worse than any."""
    reached = {scene: read(table[stratum]) for scene, table in scenes.items() if stratum in table}
    sign = 1 if largest else -1
    worst = max(reached, key=lambda scene: (math.isnan(reached[scene]), sign * reached[scene]))
    return worst, reached[worst]


def worst_scene(scenes: dict[str, Table], stratum: str) -> str:
    """The scene that fares worst in a stratum: least gain in dB; where clipped, the largest RMSE over identity's.

    Args:
        scenes: the table of each; one at least has the stratum.
        stratum: one of :data:`STRATA`.
    """
    if stratum == "clipped":
        return _worst(scenes, stratum, _ratio, largest=True)[0]
    return _worst(scenes, stratum, _reader("gain_db"), largest=False)[0]


def strata_rows(total: Table, scenes: dict[str, Table]) -> list[StratumRow]:
    """A table as text, with the worst scene for every number.

    Args:
        total: all scenes together.
        scenes: the table of each.
    """
    rows = []
    for kind, suffix in (("", ""), ("_codes", ", PSNR of the codes")):
        for stratum, row in total.items():
            if f"psnr{kind}_db" not in row:
                continue
            scene, least = _worst(scenes, stratum, _reader(f"gain{kind}_db"), largest=False)
            ours, identity = f"{row[f'psnr{kind}_db']:.2f} dB", f"{row[f'identity_psnr{kind}_db']:.2f}"
            label = _LABELS.get(stratum, stratum) + suffix
            rows.append(StratumRow(label, ours, identity, f"{row[f'gain{kind}_db']:+.2f}", f"{least:+.2f}", scene))
    whole = total.get("whole", {})
    if "ssim" in whole:
        scene, least = _worst(scenes, "whole", _ssim_gain, largest=False)
        ours, identity = f"{whole['ssim']:.5f}", f"{whole['identity_ssim']:.5f}"
        rows.append(StratumRow("whole, SSIM", ours, identity, f"{_ssim_gain(whole):+.5f}", f"{least:+.5f}", scene))
    if "clipped" in total:
        row = total["clipped"]
        scene, most = _worst(scenes, "clipped", _ratio, largest=True)
        ours, identity = f"{row['rmse_stops']:.3f}", f"{row['identity_rmse_stops']:.3f}"
        label = "clipped, log2 RMSE in stops"
        rows.append(StratumRow(label, ours, identity, f"x {_ratio(row):.3f}", f"x {most:.2f}", scene))
        scene, _ = _worst(scenes, "clipped", lambda row: abs(row["bias_stops"]), largest=True)
        ours, identity = f"{row['bias_stops']:+.3f}", f"{row['identity_bias_stops']:+.3f}"
        bias = f"{scenes[scene]['clipped']['bias_stops']:+.3f}"
        rows.append(StratumRow("clipped, bias in stops", ours, identity, "", bias, scene))
    return rows
