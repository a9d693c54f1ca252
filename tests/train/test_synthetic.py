"""Synthetic clips: reproducible, rounded as they say, with a flow and a description that are true."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest
import torch
from torch import Tensor

from flow import warp
from seqhdr.color.encodings import get_encoding, primaries_matrix
from seqhdr.errors import FrameError, InputError, ShotError, UsageError
from seqhdr.train.augment import AugmentConfig
from seqhdr.train.camera import CameraConfig, CameraPath, Lens
from seqhdr.train.config import SceneConfig
from seqhdr.train.degrade import DegradeConfig
from seqhdr.train.layers import LayerConfig
from seqhdr.train.panorama import Panorama
from seqhdr.train.procedural import procedural_panorama
from seqhdr.train.synthetic import SyntheticClip, find_panoramas, make_clip, open_panorama

Scene = Callable[..., SceneConfig]


def make(
    world: Panorama, scene: SceneConfig, seed: int = 0, frames: int = 3, size: tuple[int, int] = (40, 40)
) -> SyntheticClip:
    return make_clip(world, scene, np.random.default_rng(seed), frames, *size)


def channels_first(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).permute(0, 3, 1, 2).double()


def write_panorama(path: Path, height: int = 8, width: int = 16) -> None:
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), oiio.ImageSpec(width, height, 3, "float"))
    assert output.write_image(np.full((height, width, 3), 0.25, np.float32))
    output.close()


def test_the_same_generator_makes_the_same_bytes(painted: Panorama) -> None:
    # Everything is on, so that nothing can draw from elsewhere unnoticed.
    scene = SceneConfig(
        camera=CameraConfig(exposure_change_share=1.0, vignette=0.5, distortion=0.1),
        layers=LayerConfig(share=1.0),
        degrade=DegradeConfig(noise_share=1.0, grain_share=1.0, dither_share=1.0, flicker_share=1.0, jpeg_share=0.5),
        augment=AugmentConfig(brightness_stops=(-1.0, 1.0)),
    )
    torch.manual_seed(0)
    first = make(painted, scene, seed=1)
    torch.manual_seed(1)
    again, other = make(painted, scene, seed=1), make(painted, scene, seed=2)
    for clip, alike in ((again, True), (other, False)):
        assert (clip.degraded.codes.tobytes() == first.degraded.codes.tobytes()) == alike
        assert (clip.degraded.value_lsb.tobytes() == first.degraded.value_lsb.tobytes()) == alike
        assert torch.equal(clip.flow_px, first.flow_px) == alike
        assert (clip.made == first.made) == alike
    assert torch.equal(again.visible, first.visible)


@pytest.mark.parametrize("encoding", ["acescct", "srgb"])
def test_codes_are_the_rounded_truth(painted: Panorama, plain_scene: Scene, encoding: str) -> None:
    clip = make(painted, plain_scene(encoding, layers=LayerConfig(share=1.0)), seed=3)
    degraded = clip.degraded
    assert clip.encoding == encoding
    assert degraded.half_width_lsb == 0.5
    assert degraded.codes.dtype == np.uint8
    assert degraded.codes.shape == degraded.value_lsb.shape == degraded.gain_stops.shape == (3, 40, 40, 3)
    assert np.abs(degraded.codes - degraded.value_lsb.clip(0, 255)).max() <= 0.5
    assert np.unique(degraded.codes).size > 20


def test_flow_carries_the_truth_where_it_was_visible(painted: Panorama, plain_scene: Scene) -> None:
    camera = CameraConfig(
        moves={"pan": 1.0}, speed_px=(2.0, 5.0), oversampling=(2.0, 3.0), exposure_change_share=0.0, pitch_deg=5.0
    )
    scene = plain_scene(camera=camera, layers=LayerConfig(share=1.0), augment=AugmentConfig())
    errors, moves = [], []
    for seed in range(6):  # mirrored and turned ones among them
        clip = make(painted, scene, seed, frames=3, size=(64, 64))
        assert not clip.flow_px[0].any()
        assert not clip.visible[0].any()
        rgb_log = channels_first(clip.degraded.value_lsb) / 255
        carried, _ = warp(rgb_log[:-1], clip.flow_px[1:].double(), mode="bilinear")
        known = clip.visible[1:].expand_as(carried)
        assert known.float().mean() > 0.5
        errors.append(float((carried - rgb_log[1:]).abs()[known].mean()))
        moves.append(float((rgb_log[:-1] - rgb_log[1:]).abs()[known].mean()))
    # 17.52 stops are 1.0 in log: a hundredth of it is a sixth of a stop.
    assert np.mean(errors) < 0.005
    assert max(error / move for error, move in zip(errors, moves, strict=True)) < 0.4
    assert np.mean(moves) > 0.015


def test_a_log_plate_lives_in_its_own_primaries(painted: Panorama, plain_scene: Scene) -> None:
    linear, wide = (make(painted, plain_scene(name), seed=4) for name in ("lin_rec709", "acescct"))
    spaces = [get_encoding(clip.encoding) for clip in (linear, wide)]
    # The exposures differ, since log and display plates are not exposed alike; the light is the same.
    lights = [
        space.decode(channels_first(clip.degraded.value_lsb) / 255) / clip.degraded.exposure
        for space, clip in zip(spaces, (linear, wide), strict=True)
    ]
    matrix = primaries_matrix(spaces[0], spaces[1]).double()
    assert float((matrix - torch.eye(3)).abs().max()) > 0.1
    expected = torch.einsum("ij,tjhw->tihw", matrix, lights[0])
    np.testing.assert_allclose(lights[1], expected, rtol=1e-3)
    assert float((lights[0] / lights[1] - 1).abs().max()) > 0.03


@pytest.mark.parametrize("size", [(32, 48), (48, 32)])
def test_frames_that_are_not_square_stay_as_wide_as_they_are(painted: Panorama, size: tuple[int, int]) -> None:
    clips = [make(painted, SceneConfig(), seed, frames=2, size=size) for seed in range(4)]
    for clip in clips:
        assert clip.degraded.codes.shape == (2, *size, 3)
        assert clip.flow_px.shape == (2, 2, *size)
        assert clip.visible.shape == (2, 1, *size)
        assert clip.flow_px.is_contiguous()
        assert (clip.flow_px.dtype, clip.visible.dtype) == (torch.float32, torch.bool)


def test_the_description_is_json_and_true(painted: Panorama, plain_scene: Scene) -> None:
    camera = CameraConfig(
        moves={"zoom": 1.0}, exposure_change_share=1.0, vignette=0.5, distortion=0.1, roll_rate_share=1.0
    )
    clip = make(painted, plain_scene(camera=camera), seed=5, frames=4, size=(32, 48))
    made = json.loads(json.dumps(clip.made, allow_nan=False))
    assert made == clip.made
    assert made["panorama"] == "procedural-1"
    assert made["layers"] == 0
    assert made["exposure"] == clip.degraded.exposure
    assert made["degradation"]["encoding"] == "acescct"
    assert len(made["camera"]["exposure_stops"]) == 4
    assert np.ptp(made["camera"]["exposure_stops"]) > 0.1
    rotations = np.array(made["camera"]["rotations"]).reshape(4, 3, 3)
    path = CameraPath(rotations, np.array(made["camera"]["focal_px"]), lens=Lens(**made["camera"]["lens"]))
    for frame in range(4):
        expected = path.flow(frame, 32, 48).transpose(2, 0, 1)
        np.testing.assert_allclose(clip.flow_px[frame], expected, atol=1e-3)
    # With everything on it, too.
    made = make(painted, SceneConfig(degrade=DegradeConfig({"srgb": 1.0}, response_share=1.0))).made
    assert json.loads(json.dumps(made, allow_nan=False))["degradation"]["response"]


def test_layers_are_counted(painted: Panorama, plain_scene: Scene) -> None:
    counts = [make(painted, plain_scene(layers=LayerConfig(share=1.0)), seed).made["layers"] for seed in range(8)]
    assert set(counts) <= {1, 2, 3}
    assert len(set(counts)) > 1


def test_panoramas_are_found_folder_by_folder(tmp_path: Path) -> None:
    for name in ("b.hdr", "a.exr", "notes.txt", "c.png", "D.EXR", "e.Hdr", "._a.exr", ".exr", ".b.hdr"):
        (tmp_path / name).touch()
    single = tmp_path / "one" / "z.exr"
    single.parent.mkdir()
    single.touch()
    found = find_panoramas((str(single), "procedural:7", str(tmp_path)))
    here = sorted(str(tmp_path / name) for name in ("D.EXR", "a.exr", "b.hdr", "e.Hdr"))
    assert found == (str(single), "procedural:7", *here)


def test_places_without_panoramas_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ShotError, match=r"holds no \.exr or \.hdr panoramas"):
        find_panoramas((str(tmp_path),))
    with pytest.raises(ShotError, match=r"nowhere: there is no such folder or file"):
        find_panoramas((str(tmp_path / "nowhere"),))
    for place in ("procedural:", "procedural:x", "procedural:-1", "procedural:²"):
        with pytest.raises(UsageError, match=rf"panorama '{place}': write procedural:SEED"):
            find_panoramas((place,))


def test_a_panorama_is_painted_or_read(tmp_path: Path) -> None:
    expected = procedural_panorama(3, 64)
    opened = open_panorama("procedural:3", painted_height=64)
    assert opened.name == expected.name
    np.testing.assert_array_equal(opened.log2_rgb, expected.log2_rgb)
    write_panorama(tmp_path / "grey.exr")
    read = open_panorama(str(tmp_path / "grey.exr"))
    assert read.name == "grey"
    np.testing.assert_allclose(read.log2_rgb, -2, atol=0.01)


def test_what_is_no_panorama_is_refused(tmp_path: Path) -> None:
    write_panorama(tmp_path / "photo.exr", 8, 12)
    with pytest.raises(InputError, match=r"photo\.exr: is 12x8, and a panorama is twice as wide as high"):
        open_panorama(str(tmp_path / "photo.exr"))
    with pytest.raises(FrameError, match=r"gone\.exr: "):
        open_panorama(str(tmp_path / "gone.exr"))
