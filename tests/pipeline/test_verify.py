"""The proof: from the files alone, every unclipped channel lies in the bin of its code, or exit code 5."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqhdr.media.exr import read_exr, write_exr

KEPT = {"seqhdr:bins": "strict", "seqhdr:half_width": 0.5, "seqhdr:input_space": "srgb"}


def rows(out: str) -> dict[str, str]:
    """The table, as printed, by its first column."""
    return {line[:34].strip(): line[34:].strip() for line in out.splitlines()}


@pytest.fixture
def written(shoot: Any, convert: Any, tmp_path: Path) -> Any:
    """Write a shot and return the patterns of the EXR frames and of the source."""

    def write(*words: object, space: str = "acescct", **how: Any) -> tuple[str, str]:
        source = shoot(range(1001, 1004), **how)
        ran = convert(source, "--output-space", space, *words)
        assert ran.code == 0, ran.err
        return str(tmp_path / "out" / f"shot_{space}.%04d.exr"), source

    return write


def rewrite(path: Path, **changes: Any) -> None:
    """Write an EXR again with some planes or header entries changed; None leaves an entry out."""
    channels, info = read_exr(path)
    attributes = {k: v for k, v in info.attributes.items() if k.startswith("seqhdr:")}
    for name, value in changes.items():
        if name in channels:
            channels[name] = value
        else:
            attributes[f"seqhdr:{name}"] = value
    kept = {k: v for k, v in attributes.items() if v is not None}
    write_exr(path, channels, compression=info.compression, attributes=kept, overwrite=True)


def test_float_keeps_every_bin_exactly(written: Any, seqhdr: Any) -> None:
    output, source = written("--bit-depth", "float", "--bins", "strict", "--aov", "delta")
    ran = seqhdr("verify", output, "--source", source)
    assert ran.code == 0, ran.err
    table = rows(ran.out)
    assert table["frames"] == "3, stored as float"
    assert table["bins"] == "strict, half-width 0.5 codes"
    assert table["exactly inside"] == "100.000 %"
    assert table["within the container's rounding"] == "100.000 %"
    assert table["promise"] == "kept"
    assert int(table["clipped channels"]) > 0
    assert ran.err == ""


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_half_without_a_change_of_primaries_keeps_every_bin_exactly(written: Any, seqhdr: Any, extension: str) -> None:
    output, source = written("--input-space", "acescct", "--bins", "strict", extension=extension)
    ran = seqhdr("verify", output, "--source", source)
    assert ran.code == 0, ran.err
    assert rows(ran.out)["exactly inside"] == "100.000 %"


@pytest.mark.parametrize("space", ["acescct", "acescg", "logc4"])
def test_half_across_primaries_keeps_every_bin_within_its_rounding(written: Any, seqhdr: Any, space: str) -> None:
    output, source = written("--bins", "strict", space=space)
    ran = seqhdr("verify", output, "--source", source, "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["storage"] == "half"
    assert report["total"]["container_share"] == 1.0
    assert 0.99 < report["total"]["exact_share"] <= 1.0
    assert report["kept"] is True


@pytest.mark.parametrize(("extension", "bits"), [("dpx", 10), ("png", 16), ("tif", 16)])
def test_deeper_sources(written: Any, seqhdr: Any, extension: str, bits: int) -> None:
    words = ("--bit-depth", "float", "--bins", "strict")
    output, source = written(*words, extension=extension, bits=bits)
    ran = seqhdr("verify", output, "--source", source, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["total"]["exact_share"] == 1.0


def test_the_json_has_every_frame(written: Any, seqhdr: Any) -> None:
    output, source = written("--bins", "1.35")
    ran = seqhdr("verify", output, "--source", source, "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert (report["output"], report["source"]) == (output, source)
    assert (report["bins"], report["half_width_lsb"]) == ("1.35", pytest.approx(1.35))
    assert list(report["frames"]) == ["1001", "1002", "1003"]
    total = report["total"]
    assert total["frames"] == 3
    assert total["unclipped"] + total["clipped"] == 3 * 3 * 64 * 48
    assert total["unclipped"] == sum(f["unclipped"] for f in report["frames"].values())
    assert (total["worst_x"], total["worst_y"]) < (64, 48)


@pytest.mark.parametrize("depth", ["half", "float"])
def test_one_pixel_out_of_its_bin_is_found(written: Any, seqhdr: Any, tmp_path: Path, depth: str) -> None:
    output, source = written("--bit-depth", depth, "--bins", "strict")
    path = Path(output % 1002)
    channels, _ = read_exr(path)
    green = channels["G"].copy()
    green[20, 7] += 0.02
    rewrite(path, G=green)
    ran = seqhdr("verify", output, "--source", source)
    assert ran.code == 5
    table = rows(ran.out)
    assert table["promise"] == "BROKEN"
    assert table["worst frame"] == "1002"
    assert "frame 1002, x 7, y 20, G" in table["largest deviation"]
    assert table["within the container's rounding"].startswith("99.9")
    assert "outside" in table["within the container's rounding"]
    assert ran.err.startswith(f"seqhdr: {output}: ")
    assert "lie outside their bins beyond the container's rounding, worst in frame 1002: convert it again" in ran.err
    assert ran.err.count("\n") == 1


def test_a_clipped_pixel_below_its_code_or_not_a_number_is_found(written: Any, seqhdr: Any) -> None:
    output, source = written("--bins", "strict", "--input-space", "acescct")  # no matrix: one channel alone
    path = Path(output % 1003)
    channels, _ = read_exr(path)
    red, lamp = channels["R"].copy(), (12, 40)
    red[lamp] = 0.1
    rewrite(path, R=red)
    ran = seqhdr("verify", output, "--source", source)
    assert ran.code == 5
    assert f": 1 of {3 * 3 * 64 * 48} channels lie outside" in ran.err
    assert "worst in frame 1003" in ran.err
    red[lamp] = np.nan
    rewrite(path, R=red)
    ran = seqhdr("verify", output, "--source", source)
    assert ran.code == 5
    assert int(rows(ran.out)["NaN or infinite"]) == 1


def test_a_float_file_has_no_excuse(written: Any, seqhdr: Any) -> None:
    output, source = written("--bit-depth", "float", "--bins", "strict", "--input-space", "acescct")
    path = Path(output % 1001)
    channels, _ = read_exr(path)
    rewrite(path, **{c: channels[c] + np.float32(0.001) for c in "RGB"})
    assert seqhdr("verify", output, "--source", source).code == 5


def test_another_source_breaks_the_promise(written: Any, shoot: Any, seqhdr: Any) -> None:
    output, _ = written("--bins", "strict")
    other = shoot(range(1001, 1004), folder="other", cut=1001)
    ran = seqhdr("verify", output, "--source", other)
    assert ran.code == 5
    assert "convert it again" in ran.err


def test_sources_that_do_not_fit(written: Any, shoot: Any, seqhdr: Any) -> None:
    output, _ = written("--bins", "strict")
    small = shoot(range(1001, 1004), folder="small", size=(32, 48))
    ran = seqhdr("verify", output, "--source", small)
    assert ran.code == 3
    assert "is 64x48, its source is 32x48: check --source" in ran.err
    short = shoot(range(1001, 1003), folder="short")
    ran = seqhdr("verify", output, "--source", short)
    assert ran.code == 3
    assert "has no frame 1003, on disk are 1001-1002" in ran.err
    assert seqhdr("verify", output, "--source", short, "--frames", "1001-1002").code == 0


def test_held_frames_are_compared_with_what_was_read_for_them(
    shoot: Any, convert: Any, seqhdr: Any, tmp_path: Path
) -> None:
    source = shoot(range(1, 5))
    Path(source % 3).unlink()
    assert convert(source, "--missing", "hold", "--bins", "strict").code == 0
    ran = seqhdr("verify", tmp_path / "out" / "shot_acescct.%04d.exr", "--source", source)
    assert ran.code == 0, ran.err
    assert rows(ran.out)["frames"] == "4, stored as half"


@pytest.mark.parametrize(
    ("entry", "option", "value"),
    [
        ("input_space", "--input-space", "srgb"),
        ("output_space", "--output-space", "acescct"),
        ("half_width", "--bins", "strict"),
    ],
)
def test_what_the_header_does_not_say_must_be_given(
    written: Any, seqhdr: Any, entry: str, option: str, value: str
) -> None:
    output, source = written("--bins", "strict")
    for frame in range(1001, 1004):
        rewrite(Path(output % frame), **{entry: None})
    ran = seqhdr("verify", output, "--source", source)
    assert ran.code == 2
    assert option in ran.err
    assert seqhdr("verify", output, "--source", source, option, value).code == 0


def test_frames_of_different_making_are_not_mixed(written: Any, seqhdr: Any) -> None:
    output, source = written("--bins", "strict")
    rewrite(Path(output % 1002), half_width=2.0)
    ran = seqhdr("verify", output, "--source", source)
    assert ran.code == 3
    assert "was made with other settings than the frames before it" in ran.err
    assert "--frames" in ran.err


def test_no_bins_no_promise_but_one_may_be_asked_for(written: Any, seqhdr: Any) -> None:
    output, source = written("--bins", "off")
    ran = seqhdr("verify", output, "--source", source, "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert (report["bins"], report["half_width_lsb"]) == ("off", None)
    assert "no bound" in rows(seqhdr("verify", output, "--source", source).out)["bins"]
    assert seqhdr("verify", output, "--source", source, "--bins", "16").code == 0


@pytest.mark.parametrize("bins", ["wide", "-1", "nan", "inf", "0"])
def test_a_half_width_that_is_none(written: Any, seqhdr: Any, bins: str) -> None:
    output, source = written()
    ran = seqhdr("verify", output, "--source", source, "--bins", bins)
    assert ran.code == 2
    assert f"--bins {bins!r}: give strict, or a half-width" in ran.err


def test_a_wider_promise_than_the_one_asked_for_is_noticed(written: Any, seqhdr: Any) -> None:
    output, source = written("--bins", "6", "--bit-depth", "float")
    assert seqhdr("verify", output, "--source", source).code == 0
    assert seqhdr("verify", output, "--source", source, "--bins", "strict").code == 5


def test_lossy_compression_leaves_the_bins_and_pxr24_does_not(written: Any, seqhdr: Any) -> None:
    output, source = written("--bins", "strict", "--bit-depth", "float", "--compression", "pxr24")
    ran = seqhdr("verify", output, "--source", source)
    assert ran.code == 0, ran.err
    assert rows(ran.out)["frames"] == "3, stored as float24"
    output, source = written("--bins", "strict", "--compression", "dwaa", "--overwrite")
    assert seqhdr("verify", output, "--source", source).code == 5


def test_frames_without_colour(written: Any, seqhdr: Any) -> None:
    output, source = written("--bins", "strict")
    _, info = read_exr(output % 1001)
    attributes = {k: v for k, v in info.attributes.items() if k.startswith("seqhdr:")}
    write_exr(output % 1001, {"Y": np.zeros((48, 64), np.float16)}, attributes=attributes, overwrite=True)
    ran = seqhdr("verify", output, "--source", source)
    assert ran.code == 3
    assert "has no channel R" in ran.err
