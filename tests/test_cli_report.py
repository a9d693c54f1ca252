"""``seqhdr report`` and the report at the end of ``seqhdr run``, as a person or a farm meets them."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import picture
from tests.pipeline.report_shots import Page, hills, source_values, srgb_codes, strict_json, write_codes, write_exrs

LINES = ("shot", "flicker ", "banding ", "bins ", "verdict ", "report ")


def reported(tmp_path: Path, out: str = "out", name: str = "shot_acescct") -> dict[str, Any]:
    found: dict[str, Any] = strict_json(tmp_path / out / f"{name}.report.json")
    return found


def frames_of(report: dict[str, Any]) -> list[int]:
    return [row["frame"] for row in report["frames"]]


# --- the verb -------------------------------------------------------------------------------------------------------


def test_help_names_every_option_of_the_api(seqhdr: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from seqhdr.pipeline.report_options import Limits, ReportOptions

    monkeypatch.setenv("COLUMNS", "200")
    out = re.sub(r"\x1b\[[0-9;]*m", "", seqhdr("report", "--help").out)
    fields = {field.name for options in (Limits, ReportOptions) for field in dataclasses.fields(options)}
    for name in (fields - {"limits"}) | {"source", "truth", "compare"}:
        assert f"--{name.replace('_', '-')}" in out, name


def test_the_command_line_has_the_defaults_of_the_api() -> None:
    from seqhdr import api_report, cli_report
    from seqhdr.pipeline.report_options import Limits, ReportOptions

    given = {name: p.default for name, p in inspect.signature(cli_report.report).parameters.items()}
    expected = {f.name: f.default for options in (Limits, ReportOptions) for f in dataclasses.fields(options)}
    expected.pop("limits")
    keywords = inspect.signature(api_report.report).parameters
    expected |= {name: keywords[name].default for name in ("source", "truth", "compare")}
    for name in ("max_flicker", "max_jitter", "min_inside"):
        assert keywords[name].default is None
    assert {name: given[name] for name in expected} == expected
    assert set(given) - set(expected) == {"patterns", "as_json", "quiet"}


def test_every_option_reaches_the_api(seqhdr: Any, shoot: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from seqhdr import api_report

    options = {
        "source": ["s.%04d.png"],
        "truth": ["t.%04d.exr"],
        "compare": True,
        "output": tmp_path,
        "frames": "1-3",
        "max_flicker": 0.5,
        "max_jitter": 0.25,
        "min_inside": 99.5,
        "input_space": "a",
        "input_curve": "f",
        "output_space": "b",
        "truth_space": "c",
        "bins": "2",
        "cuts": "3",
        "stride": "4",
        "lpips_backbone": "d",
        "metrics": True,
        "fps": "25",
        "ocio": "e",
    }
    taken: dict[str, Any] = {}

    def report(patterns: list[str], **given: Any) -> Any:
        taken.update(given, patterns=patterns)
        return api_report.ReportResult((), (tmp_path / "page.html",), ())

    monkeypatch.setattr(api_report, "report", report)
    words: list[object] = []
    for name, value in options.items():
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words.append(value[0] if isinstance(value, list) else value)
    assert seqhdr("report", "a.%04d.exr", "b.%04d.exr", *words).code == 0
    assert taken.pop("patterns") == ["a.%04d.exr", "b.%04d.exr"]
    assert {name: taken[name] for name in options} == options
    assert set(taken) - set(options) == {"on_frame", "on_page", "on_report"}


def test_five_lines_and_where_the_page_is(seqhdr: Any, shoot: Any, tmp_path: Path) -> None:
    ran = seqhdr("report", shoot(range(1, 4)))
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert [line.split()[0].rstrip(":") for line in lines] == [
        "shot", "flicker", "banding", "light", "verdict", "report"
    ]  # fmt: skip
    assert lines[-1] == f"report   {tmp_path / 'in' / 'shot.report.html'}"
    assert lines[:5] == reported(tmp_path, "in", "shot")["summary"]


def test_json_is_what_is_in_the_files(seqhdr: Any, shoot: Any, tmp_path: Path) -> None:
    patterns = [shoot(range(1, 4), name=name, size=(16, 16)) for name in ("a_", "b_")]
    ran = seqhdr("report", *patterns, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out) == [reported(tmp_path, "in", name) for name in ("a", "b")]


def test_json_is_printed_though_a_gate_fails(seqhdr: Any, shoot: Any, tmp_path: Path) -> None:
    pattern, source = (shoot(range(1, 4), name=name, size=(16, 16), cut=cut) for name, cut in (("a_", None), ("b_", 2)))
    ran = seqhdr("report", pattern, "--source", source, "--min-inside", "100", "--json")
    assert (ran.code, ran.err.count("\n")) == (5, 1)
    assert json.loads(ran.out) == [reported(tmp_path, "in", "a")]


def test_several_shots_end_with_their_index(seqhdr: Any, shoot: Any, tmp_path: Path) -> None:
    patterns = [shoot(range(1, 3), name=name, size=(16, 16)) for name in ("a_", "b_")]
    ran = seqhdr("report", *patterns)
    lines = ran.out.splitlines()
    assert len(lines) == 2 * 6 + 1
    assert lines[-1] == f"index    {tmp_path / 'in' / 'reports.html'}"
    assert Page(tmp_path / "in" / "reports.html").text("h1") == "2 shots"
    ran = seqhdr("report", *patterns, "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


@pytest.mark.parametrize(
    ("limit", "fails"),
    [
        (("--max-flicker", 0.02), "flicker, over the source 0.0285"),
        (("--max-flicker", 0.03), None),
        (("--max-jitter", 0.02), "exposure jitter, over the source 0.0285"),
        (("--max-jitter", 0.03), None),
        (("--min-inside", 100), "channels inside their bins"),
        (("--min-inside", 0), None),
    ],
)
def test_a_gate_that_fails_gives_5_and_one_sentence(
    limit: tuple[str, float], fails: str | None, seqhdr: Any, tmp_path: Path
) -> None:
    source = write_codes(tmp_path, range(1, 6), lambda n: srgb_codes(hills((32, 24)), 16), bits=16)
    pattern = write_exrs(tmp_path, range(1, 6), lambda n: hills((32, 24)) * np.float32(1.02 if n == 3 else 1))
    ran = seqhdr("report", pattern, "--source", source, *limit)
    # The lines are printed either way, before the sentence.
    assert [line.split()[0].rstrip(":") for line in ran.out.splitlines()] == [
        "comp", "flicker", "banding", "bins", "verdict", "report"
    ]  # fmt: skip
    assert (tmp_path / "comp.report.html").is_file()
    if fails is None:
        assert (ran.code, ran.err) == (0, "")
        return
    assert ran.code == 5
    assert ran.err.count("\n") == 1
    assert ran.err.startswith(f"seqhdr: {pattern}: {fails}")
    assert re.search(r"in frames 3-4$" if "flicker" in limit[0] else r"in frame 3$", ran.err.strip())


def test_pages_of_all_shots_are_written_though_one_fails(seqhdr: Any, tmp_path: Path) -> None:
    wild, calm = (
        write_exrs(tmp_path, range(1, 4), lambda n, g=g: hills((16, 16)) * np.float32(g if n == 2 else 1), name=name)  # type: ignore[misc]
        for name, g in (("wild_", 1.1), ("calm_", 1))
    )
    ran = seqhdr("report", wild, calm, "--max-jitter", 0.01)
    assert ran.code == 5
    assert ran.err.startswith(f"seqhdr: {wild}: exposure jitter ")
    assert calm not in ran.err
    for name in ("wild.report.html", "calm.report.html", "reports.html"):
        assert (tmp_path / name).is_file()
    assert ran.out.splitlines()[-1] == f"index    {tmp_path / 'reports.html'}"


@pytest.mark.parametrize(
    "words",
    [
        ("--min-inside", "100"),
        ("--max-flicker", "0.1", "--frames", "2"),
        ("--max-jitter", "-1"),
        ("--max-jitter", "much"),
        ("--stride", "none"),
        ("--bins", "0.1", "--source", "SHOT"),
        ("--metrics",),
        ("--compare",),
        ("--cuts", "never"),
        ("--source", "SHOT", "--source", "SHOT"),
        ("--output-space", "nonsense"),
        ("SHOT",),
    ],
)
def test_usage_errors_give_2_and_write_nothing_new(words: tuple[str, ...], seqhdr: Any, shoot: Any) -> None:
    pattern = shoot(range(1, 4), size=(16, 16))
    ran = seqhdr("report", pattern, *(pattern if word == "SHOT" else word for word in words))
    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert ran.err.startswith("seqhdr: ") or "Usage" in ran.err
    if words != ("SHOT",):
        assert ran.out == ""
        assert list(Path(pattern).parent.glob("*.report.*")) == []


def test_input_that_cannot_be_used_gives_3(seqhdr: Any, shoot: Any, tmp_path: Path) -> None:
    assert seqhdr("report", tmp_path / "nothing_%04d.exr").code == 3
    pattern = shoot(range(1, 4))
    Path(pattern % 2).write_bytes(b"no picture")
    ran = seqhdr("report", pattern)
    assert (ran.code, ran.out) == (3, "")
    assert re.fullmatch(r"seqhdr: .*shot_0002.png: .*\n", ran.err)
    assert list((tmp_path / "in").glob("*.report.*")) == []


def test_a_comparison_from_the_command_line(seqhdr: Any, tmp_path: Path) -> None:
    source = write_codes(tmp_path / "in", range(1, 3), lambda n: picture(n - 1))
    results = [write_exrs(tmp_path / name, range(1, 3), source_values) for name in ("a", "b")]
    ran = seqhdr("report", "--compare", *results, "--source", source, "--output-space", "srgb", "-o", tmp_path)
    assert (ran.code, ran.err) == (0, "")
    page = tmp_path / "comp.compare.html"
    assert page.is_file()
    assert [line for line in ran.out.splitlines() if line.startswith("verdict")][2].startswith("verdict  LOOK AT IT")
    assert ran.out.splitlines()[-1] == f"compare  {page}"
    names = [line.partition(":")[0] for line in ran.out.splitlines()[:-1:5]]
    assert names == ["a/comp", "b/comp", "in/shot"]


# --- at the end of a run ----------------------------------------------------------------------------------------------


def test_a_run_ends_with_a_report(seqhdr: Any, shoot: Any, tiny_model: str, tmp_path: Path) -> None:
    ran = seqhdr("run", shoot(range(1, 5)), "-o", tmp_path / "out", "--model", tiny_model, "--device", "cpu")
    assert ran.code == 0, ran.err
    lines = ran.err.splitlines()[-6:]
    assert all(line.startswith(word) for line, word in zip(lines, LINES, strict=True))
    page = tmp_path / "out" / "shot_acescct.report.html"
    assert lines[-1] == f"report   {page}"
    report = reported(tmp_path)
    assert lines[:5] == report["summary"]
    assert frames_of(report) == [1, 2, 3, 4]
    assert report["fidelity"]["inside_share"] == 1.0
    assert report["source"]["pattern"] == str(tmp_path / "in" / "shot_%04d.png")
    assert Page(page).text("h1") == "shot_acescct"


def test_no_report_and_quiet(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 3))
    ran = convert(pattern, "--no-report")
    assert ran.code == 0
    assert "verdict" not in ran.err
    assert sorted(p.suffix for p in (tmp_path / "out").iterdir()) == [".exr", ".exr", ".json"]
    ran = convert(pattern, "--report", "--quiet", out="quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert (tmp_path / "quiet" / "shot_acescct.report.html").is_file()


def test_events_for_machines(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 4))
    ran = convert(pattern, "--report", "--log-json")
    assert (ran.code, ran.out) == (0, "")
    events = [json.loads(line) for line in ran.err.splitlines()]
    assert [e["kind"] for e in events] == ["shot", *["frame"] * 3, "done", *["measured"] * 3, "report"]
    assert [(e["done"], e["of"]) for e in events if e["kind"] == "measured"] == [(1, 3), (2, 3), (3, 3)]
    last = events[-1]
    assert last["shot"] == pattern
    assert last["page"] == str(tmp_path / "out" / "shot_acescct.report.html")
    assert last["data"] == str(tmp_path / "out" / "shot_acescct.report.json")
    assert last["good"] is reported(tmp_path)["verdict"]["good"]
    assert last["message"].splitlines()[:5] == reported(tmp_path)["summary"]


def test_a_page_is_left_alone_until_there_are_new_frames(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 4))
    page = tmp_path / "out" / "shot_acescct.report.html"
    assert convert(pattern, "--report").code == 0
    page.write_text("mine")
    ran = convert(pattern, "--report", "--skip-existing")
    assert ran.code == 0
    assert "verdict" not in ran.err
    assert page.read_text() == "mine"
    (tmp_path / "out" / "shot_acescct.0002.exr").unlink()
    assert convert(pattern, "--report", "--skip-existing").code == 0
    assert Page(page).text("h1") == "shot_acescct"
    assert frames_of(reported(tmp_path)) == [1, 2, 3]
    page.unlink()
    assert convert(pattern, "--report", "--skip-existing").code == 0
    assert page.is_file()


def test_a_report_that_cannot_be_made_is_a_warning(shoot: Any, convert: Any, tmp_path: Path) -> None:
    (tmp_path / "out" / "shot_acescct.report.html").mkdir(parents=True)
    ran = convert(shoot(range(1, 4)), "--report", "--log-json")
    assert ran.code == 0
    *_, last = [json.loads(line) for line in ran.err.splitlines()]
    assert last["kind"] == "warning"
    assert last["message"].startswith("there is no report: ")
    assert "a folder has that name" in last["message"]
    assert len(list((tmp_path / "out").glob("*.exr"))) == 3
    assert not [p for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]


def test_a_disk_too_full_for_the_report_is_a_warning(shoot: Any, convert: Any, tiny_disk: Path) -> None:
    pattern = shoot(range(1, 3), size=(16, 16))
    assert convert(pattern, out="tiny").code == 0
    used = sum(-(-p.stat().st_size // 4096) * 4096 for p in tiny_disk.iterdir())
    (tiny_disk / "filler").write_bytes(bytes(256 * 1024 - used - 4 * 4096))
    ran = convert(pattern, "--report", "--skip-existing", out="tiny")
    assert ran.code == 0
    assert "warning: there is no report: " in ran.err
    assert "the disk is full" in ran.err
    assert not [p for p in tiny_disk.iterdir() if p.name.startswith(".")]
    assert not list(tiny_disk.glob("*.html"))


def test_frames_that_failed_are_missing_in_the_report(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 6))
    Path(pattern % 3).write_bytes(b"")
    ran = convert(pattern, "--report")
    assert ran.code == 4
    report = reported(tmp_path)
    assert frames_of(report) == [1, 2, 4, 5]
    assert report["result"]["missing"] == [3]
    assert [row["starts_segment"] for row in report["frames"]] == [True, False, True, False]


def test_where_every_frame_failed_there_is_no_report(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 4))
    for frame in (2, 3):
        Path(pattern % frame).write_bytes(b"")
    ran = convert(pattern, "--report", "--frames", "2-3", "--bins", "strict")
    assert ran.code == 3
    assert "shot_0002.png: the file is empty" in ran.err.splitlines()[-1]
    assert list((tmp_path / "out").glob("*.report.*")) == []


@pytest.mark.parametrize(
    ("mode", "frames", "starts"), [("hold", [1, 2, 3, 4, 5], [1]), ("split", [1, 2, 4, 5], [1, 4])]
)
def test_missing_frames_are_reported_as_they_were_made(
    mode: str, frames: list[int], starts: list[int], shoot: Any, convert: Any, tmp_path: Path
) -> None:
    pattern = shoot(range(1, 6))
    Path(pattern % 3).unlink()
    ran = convert(pattern, "--report", "--missing", mode, "--bit-depth", "float")
    assert ran.code == 0, ran.err
    report = reported(tmp_path)
    assert frames_of(report) == frames
    assert report["result"]["missing"] == ([] if mode == "hold" else [3])
    assert [row["frame"] for row in report["frames"] if row["starts_segment"]] == starts
    assert report["fidelity"]["inside_share"] == 1.0


def test_the_report_covers_the_frames_of_the_run(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 9))
    for asked, frames in (
        ("1-7x2", [1, 3, 5, 7]),
        ("5-8", [5, 6, 7, 8]),  # with two frames before it for the memory, which are in the folder in part
        ("2,4", [2, 4]),
    ):
        ran = convert(pattern, "--report", "--frames", asked, "--preroll", "2", "--skip-existing")
        assert ran.code == 0, ran.err
        report = reported(tmp_path)
        assert frames_of(report) == frames
        assert (report["result"]["first"], report["result"]["last"]) == (frames[0], frames[-1])
        inside = [row["starts_segment"] for row in report["frames"]]
        assert inside == ([True, True] if asked == "2,4" else [True, False, False, False])


def test_a_chunk_whose_shot_has_a_cut_elsewhere_is_reported(shoot: Any, convert: Any, tmp_path: Path) -> None:
    ran = convert(shoot(range(1, 7), cut=3), "--report", "--frames", "4-6", "--cuts", "3")
    assert ran.code == 0
    assert "there is no report" not in ran.err
    assert frames_of(reported(tmp_path)) == [4, 5, 6]


def test_the_cuts_of_a_run_are_those_of_its_report(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 6), cut=4, size=(96, 64))
    for cuts, found in (("auto", [4]), ("off", []), ("3", [3])):
        assert convert(pattern, "--report", "--cuts", cuts, "--overwrite").code == 0
        assert reported(tmp_path)["cuts"] == found
