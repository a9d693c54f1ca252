"""Reports of anything that is a sequence: page and JSON, gates, several shots, hostile names, full disks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

import seqhdr
from seqhdr.errors import FramesFailedError, GateError, InputError, UnknownNameError, UsageError
from tests.conftest import picture
from tests.pipeline.report_shots import (
    Array,
    Page,
    hills,
    source_values,
    srgb_codes,
    strict_json,
    write_codes,
    write_exrs,
)

FRAMES = range(1, 4)


def reported(*patterns: str, **options: Any) -> dict[str, Any]:
    """The JSON of a single report, from its file."""
    result = seqhdr.report(patterns, **options)
    (data,) = result.data
    report: dict[str, Any] = strict_json(data)
    assert report == json.loads(json.dumps(result.reports[0]))
    return report


def column(report: dict[str, Any], key: str) -> list[Any]:
    return [row[key] for row in report["frames"]]


# --- any sequence -------------------------------------------------------------------------------------------------


def half(frame: int) -> Array:
    return hills((64, 48)).astype(np.float16)


def grey(frame: int) -> Array:
    return hills((64, 48))[..., 0]


@pytest.mark.parametrize(
    ("write", "storage", "encoding"),
    [
        (lambda at, shoot: write_exrs(at, FRAMES, half), "half", "lin_rec709 (assumed)"),
        (lambda at, shoot: write_exrs(at, FRAMES, lambda n: hills((64, 48))), "float", "lin_rec709 (assumed)"),
        (lambda at, shoot: write_exrs(at, FRAMES, grey), "float", "lin_rec709 (assumed)"),
        (lambda at, shoot: shoot(FRAMES), "8 bits", "srgb (assumed)"),
        (lambda at, shoot: shoot(FRAMES, bits=16), "16 bits", "srgb (assumed)"),
        (lambda at, shoot: shoot(FRAMES, bits=10, extension="dpx"), "10 bits", "srgb (assumed)"),
        (lambda at, shoot: shoot(FRAMES, alpha=True), "8 bits", "srgb (assumed)"),
        (lambda at, shoot: shoot(FRAMES, size=(8, 8)), "8 bits", "srgb (assumed)"),
        (lambda at, shoot: shoot(FRAMES, size=(1, 1)), "8 bits", "srgb (assumed)"),
    ],
    ids=["half", "float", "grey", "8 bits", "16 bits", "dpx", "alpha", "8x8", "1x1"],
)
def test_any_sequence_alone(write: Callable[..., str], storage: str, encoding: str, shoot: Any, tmp_path: Path) -> None:
    pattern = write(tmp_path, shoot)
    report = reported(pattern)
    assert (report["result"]["storage"], report["result"]["encoding"]) == (storage, encoding)
    assert report["source"] is report["truth"] is report["accuracy"] is None
    assert report["fidelity"]["inside_share"] is None
    assert report["flicker"]["flicker_stops"] is not None
    assert report["flicker"]["excess_flicker_stops"] is None
    assert [check["name"] for check in report["verdict"]["checks"]] == ["jitter", "banding", "nonfinite"]
    page = Page(Path(pattern).parent / f"{report['name']}.report.html")
    assert page.text("h1") == report["name"]
    assert "\n".join(report["summary"]) in page.text("pre")
    assert all(source.startswith("data:image/") for source in page.sources)
    assert {href[1:] for href in page.hrefs if href.startswith("#")} <= page.ids


def test_our_own_frames_say_themselves_what_they_are(shoot: Any, convert: Any, tmp_path: Path) -> None:
    source = shoot()
    assert convert(source).code == 0
    pattern = str(tmp_path / "out" / "shot_acescct.%04d.exr")
    alone = reported(pattern, output=tmp_path / "alone")
    assert (alone["name"], alone["result"]["encoding"], alone["source"]) == ("shot_acescct", "acescct", None)
    assert alone["result"]["made_by"].startswith("seqhdr ")
    beside = reported(pattern, source=source, output=tmp_path / "beside")
    assert beside["source"]["encoding"] == "srgb"
    assert beside["source"]["half_width_lsb"] == pytest.approx(0.5)
    assert beside["source"]["bins_reason"]
    assert beside["fidelity"]["inside_share"] == 1.0
    assert beside["fidelity"]["clipped_share"] > 0
    # From here on the headers are overruled.
    asked = reported(pattern, source=source, output=tmp_path / "asked", bins="2.5", input_space="rec709")
    assert (asked["source"]["half_width_lsb"], asked["source"]["bins_reason"]) == (2.5, "as asked for")
    assert asked["source"]["encoding"] == "rec709"
    assert asked["fidelity"]["inside_share"] < 1


def test_a_truth_alone_and_a_source_beside_it(tmp_path: Path) -> None:
    truth = write_exrs(tmp_path, FRAMES, lambda n: hills((64, 48)), name="truth_")
    source = write_codes(tmp_path, FRAMES, lambda n: srgb_codes(hills((64, 48)), 8))
    result = write_exrs(tmp_path, FRAMES, lambda n: hills((64, 48)) * np.float32(1.01))
    alone = reported(result, truth=truth, output=tmp_path / "alone")
    assert alone["flicker"]["truth_flicker_stops"] is not None
    assert alone["flicker"]["source_flicker_stops"] is None
    assert alone["fidelity"]["inside_share"] is None
    assert {row["identity"] for row in alone["accuracy"]["rows"]} == {None}
    assert "flicker, over the truth" in [check["label"].lower() for check in alone["verdict"]["checks"]]
    both = reported(result, truth=truth, source=source, output=tmp_path / "both")
    assert both["fidelity"]["inside_share"] is not None
    assert None not in {row["identity"] for row in both["accuracy"]["rows"]}
    assert "flicker, over the source" in [check["label"].lower() for check in both["verdict"]["checks"]]


def test_a_single_frame_has_no_flicker_and_is_still_reported(shoot: Any) -> None:
    report = reported(shoot(range(7, 8)))
    assert report["summary"][1] == "flicker  nothing to compare: no two frames follow each other"
    assert column(report, "flicker_stops") == [None]
    assert report["flicker"]["std_histogram"] is None
    assert (report["result"]["first"], report["result"]["last"], report["result"]["frames"]) == (7, 7, 1)


def test_a_gap_and_a_cut_are_told(shoot: Any) -> None:
    pattern = shoot([1, 2, 3, 5, 6, 7, 8], cut=7, size=(96, 64))
    report = reported(pattern)
    assert report["result"]["missing"] == [4]
    assert report["cuts"] == [7]
    assert report["summary"][0] == "shot: 7 frames 1-8 without 4, 96x64, 8 bits srgb (assumed), 1 cut"
    assert [row["frame"] for row in report["frames"] if row["flicker_stops"] is None] == [1, 5, 7]
    assert reported(pattern, cuts="off")["cuts"] == []
    named = reported(pattern, cuts="3,8", frames="1-8")
    assert named["cuts"] == [3, 8]
    page = Page(Path(pattern).parent / "shot.report.html")
    assert "without 4" in page.text("td")


def test_frames_with_nan_are_counted_and_named(tmp_path: Path) -> None:
    def holed(frame: int) -> Array:
        pixels = source_values(frame)
        if frame == 2:
            pixels[5, 5] = [np.nan, np.inf, -np.inf]
        return pixels

    source = write_codes(tmp_path, FRAMES, lambda n: picture(n - 1))
    pattern = write_exrs(tmp_path, FRAMES, holed)
    for output, beside in (("a", {"source": source}), ("b", {"truth": pattern}), ("c", {})):
        report = reported(pattern, output_space="srgb", output=tmp_path / output, **beside)
        assert column(report, "nonfinite") == [0, 3, 0]
        assert report["fidelity"]["nonfinite"] == 3
        assert "it has NaN or infinite values (frame 2)" in report["verdict"]["sentence"].replace("It", "it")
        assert not report["verdict"]["good"]
    with pytest.raises(GateError, match=r"below 100 % in frame 2$"):
        seqhdr.report(pattern, source=source, output_space="srgb", min_inside=100)


def test_frames_of_nothing_but_nan_are_reported(tmp_path: Path) -> None:
    pattern = write_exrs(tmp_path, FRAMES, lambda n: np.full((16, 16, 3), np.nan, np.float32))
    report = reported(pattern)
    assert report["fidelity"]["maximum"] is None
    assert not report["verdict"]["good"]


# --- where it goes, and again ----------------------------------------------------------------------------------------


def test_the_result_says_what_was_written(shoot: Any, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    finished: list[tuple[str, Path]] = []
    patterns = [shoot(FRAMES, name="a_", size=(16, 16)), shoot(FRAMES, name="b_", size=(16, 16))]
    result = seqhdr.report(
        patterns,
        output=str(tmp_path / "new" / "folder"),
        on_frame=lambda shot, done, of: told.append((shot, done, of)),
        on_report=lambda report, page: finished.append((report["name"], page)),
    )
    assert isinstance(result, seqhdr.ReportResult)
    folder = tmp_path / "new" / "folder"
    assert result.pages == (folder / "a.report.html", folder / "b.report.html")
    assert result.data == (folder / "a.report.json", folder / "b.report.json")
    assert result.index == folder / "reports.html"
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        p.name for p in (*result.pages, *result.data, result.index)
    )
    assert told == [(pattern, n, 3) for pattern in patterns for n in (1, 2, 3)]
    assert finished == [("a", result.pages[0]), ("b", result.pages[1])]
    assert seqhdr.report(Path(patterns[0])).index is None


@pytest.mark.parametrize("compare", [False, True])
def test_the_same_frames_give_the_same_bytes(compare: bool, tmp_path: Path) -> None:
    source = write_codes(tmp_path, FRAMES, lambda n: picture(n - 1, size=(96, 64)))
    pattern = write_exrs(tmp_path, FRAMES, lambda n: source_values(n, size=(96, 64)))
    made = []
    for folder in ("once", "again"):
        result = seqhdr.report(
            pattern, source=source, truth=pattern, output=tmp_path / folder, output_space="srgb", compare=compare
        )
        made.append([path.read_bytes() for path in (*result.pages, *result.data)])
    assert made[0] == made[1]


def test_a_report_is_renewed_when_it_is_made_again(shoot: Any, tmp_path: Path) -> None:
    pattern = shoot(FRAMES)
    reported(pattern)
    shoot(FRAMES, cut=2)
    assert column(reported(pattern, cuts="2"), "starts_segment") == [True, True, False]


def test_a_folder_that_cannot_be_is_refused(shoot: Any, tmp_path: Path) -> None:
    pattern = shoot(FRAMES, size=(8, 8))
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    with pytest.raises(UsageError, match=r"file: is a file, and reports go into a folder: give another -o"):
        seqhdr.report(pattern, output=blocked)
    with pytest.raises(UsageError, match=r"cannot become a folder \(Not a directory\): give another -o"):
        seqhdr.report(pattern, output=blocked / "below")
    assert blocked.read_text() == "mine"
    (tmp_path / "out" / "shot.report.html").mkdir(parents=True)
    with pytest.raises(FramesFailedError, match="a folder has that name"):
        seqhdr.report(pattern, output=tmp_path / "out")


def test_a_folder_is_tried_before_anything_is_measured(
    shoot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern = shoot(FRAMES, size=(8, 8))
    (tmp_path / "file").write_text("mine")
    measured: list[int] = []
    monkeypatch.setattr("seqhdr.pipeline.report.os.access", lambda folder, mode: False)
    for output, words in ((tmp_path / "file" / "below", "cannot become"), (tmp_path, "no permission to write")):
        for more in ({}, {"compare": True, "source": pattern}):
            with pytest.raises(UsageError, match=words):
                seqhdr.report(pattern, output=output, on_frame=lambda shot, done, of: measured.append(done), **more)
    assert not measured


def test_worst_frames_say_what_their_flicker_was_held_against(brighter_frame: dict[str, Any]) -> None:
    page = Page(seqhdr.report(**brighter_frame).pages[0])
    texts = " ".join(text for texts in page.texts.values() for text in texts)
    assert "stop more than its truth" in texts
    assert "more than its source" not in texts


def test_a_full_disk_leaves_whole_files_or_none(shoot: Any, tiny_disk: Path) -> None:
    pattern = shoot(FRAMES)
    whole = seqhdr.report(pattern)
    data_bytes, page_bytes = (paths[0].stat().st_size for paths in (whole.data, whole.pages))
    for room in (data_bytes // 2, data_bytes + page_bytes // 2):
        filler = tiny_disk / "filler"
        filler.write_bytes(bytes(256 * 1024 - room // 4096 * 4096 - 8192))
        with pytest.raises(FramesFailedError, match="the disk is full"):
            seqhdr.report(pattern, output=tiny_disk)
        left = [path for path in tiny_disk.iterdir() if path != filler]
        assert [path.name for path in left] in ([], ["shot.report.json"])
        for path in left:
            assert path.read_bytes() == whole.data[0].read_bytes()
            path.unlink()


# --- gates -------------------------------------------------------------------------------------------------------


@pytest.fixture
def brighter_frame(tmp_path: Path) -> dict[str, Any]:
    """A still shot whose frame 5 is 3 % brighter, log2(1.03) = 0.0426 stop, and what it should be."""
    truth = write_exrs(tmp_path, range(1, 8), lambda n: hills((32, 24)), name="truth_")
    bright = write_exrs(tmp_path, range(1, 8), lambda n: hills((32, 24)) * np.float32(1.03 if n == 5 else 1))
    return {"patterns": bright, "truth": truth}


def rounded(raised: pytest.ExceptionInfo[GateError]) -> str:
    """The sentence, with two digits of log2(1.03) = 0.0426: small frames get to 0.0425."""
    return re.sub(r"\b0\.042\d+ stop is", "0.04 stop is", str(raised.value))


@pytest.mark.parametrize(
    ("limits", "frames"),
    [
        ({"max_flicker": 0.042}, "flicker, over the truth 0.04 stop is above 0.042 stop in frames 5-6"),
        ({"max_flicker": 0.043}, None),
        ({"max_jitter": 0.042}, "exposure jitter, over the truth 0.04 stop is above 0.042 stop in frame 5"),
        ({"max_jitter": 0.02}, "exposure jitter, over the truth 0.04 stop is above 0.02 stop in frames 4-6"),
        ({"max_jitter": 0.043}, None),
        (
            {"max_flicker": 0.042, "max_jitter": 0.042},
            "flicker, over the truth 0.04 stop is above 0.042 stop in frames 5-6; "
            "exposure jitter, over the truth 0.04 stop is above 0.042 stop in frame 5",
        ),
        ({}, None),
    ],
)
def test_a_gate_names_the_frames_that_fail(
    limits: dict[str, float], frames: str | None, brighter_frame: dict[str, Any]
) -> None:
    if frames is None:
        result = seqhdr.report(**brighter_frame, **limits)
        assert result.reports[0]["verdict"]["good"] is bool(limits.get("max_flicker") and limits.get("max_jitter"))
        return
    with pytest.raises(GateError) as failed:
        seqhdr.report(**brighter_frame, **limits)
    assert rounded(failed) == f"{brighter_frame['patterns']}: {frames}"
    assert Path(brighter_frame["patterns"]).with_name("comp.report.html").is_file()


def test_without_anything_beside_it_a_gate_takes_flicker_as_it_is(brighter_frame: dict[str, Any]) -> None:
    with pytest.raises(GateError, match=r": flicker 0\.042\d+ stop is above 0.04 stop in frames 5-6$"):
        seqhdr.report(brighter_frame["patterns"], max_flicker=0.04)
    seqhdr.report(brighter_frame["patterns"], max_flicker=0.05, max_jitter=0.05)


@pytest.mark.parametrize(
    ("place", "stride", "caught"), [((0, 0), "1", True), ((21, 33), "2", True), ((20, 33), "2", False)]
)
def test_one_pixel_that_left_its_bin_is_found(
    place: tuple[int, int], stride: str, caught: bool, tmp_path: Path
) -> None:
    def changed(frame: int) -> Array:
        values = source_values(frame)
        if frame == 2:
            values[place][1] += 2 / 255
        return values

    source = write_codes(tmp_path, FRAMES, lambda n: picture(n - 1))
    pattern = write_exrs(tmp_path, FRAMES, changed)
    options: dict[str, Any] = {"source": source, "output_space": "srgb", "stride": stride}
    report = reported(pattern, **options)
    shares = column(report, "inside_share")
    assert report["measured"]["audit"] == ("every pixel" if stride == "1" else "1 of 4 pixels")
    if not caught:
        assert shares == [1.0] * 3
        seqhdr.report(pattern, **options, min_inside=100)
        return
    assert shares[1] < 1 == shares[0] == shares[2]
    assert report["fidelity"]["worst_lsb_frame"] == 2
    assert abs(report["fidelity"]["worst_lsb"]) == pytest.approx(2, abs=0.01)
    with pytest.raises(GateError, match=r"inside their bins 99\.\d+ % is below 100 % in frame 2$"):
        seqhdr.report(pattern, **options, min_inside=100)
    seqhdr.report(pattern, **options, min_inside=99)


def test_a_shot_that_fails_keeps_no_other_from_its_page(brighter_frame: dict[str, Any], tmp_path: Path) -> None:
    steady, bright = brighter_frame["truth"], brighter_frame["patterns"]
    seen: list[str] = []
    with pytest.raises(GateError) as failed:
        seqhdr.report(
            [bright, steady],
            max_jitter=0.03,
            output=tmp_path / "pages",
            on_report=lambda report, page: seen.append(report["name"]),
        )
    assert rounded(failed) == f"{bright}: exposure jitter 0.04 stop is above 0.03 stop in frame 5"
    assert seen == ["comp", "truth"]
    names = {path.name for path in (tmp_path / "pages").iterdir()}
    assert names >= {"comp.report.html", "truth.report.html", "comp.report.json", "reports.html"}
    with pytest.raises(GateError) as both:
        seqhdr.report([bright, bright], max_jitter=0.03, compare=True)
    assert rounded(both).splitlines() == [rounded(failed)] * 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_inside": 99.0}, "--min-inside needs the codes"),
        ({"max_flicker": 0.1, "frames": "2"}, "need more than one frame"),
        ({"max_jitter": 0.1, "frames": "2"}, "need more than one frame"),
        ({"metrics": True}, "--metrics compares with a truth"),
        ({"max_flicker": -1.0}, "--max-flicker -1: give 0 stops or more"),
        ({"min_inside": 101.0}, "--min-inside 101: give from 0 to 100 percent"),
        ({"stride": "0"}, "--stride '0' is neither auto nor a number"),
        ({"stride": "49"}, "--stride 49: frames of 64x48 have no 49th pixel"),
        ({"cuts": "soon"}, "--cuts 'soon' is not understood"),
        ({"cuts": "9"}, "--cuts names frames that are not in the sequence: 9"),
        ({"frames": "one"}, "--frames 'one' is not a frame range"),
        ({"fps": "fast"}, "fast"),
        ({"source": ["a", "b"]}, "--source is given 2 times for 1 shots"),
        ({"truth": ["a", "b"]}, "--truth is given 2 times for 1 shots"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], words: str, shoot: Any) -> None:
    pattern = shoot(FRAMES)
    with pytest.raises(UsageError, match=words):
        seqhdr.report(pattern, **options)
    assert list(Path(pattern).parent.glob("*.report.*")) == []


@pytest.mark.parametrize("bins", ["0.3", "nan", "inf", "wide", "-1"])
def test_bins_that_are_none_are_refused(bins: str, shoot: Any) -> None:
    pattern = shoot(FRAMES)
    with pytest.raises(UsageError, match=rf"--bins '{bins}': give strict, or a half-width of 0.5 codes or more"):
        seqhdr.report(pattern, source=pattern, bins=bins)


def test_spaces_nobody_knows_and_no_shot_at_all_are_refused(shoot: Any) -> None:
    pattern = shoot(FRAMES)
    for option in ("input_space", "output_space", "truth_space"):
        with pytest.raises(UnknownNameError, match="did you mean ACEScct"):
            seqhdr.report(pattern, source=pattern, truth=pattern, **{option: "acesct"})
    with pytest.raises(UsageError, match="no shot given"):
        seqhdr.report([])
    with pytest.raises(InputError, match="no file matches"):
        seqhdr.report(pattern.replace("shot", "shut"))


def test_bins_that_are_not_claimed_cannot_be_gated(tmp_path: Path) -> None:
    source = write_codes(tmp_path, FRAMES, lambda n: picture(n - 1))
    attributes = {"seqhdr:half_width": -1.0, "seqhdr:output_space": "srgb"}
    pattern = write_exrs(tmp_path, FRAMES, source_values, attributes=attributes)
    with pytest.raises(UsageError, match="claims no bins, which --min-inside cannot check: name a half-width"):
        seqhdr.report(pattern, source=source, min_inside=100)
    seqhdr.report(pattern, source=source, min_inside=100, bins="strict")
    report = reported(pattern, source=source)
    assert report["source"]["half_width_lsb"] is report["measured"]["audit"] is None


def test_floats_are_no_source(tmp_path: Path) -> None:
    pattern = write_exrs(tmp_path, FRAMES, source_values)
    with pytest.raises(UsageError, match=r"holds float values, and a source is 8- to 16-bit codes: give it as --truth"):
        seqhdr.report(pattern, source=pattern)


@pytest.mark.parametrize("case", ["jitter of two frames", "flicker across a gap", "all clipped"])
def test_a_gate_that_nothing_could_fail_is_refused(case: str, shoot: Any, tmp_path: Path) -> None:
    if case == "jitter of two frames":
        wanted = {"patterns": shoot(range(1, 3)), "max_jitter": 0.0}
    elif case == "flicker across a gap":
        wanted = {"patterns": shoot([1, 3]), "max_flicker": 0.0}
    else:
        white = write_codes(tmp_path, FRAMES, lambda n: np.full((16, 16, 3), 255, np.uint8))
        wanted = {"patterns": white, "max_flicker": 0.0}
    with pytest.raises((UsageError, GateError)):
        seqhdr.report(**wanted)


# --- several shots ------------------------------------------------------------------------------------------------


def test_an_index_links_to_the_shot_that_flickers_most_first(tmp_path: Path) -> None:
    patterns = [
        write_exrs(
            tmp_path / folder,
            FRAMES,
            lambda n, gain=gain: hills((32, 24)) * np.float32(gain if n % 2 else 1),  # type: ignore[misc]
            name=f"{folder}_",
        )
        for folder, gain in (("calm", 1.0), ("wild", 1.1), ("mild", 1.01))
    ]
    result = seqhdr.report(patterns)
    assert result.index == tmp_path / "reports.html"
    page = Page(result.index)
    assert page.text("h1") == "3 shots"
    shots = [href for href in page.hrefs if href.startswith("./") and "#" not in href]
    assert shots == [f"./{name}/{name}.report.html" for name in ("wild", "mild", "calm")]
    for href in (href for href in page.hrefs if not href.startswith("#")):
        parts = urlsplit(href)
        assert not parts.scheme
        target = Page(tmp_path / unquote(parts.path))
        assert parts.fragment == "" or parts.fragment in target.ids


def test_two_shots_that_would_write_one_page_are_refused(shoot: Any) -> None:
    patterns = [shoot(FRAMES, name="shot_", size=(8, 8)), shoot(FRAMES, name="shot.", size=(8, 8))]
    for twice in (patterns, [patterns[0]] * 2):
        with pytest.raises(UsageError, match=r"shot.report.html: two of the shots would write it: .* with -o"):
            seqhdr.report(twice)


def test_another_spelling_of_a_folder_is_still_that_folder(shoot: Any) -> None:
    pattern = Path(shoot(FRAMES, name="shot_", size=(8, 8)))
    other = Path(shoot(FRAMES, name="shot.", size=(8, 8)))
    with pytest.raises(UsageError, match="two of the shots would write it"):
        seqhdr.report([pattern, other.parent / ".." / other.parent.name / other.name])


def test_a_shot_called_index_keeps_its_page(shoot: Any) -> None:
    result = seqhdr.report([shoot(FRAMES, name=name, size=(8, 8)) for name in ("index_", "shot_")])
    assert Page(result.pages[0]).text("h1") == "index"


# --- names are data ---------------------------------------------------------------------------------------------------

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '"quoted"&amp;\'s',
    "..x",
    "two words",
    "%20",
    "ünï 漢字",
    "new\nline",
    "javascript:x",
    "x<!--<script>y",
    "[red]x",
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[seqhdr.ReportResult, Path]:
    """Reports of the same frames under names that are markup, and a harmless one first."""
    folder = tmp_path_factory.mktemp("hostile")
    attributes = {"Software": "<script>alert(2)</script>"}
    patterns = [
        write_exrs(folder, range(1, 3), lambda n: hills((16, 16)), name=f"{name}_", attributes=attributes)
        for name in ("plain", *HOSTILE)
    ]
    return seqhdr.report(patterns), folder


def test_a_name_becomes_text_and_never_an_element(hostile: tuple[seqhdr.ReportResult, Path]) -> None:
    result, folder = hostile
    plain = Page(result.pages[0])
    assert len(result.pages) == len(HOSTILE) + 1
    for name, path, data in zip(HOSTILE, result.pages[1:], result.data[1:], strict=True):
        page = Page(path)
        assert page.elements == plain.elements, name
        assert page.text("h1") == name
        assert page.text("title").startswith(name)
        assert f"{folder}/{name}_%04d.exr" in page.text("td")
        assert "<script>alert(2)</script>" in page.text("td")
        assert page.sources == plain.sources
        report = strict_json(data)
        assert report["name"] == name
        assert report["result"]["made_by"] == "<script>alert(2)</script>"


def test_the_index_links_to_every_name(hostile: tuple[seqhdr.ReportResult, Path]) -> None:
    result, folder = hostile
    assert result.index is not None
    page = Page(result.index)
    assert not any(tag == "script" for tag, _ in page.elements)
    assert not any(name.startswith("on") for _, names in page.elements for name in names)
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert len(page.sources) == len(result.pages)
    linked = {(folder / unquote(urlsplit(href).path)).resolve() for href in page.hrefs if not href.startswith("#")}
    assert linked == {path.resolve() for path in result.pages}
    for name in HOSTILE:
        assert name in page.texts["a"]


def test_a_comparison_takes_names_as_text(hostile: tuple[seqhdr.ReportResult, Path]) -> None:
    _, folder = hostile
    harmless = Page(seqhdr.report([folder / "plain_%04d.exr"] * 2, compare=True).pages[0])
    result = seqhdr.report([folder / f"{name}_%04d.exr" for name in HOSTILE], compare=True)
    page = Page(result.pages[0])
    assert [report["name"] for report in result.reports] == list(HOSTILE)
    assert not any(name.startswith("on") for _, names in page.elements for name in names)
    assert all(source.startswith("data:image/") for source in page.sources)
    scripts, expected = ([a for tag, a in p.attributes if tag == "script"] for p in (page, harmless))
    assert scripts == expected
    (viewer,) = (json.loads(text) for text in page.texts["script"] if text.lstrip().startswith("{"))
    readable = "".join("".join(texts) for tag, texts in page.texts.items() if tag not in ("script", "style"))
    for name in HOSTILE:
        assert name in readable
        assert name in _strings(viewer)


def _strings(tree: Any) -> list[str]:
    if isinstance(tree, str):
        return [tree]
    values = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return [text for value in values for text in _strings(value)]
