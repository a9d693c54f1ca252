"""Softened panoramas: no detail, less contrast, the same colours on average."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from seqhdr.errors import UsageError
from seqhdr.train import synthetic
from seqhdr.train.config import SceneConfig
from seqhdr.train.degrade import DegradeConfig
from seqhdr.train.layers import LayerConfig
from seqhdr.train.panorama import Panorama, panorama_from_linear
from seqhdr.train.soften import SoftConfig, draw_soft, soften_panorama
from seqhdr.train.synthetic import make_clip


@pytest.fixture(scope="module")
def noisy() -> Panorama:
    """A slope from top to bottom under the noise of a camera."""
    rng = np.random.default_rng(0)
    log2_rgb = np.linspace(-4, 2, 128)[:, None, None] + [0.0, -1.0, 1.0] + rng.normal(0, 0.3, (128, 256, 3))
    return panorama_from_linear("noisy", np.exp2(log2_rgb).astype(np.float32))


def test_it_is_the_mean_over_areas_in_log(noisy: Panorama) -> None:
    soft = soften_panorama(noisy, 32, 1.0)
    areas = noisy.log2_rgb.reshape(32, 4, 64, 4, 3).mean(axis=(1, 3))
    assert soft.log2_rgb.shape == (32, 64, 3)
    # Interpolation is exact for cubics only, and this still has noise.
    assert np.abs(soft.log2_rgb - areas).mean() < 0.03
    assert soft.name == noisy.name


def test_contrast_is_taken_about_each_channels_mean(noisy: Panorama) -> None:
    whole, tenth = (soften_panorama(noisy, 32, contrast).log2_rgb for contrast in (1.0, 0.1))
    mean = whole.mean(axis=(0, 1))
    np.testing.assert_allclose(tenth.mean(axis=(0, 1)), mean, atol=1e-4)
    np.testing.assert_allclose(tenth - mean, 0.1 * (whole - mean), atol=1e-4)


def test_a_view_has_no_detail_left(noisy: Panorama) -> None:
    scene = SceneConfig(
        layers=LayerConfig(share=0.0),
        degrade=DegradeConfig(
            encodings={"acescct": 1.0}, noise_share=0, grain_share=0, resolution_share=0, jpeg_share=0, h264_share=0
        ),
    )
    rough = []
    for share in (0.0, 1.0):
        filmed = dataclasses.replace(scene, soft=SoftConfig(share, rows=(16, 16), contrast=(1.0, 1.0)))
        clip = make_clip(noisy, filmed, np.random.default_rng(4), 2, 48, 48)
        assert clip.made["softened"] == bool(share)
        rough.append(np.abs(np.diff(clip.degraded.value_lsb, n=2, axis=2)).mean())
    assert rough[1] < 0.2 * rough[0]


def test_a_share_is_kept_and_none_draws_nothing(noisy: Panorama) -> None:
    rng = np.random.default_rng(3)
    drawn = [draw_soft(noisy, SoftConfig(0.3, rows=(8, 9)), rng) is not noisy for _ in range(200)]
    assert 40 < sum(drawn) < 80
    before = rng.bit_generator.state
    assert draw_soft(noisy, SoftConfig(0.0), rng) is noisy
    assert rng.bit_generator.state == before


def test_sizes_and_contrasts_are_drawn_from_their_ranges(noisy: Panorama) -> None:
    config, rng = SoftConfig(1.0, rows=(8, 64), contrast=(0.05, 0.5)), np.random.default_rng(5)
    made = [draw_soft(noisy, config, rng).log2_rgb for _ in range(60)]
    rows = np.array([len(picture) for picture in made])
    assert rows.min() >= 8
    assert rows.max() <= 64
    # Even in the logarithm: half lie below the geometric mean.
    assert 18 < (rows < 22.6).sum() < 42
    spread = np.array([picture[..., 0].std() for picture in made]) / noisy.log2_rgb[..., 0].std()
    assert spread.min() > 0.04
    assert spread.max() < 0.55
    assert 18 < (spread < 0.158).sum() < 42


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ({"share": 1.2}, "share"),
        ({"share": -0.1}, "share"),
        ({"rows": (4, 64)}, "rows"),
        ({"rows": (64, 32)}, "rows"),
        ({"contrast": (0.0, 1.0)}, "contrast"),
        ({"contrast": (0.5, 0.2)}, "contrast"),
        ({"contrast": (0.5, 1.2)}, "contrast"),
    ],
)
def test_what_cannot_be_drawn_is_refused(keys: dict[str, object], name: str) -> None:
    with pytest.raises(UsageError, match=f"scene.soft.{name} is .*give"):
        SoftConfig(**keys)


def test_layers_are_lit_for_the_panorama_that_is_filmed(noisy: Panorama, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its extremes the median of a softened panorama may lie elsewhere."""
    asked: list[float] = []
    softened = panorama_from_linear("soft", np.full((16, 32, 3), 2.0**5, np.float32))
    monkeypatch.setattr(synthetic, "draw_soft", lambda panorama, config, rng: softened)
    monkeypatch.setattr(synthetic, "draw_layers", lambda *args: asked.append(args[-1]) or [])
    make_clip(noisy, SceneConfig(), np.random.default_rng(1), 1, 16, 16)
    assert asked == [softened.log2_median]
    assert abs(asked[0] - noisy.log2_median) > 3
