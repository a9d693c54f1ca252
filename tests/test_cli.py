"""The command line as a person or a farm meets it: what is printed where, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from seqhdr.media.exr import complete_exr


def test_without_a_verb_there_is_help(seqhdr: Any) -> None:
    ran = seqhdr("--help")
    assert ran.code == 0
    for verb in ("run", "verify", "inspect", "report"):
        assert verb in ran.out
    assert "130 interrupted" in " ".join(ran.out.split())
    assert "Usage" in seqhdr().out


def test_help_names_every_option_of_the_api(seqhdr: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    from seqhdr.pipeline.options import RunOptions

    monkeypatch.setenv("COLUMNS", "200")
    out = re.sub(r"\x1b\[[0-9;]*m", "", seqhdr("run", "--help").out)
    for field in dataclasses.fields(RunOptions):
        assert f"--{field.name.replace('_', '-')}" in out, field.name


def test_the_command_line_has_the_defaults_of_the_api() -> None:
    import dataclasses
    import inspect

    from seqhdr.cli import run
    from seqhdr.pipeline.options import RunOptions

    defaults = {name: p.default for name, p in inspect.signature(run).parameters.items()}
    for field in dataclasses.fields(RunOptions):
        if field.name == "output":
            continue
        given = defaults[field.name]
        expected = ",".join(field.default) if field.name == "aov" else field.default
        assert getattr(given, "value", given) == expected, field.name


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("run", "shot_%04d.png"),
        ("run", "shot_%04d.png", "-o", "out", "--nonsense"),
        ("run", "shot_%04d.png", "-o", "out", "--missing", "hodl"),
        ("run", "shot_%04d.png", "-o", "out", "--preroll", "many"),
        ("verify", "out.%04d.exr"),
        ("nonsense",),
    ],
)
def test_usage_errors_give_2(seqhdr: Any, words: tuple[str, ...]) -> None:
    ran = seqhdr(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert "Error" in ran.err or "Usage" in ran.err


def test_unknown_names_are_answered_with_the_nearest(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 2))
    for words, answer in (
        (("--output-space", "acesct"), "did you mean acescct"),
        (("--compression", "zipp"), "did you mean zip"),
        (("--aov", "clip,konfidence"), "did you mean confidence"),
    ):
        ran = convert(pattern, *words)
        assert ran.code == 2
        assert answer in ran.err.lower()
        assert ran.err.startswith("seqhdr: unknown ")
        assert ran.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_plain_lines_where_there_is_no_terminal(shoot: Any, convert: Any) -> None:
    ran = convert(shoot(range(1, 4)))
    lines = ran.err.splitlines()
    assert "shot_%04d.png: 3 frames, 64x48, w = 0.5 (" in lines[0]
    for n, line in enumerate(lines[1:4], start=1):
        assert re.fullmatch(rf"{n}/3 shot_acescct\.000{n}\.exr written, [\d.]+ fps, \d+ s left", line)
    assert lines[4].startswith("3 frames written, 0 kept: ")
    assert "\x1b" not in ran.err


def test_quiet_prints_nothing_but_trouble(shoot: Any, convert: Any) -> None:
    pattern = shoot(range(1, 4))
    ran = convert(pattern, "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    Path(pattern % 2).unlink()
    ran = convert(pattern, "--quiet", "--missing", "split", "--overwrite")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "warning: 1 frames are missing; --missing split\n"


def test_a_line_of_json_for_each_event(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 5))
    Path(pattern % 3).write_bytes(b"")
    ran = convert(pattern, "--log-json")
    assert ran.code == 4
    assert ran.out == ""
    *lines, last = ran.err.splitlines()
    events = [json.loads(line) for line in lines]
    assert [e["kind"] for e in events if e["kind"] != "failed"] == ["shot", "frame", "frame", "frame", "done"]
    assert {e["shot"] for e in events} == {pattern}
    assert all(e["message"] for e in events)
    assert events[0]["frames"] == [1, 2, 3, 4]
    frames = [e for e in events if e["kind"] == "frame"]
    assert [e["frame"] for e in frames] == [1, 2, 4]
    assert frames[0]["path"] == str(tmp_path / "out" / "shot_acescct.0001.exr")
    assert frames[0]["of"] == 4
    (failed,) = [e for e in events if e["kind"] == "failed"]
    assert failed["frame"] == 3
    assert "the file is empty" in failed["message"]
    assert last.startswith("seqhdr: ")


def test_a_dry_run_shows_everything_and_writes_nothing(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 9), cut=7)
    Path(pattern % 4).unlink()
    Path(pattern % 2).write_bytes(b"")
    ran = convert(pattern, "--missing", "split", "--dry-run")
    assert ran.code == 0, ran.err
    rows = dict(line.split(maxsplit=1) for line in ran.out.splitlines())
    assert rows["frames"] == "7 (1-8)"
    assert rows["gaps"] == "4"
    assert rows["unreadable"] == "2"
    assert rows["segments"] == "1-3, 5-8"
    assert rows["cuts"] == "7"
    assert rows["size"] == "64x48, 8 bits"
    assert rows["bins"].startswith("half-width 0.5 codes: ")
    assert rows["model"] == "tiny"
    assert rows["tiles"] == "none, whole frames"
    assert re.fullmatch(r"about [\d.]+ GiB", rows["memory"])
    assert rows["writes"] == str(tmp_path / "out" / "shot_acescct.0001.exr") + " ..."
    assert rows["existing"] == "0"
    assert not (tmp_path / "out").exists()


def test_a_dry_run_for_machines_and_for_large_frames(shoot: Any, convert: Any, tmp_path: Path) -> None:
    pattern = shoot(range(1, 2), size=(600, 300))
    ran = convert(pattern, "--tile", "256", "--bins", "off", "--dry-run", "--log-json")
    plan = json.loads(ran.out)
    assert plan["tile_px"] == 256
    assert plan["tiles"] == 8
    assert plan["frames"] == [1]
    assert plan["memory_bytes"] > 2**20
    assert plan["bins"]["bounded"] is False
    assert "no bound" in convert(pattern, "--bins", "off", "--dry-run").out
    assert not (tmp_path / "out").exists()


def test_a_bar_where_there_is_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from seqhdr.api import Event
    from seqhdr.progress import follow

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    pattern = "in/[/red]shot_%04d.png"  # must not be read as markup
    with follow(log_json=False, quiet=False, verbose=False) as on_event:
        on_event(Event("shot", pattern, f"{pattern}: 3 frames", {"frames": [1, 2, 3, 4], "of": 3}))
        on_event(Event("frame", pattern, "one", {"of": 3}))
        on_event(Event("failed", pattern, "two is broken", {"frame": 2}))
        on_event(Event("frame", pattern, "three", {"of": 3}))
        on_event(Event("warning", pattern, "careful", {}))
    err = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert f"{pattern}: 3 frames" in err
    assert "failed: two is broken" in err
    assert "warning: careful" in err
    assert "3/3" in err
    assert "fps" in err


def test_inspect_a_written_sequence_and_one_frame(shoot: Any, convert: Any, seqhdr: Any, tmp_path: Path) -> None:
    assert convert(shoot(range(1, 3))).code == 0
    ran = seqhdr("inspect", tmp_path / "out" / "shot_acescct.%04d.exr", "--json")
    assert ran.code == 0, ran.err
    assert isinstance(json.loads(ran.out), dict)
    ran = seqhdr("inspect", tmp_path / "out" / "shot_acescct.0001.exr")
    assert ran.code == 0, ran.err
    assert "zip" in ran.out
    ran = seqhdr("inspect", tmp_path / "out" / "nothing.%04d.exr")
    assert ran.code == 3
    assert ran.err.startswith("seqhdr: ")


def test_an_error_of_ours_stays_a_traceback(shoot: Any, seqhdr: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from seqhdr import api, cli

    def bug(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(api, "run", bug)
    monkeypatch.setattr("sys.argv", ["seqhdr", "run", shoot(range(1, 2)), "-o", "out"])
    with pytest.raises(ZeroDivisionError, match="a bug"):
        cli.main()


@pytest.mark.skipif(os.name != "posix", reason="signals are a POSIX matter")
def test_ctrl_c_leaves_whole_frames_and_a_summary(shoot: Any, tiny_model: str, tmp_path: Path) -> None:
    pattern = shoot(range(1, 200), size=(96, 64))
    out = tmp_path / "out"
    words = ["run", pattern, "-o", str(out), "--model", tiny_model, "--device", "cpu", "--log-json", "--bins", "strict"]
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from seqhdr.cli import main; main()"
    )
    running = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    lines = []
    for line in running.stderr:
        lines.append(line)
        if '"kind": "frame"' in line:
            break
    running.send_signal(signal.SIGINT)
    lines += running.stderr.read().splitlines()
    assert running.wait(timeout=60) == 130
    running.stderr.close()
    assert lines[-1].strip() == "seqhdr: interrupted; finished files are whole"
    assert not any("Traceback" in line or "Aborted" in line for line in lines)
    names = sorted(p.name for p in out.iterdir())
    frames = [n for n in names if n.endswith(".exr")]
    assert 0 < len(frames) < 199
    assert names == [*frames, "shot_acescct.json"]
    assert all(complete_exr(out / n) for n in frames)
    summary = json.loads((out / "shot_acescct.json").read_text())
    assert [f["path"] for f in summary["frames"]] == frames


def test_ctrl_c_before_the_first_frame(
    shoot: Any, seqhdr: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seqhdr import api

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "load_decoder", interrupted)
    started = time.monotonic()
    ran = seqhdr("run", shoot(range(1, 2)), "-o", tmp_path / "out")
    assert ran.code == 130
    assert ran.err == "seqhdr: interrupted; finished files are whole\n"
    assert not (tmp_path / "out").exists()
    assert time.monotonic() - started < 60
