"""Several results of one shot side by side, the source among them as identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seqhdr
from seqhdr.errors import FrameError, GateError, ShotError, UsageError
from tests.pipeline.report_shots import Page, hills, srgb_codes, strict_json, write_codes, write_exrs

FRAMES = range(1, 5)
SIZE = (32, 24)


@pytest.fixture
def rivals(tmp_path: Path) -> dict[str, Any]:
    """A good and a flickering result of a still shot, its source and its truth; both results are called ``comp``."""
    truth = write_exrs(tmp_path / "truth", FRAMES, lambda n: hills(SIZE))
    source = write_codes(tmp_path / "in", FRAMES, lambda n: srgb_codes(hills(SIZE), 8))
    good = write_exrs(tmp_path / "good", FRAMES, lambda n: hills(SIZE) * np.float32(1.0001))
    bad = write_exrs(tmp_path / "bad", FRAMES, lambda n: hills(SIZE) * np.float32(1.02 if n == 3 else 1))
    return {"patterns": [good, bad], "source": source, "truth": truth, "compare": True, "output": tmp_path / "page"}


def test_two_results_and_identity_share_a_page(rivals: dict[str, Any], tmp_path: Path) -> None:
    finished: list[str] = []
    result = seqhdr.report(**rivals, on_report=lambda report, page: finished.append(report["name"]))
    names = ["good/comp", "bad/comp", "in/shot"]
    assert finished == [report["name"] for report in result.reports] == names
    assert [report["is_source"] for report in result.reports] == [False, False, True]
    assert result.pages == (tmp_path / "page" / "comp.compare.html",)
    assert result.data == (tmp_path / "page" / "comp.compare.json",)
    assert result.index is None
    assert strict_json(result.data[0]) == {"format": 1, "results": list(result.reports)}
    page = Page(result.pages[0])
    assert page.text("h1").endswith("results of one shot")
    for name in names:
        assert name in page.all_text
    assert all(source.startswith("data:image/") for source in page.sources)


def test_identity_is_the_source_measured_like_the_results(rivals: dict[str, Any]) -> None:
    good, bad, identity = seqhdr.report(**rivals).reports
    assert identity["result"]["pattern"] == identity["source"]["pattern"] == rivals["source"]
    assert identity["flicker"]["excess_flicker_stops"] == 0
    assert identity["fidelity"]["inside_share"] == 1.0
    assert identity["result"]["encoding"] == "srgb"
    for rival in (good, bad):
        for key in ("source_flicker_stops", "source_exposure_jitter_stops"):
            assert rival["flicker"][key] == pytest.approx(identity["flicker"][key.removeprefix("source_")], abs=1e-6)
        assert rival["banding"]["source_banding_index"] == identity["banding"]["banding_index"]
        assert rival["source"]["half_width_lsb"] == identity["source"]["half_width_lsb"] == 0.5
    for row, same in zip(identity["accuracy"]["rows"], good["accuracy"]["rows"], strict=True):
        assert row["label"] == same["label"]
        assert row["result"] == pytest.approx(row["identity"], rel=0.2)
        assert same["identity"] == pytest.approx(row["identity"], rel=1e-4)
    assert bad["flicker"]["worst_jitter_frame"] == 3
    assert good["flicker"]["excess_flicker_stops"] == pytest.approx(0, abs=1e-5)
    assert bad["flicker"]["excess_flicker_stops"] > 0.01


def test_the_gate_tries_the_results_and_not_identity(rivals: dict[str, Any], tmp_path: Path) -> None:
    wild = write_codes(
        tmp_path / "wild", FRAMES, lambda n: srgb_codes(hills(SIZE) * np.float32(1.1 if n % 2 else 1), 8)
    )
    rivals |= {"source": None, "patterns": [rivals["patterns"][0], rivals["truth"]]}
    seqhdr.report(**rivals, max_jitter=0.001)
    # Over the truth, the wild source jitters by 0.1375 stop; as identity it may.
    still = seqhdr.report(**(rivals | {"source": wild}), max_jitter=0.001).reports
    assert still[-1]["is_source"]
    assert still[-1]["flicker"]["exposure_jitter_stops"] == pytest.approx(np.log2(1.1), rel=0.05)
    with pytest.raises(GateError, match=r"wild/shot_%04d.png: exposure jitter, over the truth .* in frames 2-3$"):
        seqhdr.report(wild, truth=rivals["truth"], max_jitter=0.001)


def test_the_gate_names_the_result_that_fails(rivals: dict[str, Any]) -> None:
    with pytest.raises(GateError) as failed:
        seqhdr.report(**rivals, max_jitter=0.02)
    (line,) = str(failed.value).splitlines()
    assert line.startswith(rivals["patterns"][1])
    assert line.endswith("is above 0.02 stop in frame 3")
    assert (rivals["output"] / "comp.compare.html").is_file()


def test_names_get_as_many_folders_as_it_takes(tmp_path: Path) -> None:
    def names(*places: str) -> list[str]:
        patterns = [write_exrs(tmp_path / place, range(1, 3), lambda n: hills((16, 16))) for place in places]
        return [report["name"] for report in seqhdr.report(patterns, compare=True).reports]

    assert names("a", "b") == ["a/comp", "b/comp"]
    assert names("x/v1/exr", "x/v2/exr") == ["v1/exr/comp", "v2/exr/comp"]
    assert names("a", "a") == ["comp (1)", "comp (2)"]
    other = write_exrs(tmp_path / "a", range(1, 3), lambda n: hills((16, 16)), name="other_")
    one = str(tmp_path / "a" / "comp_%04d.exr")
    assert [report["name"] for report in seqhdr.report([one, other], compare=True).reports] == ["comp", "other"]
    assert (tmp_path / "a" / "comp.compare.html").is_file()


def test_the_headers_of_one_result_tell_all_others_what_the_source_is(rivals: dict[str, Any], tmp_path: Path) -> None:
    header = {"seqhdr:input_space": "rec709", "seqhdr:half_width": 1.5, "seqhdr:output_space": "lin_rec709"}
    ours = write_exrs(tmp_path / "ours", FRAMES, lambda n: hills(SIZE), attributes=header)
    reports = seqhdr.report(**(rivals | {"patterns": [rivals["patterns"][0], ours]})).reports
    assert [report["source"]["encoding"] for report in reports] == ["rec709"] * 3
    assert [report["source"]["half_width_lsb"] for report in reports] == [0.5, 1.5, 0.5]
    assert reports[2]["result"]["encoding"] == "rec709"
    first = seqhdr.report(**(rivals | {"patterns": [ours, rivals["patterns"][0]]})).reports
    assert [report["source"]["half_width_lsb"] for report in first] == [1.5, 0.5, 1.5]
    asked = seqhdr.report(**(rivals | {"patterns": [ours], "input_space": "srgb", "bins": "2"})).reports
    assert [report["source"]["encoding"] for report in asked] == ["srgb"] * 2
    assert [report["source"]["half_width_lsb"] for report in asked] == [2.0] * 2


@pytest.mark.parametrize("name", ["one result", "two sources", "two truths", "other size", "source of other size"])
def test_what_cannot_be_compared_is_refused(name: str, rivals: dict[str, Any], tmp_path: Path) -> None:
    small = write_exrs(tmp_path / "small", FRAMES, lambda n: hills((16, 16)))
    small_source = write_codes(tmp_path / "small", FRAMES, lambda n: srgb_codes(hills((16, 16)), 8))
    first = rivals["patterns"][0]
    changed: dict[str, Any]
    changed, error, words = {
        "one result": (
            {"patterns": [first], "source": None, "truth": None},
            UsageError,
            "--compare needs two results or more, or one and its --source",
        ),
        "two sources": ({"source": [rivals["source"]] * 2}, UsageError, "give --source once, not 2 times"),
        "two truths": ({"truth": [rivals["truth"]] * 2}, UsageError, "give --truth once, not 2 times"),
        "other size": (
            {"patterns": [first, small], "source": None, "truth": None},
            UsageError,
            r"small/comp_%04d.exr: is 16x16, .*good/comp_%04d.exr is 32x24: compare results of one size",
        ),
        "source of other size": (
            {"source": small_source},
            UsageError,
            r"small/shot_%04d.png: is 16x16, .*compare results of one size",
        ),
    }[name]
    with pytest.raises(error, match=words):
        seqhdr.report(**(rivals | changed))
    assert not rivals["output"].exists()


def test_one_result_and_its_source_are_enough(rivals: dict[str, Any]) -> None:
    result = seqhdr.report(**(rivals | {"patterns": rivals["patterns"][:1], "truth": None}))
    assert [report["name"] for report in result.reports] == ["comp", "shot"]
    assert result.reports[0]["accuracy"] is None


def test_results_that_share_no_frame_have_numbers_and_no_pictures(tmp_path: Path) -> None:
    early = write_exrs(tmp_path / "a", range(1, 3), lambda n: hills((16, 16)))
    late = write_exrs(tmp_path / "b", range(5, 7), lambda n: hills((16, 16)))
    result = seqhdr.report([early, late], compare=True)
    page = Page(result.pages[0])
    assert "viewer-data" not in page.ids
    assert [report["result"]["first"] for report in result.reports] == [1, 5]


def test_a_truth_that_lacks_a_frame_is_named(rivals: dict[str, Any]) -> None:
    Path(rivals["truth"] % 4).unlink()
    with pytest.raises(ShotError, match=r"has no frame 4, on disk are 1-3: check --truth"):
        seqhdr.report(**rivals)
    Path(rivals["truth"] % 3).write_bytes(b"")
    with pytest.raises(FrameError, match=r"comp_0003.exr"):
        seqhdr.report(**(rivals | {"frames": "1-3"}))


def test_identity_is_measured_on_the_frames_of_the_results(tmp_path: Path) -> None:
    source = write_codes(tmp_path / "in", range(1, 9), lambda n: srgb_codes(hills((16, 16)), 8))
    chunk = write_exrs(tmp_path / "out", range(3, 6), lambda n: hills((16, 16)))
    reports = seqhdr.report(chunk, source=source, compare=True).reports
    assert [[row["frame"] for row in report["frames"]] for report in reports] == [[3, 4, 5]] * 2
