"""The half-width of a source's bins, read back from pictures whose past is known."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from typing import Any

import av
import cv2
import numpy as np
import pytest

from seqhdr.media.compression import HalfWidthEstimate, estimate_half_width
from seqhdr.media.ycbcr import LATTICES, LatticeFit
from seqhdr.train.codecs import h264 as train_h264

H, W = 288, 512
Image = np.ndarray[Any, np.dtype[Any]]


def codes(values: Image) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def textured(shift: int = 0) -> Image:
    """Broad gradients, coloured texture at several scales, hard edges, grain: floats in codes (H, W, 3)."""
    rng = np.random.default_rng(3)
    scene = np.zeros((H, W + 64, 3))
    for sigma, gain in ((1.0, 6.0), (4.0, 18.0), (30.0, 30.0)):
        layer = cv2.GaussianBlur(rng.normal(size=scene.shape), (0, 0), sigma)
        scene += gain * layer / layer.std()
    x = np.arange(W + 64)[None, :, None]
    y = np.arange(H)[:, None, None]
    scene = np.where(y < H / 2, [110, 140, 190] - 0.15 * y + 0.03 * x, 115 + scene)
    scene[180:240, 200:300] *= 0.5
    return scene[:, shift : shift + W] + rng.normal(0, 0.6, (H, W, 3))


def smooth(seed: int = 5) -> Image:
    layer = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(H, W, 3)), (0, 0), 7.0)
    return 120 + 40 * layer / layer.std()


def grey(values: Image) -> Image:
    return np.repeat(values[..., :1], 3, axis=2)


def jpeg(image: Image, quality: int, *, full_chroma: bool = False) -> Image:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if full_chroma:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), options)
    assert done
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def h264(frames: list[Image], crf: int, *, cv2_decodes: bool = False) -> list[Image]:
    """Through libx264 in 4:2:0; back to RGB by swscale, or by OpenCV, which rounds to nearest."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=24)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        for frame in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    file.seek(0)
    with av.open(file) as container:
        decoded = list(container.decode(video=0))
    if cv2_decodes:
        return [cv2.cvtColor(f.to_ndarray(format="yuv420p"), cv2.COLOR_YUV2RGB_I420) for f in decoded]
    return [f.to_ndarray(format="rgb24") for f in decoded]


@pytest.fixture(scope="module")
def shot() -> list[Image]:
    return [codes(textured(2 * i)) for i in range(4)]


