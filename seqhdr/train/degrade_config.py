"""What can happen to a clip on its way to 8 bits, how often and how much, and the dice that decide."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch

from seqhdr.color.encodings import get_encoding
from seqhdr.errors import UsageError
from seqhdr.train.response import Response

__all__ = ["Degradation", "DegradeConfig", "draw_degradation"]

_LIMITS = {
    "display_clipped": (1e-6, 1.0),
    "response_n": (0.1, 10.0),
    "response_sigma": (0.01, 100.0),
    "noise_shot": (1e-12, 1.0),
    "noise_read": (1e-12, 1.0),
    "grain_size_px": (0.1, 32.0),
    "grain_stops": (1e-6, 4.0),
    "resolution_factor": (1.0, 16.0),
    "jpeg_quality": (1.0, 100.0),
    "h264_crf": (0.0, 51.0),
    "flicker_stops": (0.0, 4.0),
    "white_balance_stops": (0.0, 4.0),
    "crush": (0.0, 0.5),
}

# Noise, grain, dither and flicker take the numbers before it.
_EV_DICE = 4


@dataclass(frozen=True)
class DegradeConfig:
    """How often each degradation happens, and how much. A share is one of clips, 0..1; a share of 0 is off.

    JPEG and H.264 exclude each other, so their shares add up to 1 at most.

    Attributes:
        encodings: share of each colour space, by name; any positive scale. Those whose top code is diffuse white
            (sRGB, BT.709, gamma) count as display encodings here, the others as log.
        log_median_stops: log encodings: stops over 1.0 of the median of the exposed picture.
        display_clipping_share: share of clips in display encodings that are exposed to clip.
        display_clipped: share of pixels that clip in those, drawn on a log scale.
        display_limit_stops: their median stays below this many stops over 1.0, so that a flat wall is not pushed into
            clipping only because some pixel has to be.
        display_median_stops: other clips in display encodings: stops over 1.0 of the median.
        response_share: share of clips in display encodings that went through a camera's own curve instead.
        response_srgb_share: of those, the share that went through the sRGB curve, whatever they are declared as.
        response_n: exponent of the other curves, see :class:`seqhdr.train.response.Response`.
        response_sigma: their shoulder.
        noise_share: share of clips with shot and read noise.
        noise_shot: variance per light, drawn on a log scale.
        noise_read: standard deviation in the dark, in light, drawn on a log scale.
        grain_share: share of clips with film grain.
        grain_size_px: distance at which its correlation has fallen to 1/e.
        grain_stops: standard deviation at mid grey in stops, drawn on a log scale.
        resolution_share: share of clips that were enlarged.
        resolution_factor: by how much.
        dither_share: share of clips that were dithered before they were rounded.
        jpeg_share: share of clips that went through JPEG.
        jpeg_quality: on libjpeg's scale 1..100.
        h264_share: share of clips that went through H.264.
        h264_crf: constant rate factor 0..51.
        h264_cut_down_share: of those, the share that came back to RGB by ``ffmpeg``'s quick conversion, which darkens;
            see :func:`seqhdr.train.codecs.h264`. The others were rounded to nearest.
        flicker_share: share of clips that flicker.
        flicker_stops: largest change of exposure of a frame.
        white_balance_stops: largest change of a frame's red and blue against green.
        crush_share: share of clips with crushed blacks.
        crush: V = code / 255 that becomes black.
        ev_share: share of clips that are shown at another exposure than the one drawn for them above.
        ev_stops: by how many stops, any in between.

    Raises:
        UsageError: a share or a range is out of bounds, or no encoding has a share.
    """

    encodings: dict[str, float] = dataclasses.field(
        default_factory=lambda: {"acescct": 0.45, "logc3": 0.1, "srgb": 0.35, "rec709": 0.1}
    )
    log_median_stops: tuple[float, float] = (-5.5, 0.5)
    display_clipping_share: float = 0.65
    display_clipped: tuple[float, float] = (0.002, 0.12)
    display_limit_stops: tuple[float, float] = (-3.0, 1.0)
    display_median_stops: tuple[float, float] = (-6.0, -1.0)
    response_share: float = 0.2
    response_srgb_share: float = 0.3
    response_n: tuple[float, float] = (0.7, 1.1)
    response_sigma: tuple[float, float] = (0.4, 0.8)
    noise_share: float = 0.1
    noise_shot: tuple[float, float] = (1e-5, 2e-3)
    noise_read: tuple[float, float] = (1e-4, 4e-3)
    grain_share: float = 0.15
    grain_size_px: tuple[float, float] = (0.6, 2.5)
    grain_stops: tuple[float, float] = (0.005, 0.1)
    resolution_share: float = 0.1
    resolution_factor: tuple[float, float] = (1.2, 3.0)
    dither_share: float = 0.05
    jpeg_share: float = 0.12
    jpeg_quality: tuple[float, float] = (55.0, 97.0)
    h264_share: float = 0.12
    h264_crf: tuple[float, float] = (16.0, 30.0)
    h264_cut_down_share: float = 0.6
    flicker_share: float = 0.05
    flicker_stops: tuple[float, float] = (0.01, 0.1)
    white_balance_stops: tuple[float, float] = (0.0, 0.05)
    crush_share: float = 0.05
    crush: tuple[float, float] = (0.0, 0.04)
    ev_share: float = 0.0
    ev_stops: tuple[float, float] = (-3.0, 3.0)

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if min(self.encodings.values(), default=-1) < 0 or not 0 < sum(self.encodings.values()) < math.inf:
            raise UsageError(f"encodings: {self.encodings} has no positive shares; give at least one, none negative")
        for field in dataclasses.fields(self):
            given = getattr(self, field.name)
            if field.name.endswith("_share") and not 0 <= given <= 1:
                raise UsageError(f"{field.name}: {given} is not a share; give a number from 0 to 1")
            if isinstance(given, tuple):
                low, high = _LIMITS.get(field.name, (-64.0, 64.0))
                if len(given) != 2 or not low <= given[0] <= given[1] <= high:
                    raise UsageError(f"{field.name}: {given} is not a range; give two rising numbers in {low}..{high}")
        if self.jpeg_share + self.h264_share > 1:
            raise UsageError("jpeg_share and h264_share exclude each other; give two that add up to 1 at most")


@dataclass(frozen=True)
class Degradation:
    """What happens to one clip; the fields mean what those of :class:`DegradeConfig` do, None or 0 where off.

    Attributes:
        encoding: name of the colour space that the codes are declared as.
        median_stops: stops over 1.0 of the picture's median; with ``clipped`` only a limit to it.
        clipped: share of pixels that clip, 0 where exposure goes by the median.
        response: the camera's own curve.
        noise_shot, noise_read: see :func:`seqhdr.train.noise.shot_read_noise`.
        grain_size_px, grain_stops: see :func:`seqhdr.train.noise.film_grain`.
        resolution_factor: see :func:`lose_resolution`.
        dither: triangular, two codes wide.
        jpeg_quality, h264_crf: settings of compression; one of them at most.
        h264_cut_down: H.264 came back to RGB by the quick conversion.
        flicker_stops, white_balance_stops: see :func:`flicker_gains`.
        crush: V that becomes black.
        half_width_factor: what the measured w of compressed codes is multiplied by: users do not know theirs exactly.
        seed: of noise, grain, dither and flicker.
        ev_stops: stops on top of that exposure.
    """

    encoding: str
    median_stops: float = -2.5
    clipped: float = 0.0
    response: Response | None = None
    noise_shot: float = 0.0
    noise_read: float = 0.0
    grain_size_px: float = 0.0
    grain_stops: float = 0.0
    resolution_factor: float | None = None
    dither: bool = False
    jpeg_quality: int | None = None
    h264_crf: int | None = None
    h264_cut_down: bool = False
    flicker_stops: float = 0.0
    white_balance_stops: float = 0.0
    crush: float = 0.0
    half_width_factor: float = 1.0
    seed: int = 0
    ev_stops: float = 0.0


def draw_degradation(rng: np.random.Generator, config: DegradeConfig) -> Degradation:
    """What happens to the next clip.

    The same number of draws is made whatever is switched on and comes out, so that switching one degradation off
    leaves the others as they were.

    Raises:
        UnknownNameError: nobody knows the drawn encoding.
    """

    def happens(share: float) -> bool:
        return bool(rng.random() < share)

    def uniform(span: tuple[float, float]) -> float:
        return float(rng.uniform(*span))

    def log_uniform(span: tuple[float, float]) -> float:
        return float(np.exp(rng.uniform(np.log(span[0]), np.log(span[1]))))

    def if_so(so: bool, drawn: float) -> float:
        return drawn if so else 0.0

    shares = np.array(list(config.encodings.values()))
    encoding = str(rng.choice(list(config.encodings), p=shares / shares.sum()))
    display = _is_display(encoding)
    clips = happens(config.display_clipping_share) and display
    log_median, clipped = uniform(config.log_median_stops), log_uniform(config.display_clipped)
    limit, display_median = uniform(config.display_limit_stops), uniform(config.display_median_stops)
    responds, plain = happens(config.response_share), happens(config.response_srgb_share)
    n, sigma = uniform(config.response_n), uniform(config.response_sigma)
    noisy, grainy = happens(config.noise_share), happens(config.grain_share)
    shot, read = log_uniform(config.noise_shot), log_uniform(config.noise_read)
    size_px, grain_stops = uniform(config.grain_size_px), log_uniform(config.grain_stops)
    enlarged, factor = happens(config.resolution_share), uniform(config.resolution_factor)
    dither, codec = happens(config.dither_share), float(rng.random())
    quality, crf = round(uniform(config.jpeg_quality)), round(uniform(config.h264_crf))
    flickers, crushed = happens(config.flicker_share), happens(config.crush_share)
    drawn = Degradation(
        encoding=encoding,
        median_stops=(limit if clips else display_median) if display else log_median,
        clipped=if_so(clips, clipped),
        response=(Response("srgb") if plain else Response("sigmoid", n, sigma)) if responds and display else None,
        noise_shot=if_so(noisy, shot),
        noise_read=if_so(noisy, read),
        grain_size_px=if_so(grainy, size_px),
        grain_stops=if_so(grainy, grain_stops),
        resolution_factor=factor if enlarged else None,
        dither=dither,
        jpeg_quality=quality if codec < config.jpeg_share else None,
        h264_crf=crf if config.jpeg_share <= codec < config.jpeg_share + config.h264_share else None,
        flicker_stops=if_so(flickers, uniform(config.flicker_stops)),
        white_balance_stops=if_so(flickers, uniform(config.white_balance_stops)),
        crush=if_so(crushed, uniform(config.crush)),
        half_width_factor=uniform((0.8, 1.25)),
        seed=int(rng.integers(2**32)),
        h264_cut_down=happens(config.h264_cut_down_share),
    )
    # From dice of its own: one more draw above would make other clips of every seed that somebody has noted.
    dice = np.random.default_rng((drawn.seed, _EV_DICE))
    shifted, ev_stops = bool(dice.random() < config.ev_share), float(dice.uniform(*config.ev_stops))
    return dataclasses.replace(drawn, ev_stops=if_so(shifted, ev_stops))


def _is_display(encoding: str) -> bool:
    """Whether the top code is about diffuse white."""
    return float(get_encoding(encoding).decode(torch.tensor(1.0))) < 1.5
