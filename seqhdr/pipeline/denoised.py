"""Frames decoded without their noise; their grain is kept as it was, left out, or grown anew.

This lies around the predictor, not inside it: the denoiser needs whole frames, and the predictor cuts tiles.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqhdr.classic.denoise import EARLIER_FRAMES, Denoiser
from seqhdr.classic.grain import GrainStatistics, regrow
from seqhdr.media.unround import Unrounding
from seqhdr.model.head import Prediction
from seqhdr.model.predict import Memory, Predictor

__all__ = ["Cleaning", "DenoisedPredictor", "expected_offset"]

# A denoised picture is rounded before the network sees it: it was trained on whole codes. With bins of this width it
# smooths what rounding and the denoiser leave. Mean error of four clips: 0.67 codes; with half a code 0.72, with
# fractions 0.70 for either width.
_CLEAN_WIDTH_LSB = 1.0
# What noise explains: so many standard deviations.
_EXPLAINED = 3.0
# Wider than the widest bins of --bins no noise makes them, for 8 bits.
_WIDEST_LSB = 16.0
# Beyond so many standard deviations from the bin its nearest end is what is expected.
_FAR = 30.0


@dataclass(frozen=True)
class Cleaning:
    """What is done about the noise of a shot.

    Attributes:
        grain: ``keep``, ``remove`` or ``regrow``.
        statistics: of the grain.
        code_half_width_lsb: w of the codes without regard to noise.
    """

    grain: str
    statistics: GrainStatistics
    code_half_width_lsb: float

    @property
    def half_width_lsb(self) -> float:
        """w in codes that the result needs: what noise explains, where it leaves its codes.

        New grain is no more alike to the old than two draws are, so the root of two times as far from it.
        """
        noise = self.statistics.noise
        apart = {"keep": 0.0, "remove": 1.0, "regrow": math.sqrt(2.0)}[self.grain]
        explained = min(_EXPLAINED * apart * noise.largest_lsb, _WIDEST_LSB * noise.max_code / 255)
        return max(self.code_half_width_lsb, round(explained, 2))

    @property
    def network_half_width_lsb(self) -> float:
        """w that the network is told, for the codes without their noise."""
        return max(self.code_half_width_lsb, _CLEAN_WIDTH_LSB)

    @property
    def words(self) -> str:
        """A sentence's part for people."""
        done = {"keep": "kept", "remove": "removed", "regrow": "removed and grown anew"}[self.grain]
        return f"noise of up to {self.statistics.noise.largest_lsb:.1f} codes is {done}"


class DenoisedPredictor:
    """Removes noise from frames, lets a predictor decode them, and adds what ``--grain`` says.

    Args:
        predictor: made for w = ``cleaning.network_half_width_lsb`` and without unrounding.
        cleaning: of the shot.
        half_width_lsb: w that the result is held to about its codes; infinite where it is not.
        unrounding: what undoes the rounding of the decoder that made 8-bit codes, or None.
    """

    def __init__(
        self, predictor: Predictor, cleaning: Cleaning, half_width_lsb: float, unrounding: Unrounding | None = None
    ) -> None:
        self._predictor, self._cleaning, self._half_width_lsb = predictor, cleaning, half_width_lsb
        self._unrounding = unrounding
        self._noise = cleaning.statistics.noise
        self._denoiser = Denoiser(self._noise)
        self._earlier: tuple[NDArray[np.float32], ...] = ()

    def step(self, number: int, codes: NDArray[np.unsignedinteger], memory: Memory | None) -> tuple[Prediction, Memory]:
        """Predict one frame; as :meth:`seqhdr.model.predict.Predictor.step`, with the frame's number.

        Offsets are about the codes as they are. Stops above clip are the network's, where the codes clip.
        """
        if memory is None:
            self._earlier = ()
        value = codes.astype(np.float32)
        if self._unrounding is not None:
            value += self._unrounding.closed_lift_lsb(codes.astype(np.uint8), self._cleaning.code_half_width_lsb)
        clean = self._denoiser(value, self._earlier)
        self._earlier = (value, *self._earlier)[:EARLIER_FRAMES]
        clipped = codes + np.float32(self._cleaning.code_half_width_lsb) >= self._noise.max_code
        shown = self._shown(codes, clean, clipped)
        prediction, memory = self._predictor.step(shown, memory)
        result = shown + prediction.offset_lsb[0].permute(1, 2, 0).cpu().numpy()
        offset = self._offset(number, codes, result, clipped)
        gain = prediction.gain_stops * _planes(clipped).to(prediction.gain_stops)
        return dataclasses.replace(prediction, offset_lsb=_planes(offset), gain_stops=gain), memory

    def _shown(
        self, codes: NDArray[np.unsignedinteger], clean: NDArray[np.float32], clipped: NDArray[np.bool_]
    ) -> NDArray[Any]:
        """What the network sees: (H, W, 3) clean codes; exactly those that clip do."""
        top = self._noise.max_code - self._cleaning.network_half_width_lsb - 0.01
        if self._unrounding is None:
            clean, top = np.rint(clean), math.floor(top)
        return np.where(clipped, codes, np.minimum(clean, np.float32(top))).astype(np.float32)

    def _offset(
        self,
        number: int,
        codes: NDArray[np.unsignedinteger],
        result: NDArray[np.float32],
        clipped: NDArray[np.bool_],
    ) -> NDArray[np.float32]:
        w, own = self._half_width_lsb, self._cleaning.code_half_width_lsb
        offset = result - codes
        # What clips is told by the code alone, as without noise.
        of_clipped = offset.clip(-own, own)
        if self._cleaning.grain == "keep":
            w = own
            offset = expected_offset(offset, self._noise.at(result), own)
        elif self._cleaning.grain == "regrow":
            offset = offset + regrow(self._cleaning.statistics, result, number)
        return np.asarray(np.where(clipped, of_clipped, offset.clip(-w, w)), np.float32)


def expected_offset(
    offset_lsb: NDArray[np.float32], sigma_lsb: NDArray[np.float32], half_width_lsb: float
) -> NDArray[np.float32]:
    """What a noisy code is expected to have been before it was rounded: the mean of the noise inside its bin.

    Light of v with Gaussian noise of deviation sigma was read as the code c, so that v + noise lies within w of c: the
    mean of a normal distribution cut off at both ends (Johnson, Kotz and Balakrishnan, "Continuous univariate
    distributions" 1, 1994, 10.1). Little noise leaves v held in the bin, much noise the code.

    Args:
        offset_lsb: v - c in codes.
        sigma_lsb: of the same shape, 0 or more.
        half_width_lsb: w in codes.

    Returns:
        Of the same shape, in codes, within ±w.
    """
    w = half_width_lsb
    sigma = torch.from_numpy(np.maximum(sigma_lsb, 1e-3).astype(np.float64))
    reach = w + _FAR * sigma
    # Mirrored to one side, where the tail keeps its digits.
    centre = torch.minimum(torch.from_numpy(np.abs(offset_lsb).astype(np.float64)), reach)
    low, high = (-w - centre) / sigma, (w - centre) / sigma
    density = (torch.exp(-low.square() / 2) - torch.exp(-high.square() / 2)) / math.sqrt(2 * math.pi)
    inside = (torch.special.erfc(-high / math.sqrt(2)) - torch.special.erfc(-low / math.sqrt(2))) / 2
    mean = (centre + sigma * density / inside).clamp(-w, w).float().numpy()
    return np.asarray(np.copysign(mean, offset_lsb), np.float32)


def _planes(picture: NDArray[Any]) -> Tensor:
    """(H, W, 3) → (1, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
