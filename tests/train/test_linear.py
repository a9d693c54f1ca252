"""What a folder holds in the way of linear material, and the RGB of one file among everything else in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import OpenImageIO as oiio  # noqa: N813
import pytest
from numpy.typing import NDArray

from seqhdr.errors import FrameError, ShotError
from seqhdr.media.exr import write_exr
from seqhdr.train.linear import Material, find_material, read_linear

KINDS = {"float16": "half", "float32": "float", "uint8": "uint8"}


def light(height: int = 6, width: int = 9, seed: int = 0, kind: Any = np.float32) -> NDArray[Any]:
    return np.exp2(np.random.default_rng(seed).normal(-2, 2, (height, width, 3))).astype(kind)


def write_spec(path: Path, pixels: NDArray[Any], names: tuple[str, ...], **header: Any) -> None:
    """One part with any channels and windows, straight through OpenImageIO."""
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], len(names), KINDS[pixels.dtype.name])
    spec.channelnames = names
    for key, value in header.items():
        setattr(spec, key, value)
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec)
    assert output.write_image(pixels)
    output.close()


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder: Path, leave_out: Path | None = None) -> dict[str, tuple[str, tuple[int, ...], list[str]]]:
    material = find_material(folder, leave_out)
    assert len({one.name.lower() for one in material}) == len(material)
    return {
        one.name: (one.scene, one.frames, [p.relative_to(folder).as_posix() for p in one.paths]) for one in material
    }


def test_sequences_and_stills_are_told_apart(tmp_path: Path) -> None:
    touch(tmp_path, *(f"shot.{n}.exr" for n in (1001, 1002, 1003)), "sky.exr", "pano_07.hdr", "notes.txt", ".hid.exr")
    assert found(tmp_path) == {
        "shot": ("shot", (1001, 1002, 1003), ["shot.1001.exr", "shot.1002.exr", "shot.1003.exr"]),
        "pano_07": ("pano_07", (1001,), ["pano_07.hdr"]),
        "sky": ("sky", (1001,), ["sky.exr"]),
    }


def test_takes_of_one_folder_share_a_scene(tmp_path: Path) -> None:
    touch(tmp_path, *(f"alley/take{t}/s_{n:03d}.exr" for t in (1, 2) for n in (8, 9)), "alley/still.exr", "roof/s.exr")
    got = found(tmp_path)
    assert {name: scene for name, (scene, *_) in got.items()} == {
        "alley_take1_s": "alley",
        "alley_take2_s": "alley",
        "alley_still": "alley",
        "roof_s": "roof",
    }
    assert got["alley_take2_s"][1] == (8, 9)


def test_a_gap_divides_a_sequence_and_not_its_scene(tmp_path: Path) -> None:
    touch(tmp_path, *(f"s_{n:04d}.exr" for n in (1, 2, 5, 6, 7, 20)))
    got = found(tmp_path)
    assert {name: one[:2] for name, one in got.items()} == {
        "s_0001": ("s", (1, 2)),
        "s_0005": ("s", (5, 6, 7)),
        "s_0020": ("s", (20,)),
    }
    assert got["s_0005"][2] == ["s_0005.exr", "s_0006.exr", "s_0007.exr"]


def test_a_counter_may_grow_and_no_file_comes_twice(tmp_path: Path) -> None:
    touch(tmp_path, *(f"a_{n}.exr" for n in (9, 10, 11)), *(f"b_{n}.exr" for n in ("0999", "1000", "7")))
    got = found(tmp_path)
    assert got["a"][1] == (9, 10, 11)
    assert got["b"][2] == ["b_0999.exr", "b_1000.exr"]
    assert sorted(file for *_, files in got.values() for file in files) == sorted(p.name for p in tmp_path.iterdir())


def test_frames_with_only_a_number_are_named_after_their_folder(tmp_path: Path) -> None:
    root = tmp_path / "plates"
    touch(root, "001.exr", "002.exr", "night/5.exr", "night/6.exr")
    got = found(root)
    assert got["plates"][:2] == ("plates", (1, 2))
    assert got["night"][:2] == ("night", (5, 6))


def test_names_are_safe_and_never_the_same(tmp_path: Path) -> None:
    touch(
        tmp_path, "a/B.exr", "a_b.exr", "a b.hdr", "A_B.exr", "夜 景.exr", "x*[1]?.exr", "-rf.exr", f"{'n' * 200}.exr"
    )
    touch(tmp_path, "kitchen.exr", "kitchen.hdr")
    got = found(tmp_path)
    assert len(got) == 10
    for name in got:
        assert name.isascii()
        assert name.replace("-", "").replace("_", "").isalnum()
        assert name[0] not in "-_"
        assert len(name) < 130
    assert {name for name in got if name.lower().startswith("a_b")} == {"A_B", "a_b_2", "a_b_3", "a_B_4"}
    # Two files of one name show one thing.
    assert got["kitchen"][0] == got["kitchen_2"][0] == "kitchen"


def test_what_was_written_is_not_read_again(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.exr", "out/train/a/truth/a.1001.exr", ".cache/b.exr")
    assert set(found(tmp_path, leave_out=tmp_path / "in" / ".." / "out")) == {"in_a"}


def test_links_are_followed_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(tmp_path, "store/a.exr", "root/b.exr")
    (root / "plates").symlink_to(tmp_path / "store")
    (root / "plates again").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "loop").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "home").symlink_to(root)
    assert set(found(root)) == {"b", "plates_a"}


@pytest.mark.parametrize("kind", ["empty", "missing", "a file", "only png"])
def test_a_folder_without_material_is_refused(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "plates"
    if kind in ("empty", "only png"):
        folder.mkdir()
    if kind == "only png":
        touch(folder, "a.1001.png")
    if kind == "a file":
        touch(tmp_path, "plates")
    with pytest.raises(ShotError, match=r"plates: .*(check the path|give the folder)"):
        find_material(folder)


def test_the_order_does_not_depend_on_the_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, *(f"{s}/x{t}_{n}.exr" for s in "cab" for t in "21" for n in (1, 2)), "b/x.exr", "b/y.exr", "B.hdr")
    expected = find_material(tmp_path)
    real = __import__("os").scandir

    class Backwards:
        def __init__(self, path: str) -> None:
            with real(path) as entries:
                self.entries = iter(sorted(entries, key=lambda e: e.name, reverse=True))

        def __enter__(self) -> Backwards:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def __next__(self) -> Any:
            return next(self.entries)

        def __iter__(self) -> Any:
            return self.entries

    monkeypatch.setattr("os.scandir", Backwards)
    assert find_material(tmp_path) == expected
    assert isinstance(expected[0], Material)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_only_rgb_is_read_whatever_else_there_is(tmp_path: Path, kind: Any) -> None:
    rgb = light(kind=kind)
    rest = light(seed=1)[..., 0]
    planes = {
        "depth.Z": rest,
        "RGB": rgb,
        "A": rest.astype(np.float16),
        "crypto00.RGB": light(seed=2),
        "crypto00.A": rest,
        "normal.RGB": light(seed=3),
        "ZBack": rest,
    }
    write_exr(tmp_path / "a.exr", planes)
    got, repaired = read_linear(tmp_path / "a.exr")
    assert got.dtype == np.float32
    assert repaired == 0
    np.testing.assert_array_equal(got, rgb.astype(np.float32).transpose(2, 0, 1))


def test_channels_may_stand_in_any_order(tmp_path: Path) -> None:
    pixels = np.concatenate((light(), light(seed=1)), axis=-1)[..., :5]
    write_spec(tmp_path / "a.exr", np.ascontiguousarray(pixels), ("B", "depth.Z", "R", "mask", "G"))
    got, _ = read_linear(tmp_path / "a.exr")
    np.testing.assert_array_equal(got, pixels[..., [2, 4, 0]].transpose(2, 0, 1))


def test_a_single_layer_serves_where_nothing_is_plain(tmp_path: Path) -> None:
    rgb = light()
    write_exr(tmp_path / "one.exr", {"view.rgba.RGB": rgb, "view.Z.Z": rgb[..., 0]})
    np.testing.assert_array_equal(read_linear(tmp_path / "one.exr")[0], rgb.transpose(2, 0, 1))
    write_exr(tmp_path / "two.exr", {"diffuse.RGB": rgb, "specular.RGB": rgb})
    with pytest.raises(FrameError, match=r"two\.exr: .*\(diffuse, specular\): keep one"):
        read_linear(tmp_path / "two.exr")


def test_the_part_that_has_rgb_is_read(tmp_path: Path) -> None:
    rgb, other = light(), light(seed=1)
    names = [("depth", {"Z": other[..., 0]}), ("beauty", {"RGB": rgb}), ("spare", {"RGB": other})]
    parts = [OpenEXR.Part({"name": name}, {k: np.ascontiguousarray(v) for k, v in c.items()}) for name, c in names]
    OpenEXR.File(parts).write(str(tmp_path / "parts.exr"))
    np.testing.assert_array_equal(read_linear(tmp_path / "parts.exr")[0], rgb.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("x", "y"), [(0, 0), (2, 1), (-3, -2), (-2, 3), (4, -1), (100, 0), (0, -100)], ids=lambda v: str(v)
)
def test_the_picture_is_the_display_window(tmp_path: Path, x: int, y: int) -> None:
    data = light(5, 7, kind=np.float16)
    left, top, width, height = 10, 20, 8, 6
    window = {"x": left + x, "y": top + y, "full_x": left, "full_y": top, "full_width": width, "full_height": height}
    write_spec(tmp_path / "a.exr", data, ("R", "G", "B"), **window)
    expected = np.zeros((3, height, width), np.float32)
    for row in range(5):
        for column in range(7):
            if 0 <= row + y < height and 0 <= column + x < width:
                expected[:, row + y, column + x] = data[row, column]
    np.testing.assert_array_equal(read_linear(tmp_path / "a.exr")[0], expected)


def test_overscan_is_cut_off(tmp_path: Path) -> None:
    data = light(10, 12)
    window = {"x": -2, "y": -3, "full_x": 0, "full_y": 0, "full_width": 8, "full_height": 5}
    write_spec(tmp_path / "a.exr", data, ("R", "G", "B"), **window)
    np.testing.assert_array_equal(read_linear(tmp_path / "a.exr")[0], data[3:8, 2:10].transpose(2, 0, 1))


def test_broken_values_are_mended_and_counted(tmp_path: Path) -> None:
    rgb = light(kind=np.float16)
    rgb[0, 0] = (np.nan, 1, -2)
    rgb[1, 1] = (np.inf, -np.inf, np.nan)
    # What is wrong with other channels is nobody's business.
    write_exr(tmp_path / "a.exr", {"RGB": rgb, "Z": np.full((6, 9), np.inf, np.float32)})
    got, repaired = read_linear(tmp_path / "a.exr")
    assert repaired == 4
    np.testing.assert_array_equal(got[:, 0, 0], (0, 1, -2))
    np.testing.assert_array_equal(got[:, 1, 1], (65504, -65504, 0))
    np.testing.assert_array_equal(got[:, 2:], rgb[2:].astype(np.float32).transpose(2, 0, 1))


def test_a_radiance_picture_is_read(tmp_path: Path) -> None:
    rgb = light(16, 24)
    write_spec(tmp_path / "a.hdr", rgb, ("R", "G", "B"))
    got, _ = read_linear(tmp_path / "a.hdr")
    # RGBE has 8 bits of mantissa for the largest of the three.
    error = np.abs(got - rgb.transpose(2, 0, 1)) / rgb.max(axis=-1)
    assert error.max() < 1 / 128
    assert got.max() > 1


@pytest.mark.parametrize(
    "kind", ["missing", "text", "cut short", "cut hdr", "folder", "grey", "uint32", "png inside", "empty"]
)
def test_what_has_no_rgb_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("bad.hdr" if kind == "cut hdr" else "bad.exr")
    if kind == "text":
        path.write_text("not a picture")
    elif kind == "empty":
        path.touch()
    elif kind in ("cut short", "cut hdr"):
        write_spec(path, light(64, 64), ("R", "G", "B"))
        path.write_bytes(path.read_bytes()[:3000])
    elif kind == "folder":
        path.mkdir()
    elif kind == "grey":
        write_exr(path, {"Y": light()[..., 0], "depth.Z": light()[..., 1]})
    elif kind == "uint32":
        OpenEXR.File({}, {c: np.ones((4, 5), np.uint32) for c in "RGB"}).write(str(path))
    elif kind == "png inside":
        write_spec(tmp_path / "a.png", np.zeros((4, 5, 3), np.uint8), ("R", "G", "B"))
        (tmp_path / "a.png").rename(path)
    with pytest.raises(FrameError, match=r"bad\.(exr|hdr): .*: \w+") as caught:
        read_linear(path)
    if kind == "grey":
        assert "has Y, depth.Z but no R, G and B" in str(caught.value)
    if kind == "png inside":
        assert "is PNG inside" in str(caught.value)


def test_a_deep_picture_is_refused(tmp_path: Path) -> None:
    spec = oiio.ImageSpec(4, 3, 4, "float")
    spec.channelnames = ("R", "G", "B", "A")
    spec.deep = True
    deep = oiio.DeepData()
    deep.init(12, 4, spec.channelformats or [spec.format] * 4, spec.channelnames)
    output = oiio.ImageOutput.create(str(tmp_path / "deep.exr"))
    assert output.open(str(tmp_path / "deep.exr"), spec)
    assert output.write_deep_image(deep)
    output.close()
    with pytest.raises(FrameError, match=r"deep\.exr: .*no R, G and B"):
        read_linear(tmp_path / "deep.exr")


def test_training_pairs_are_no_material(tmp_path: Path) -> None:
    touch(tmp_path, "set/a_01/clip.json", "set/a_01/truth/a_01.1001.exr", "set/a_01/x.exr", "set/b.exr", "c.exr")
    assert set(found(tmp_path)) == {"set_b", "c"}
    (tmp_path / "set" / "b.exr").unlink()
    for folder in (tmp_path / "set", tmp_path / "set" / "a_01"):
        with pytest.raises(ShotError, match=r"only clips that are training pairs already, like .*a_01: .*train"):
            find_material(folder)
    # Where nothing is looked for, nothing is found.
    (tmp_path / "c.exr").unlink()
    with pytest.raises(ShotError, match="no linear material"):
        find_material(tmp_path, leave_out=tmp_path / "set")