def enlarged(image: Image, times: int) -> Image:
    return image[: H // times, : W // times].repeat(times, axis=0).repeat(times, axis=1)


def banded_sky() -> Image:
    y = np.arange(H)[:, None, None]
    return np.broadcast_to([90.0, 120.0, 200.0] + y / H * np.array([30.0, 22.0, 15.0]), (H, W, 3))


def letterboxed() -> Image:
    image = textured()
    image[:40] = image[-40:] = 0
    return image


def lettering() -> Image:
    page = np.full((H, W, 3), 250, np.uint8)
    for line in range(10):
        colour = (30, 30, 30) if line % 2 else (200, 40, 60)
        cv2.putText(page, "plain text, 0123456789", (8, 24 + 26 * line), 0, 0.8, colour, 1, cv2.LINE_AA)
    return page


def lit_tiles() -> Image:
    tile = np.random.default_rng(1).integers(20, 230, (8, 8, 3))
    return np.tile(tile, (H // 8, W // 8, 1)) * np.linspace(0.4, 1.0, W)[None, :, None]


def checkerboard() -> Image:
    y, x = np.mgrid[:H, :W]
    return smooth() * 0.6 + ((x // 8 + y // 8) % 2)[..., None] * 50


CLEAN: dict[str, Callable[[], Image]] = {
    "textured": textured,
    "smooth": smooth,
    "smooth grey": lambda: grey(smooth()),
    "noise": lambda: np.random.default_rng(0).integers(0, 256, (H, W, 3)),
    "one colour": lambda: np.full((H, W, 3), [90, 120, 40]),
    "black": lambda: np.zeros((H, W, 3)),
    "ramps": lambda: np.stack(np.broadcast_arrays(*np.ogrid[20 : 200 : H * 1j, 40 : 220 : W * 1j], 99.0), axis=-1),
    "sepia": lambda: np.broadcast_to(np.linspace(0, 200, W)[:, None] * [1.07, 0.9, 0.7], (H, W, 3)),
    "banded sky": banded_sky,
    "letterbox": letterboxed,
    "lettering": lettering,
    "pixel art x8": lambda: enlarged(codes(np.random.default_rng(2).integers(0, 256, (H, W, 3))), 8),
    "pixel art x4": lambda: enlarged(codes(np.random.default_rng(2).integers(0, 256, (H, W, 3))), 4),
    "enlarged grey x2": lambda: enlarged(codes(grey(smooth())), 2),
    "enlarged smoothly": lambda: cv2.resize(smooth()[:72, :128], (W, H), interpolation=cv2.INTER_CUBIC),
    "tiles": lit_tiles,
    "checkerboard": checkerboard,
    "checkerboard grey": lambda: grey(checkerboard()),
    "posterised": lambda: codes(smooth()) // 8 * 8,
    "contrast stretched": lambda: codes(textured()) * 1.5 - 60.0,
    "tiny": lambda: smooth()[:6, :5],
}


@pytest.mark.parametrize("name", CLEAN)
def test_clean_reads_exactly_half_a_code(name: str) -> None:
    estimate = estimate_half_width([codes(CLEAN[name]())], container="png")
    assert estimate.half_width_lsb == 0.5, estimate
    assert estimate.kind == "lossless"


def test_a_clean_shot_reads_exactly_half_a_code(shot: list[Image]) -> None:
    assert estimate_half_width(shot, container="png").half_width_lsb == 0.5


@pytest.mark.parametrize("full_chroma", [False, True])
def test_jpeg_is_recognised_with_its_quality(shot: list[Image], full_chroma: bool) -> None:
    found = {
        q: estimate_half_width([jpeg(f, q, full_chroma=full_chroma) for f in shot[:3]], container="png")
        for q in (60, 75, 85, 95)
    }
    assert {e.kind for e in found.values()} == {"jpeg"}
    for quality, estimate in found.items():
        assert estimate.evidence["jpeg_quality"] == pytest.approx(quality, abs=4)
        assert estimate.evidence["lattice_share"] > 0.95  # type: ignore[operator]
    widths = [found[q].half_width_lsb for q in (95, 85, 75, 60)]
    assert widths[0] >= 1.0
    assert all(a < b for a, b in itertools.pairwise(widths))


@pytest.mark.parametrize("quality", [60, 85])
def test_grey_jpeg_is_recognised_by_its_dct(quality: int) -> None:
    estimate = estimate_half_width([jpeg(codes(grey(textured())), quality)])
    assert estimate.kind == "jpeg"
    assert estimate.evidence["jpeg_quality"] == pytest.approx(quality, abs=6)


def flat_error(shot: list[Image], decoded: list[Image]) -> float:
    """95 % quantile of the error in the sky, in codes."""
    return float(
        np.percentile([np.abs(d[8:136].astype(int) - s[8:136]) for d, s in zip(decoded, shot, strict=True)], 95)
    )


def test_h264_is_recognised_and_its_error_covered(shot: list[Image]) -> None:
    found: list[HalfWidthEstimate] = []
    for crf in (18, 23, 28):
        decoded = h264(shot, crf)
        found.append(estimate_half_width(decoded, container="png"))
        assert found[-1].kind == "video"
        assert found[-1].evidence["lattice"] == "limited BT.601, cut down"
        assert found[-1].half_width_lsb == pytest.approx(flat_error(shot, decoded), abs=1.0)
    widths = [e.half_width_lsb for e in found]
    assert 1.0 <= widths[0] <= widths[1] <= widths[2] <= 4.0


def test_the_decoder_that_rounds_to_nearest_errs_less(shot: list[Image]) -> None:
    near = estimate_half_width(h264(shot, 23, cv2_decodes=True))
    assert near.kind == "video"
    assert near.evidence["lattice"] == "limited BT.601"
    assert 1.0 <= near.half_width_lsb < estimate_half_width(h264(shot, 23)).half_width_lsb


@pytest.mark.parametrize(("container", "kind"), [(".JPG", "jpeg"), ("jpeg", "jpeg"), ("mp4", "video")])
def test_a_lossy_container_is_compressed_whatever_it_shows(container: str, kind: str) -> None:
    estimate = estimate_half_width([codes(banded_sky())], container=container)
    assert estimate.kind == kind
    assert estimate.half_width_lsb > 0.5


def test_resized_after_decoding_reads_as_clean(shot: list[Image]) -> None:
    small = cv2.resize(jpeg(shot[0], 75), (W * 3 // 4, H * 3 // 4), interpolation=cv2.INTER_AREA)
    assert estimate_half_width([small]).kind == "lossless"


def test_deep_sources_are_not_tested(shot: list[Image]) -> None:
    estimate = estimate_half_width([shot[0].astype(np.uint16) * 4], bits=10)
    assert (estimate.half_width_lsb, estimate.kind) == (0.5, "deep")


def test_the_reason_is_one_sentence_with_the_number(shot: list[Image]) -> None:
    estimate = estimate_half_width([jpeg(shot[0], 85)])
    assert "quality 8" in estimate.reason
    assert "100%" in estimate.reason
    assert "\n" not in estimate.reason


@pytest.mark.parametrize("frames", [[], [np.zeros((8, 8), np.uint8)]])
def test_frames_of_another_shape_are_a_bug(frames: list[Image]) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        estimate_half_width(frames)


@pytest.mark.parametrize(("excess", "sigma", "found"), [(0.1, 3.6, True), (0.1, 3.4, False), (0.07, 9.0, False)])
def test_few_chromas_and_small_excesses_prove_nothing(excess: float, sigma: float, found: bool) -> None:
    assert LatticeFit(LATTICES[0], 0.3 + excess, 0.3, 200, sigma).found == found


def test_a_sky_of_few_colours_decoded_in_fractions_shows_its_past() -> None:
    y, x = np.mgrid[0:200, 0:300]
    for seed in range(1, 5):
        rng = np.random.default_rng(seed)
        clouds = cv2.GaussianBlur(rng.normal(size=(200, 300)), (0, 0), 25)
        clouds /= clouds.std()
        sky = np.stack(
            (110 + 0.12 * y + 2 * clouds, 140 + 0.1 * y + 0.01 * x + 1.6 * clouds, 190 + 0.05 * y + clouds), -1
        )
        clean = codes(sky + rng.normal(0, 0.3, sky.shape))
        (decoded,) = train_h264(clean[None], 20)
        assert estimate_half_width([decoded], container="png").half_width_lsb > 0.5
        assert estimate_half_width([clean], container="png").half_width_lsb == 0.5
